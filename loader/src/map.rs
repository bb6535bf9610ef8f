//! Mapped files: the only unsafe code of this crate.

#![allow(unsafe_code, reason = "no system lets a file be mapped safely; see `file`")]

use crate::Bytes;
use memmap2::MmapOptions;
use std::fs::File;
use std::io;

/// The first `len` bytes of a regular file as memory: its pages come from the system's cache of the file when they are
/// first touched, and may leave memory again at any time. The file may be closed.
///
/// No system guarantees that nobody else changes the file meanwhile. That is the price that
/// [`Access::Map`](crate::Access::Map) names: a file that is written to gives other values, and one that is cut short
/// ends the program with a signal (`SIGBUS`) when a page after its new end is touched.
pub(crate) fn file(file: &File, len: u64) -> io::Result<Bytes> {
    let len = usize::try_from(len).map_err(|_| io::ErrorKind::OutOfMemory)?;
    // SAFETY: read-only, and kept alive by the `Bytes` that own it. Whoever opens a checkpoint with `Access::Map` takes
    // it on that the file is not changed. If it is nevertheless: values of a tensor are no index, length or pointer,
    // here and in the crates above, so that changed ones spoil an image and not memory.
    let map = unsafe { MmapOptions::new().len(len).map(file)? };
    Ok(Bytes::new(map))
}
