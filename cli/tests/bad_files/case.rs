//! A bad input and what is said of it; builders of files.

use crate::common::Room;
use std::io::{Seek, SeekFrom, Write};
use std::panic::RefUnwindSafe;
use std::path::Path;

/// Something that must be refused.
pub(crate) struct Case {
    pub(crate) group: &'static str,
    pub(crate) name: String,
    /// Makes the files that the commands need.
    pub(crate) make: Box<dyn Fn(&Room) + RefUnwindSafe>,
    pub(crate) commands: Vec<Vec<String>>,
    /// Parts of the message.
    pub(crate) says: Vec<String>,
    /// Bytes of the longest header.
    pub(crate) header: u64,
}

/// The file of cases of one file.
pub(crate) const FILE: &str = "model.safetensors";

impl Case {
    /// Without files.
    pub(crate) fn flags(group: &'static str, name: &str, args: &[&str], says: &[&str]) -> Case {
        let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        Case {
            group,
            name: name.to_owned(),
            make: Box::new(|_| ()),
            commands: vec![owned(args)],
            says: owned(says),
            header: 0,
        }
    }

    /// A path that neither `inspect` nor `txt2img` opens.
    pub(crate) fn path(
        group: &'static str,
        name: &str,
        path: &str,
        make: impl Fn(&Room) + RefUnwindSafe + 'static,
        says: &[&str],
    ) -> Case {
        let case = Case::flags(group, name, &["inspect", path], says).made(make);
        case.and(&["txt2img", "a cat", "-m", path])
    }

    /// The file `model.safetensors`, which neither `inspect` nor `txt2img` opens.
    pub(crate) fn file(
        group: &'static str,
        name: &str,
        bytes: impl Fn() -> Vec<u8> + RefUnwindSafe + 'static,
        says: &[&str],
    ) -> Case {
        let mut case = Case::path(group, name, FILE, move |room| put(room, FILE, &bytes()), says);
        case.says.push(FILE.to_owned());
        case
    }

    pub(crate) fn made(self, make: impl Fn(&Room) + RefUnwindSafe + 'static) -> Case {
        Case { make: Box::new(make), ..self }
    }

    /// Another command that must be refused alike.
    pub(crate) fn and(mut self, args: &[&str]) -> Case {
        self.commands.push(args.iter().map(|arg| (*arg).to_owned()).collect());
        self
    }

    pub(crate) fn with_header(self, header: usize) -> Case {
        Case { header: header as u64, ..self }
    }
}

/// Writes a file and the folders above it.
pub(crate) fn put(room: &Room, name: &str, bytes: &[u8]) {
    std::fs::create_dir_all(room.path(name).parent().unwrap()).unwrap();
    std::fs::write(room.path(name), bytes).unwrap();
}

/// A file that says its header has `claimed` bytes.
pub(crate) fn claiming(claimed: u64, header: &[u8], data: usize) -> Vec<u8> {
    [&claimed.to_le_bytes(), header, &vec![0; data]].concat()
}

/// A file of a header and so many zeros.
pub(crate) fn file(header: &str, data: usize) -> Vec<u8> {
    claiming(header.len() as u64, header.as_bytes(), data)
}

/// A file of `F32` tensors of one number each.
pub(crate) fn ones(names: &[&str]) -> Vec<u8> {
    tensors(&names.iter().map(|name| (*name, "F32", &[1][..])).collect::<Vec<_>>())
}

/// A file of these tensors, all zeros.
pub(crate) fn tensors(list: &[(&str, &str, &[usize])]) -> Vec<u8> {
    let list: Vec<_> = list.iter().map(|(name, dtype, shape)| Tensor::new(name, dtype, shape)).collect();
    let (header, data) = header_of(&list);
    file(&header, data as usize)
}

/// A tensor of a header.
#[derive(Clone)]
pub(crate) struct Tensor {
    pub(crate) name: String,
    pub(crate) dtype: String,
    pub(crate) shape: Vec<usize>,
}

impl Tensor {
    pub(crate) fn new(name: &str, dtype: &str, shape: &[usize]) -> Tensor {
        Tensor { name: name.to_owned(), dtype: dtype.to_owned(), shape: shape.to_vec() }
    }

    fn bytes(&self) -> u64 {
        let size = match self.dtype.as_str() {
            "F64" | "I64" => 8,
            "F32" | "I32" => 4,
            "F16" | "BF16" => 2,
            _ => 1,
        };
        self.shape.iter().product::<usize>() as u64 * size
    }
}

/// The header of tensors one behind the other, and how many bytes they take.
pub(crate) fn header_of(list: &[Tensor]) -> (String, u64) {
    let (mut header, mut end) = (serde_json::Map::new(), 0);
    for tensor in list {
        let start = end;
        end += tensor.bytes();
        let entry =
            serde_json::json!({"dtype": tensor.dtype, "shape": tensor.shape, "data_offsets": [start, end]});
        header.insert(tensor.name.clone(), entry);
    }
    (serde_json::to_string(&header).unwrap(), end)
}

/// Writes a file of tensors of zeros that takes no room on the disk, and `patch` at the beginning of one tensor.
pub(crate) fn sparse(room: &Room, name: &str, list: &[Tensor], patch: Option<(&str, &[u8])>) {
    let (header, data) = header_of(list);
    std::fs::create_dir_all(room.path(name).parent().unwrap()).unwrap();
    let mut out = std::fs::File::create(room.path(name)).unwrap();
    out.write_all(&file(&header, 0)).unwrap();
    let start = 8 + header.len() as u64;
    out.set_len(start + data).unwrap();
    if let Some((tensor, bytes)) = patch {
        let before: u64 = list.iter().take_while(|t| t.name != tensor).map(Tensor::bytes).sum();
        out.seek(SeekFrom::Start(start + before)).unwrap();
        out.write_all(bytes).unwrap();
    }
}

/// The tensors of a synthetic checkpoint, by file.
pub(crate) fn manifest(name: &str) -> Vec<(String, Vec<Tensor>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../diffusion/tests/reference/manifests");
    let text = std::fs::read_to_string(folder.join(format!("{name}.json"))).unwrap();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let tensor = |entry: &serde_json::Value| {
        let dtype = entry["dtype"].as_str().unwrap();
        let shape: Vec<usize> = serde_json::from_value(entry["shape"].clone()).unwrap();
        Tensor::new(entry["name"].as_str().unwrap(), if dtype == "W" { "F16" } else { dtype }, &shape)
    };
    let files = json["files"].as_object().unwrap().iter();
    files.map(|(file, list)| (file.clone(), list.as_array().unwrap().iter().map(tensor).collect())).collect()
}

/// The tensors of a synthetic single file.
pub(crate) fn single(name: &str) -> Vec<Tensor> {
    manifest(name).swap_remove(0).1
}
