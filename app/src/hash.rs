//! The SHA-256 of files, and the webui's short form of it.

use latent_kernels::{parallel, sys};
use sha2::{Digest, Sha256};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};

/// Digits of the webui's model hash: the first of the file's SHA-256 ("AutoV2").
const DIGITS: usize = 10;
/// Bytes that are hashed at a time: they stay in the L2 cache.
const CHUNK_BYTES: usize = 256 << 10;

/// What a [`BackgroundHash`] is computed of.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum HashSource {
    /// A file.
    File(PathBuf),
    /// Bytes of the program.
    Bytes(&'static [u8]),
    /// Nothing: a folder has no hash.
    Nothing,
}

/// A hash that a thread computes in the background once [`BackgroundHash::begin`] is called.
///
/// The SHA-256 of 2 GB takes a core 1.1 s with the processor's own instructions (measured). Beside the loading it would
/// delay the start, and after the drawing every image would wait for it. So it begins with the first step and uses the
/// time in which the kernels' threads are idle because they wait for each other.
#[derive(Debug)]
pub struct BackgroundHash {
    begin: Sender<()>,
    digits: Receiver<Option<String>>,
    /// What whoever waits computes, where there was no thread left.
    unstarted: Mutex<Option<HashSource>>,
}

impl BackgroundHash {
    /// Starts the thread, which waits.
    #[must_use]
    pub fn of(source: HashSource) -> BackgroundHash {
        let (begin, begun) = channel();
        let (send, digits) = channel();
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
        BackgroundHash { begin, digits, unstarted: Mutex::new(unstarted) }
    }

    /// Lets the thread begin. Later calls change nothing.
    pub fn begin(&self) {
        // A thread that has finished receives nothing.
        let _ = self.begin.send(());
    }

    /// Waits for the SHA-256 in hexadecimal digits, which is given once: later calls, a folder, and a file that cannot be
    /// read any more give `None`.
    #[must_use]
    pub fn wait(&self) -> Option<String> {
        let unstarted = self.unstarted.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(source) = unstarted {
            return source.hash();
        }
        self.begin();
        self.digits.recv().ok().flatten()
    }
}

impl HashSource {
    fn hash(self) -> Option<String> {
        match self {
            HashSource::Nothing => None,
            HashSource::Bytes(bytes) => Some(of_bytes(bytes)),
            HashSource::File(path) => sha256(&path).ok(),
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

/// The webui's short form of a SHA-256: its first ten digits.
#[must_use]
pub fn short(sha256: &str) -> &str {
    &sha256[..DIGITS.min(sha256.len())]
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
        assert_eq!(of_file.wait().as_deref(), Some(whole));
        assert_eq!(BackgroundHash::of(HashSource::Bytes(b"abc")).wait().as_deref(), Some(whole));
        assert_eq!(short(whole), "ba7816bf8f");
    }

    #[test]
    fn a_folder_and_a_file_that_is_gone_have_none() {
        assert_eq!(BackgroundHash::of(HashSource::Nothing).wait(), None);
        assert_eq!(BackgroundHash::of(HashSource::File("there/is/no/such/file".into())).wait(), None);
    }
}
