//! Builds safetensors files and folders, good and bad.

#![allow(
    dead_code,
    unused_imports,
    unused_macros,
    reason = "which of these helpers are used depends on the platform"
)]

use latent_loader::{Access, Checkpoint, LoadError};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// A file of a header and the bytes behind it; nothing is checked.
pub(crate) fn file(header: &str, data: &[u8]) -> Vec<u8> {
    file_claiming(header.len() as u64, header.as_bytes(), data)
}

/// A file that says its header has `claimed` bytes.
pub(crate) fn file_claiming(claimed: u64, header: &[u8], data: &[u8]) -> Vec<u8> {
    [&claimed.to_le_bytes(), header, data].concat()
}

/// A valid file of the tensors `(name, number format, shape, bytes)`.
pub(crate) fn tensors(list: &[(&str, &str, &[usize], Vec<u8>)]) -> Vec<u8> {
    let (mut header, mut data) = (String::from("{"), Vec::new());
    for (index, (name, dtype, shape, bytes)) in list.iter().enumerate() {
        let (comma, start) = (if index == 0 { "" } else { "," }, data.len());
        data.extend_from_slice(bytes);
        let end = data.len();
        let entry = format!(r#"{{"dtype":"{dtype}","shape":{shape:?},"data_offsets":[{start},{end}]}}"#);
        write!(header, "{comma}{name:?}:{entry}").unwrap();
    }
    header.push('}');
    file(&header, &data)
}

/// A valid file of one-dimensional `F32` tensors, each of the one value 1.
pub(crate) fn ones(names: &[&str]) -> Vec<u8> {
    let list: Vec<_> = names.iter().map(|name| (*name, "F32", [1].as_slice(), f32s(&[1.0]))).collect();
    tensors(&list)
}

/// Little-endian bytes of numbers.
pub(crate) fn f32s(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// The message of an error, which must be one line that steers no terminal.
pub(crate) fn line(error: &LoadError) -> String {
    let line = error.to_string();
    assert!(!line.contains(char::is_control), "{line:?}");
    assert!(line.len() < 2000, "a message of {} bytes", line.len());
    line
}

/// Opens what must be refused, in the same words whether it is read or mapped. Returns the error and its message, which
/// must begin with the path of `culprit`.
pub(crate) fn refused_for(path: &Path, culprit: &Path) -> (LoadError, String) {
    let error = Checkpoint::open(path).map(|_| ()).expect_err("this must be refused");
    let line = line(&error);
    let mapped =
        Checkpoint::open_with(path, Access::Map).map(|_| ()).expect_err("this must be refused when mapped");
    assert_eq!(mapped.to_string(), line);
    assert!(line.starts_with(&format!("{}: ", culprit.display())), "{line} does not begin with {culprit:?}");
    (error, line)
}

/// Asserts that opening a path is refused with an error of that form, that names `culprit` and says `text`.
macro_rules! assert_refused {
    ($path:expr, $culprit:expr, $pattern:pat $(if $guard:expr)?, $text:expr) => {{
        let (error, line) = crate::common::refused_for(&$path, &$culprit);
        assert!(matches!(error, $pattern $(if $guard)?), "{error:?}");
        assert!(line.contains($text), "{line}");
        assert!(error.is_bad_input(), "{error:?}");
    }};
}
pub(crate) use assert_refused;

/// A temporary folder that is gone after the test.
pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    pub(crate) fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    /// The path of a file in it, whose name has `/` between its parts on every system.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        name.split('/').fold(self.0.path().to_owned(), |path, part| path.join(part))
    }

    /// Writes a file, and the folders above it where they are not there yet.
    pub(crate) fn write(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, contents).unwrap();
        path
    }

    /// Makes a link `name` to `target`, and the folders above it.
    #[cfg(unix)]
    pub(crate) fn link(&self, name: &str, target: impl AsRef<Path>) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(target, &path).unwrap();
        path
    }

    /// Makes a pipe.
    #[cfg(unix)]
    pub(crate) fn pipe(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        path
    }
}

/// Runs something that must not wait for ever, in a thread of its own. The limit only ends a test that hangs: no machine
/// is so slow that it takes minutes.
pub(crate) fn without_hanging<T: Send + 'static>(action: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || sender.send(action()));
    receiver.recv_timeout(std::time::Duration::from_secs(600)).expect("it must not hang")
}
