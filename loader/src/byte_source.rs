//! Bytes that a checkpoint is read from: a file, by ranges or mapped, or bytes in memory.

use crate::header::{self, Header, MAX_HEADER_BYTES};
use crate::sniff::{self, FileKind};
use crate::{Bytes, LoadError, map};
use std::fs::File;
use std::io;
use std::path::Path;

/// Bytes before the header: its length.
const LENGTH_BYTES: u64 = 8;

/// Bytes of the shortest header, `{}`.
const SHORTEST_HEADER: u64 = 2;

/// Something to read from, with the name that error messages call it.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) label: String,
    pub(crate) len: u64,
    data: Data,
}

enum Data {
    File(SharedFile),
    /// A file whose tensors are ranges of its mapping. All else is read from the file.
    Mapped(SharedFile, Bytes),
    Bytes(Bytes),
}

impl std::fmt::Debug for Data {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Data::File(_) => "File",
            Data::Mapped(..) => "Mapped",
            Data::Bytes(_) => "Bytes",
        })
    }
}

impl Source {
    /// Opens a regular file. Its kind is looked at before it is opened: opening a pipe would wait for a writer.
    pub(crate) fn open(path: &Path, label: String) -> Result<Source, LoadError> {
        let metadata = std::fs::metadata(path).map_err(|error| cannot("open", path, &label, error))?;
        if !metadata.is_file() {
            return Err(LoadError::NotARegularFile { file: label });
        }
        let file = File::open(path).map_err(|error| cannot("open", path, &label, error))?;
        let metadata = file.metadata().map_err(|error| cannot("open", path, &label, error))?;
        if !metadata.is_file() {
            return Err(LoadError::NotARegularFile { file: label });
        }
        Ok(Source { label, len: metadata.len(), data: Data::File(SharedFile::new(file)) })
    }

    pub(crate) fn embedded(label: String, bytes: Bytes) -> Source {
        Source { label, len: bytes.len() as u64, data: Data::Bytes(bytes) }
    }

    /// Lets [`in_place`](Source::in_place) map the file from now on. Bytes in memory stay what they are.
    pub(crate) fn map(self) -> Result<Source, LoadError> {
        let Source { label, len, data } = self;
        let data = match data {
            Data::File(file) => match file.map(len) {
                Ok(bytes) => Data::Mapped(file, bytes),
                Err(error) => return Err(LoadError::Io { file: label, action: "map", error }),
            },
            data => data,
        };
        Ok(Source { label, len, data })
    }

