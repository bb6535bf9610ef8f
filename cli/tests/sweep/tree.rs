//! What lies in a folder: names, kinds, owners, permissions and contents.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Bytes at a file's start and at its end that count. With its size and its time they show every change.
const ENDS: u64 = 64 << 10;

/// Something in a folder. The time of a folder does not count: a file that comes and goes changes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TreeEntry {
    pub(super) kind: &'static str,
    mode: u32,
    owner: u32,
    device: u64,
    size: u64,
    modified: (i64, i64),
    contents: u64,
    /// Whether the file begins as a safetensors file does.
    pub(super) is_model: bool,
    link: Option<PathBuf>,
}

/// Everything below a folder, and the folder itself, by path.
pub(super) type Tree = BTreeMap<PathBuf, TreeEntry>;

pub(super) fn tree(root: &Path) -> Tree {
    let mut found = Tree::new();
    let mut left = vec![root.to_owned()];
    while let Some(path) = left.pop() {
        let entry = entry(&path);
        if entry.kind == "folder" {
            left.extend(std::fs::read_dir(&path).into_iter().flatten().map(|entry| entry.unwrap().path()));
        }
        found.insert(path, entry);
    }
    found
}

fn entry(path: &Path) -> TreeEntry {
    let metadata = std::fs::symlink_metadata(path).unwrap();
    let file_type = metadata.file_type();
    let kind = match () {
        () if file_type.is_dir() => "folder",
        () if file_type.is_symlink() => "link",
        () if file_type.is_file() => "file",
        () if file_type.is_fifo() => "pipe",
        () if file_type.is_socket() => "socket",
        () => "device",
    };
    let is_file = kind == "file";
    let (contents, is_model) = if is_file { contents(path, metadata.size()) } else { (0, false) };
    TreeEntry {
        kind,
        mode: metadata.mode(),
        owner: metadata.uid(),
        device: metadata.rdev(),
        size: if is_file { metadata.size() } else { 0 },
        modified: if is_file { (metadata.mtime(), metadata.mtime_nsec()) } else { (0, 0) },
        contents,
        is_model,
        link: std::fs::read_link(path).ok(),
    }
}

/// A hash of a file's ends; a file that may not be read has none.
fn contents(path: &Path, size: u64) -> (u64, bool) {
    let Ok(mut file) = std::fs::File::open(path) else { return (0, false) };
    let (mut hasher, mut start) = (DefaultHasher::new(), Vec::new());
    file.by_ref().take(ENDS).read_to_end(&mut start).unwrap();
    hasher.write(&start);
    if size > ENDS {
        let mut end = Vec::new();
        file.seek(SeekFrom::End(-i64::try_from(ENDS).unwrap())).unwrap();
        file.read_to_end(&mut end).unwrap();
        hasher.write(&end);
    }
    let length = start.first_chunk().map(|length| u64::from_le_bytes(*length));
    let is_model = length.is_some_and(|length| length > 0 && length < size) && start.get(8) == Some(&b'{');
    (hasher.finish(), is_model)
}
