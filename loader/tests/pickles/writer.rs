//! A small writer of pickles and of the archives around them, as `torch.save` writes them.

/// Bytes of opcodes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pickle(pub(crate) Vec<u8>);

impl Pickle {
    pub(crate) fn new(protocol: u8) -> Pickle {
        Pickle(vec![0x80, protocol])
    }

    pub(crate) fn op(mut self, bytes: &[u8]) -> Pickle {
        self.0.extend_from_slice(bytes);
        self
    }

    pub(crate) fn text(self, text: &str) -> Pickle {
        self.op(b"X").op(&(text.len() as u32).to_le_bytes()).op(text.as_bytes())
    }

    pub(crate) fn int(self, number: i64) -> Pickle {
        self.op(&[0x8a, 8]).op(&number.to_le_bytes())
    }

    /// `module.name`, by the opcode of protocol 2.
    pub(crate) fn global(self, module: &str, name: &str) -> Pickle {
        self.op(b"c").op(module.as_bytes()).op(b"\n").op(name.as_bytes()).op(b"\n")
    }

    /// `module.name`, by the opcode of protocol 4.
    pub(crate) fn stack_global(self, module: &str, name: &str) -> Pickle {
        self.text(module).text(name).op(&[0x93])
    }

    pub(crate) fn numbers(self, numbers: &[i64]) -> Pickle {
        numbers.iter().fold(self.op(b"("), |pickle, number| pickle.int(*number)).op(b"t")
    }

    /// A storage outside the pickle.
    pub(crate) fn storage(self, class: &str, key: &str, values: i64) -> Pickle {
        let pickle = self.op(b"(").text("storage").global("torch", class).text(key).text("cpu");
        pickle.int(values).op(b"tQ")
    }

    /// A tensor of a storage of its own.
    pub(crate) fn tensor(
        self,
        class: &str,
        (key, values): (&str, i64),
        offset: i64,
        shape: &[i64],
        strides: &[i64],
    ) -> Pickle {
        let pickle = self.global("torch._utils", "_rebuild_tensor_v2").op(b"(").storage(class, key, values);
        let pickle = pickle.int(offset).numbers(shape).numbers(strides).op(b"\x89");
        pickle.global("collections", "OrderedDict").op(b")RtR")
    }

    pub(crate) fn end(self) -> Vec<u8> {
        self.op(b".").0
    }
}

/// The pickle of a dictionary of one tensor of `n` values `F32`, in the storage `0`.
pub(crate) fn one_tensor(n: i64) -> Vec<u8> {
    Pickle::new(2).op(b"}").text("a").tensor("FloatStorage", ("0", n), 0, &[n], &[1]).op(b"s").end()
}

/// A zip archive of stored files.
pub(crate) fn zip(files: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for (name, bytes) in files {
        let offset = out.len() as u32;
        let (len, name_len) = ((bytes.len() as u32).to_le_bytes(), (name.len() as u16).to_le_bytes());
        // Version, flags, method, time, date and a sum of 0, which is none.
        let middle = [&[0; 12][..], &len, &len, &name_len, &[0, 0]].concat();
        out.extend([&b"PK\x03\x04\x0a\0"[..], &middle, name.as_bytes(), bytes].concat());
        directory.extend([&b"PK\x01\x02\x0a\0\x0a\0"[..], &middle].concat());
        directory.extend([0; 10]);
        directory.extend(offset.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let (start, len, count) = (out.len() as u32, directory.len() as u32, (files.len() as u16).to_le_bytes());
    out.extend(&directory);
    out.extend(b"PK\x05\x06\0\0\0\0");
    out.extend([count, count].concat());
    out.extend([len.to_le_bytes(), start.to_le_bytes()].concat());
    out.extend([0, 0]);
    out
}

/// A zip archive as `torch.save` names its files.
pub(crate) fn torch_zip(pickle: &[u8], storages: &[(&str, &[u8])]) -> Vec<u8> {
    let names: Vec<String> = storages.iter().map(|(key, _)| format!("archive/data/{key}")).collect();
    let mut files: Vec<(&str, &[u8])> = vec![("archive/data.pkl", pickle), ("archive/byteorder", b"little")];
    files.extend(names.iter().zip(storages).map(|(name, (_, bytes))| (&**name, *bytes)));
    files.push(("archive/version", b"3\n"));
    zip(&files)
}

/// A file as `torch.save` wrote it before version 1.6: keys, number of values and bytes of the storages.
pub(crate) fn legacy(pickle: &[u8], storages: &[(&str, u64, &[u8])]) -> Vec<u8> {
    let magic = Pickle::new(2).op(b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19").end();
    let version = Pickle::new(2).op(b"M\xe9\x03").end();
    let system = Pickle::new(2).op(b"}").text("little_endian").op(b"\x88s").end();
    let keys =
        storages.iter().fold(Pickle::new(2).op(b"]("), |pickle, (key, ..)| pickle.text(key)).op(b"e").end();
    let mut out = [&magic, &version, &system, pickle, &keys[..]].concat();
    for (_, values, bytes) in storages {
        out.extend(values.to_le_bytes());
        out.extend(*bytes);
    }
    out
}