    /// Reads `buffer.len()` bytes at `offset`.
    pub(crate) fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        match &self.data {
            Data::File(file) | Data::Mapped(file, _) => file.read_exact_at(offset, buffer),
            Data::Bytes(bytes) => {
                let range = bytes.slice(offset, buffer.len());
                buffer.copy_from_slice(&range.ok_or(io::ErrorKind::UnexpectedEof)?);
                Ok(())
            }
        }
    }

    /// The `len` bytes at `offset`, which the caller knows to lie within the file as it was opened, where they are: in a
    /// mapping or in memory. `None` for a file that must be read.
    pub(crate) fn in_place(&self, offset: u64, len: usize) -> io::Result<Option<Bytes>> {
        let bytes = match &self.data {
            Data::File(_) => return Ok(None),
            Data::Mapped(file, bytes) => {
                // A file that is shorter by now is an error as long as it is found out in time.
                if file.len()? < offset.saturating_add(len as u64) {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                bytes
            }
            Data::Bytes(bytes) => bytes,
        };
        bytes.slice(offset, len).map(Some).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    /// Reads the whole of a small file.
    pub(crate) fn read_small(&self, limit: u64) -> Result<Vec<u8>, LoadError> {
        if self.len > limit {
            return Err(LoadError::JsonTooLarge { file: self.label.clone(), actual: self.len, limit });
        }
        self.read_header_bytes(0, self.len)
    }

    /// Reads and checks the header of a safetensors file. Returns it with its length in bytes, the eight before it
    /// included: the place where the tensors' numbers start.
    pub(crate) fn header(&self) -> Result<(Header, u64), LoadError> {
        let file = || self.label.clone();
        if self.len == 0 {
            return Err(LoadError::EmptyFile { file: file() });
        }
        let head = self.read_header_bytes(0, self.len.min(sniff::HEAD as u64))?;
        let claimed = head.first_chunk().map(|length| u64::from_le_bytes(*length));
        let begins_like_one = head.get(LENGTH_BYTES as usize).is_some_and(|byte| b"{ \t\r\n".contains(byte));
        let fits = |n: u64| n <= MAX_HEADER_BYTES && n <= self.len - LENGTH_BYTES;
        let n = match claimed {
            Some(n) if fits(n) && begins_like_one && n > 0 => n,
            _ => return Err(self.explain(claimed, begins_like_one, &head)),
        };
        let header = header::parse(&self.read_header_bytes(LENGTH_BYTES, n)?)
            .map_err(|problem| LoadError::Header { file: file(), problem })?;
        let start = LENGTH_BYTES + n;
        let expected = start.saturating_add(header.data_bytes);
        match expected.cmp(&self.len) {
            std::cmp::Ordering::Equal => Ok((header, start)),
            std::cmp::Ordering::Greater => {
                Err(LoadError::Truncated { file: file(), expected, actual: self.len })
            }
            std::cmp::Ordering::Less => {
                Err(LoadError::TrailingBytes { file: file(), expected, actual: self.len })
            }
        }
    }

    /// Why a file is refused whose length of the header cannot be right, or whose header does not begin like one.
    fn explain(&self, claimed: Option<u64>, begins_like_one: bool, head: &[u8]) -> LoadError {
        let (file, actual, kind) = (self.label.clone(), self.len, FileKind::guess(head));
        let claimed = claimed.unwrap_or(0);
        // A length of any sane size ends in a zero byte; text in its place does not.
        let sane_length = claimed > 0 && head.get(7) == Some(&0);
        let damaged = begins_like_one && (sane_length || kind == FileKind::Unknown) && kind != FileKind::Gguf;
        if damaged && claimed > MAX_HEADER_BYTES {
            LoadError::HeaderTooLarge { file, claimed }
        } else if damaged && claimed > 0 {
            LoadError::HeaderPastEnd { file, needed: LENGTH_BYTES + claimed, actual }
        } else if kind == FileKind::Unknown && actual <= LENGTH_BYTES {
            // Only (a part of) the length is there.
            let claimed =
                if claimed <= MAX_HEADER_BYTES { claimed.max(SHORTEST_HEADER) } else { SHORTEST_HEADER };
            LoadError::HeaderPastEnd { file, needed: LENGTH_BYTES + claimed, actual }
        } else {
            LoadError::NotSafetensors { file, kind }
        }
    }

    fn read_header_bytes(&self, offset: u64, len: u64) -> Result<Vec<u8>, LoadError> {
        let fail = |error| LoadError::Io { file: self.label.clone(), action: "read", error };
        let mut bytes = Vec::new();
        // At most `MAX_HEADER_BYTES`, or the length of a small file.
        let len = len as usize;
        bytes.try_reserve_exact(len).map_err(|_| fail(io::ErrorKind::OutOfMemory.into()))?;
        bytes.resize(len, 0);
        self.read_at(offset, &mut bytes).map_err(fail)?;
        Ok(bytes)
    }
}

/// The error of a path that cannot be opened or listed.
pub(crate) fn cannot(action: &'static str, path: &Path, label: &str, error: io::Error) -> LoadError {
    let file = label.to_owned();
    if error.kind() != io::ErrorKind::NotFound {
        return LoadError::Io { file, action, error };
    }
    let link_to = std::fs::read_link(path).ok().map(|target| target.display().to_string());
    LoadError::NotFound { file, link_to }
}

/// A file that several threads read at once, each at its own place.
#[cfg(unix)]
struct SharedFile(File);

#[cfg(unix)]
impl SharedFile {
    fn new(file: File) -> SharedFile {
        SharedFile(file)
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(&self.0, buffer, offset)
    }

    fn with_file<T>(&self, f: impl FnOnce(&File) -> io::Result<T>) -> io::Result<T> {
        f(&self.0)
    }
}

impl SharedFile {
    fn map(&self, len: u64) -> io::Result<Bytes> {
        self.with_file(|file| map::file(file, len))
    }

    /// Its length at this moment.
    fn len(&self) -> io::Result<u64> {
        self.with_file(|file| file.metadata().map(|metadata| metadata.len()))
    }
}

/// A file that several threads read, one after the other: here the place to read at belongs to the file.
#[cfg(not(unix))]
struct SharedFile(std::sync::Mutex<File>);

#[cfg(not(unix))]
impl SharedFile {
    fn new(file: File) -> SharedFile {
        SharedFile(std::sync::Mutex::new(file))
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        use std::io::{Read, Seek, SeekFrom};
        let mut file = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        file.seek(SeekFrom::Start(offset))?;
        file.read_exact(buffer)
    }

    fn with_file<T>(&self, f: impl FnOnce(&File) -> io::Result<T>) -> io::Result<T> {
        f(&self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}
