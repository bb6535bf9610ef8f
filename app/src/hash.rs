//! The webui's hash of a model file.

use latent_kernels::priority;
use sha2::{Digest, Sha256};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};

/// Digits of the webui's model hash: the first of the file's SHA-256 ("AutoV2").
const DIGITS: usize = 10;
/// Bytes that are hashed at a time: they stay in the second cache.
const PIECE: usize = 256 << 10;

/// What is hashed.
pub enum Subject {
    File(PathBuf),
    Bytes(&'static [u8]),
    /// A folder has no hash.
    Nothing,
}

/// A hash that a thread computes in the background once it is told to.
///
/// The SHA-256 of 2 GB takes a core 1.1 s with the processor's own instructions (measured). Beside the loading it would
/// take that from the start, and after the drawing every image would wait for it. So it begins with the first step and
/// takes what the kernels' threads leave idle while they wait for each other.
#[derive(Debug)]
pub struct Hash {
    begin: Sender<()>,
    digits: Receiver<Option<String>>,
}

impl Hash {
    /// Starts the thread, which waits.
    pub fn of(subject: Subject) -> Hash {
        let (begin, told) = channel();
        let (send, digits) = channel();
        std::thread::spawn(move || {
            // Without a word, the program ended before it needed the hash.
            if told.recv().is_ok() {
                priority::give_way();
                // Nobody may be waiting any more.
                let _ = send.send(subject.hash());
            }
        });
        Hash { begin, digits }
    }

    /// Now is a good time. Later calls change nothing.
    pub fn begin(&self) {
        // A thread that is done needs no word.
        let _ = self.begin.send(());
    }

    /// Waits for the SHA-256, which is given once; `None` for a folder and a file that cannot be read any more.
    pub fn wait(&self) -> Option<String> {
        self.begin();
        self.digits.recv().ok().flatten()
    }
}

impl Subject {
    fn hash(self) -> Option<String> {
        match self {
            Subject::Nothing => None,
            Subject::Bytes(bytes) => Some(of_bytes(bytes)),
            Subject::File(path) => sha256(&path).ok(),
        }
    }
}

/// The SHA-256 of bytes.
pub fn of_bytes(bytes: &[u8]) -> String {
    digits(Sha256::new_with_prefix(bytes))
}

/// The SHA-256 of a file.
pub fn sha256(path: &Path) -> std::io::Result<String> {
    let mut hasher = Sha256::new();
    let mut file = std::fs::File::open(path)?;
    let mut buffer = vec![0; PIECE];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(digits(hasher)),
            n => hasher.update(&buffer[..n]),
        }
    }
}

/// The webui's short form of a SHA-256.
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
        let of_file = Hash::of(Subject::File(path));
        of_file.begin();
        of_file.begin();
        let whole = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(of_file.wait().as_deref(), Some(whole));
        assert_eq!(Hash::of(Subject::Bytes(b"abc")).wait().as_deref(), Some(whole));
        assert_eq!(short(whole), "ba7816bf8f");
    }

    #[test]
    fn a_folder_and_a_file_that_is_gone_have_none() {
        assert_eq!(Hash::of(Subject::Nothing).wait(), None);
        assert_eq!(Hash::of(Subject::File("there/is/no/such/file".into())).wait(), None);
    }
}
