//! Bytes that a checkpoint is read from: a file, by ranges or mapped, bytes in memory, or whatever gives ranges of bytes.

use crate::header::{self, Header};
use crate::limits::MAX_HEADER_BYTES;
use crate::sniff::{self, FileKind};
use crate::{Bytes, HeaderProblem, LoadError, gguf, map};
use std::cmp::Ordering;
use std::fs::File;
use std::io;
use std::path::Path;

/// Bytes before the header: its length.
const LENGTH_BYTES: u64 = 8;

/// Bytes of the shortest header, `{}`.
const MIN_HEADER_BYTES: u64 = 2;

/// Bytes that are read by ranges, for checkpoints that are not in a file that this process can open: one that a browser holds, or one
/// behind a protocol. Several threads may read at once.
pub trait ReadRange: Send + Sync {
    /// Fills the buffer with the bytes from `offset` on.
    ///
    /// # Errors
    /// Those of the source; [`UnexpectedEof`](io::ErrorKind::UnexpectedEof) if it has become shorter than it was said to be.
    fn read_range(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;
}

/// Something to read from, with the name that error messages call it.
#[derive(Debug)]
pub(crate) struct ByteSource {
    pub(crate) label: String,
    pub(crate) len: u64,
    data: SourceData,
}

enum SourceData {
    File(SharedFile),
    /// A file whose tensors are ranges of its mapping. All else is read from the file.
    Mapped(SharedFile, Bytes),
    Bytes(Bytes),
    Ranges(Box<dyn ReadRange>),
}

impl std::fmt::Debug for SourceData {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            SourceData::File(_) => "File",
            SourceData::Mapped(..) => "Mapped",
            SourceData::Bytes(_) => "Bytes",
            SourceData::Ranges(_) => "Ranges",
        })
    }
}

impl ByteSource {
    /// Opens a regular file. Its kind is looked at before it is opened: opening a pipe would wait for a writer.
    pub(crate) fn open(path: &Path, label: String) -> Result<ByteSource, LoadError> {
        let metadata = std::fs::metadata(path).map_err(|error| cannot("open", path, &label, error))?;
        if !metadata.is_file() {
            return Err(LoadError::NotARegularFile { file: label });
        }
        let file = File::open(path).map_err(|error| cannot("open", path, &label, error))?;
        let metadata = file.metadata().map_err(|error| cannot("open", path, &label, error))?;
        if !metadata.is_file() {
            return Err(LoadError::NotARegularFile { file: label });
        }
        Ok(ByteSource { label, len: metadata.len(), data: SourceData::File(SharedFile::new(file)) })
    }

    pub(crate) fn embedded(label: String, bytes: Bytes) -> ByteSource {
        ByteSource { label, len: bytes.len() as u64, data: SourceData::Bytes(bytes) }
    }

    pub(crate) fn ranges(label: String, len: u64, source: Box<dyn ReadRange>) -> ByteSource {
        ByteSource { label, len, data: SourceData::Ranges(source) }
    }

    /// The first bytes of a file of that length. Reading what is not there fails.
    pub(crate) fn beginning(label: String, bytes: Bytes, len: u64) -> ByteSource {
        ByteSource { label, len, data: SourceData::Bytes(bytes) }
    }

    /// Whether all of the file is here, and not only its beginning.
    pub(crate) fn is_whole(&self) -> bool {
        match &self.data {
            SourceData::Bytes(bytes) => bytes.len() as u64 == self.len,
            SourceData::File(_) | SourceData::Mapped(..) | SourceData::Ranges(_) => true,
        }
    }

    /// Lets [`in_place`](ByteSource::in_place) map the file from now on. Bytes in memory stay what they are.
    pub(crate) fn map(self) -> Result<ByteSource, LoadError> {
        let ByteSource { label, len, data } = self;
        let data = match data {
            SourceData::File(file) => match file.map(len) {
                Ok(bytes) => SourceData::Mapped(file, bytes),
                Err(error) => return Err(LoadError::Io { file: label, action: "map", error }),
            },
            data => data,
        };
        Ok(ByteSource { label, len, data })
    }

