//! A pickle of PyTorch: a file in any of its forms, or opcodes to which the rest of such a file is added.

use super::assert_one_line;
use latent_loader::{Checkpoint, LoadError, PickleProblem};

/// Tensors up to this size are read.
const MAX_READ: usize = 1 << 20;

/// The first byte says whether the rest is a file, or the pickle of a zip archive or of an old file.
pub fn run(data: &[u8]) {
    let Some((how, rest)) = data.split_first() else { return };
    let storage = [0x38; 64];
    let bytes = match how % 3 {
        0 => rest.to_vec(),
        1 => zip(&[("a/data.pkl", rest), ("a/data/0", &storage)]),
        _ => legacy(rest, &storage),
    };
    match Checkpoint::from_bytes("fuzz", bytes) {
        Ok(checkpoint) => check(&checkpoint),
        Err(error) => {
            assert_one_line(&error);
            assert!(error.is_bad_input(), "{error:?}");
        }
    }
}

/// Every tensor is where it is said to be.
pub fn check(checkpoint: &Checkpoint) {
    let mut last: Option<&str> = None;
    for tensor in checkpoint.tensors() {
        assert!(last.is_none_or(|last| last < tensor.name.as_str()), "sorted, each once");
        last = Some(&tensor.name);
        assert_eq!(tensor.dtype.checked_bytes(tensor.elements()), Some(tensor.bytes()));
        if tensor.bytes() <= MAX_READ {
            let raw = match checkpoint.read(&tensor.name) {
                Err(error @ LoadError::Pickle { problem: PickleProblem::WrongSum { .. }, .. }) => {
                    assert_one_line(&error);
                    continue;
                }
                raw => raw.unwrap(),
            };
            let bytes = if tensor.is_scaled() { 4 * tensor.elements() } else { tensor.bytes() };
            assert_eq!((raw.data.len(), raw.dtype, &raw.shape), (bytes, tensor.read_dtype(), &tensor.shape));
        }
    }
}

/// A zip archive of stored files.
pub fn zip(files: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for (name, bytes) in files {
        let offset = out.len() as u32;
        let (len, name_len) = ((bytes.len() as u32).to_le_bytes(), (name.len() as u16).to_le_bytes());
        let middle = [&[0; 12][..], &len, &len, &name_len, &[0, 0]].concat();
        out.extend([&b"PK\x03\x04\x0a\0"[..], &middle, name.as_bytes(), bytes].concat());
        directory.extend([&b"PK\x01\x02\x0a\0\x0a\0"[..], &middle, &[0; 10]].concat());
        directory.extend(offset.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let (start, len, count) = (out.len() as u32, directory.len() as u32, (files.len() as u16).to_le_bytes());
    let end = [&b"PK\x05\x06\0\0\0\0"[..], &count, &count, &len.to_le_bytes(), &start.to_le_bytes(), &[0, 0]];
    [out, directory, end.concat()].concat()
}

/// A file of the time before zip archives, with one storage of the key `0`.
fn legacy(pickle: &[u8], storage: &[u8]) -> Vec<u8> {
    let head: &[u8] =
        b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.\x80\x02}.";
    let keys: &[u8] = b"\x80\x02]X\x01\x00\x00\x000a.";
    [head, pickle, keys, &(storage.len() as u64 / 4).to_le_bytes(), storage].concat()
}
