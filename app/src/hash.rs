//! The SHA-256 of files and of model folders, and the webui's short form of it.

use latent_kernels::{parallel, sys};
use latent_loader::{Checkpoint, cached_snapshot};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};

/// Digits of the webui's model hash: the first of the file's SHA-256 ("AutoV2").
pub(crate) const DIGITS: usize = 10;
/// Bytes that are hashed at a time: they stay in the L2 cache.
const CHUNK_BYTES: usize = 256 << 10;

/// What a [`BackgroundHash`] is computed of.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum HashSource {
    /// A file.
    File(PathBuf),
    /// A model folder, or one of a component.
    Folder(PathBuf),
    /// Bytes of the program.
    Bytes(&'static [u8]),
}

/// What identifies the contents of a file or of a model folder.
///
/// The two are never the same, whatever their digits are: a folder and a file made of it hold the same weights in other
/// bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ContentHash {
    /// The SHA-256 of a file, in hexadecimal digits.
    File(String),
    /// That of a model folder: the SHA-256 of a text with a line `SHA-256  PATH` for each file that is read of it
    /// (weights, their indexes and configurations), sorted by the paths, which are those below the folder with `/`.
    /// `sha256sum` writes such lines.
    Folder(String),
}

impl ContentHash {
    /// That of a file or a folder, which is read whole.
    ///
    /// # Errors
    /// A file that cannot be read, a folder that holds no model.
    pub fn of(path: &Path) -> std::io::Result<ContentHash> {
        if path.is_dir() {
            sha256_of_folder(path).map(ContentHash::Folder)
        } else {
            sha256(path).map(ContentHash::File)
        }
    }

    /// The digits.
    #[must_use]
    pub fn digits(&self) -> &str {
        match self {
            ContentHash::File(digits) | ContentHash::Folder(digits) => digits,
        }
    }

    /// The SHA-256, if it is that of a file.
    #[must_use]
    pub fn of_file(&self) -> Option<&str> {
        if let ContentHash::File(digits) = self { Some(digits) } else { None }
    }

    /// The digits, if they are those of a folder.
    #[must_use]
    pub fn of_folder(&self) -> Option<&str> {
        if let ContentHash::Folder(digits) = self { Some(digits) } else { None }
    }
}

/// A hash that a thread computes in the background once [`BackgroundHash::begin`] is called.
///
/// The SHA-256 of 2 GB takes a core 1.1 s with the processor's own instructions (measured). Beside the loading it would
/// delay the start, and after the drawing every image would wait for it. So it begins with the first step and uses the
/// time in which the kernels' threads are idle because they wait for each other.
#[derive(Debug)]
pub struct BackgroundHash {
    begin: Sender<()>,
    hash: Mutex<Receiver<Option<ContentHash>>>,
    /// What whoever waits computes, where there was no thread left.
    unstarted: Mutex<Option<HashSource>>,
}

impl BackgroundHash {
    /// Starts the thread, which waits.
    #[must_use]
    pub fn of(source: HashSource) -> BackgroundHash {
        let (begin, begun) = channel();
        let (send, hash) = channel();
        let mut unstarted = Some(source.clone());
        let started = parallel::spawn(move || {
            // An error means that the hash was dropped before anybody needed it.
            if begun.recv().is_ok() {
                sys::lower_thread_priority();
                // Nobody may be waiting any more.
                let _ = send.send(source.hash());
            }
        });
        if started.is_ok() {
            unstarted = None;
        }
        BackgroundHash { begin, hash: Mutex::new(hash), unstarted: Mutex::new(unstarted) }
    }

    /// Lets the thread begin. Later calls change nothing.
    pub fn begin(&self) {
        // A thread that has finished receives nothing.
        let _ = self.begin.send(());
    }

    /// Waits for the hash, which is given once: later calls, and a file that cannot be read any more give `None`.
    #[must_use]
    pub fn wait(&self) -> Option<ContentHash> {
        let unstarted = self.unstarted.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(source) = unstarted {
            return source.hash();
        }
        self.begin();
        self.hash.lock().unwrap_or_else(PoisonError::into_inner).recv().ok().flatten()
    }
}

impl HashSource {
    /// The file or folder of a path.
    #[must_use]
    pub fn at(path: PathBuf) -> HashSource {
        if path.is_dir() { HashSource::Folder(path) } else { HashSource::File(path) }
    }

    fn hash(self) -> Option<ContentHash> {
        match self {
            HashSource::Bytes(bytes) => Some(ContentHash::File(of_bytes(bytes))),
            HashSource::File(path) | HashSource::Folder(path) => ContentHash::of(&path).ok(),
        }
    }
}

/// The SHA-256 of bytes, in hexadecimal digits.
#[must_use]
pub fn of_bytes(bytes: &[u8]) -> String {
    digits(Sha256::new_with_prefix(bytes))
}

/// The SHA-256 of a file, in hexadecimal digits.
///
/// # Errors
/// A file that cannot be read.
pub fn sha256(path: &Path) -> std::io::Result<String> {
    let mut hasher = Sha256::new();
    let mut file = std::fs::File::open(path)?;
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(digits(hasher)),
            n => hasher.update(&buffer[..n]),
        }
    }
}

/// What [`ContentHash::Folder`] says.
fn sha256_of_folder(folder: &Path) -> std::io::Result<String> {
    let folder = &cached_snapshot(folder).unwrap_or_else(|| folder.to_owned());
    let checkpoint = Checkpoint::open(folder).map_err(std::io::Error::other)?;
    let mut lines: Vec<(String, &PathBuf)> =
        checkpoint.folder_files().iter().map(|path| (with_slashes(path), path)).collect();
    lines.sort();
    let mut text = String::new();
    for (name, path) in lines {
        let _ = writeln!(text, "{}  {name}", sha256(&folder.join(path))?);
    }
    Ok(of_bytes(text.as_bytes()))
}

fn with_slashes(path: &Path) -> String {
    path.iter().map(|part| part.to_string_lossy()).collect::<Vec<_>>().join("/")
}

/// The webui's short form of a SHA-256: its first ten digits.
#[must_use]
pub fn short(sha256: &str) -> &str {
    // Of a file's metadata it may be any text.
    sha256.get(..DIGITS).unwrap_or(sha256)
}

fn digits(hasher: Sha256) -> String {
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_and_bytes_have_their_sha_256() {
        // FIPS 180-2, the example "abc".
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("abc");
        std::fs::write(&path, "abc").unwrap();
        let of_file = BackgroundHash::of(HashSource::File(path));
        of_file.begin();
        of_file.begin();
        let whole = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let hash = Some(ContentHash::File(whole.to_owned()));
        assert_eq!(of_file.wait(), hash);
        assert_eq!(BackgroundHash::of(HashSource::Bytes(b"abc")).wait(), hash);
        assert_eq!(short(whole), "ba7816bf8f");
    }

    #[test]
    fn a_folder_without_a_model_and_a_file_that_is_gone_have_none() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(BackgroundHash::of(HashSource::at(folder.path().into())).wait(), None);
        assert_eq!(BackgroundHash::of(HashSource::File("there/is/no/such/file".into())).wait(), None);
    }
}
