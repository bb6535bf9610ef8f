//! The zip archives that `torch.save` writes: files are stored, not compressed, and found by the directory at the end.
//!
//! The directory has a CRC-32 of each file. PyTorch writes 0 where it was asked not to sum (`set_crc32_options`), so 0 is not compared.

use super::tensors::StoragePlace;
use super::{PickleFailure, broken};
use crate::byte_source::ByteSource;
use std::collections::HashMap;

/// Maximum bytes of the directory: of a hundred thousand files.
const MAX_DIRECTORY: u64 = 32 << 20;
/// Maximum number of files; a model has one for each tensor.
const MAX_ENTRIES: u64 = 200_000;

const END_BYTES: u64 = 22;
const MAX_COMMENT: u64 = 65_535;
const LOCATOR_BYTES: u64 = 20;
const END64_BYTES: u64 = 56;
const ENTRY_BYTES: usize = 46;
const LOCAL_BYTES: u64 = 30;
/// A field of 32 bits whose value is in an extra field of 64.
const WIDE: u64 = 0xFFFF_FFFF;

/// The files of an archive by name.
#[derive(Debug)]
pub(super) struct ZipArchive {
    entries: HashMap<String, ZipEntry>,
    /// Where the directory begins, which no file reaches into.
    end: u64,
}

/// What the directory says of a file.
#[derive(Clone, Copy, Debug)]
struct ZipEntry {
    offset: u64,
    len: u64,
    is_stored: bool,
    crc32: Option<u32>,
}