    /// Reads `buffer.len()` bytes at `offset`.
    pub(crate) fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        match &self.data {
            SourceData::File(file) | SourceData::Mapped(file, _) => file.read_exact_at(offset, buffer),
            SourceData::Bytes(bytes) => {
                let range = bytes.slice(offset, buffer.len());
                buffer.copy_from_slice(&range.ok_or(io::ErrorKind::UnexpectedEof)?);
                Ok(())
            }
            SourceData::Ranges(source) => source.read_range(offset, buffer),
        }
    }

    /// The `len` bytes at `offset`, which the caller knows to be within the file as it was opened, without a copy: in a
    /// mapping or in memory. `None` for a file that must be read.
    pub(crate) fn in_place(&self, offset: u64, len: usize) -> io::Result<Option<Bytes>> {
        let bytes = match &self.data {
            SourceData::File(_) | SourceData::Ranges(_) => return Ok(None),
            SourceData::Mapped(file, bytes) => {
                // A file that is shorter by now is an error as long as it is noticed in time.
                if file.len()? < offset.saturating_add(len as u64) {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                bytes
            }
            SourceData::Bytes(bytes) => bytes,
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

    /// Reads and checks the header of a file; `complete` may change that of a safetensors file. Returns it with its length in
    /// bytes, all that is before it included, which is where the tensors' values start.
    pub(crate) fn header(
        &self,
        complete: impl FnOnce(&mut Header) -> Result<(), HeaderProblem>,
    ) -> Result<(Header, u64), LoadError> {
        let file = || self.label.clone();
        if self.len == 0 {
            return Err(LoadError::EmptyFile { file: file() });
        }
        let head = self.read_header_bytes(0, self.readable().min(sniff::HEAD as u64))?;
        if head.starts_with(gguf::MAGIC) {
            return self.gguf_header();
        }
        let claimed = head.first_chunk().map(|length| u64::from_le_bytes(*length));
        let begins_like_one = head.get(LENGTH_BYTES as usize).is_some_and(|byte| b"{ \t\r\n".contains(byte));
        let fits = |n: u64| n <= MAX_HEADER_BYTES && n <= self.len - LENGTH_BYTES;
        let n = match claimed {
            Some(n) if fits(n) && begins_like_one && n > 0 => n,
            _ => return Err(self.explain(claimed, begins_like_one, &head)),
        };
        let parsed = header::parse(&self.read_header_bytes(LENGTH_BYTES, n)?);
        let header = parsed
            .and_then(|mut header| complete(&mut header).map(|()| header))
            .map_err(|problem| LoadError::Header { file: file(), problem })?;
        let start = LENGTH_BYTES + n;
        let expected = start.saturating_add(header.data_bytes);
        match expected.cmp(&self.len) {
            Ordering::Equal => Ok((header, start)),
            Ordering::Greater => Err(LoadError::Truncated { file: file(), expected, actual: self.len }),
            Ordering::Less => Err(LoadError::TrailingBytes { file: file(), expected, actual: self.len }),
        }
    }

    /// Bytes from the start that can be read.
    fn readable(&self) -> u64 {
        match &self.data {
            SourceData::Bytes(bytes) => self.len.min(bytes.len() as u64),
            SourceData::File(_) | SourceData::Mapped(..) | SourceData::Ranges(_) => self.len,
        }
    }

    /// As [`header`](ByteSource::header), of a GGUF file. Its length is not written down: as much is read as it takes.
    fn gguf_header(&self) -> Result<(Header, u64), LoadError> {
        const FIRST: u64 = 1 << 16;
        let file = || self.label.clone();
        let mut len = FIRST;
        loop {
            let read = len.min(self.readable()).min(MAX_HEADER_BYTES);
            let bytes = self.read_header_bytes(0, read)?;
            let parsed =
                gguf::parse(&bytes).map_err(|problem| LoadError::Header { file: file(), problem })?;
            match parsed {
                gguf::Parsed::Whole { header, data_start, end, padded_end } => {
                    return match end.cmp(&self.len) {
                        Ordering::Greater => {
                            Err(LoadError::Truncated { file: file(), expected: end, actual: self.len })
                        }
                        // The last tensor may be padded as the others are.
                        Ordering::Less if self.len > padded_end => {
                            Err(LoadError::TrailingBytes { file: file(), expected: end, actual: self.len })
                        }
                        _ => Ok((header, data_start)),
                    };
                }
                gguf::Parsed::Longer if read < len && read < MAX_HEADER_BYTES => {
                    return Err(LoadError::HeaderPastEnd { file: file(), needed: read + 1, actual: read });
                }
                gguf::Parsed::Longer if read == MAX_HEADER_BYTES => {
                    return Err(LoadError::HeaderTooLarge { file: file(), claimed: read + 1 });
                }
                gguf::Parsed::Longer => len *= 2,
            }
        }
    }

    /// Why a file is refused whose header cannot have that length, or does not begin like one.
    fn explain(&self, claimed: Option<u64>, begins_like_one: bool, head: &[u8]) -> LoadError {
        let (file, actual, kind) = (self.label.clone(), self.len, FileKind::guess(head));
        let claimed = claimed.unwrap_or(0);
        // A length of any sane size ends in a zero byte; text in its place does not.
        let sane_length = claimed > 0 && head.get(7) == Some(&0);
        let damaged = begins_like_one && (sane_length || kind == FileKind::Unknown);
        if damaged && claimed > MAX_HEADER_BYTES {
            LoadError::HeaderTooLarge { file, claimed }
        } else if damaged && claimed > 0 {
            LoadError::HeaderPastEnd { file, needed: LENGTH_BYTES + claimed, actual }
        } else if kind == FileKind::Unknown && actual <= LENGTH_BYTES {
            // Only (a part of) the length is there.
            let claimed =
                if claimed <= MAX_HEADER_BYTES { claimed.max(MIN_HEADER_BYTES) } else { MIN_HEADER_BYTES };
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

/// A file that several threads read. On Unix each reads at its own offset, at the same time; elsewhere the offset to read at
/// belongs to the file, and they take turns.
struct SharedFile(#[cfg(unix)] File, #[cfg(not(unix))] std::sync::Mutex<File>);

impl SharedFile {
    fn map(&self, len: u64) -> io::Result<Bytes> {
        self.with_file(|file| map::file(file, len))
    }

    /// Its length at this moment.
    fn len(&self) -> io::Result<u64> {
        self.with_file(|file| file.metadata().map(|metadata| metadata.len()))
    }
}

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