/// A little-endian number of up to 8 bytes at an offset.
fn number(bytes: &[u8], at: usize, len: usize) -> Result<u64, PickleFailure> {
    let bytes = bytes.get(at..at + len).ok_or_else(|| broken("its zip archive is damaged"))?;
    Ok(bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

fn read(source: &ByteSource, at: u64, len: u64) -> Result<Vec<u8>, PickleFailure> {
    if at.checked_add(len).is_none_or(|end| end > source.len) {
        return Err(broken("its zip archive is damaged or cut short"));
    }
    let mut bytes = vec![0; len as usize];
    source.read_at(at, &mut bytes)?;
    Ok(bytes)
}

impl ZipArchive {
    /// Reads the directory.
    ///
    /// # Errors
    /// A damaged archive.
    pub(super) fn open(source: &ByteSource) -> Result<ZipArchive, PickleFailure> {
        let (start, len, count) = directory(source)?;
        if len > MAX_DIRECTORY || count > MAX_ENTRIES {
            return Err(broken("its zip archive has more files than any model"));
        }
        let bytes = read(source, start, len)?;
        let (mut entries, mut at) = (HashMap::new(), 0);
        for _ in 0..count {
            let (name, entry, next) = parse_entry(&bytes, at)?;
            if entries.insert(name, entry).is_some() {
                return Err(broken("its zip archive names a file twice"));
            }
            at = next;
        }
        Ok(ZipArchive { entries, end: start })
    }

    /// The name of the file whose name ends so and is in the uppermost folder.
    pub(super) fn find(&self, ending: &str) -> Option<&str> {
        let is_it = |name: &&String| {
            let folder = name.strip_suffix(ending);
            folder.is_some_and(|folder| folder.is_empty() || folder.find('/') == Some(folder.len() - 1))
        };
        self.entries.keys().filter(is_it).min().map(String::as_str)
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    /// Where the bytes of a file are; `None` if there is no such file.
    ///
    /// # Errors
    /// A compressed file, a damaged archive.
    pub(super) fn locate(
        &self,
        source: &ByteSource,
        name: &str,
    ) -> Result<Option<StoragePlace>, PickleFailure> {
        let Some(entry) = self.entries.get(name) else { return Ok(None) };
        if !entry.is_stored {
            return Err(broken("its zip archive is compressed, which those of PyTorch are not"));
        }
        let local = read(source, entry.offset, LOCAL_BYTES)?;
        let name_len = number(&local, 26, 2)?;
        let own_name = read(source, entry.offset + LOCAL_BYTES, name_len)?;
        let start = entry.offset + LOCAL_BYTES + name_len + number(&local, 28, 2)?;
        let fits = start.checked_add(entry.len).is_some_and(|end| end <= self.end);
        if !local.starts_with(b"PK\x03\x04") || own_name != name.as_bytes() || !fits {
            return Err(broken("its zip archive is damaged: a file is not where the directory says"));
        }
        Ok(Some(StoragePlace { start, len: entry.len, crc32: entry.crc32 }))
    }
}

/// Where the directory is, its length, and how many files it lists.
fn directory(source: &ByteSource) -> Result<(u64, u64, u64), PickleFailure> {
    let tail_len = source.len.min(END_BYTES + MAX_COMMENT);
    let tail_start = source.len - tail_len;
    let tail = read(source, tail_start, tail_len)?;
    let is_end = |at: &usize| {
        tail[*at..].starts_with(b"PK\x05\x06")
            && number(&tail, at + 20, 2).is_ok_and(|comment| *at as u64 + END_BYTES + comment == tail_len)
    };
    let last = tail.len().checked_sub(END_BYTES as usize);
    let at = last.and_then(|last| (0..=last).rev().find(is_end));
    let at = at.ok_or_else(|| broken("its zip archive has no directory: it is damaged or cut short"))?;
    let field = |offset: usize, len: usize| number(&tail, at + offset, len);
    let (mut count, mut len, mut start) = (field(10, 2)?, field(12, 4)?, field(16, 4)?);
    let mut end = tail_start + at as u64;
    let is_wide = count == 0xFFFF || len == WIDE || start == WIDE;
    if let Some(locator) = end.checked_sub(LOCATOR_BYTES).filter(|_| is_wide) {
        let locator = read(source, locator, LOCATOR_BYTES)?;
        end = number(&locator, 8, 8)?;
        let wide = read(source, end, END64_BYTES)?;
        if !locator.starts_with(b"PK\x06\x07") || !wide.starts_with(b"PK\x06\x06") {
            return Err(broken("its zip archive is damaged"));
        }
        (count, len, start) = (number(&wide, 32, 8)?, number(&wide, 40, 8)?, number(&wide, 48, 8)?);
    }
    if start.checked_add(len).is_none_or(|directory_end| directory_end > end) {
        return Err(broken("its zip archive is damaged"));
    }
    Ok((start, len, count))
}

/// An entry of the directory, and where the next one begins.
fn parse_entry(bytes: &[u8], at: usize) -> Result<(String, ZipEntry, usize), PickleFailure> {
    let field = |offset: usize, len: usize| number(bytes, at + offset, len);
    if field(0, 4)? != 0x0201_4b50 {
        return Err(broken("its zip archive is damaged"));
    }
    let (flags, method) = (field(8, 2)?, field(10, 2)?);
    let (mut packed, mut len, mut offset) = (field(20, 4)?, field(24, 4)?, field(42, 4)?);
    let (name_len, extra_len) = (field(28, 2)? as usize, field(30, 2)? as usize);
    let name_at = at + ENTRY_BYTES;
    let name = bytes.get(name_at..name_at + name_len).ok_or_else(|| broken("its zip archive is damaged"))?;
    let name =
        std::str::from_utf8(name).map_err(|_| broken("its zip archive has a name that is not text"))?;
    let extra_at = name_at + name_len;
    let mut from = extra_at;
    while from + 4 <= extra_at + extra_len {
        let (id, size) = (number(bytes, from, 2)?, number(bytes, from + 2, 2)? as usize);
        if id == 1 {
            let mut wide = from + 4;
            for value in [&mut len, &mut packed, &mut offset] {
                if *value == WIDE {
                    *value = number(bytes, wide, 8)?;
                    wide += 8;
                }
            }
        }
        from += 4 + size;
    }
    let next = extra_at + extra_len + field(32, 2)? as usize;
    let is_stored = method == 0 && flags & 1 == 0 && packed == len;
    let crc32 = Some(field(16, 4)? as u32).filter(|sum| *sum != 0);
    Ok((name.to_owned(), ZipEntry { offset, len, is_stored, crc32 }, next))
}
