//! The header of a GGUF file, parsed as strictly as that of a safetensors file.
//!
//! A file is: `GGUF`, the version, the number of tensors and of entries of metadata; the metadata, each a name, a type and a
//! value; the tensors, each a name, dimensions, a type and an offset; and, from the next multiple of the alignment on, the
//! values (<https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>). All numbers are little-endian. Dimensions begin with
//! the innermost one, and blocks are parts of it.
//!
//! Two dialects hold image models. Files of stable-diffusion.cpp have all parts of a model under the names of the original
//! single files, and no `general.architecture`. Those of ComfyUI-GGUF have one network, without a prefix, and name what it is;
//! where its rows were not whole blocks, a tensor was cut into rows that are, and `comfy.gguf.orig_shape.NAME` has its shape.
//!
//! What is claimed is compared with what is there before memory is taken for it.

mod cursor;
mod problem;
mod types;
pub(crate) mod write;

pub use problem::GgufProblem;

use crate::header::{Header, HeaderEntry};
use crate::limits::{MAX_METADATA_ENTRIES, MAX_RANK, MAX_TENSORS};
use crate::{DType, HeaderProblem};
use cursor::{Cursor, MetadataValue, Stop};
use std::collections::BTreeMap;

/// How every file begins.
pub(crate) const MAGIC: &[u8; 4] = b"GGUF";

/// The entry that says at multiples of what the values begin, and what that is without it.
const ALIGNMENT_KEY: &str = "general.alignment";
const DEFAULT_ALIGNMENT: u64 = 32;
/// Maximum of it: a huge page.
const MAX_ALIGNMENT: u64 = 1 << 21;

/// Before the name of a tensor, the entry with its shape where it is stored in another one.
const SHAPE_KEY: &str = "comfy.gguf.orig_shape.";

/// Maximum bytes of a text that is metadata: those of tokenizers and workflows are long.
const MAX_TEXT_BYTES: usize = 1 << 20;

/// What became of the beginning of a file.
pub(crate) enum Parsed {
    /// The whole header, where the values start, where the last tensor ends, and where the file may end at last.
    Whole { header: Header, data_start: u64, end: u64, padded_end: u64 },
    /// The header goes on.
    Longer,
}

/// Parses as much of a file as is here.
pub(crate) fn parse(bytes: &[u8]) -> Result<Parsed, HeaderProblem> {
    match parse_whole(bytes) {
        Ok(parsed) => Ok(parsed),
        Err(Stop::AtEnd) => Ok(Parsed::Longer),
        Err(Stop::Problem(problem)) => Err(*problem),
    }
}

fn parse_whole(bytes: &[u8]) -> Result<Parsed, Stop> {
    let mut cursor = Cursor::new(bytes);
    cursor.take(MAGIC.len())?;
    match cursor.u32()? {
        2 | 3 => {}
        version if (1..=3).contains(&version.swap_bytes()) => return Err(GgufProblem::BigEndian.into()),
        version => return Err(GgufProblem::BadVersion { version }.into()),
    }
    let (tensors, entries) = (cursor.u64()?, cursor.u64()?);
    if tensors > MAX_TENSORS as u64 {
        return Err(HeaderProblem::TooManyTensors.into());
    }
    if entries > MAX_METADATA_ENTRIES as u64 {
        return Err(HeaderProblem::TooMuchMetadata.into());
    }
    let metadata = metadata(&mut cursor, entries)?;
    let alignment = alignment(&metadata)?;
    let mut header = Header::default();
    for _ in 0..tensors {
        header.entries.push(tensor(&mut cursor, &metadata, alignment)?);
    }
    crate::header::sort_by_name(&mut header.entries)?;
    let end = check_ranges(&header.entries, alignment)?;
    let has_shape = |key: &str| key.strip_prefix(SHAPE_KEY).is_some_and(|name| header.find(name).is_some());
    let kept = metadata.into_iter().filter(|(key, _)| !has_shape(key));
    header.metadata = kept.map(|(key, value)| (key, value.to_string())).collect();
    header.data_bytes = end;
    let data_start = (cursor.at() as u64).next_multiple_of(alignment);
    let end = data_start.checked_add(end).filter(|end| *end <= u64::MAX - MAX_ALIGNMENT);
    let end = end.ok_or_else(|| largest(&header))?;
    Ok(Parsed::Whole { padded_end: end.next_multiple_of(alignment), header, data_start, end })
}

/// The problem of a file that is longer than any can be.
fn largest(header: &Header) -> HeaderProblem {
    let entry = header.entries.iter().max_by_key(|entry| entry.end);
    let (tensor, shape) = entry.map(|entry| (entry.name.clone(), entry.shape.clone())).unwrap_or_default();
    HeaderProblem::Overflow { tensor, shape }
}

fn metadata(cursor: &mut Cursor<'_>, entries: u64) -> Result<BTreeMap<String, MetadataValue>, Stop> {
    let mut metadata = BTreeMap::new();
    for _ in 0..entries {
        let key = cursor.name()?;
        let value = cursor.value(&key)?;
        if metadata.contains_key(&key) {
            return Err(HeaderProblem::DuplicateName { name: key }.into());
        }
        metadata.insert(key, value);
    }
    Ok(metadata)
}

fn alignment(metadata: &BTreeMap<String, MetadataValue>) -> Result<u64, GgufProblem> {
    match metadata.get(ALIGNMENT_KEY) {
        None => Ok(DEFAULT_ALIGNMENT),
        Some(MetadataValue::Unsigned(value)) if value.is_power_of_two() && *value <= MAX_ALIGNMENT => {
            Ok(*value)
        }
        Some(value) => Err(GgufProblem::BadAlignment { alignment: value.to_string() }),
    }
}

/// One tensor; its range is counted from the start of the values.
fn tensor(
    cursor: &mut Cursor<'_>,
    metadata: &BTreeMap<String, MetadataValue>,
    alignment: u64,
) -> Result<HeaderEntry, Stop> {
    let name = cursor.name()?;
    let rank = cursor.u32()? as usize;
    if rank > MAX_RANK {
        return Err(HeaderProblem::RankTooHigh { tensor: name }.into());
    }
    let mut dims = Vec::with_capacity(rank);
    for _ in 0..rank {
        dims.push(cursor.u64()?);
    }
    let (kind, start) = (cursor.u32()?, cursor.u64()?);
    dims.reverse();
    let Some(dtype) = types::dtype(kind) else {
        return Err(GgufProblem::UnknownType { tensor: name, kind }.into());
    };
    let mut shape: Vec<usize> = dims.iter().map(|dim| usize::try_from(*dim).unwrap_or(usize::MAX)).collect();
    let overflow = || HeaderProblem::Overflow { tensor: name.clone(), shape: shape.clone() };
    let values =
        shape.iter().try_fold(1usize, |product, dim| product.checked_mul(*dim)).ok_or_else(overflow)?;
    let bytes = values.div_ceil(dtype.block_len()).checked_mul(dtype.block_bytes()).ok_or_else(overflow)?;
    let end = start.checked_add(bytes as u64).ok_or_else(overflow)?;
    if !shape.last().copied().unwrap_or(1).is_multiple_of(dtype.block_len()) {
        return Err(GgufProblem::PartOfBlock { tensor: name, dtype, shape }.into());
    }
    if !start.is_multiple_of(alignment) {
        return Err(GgufProblem::Misaligned { tensor: name, offset: start, alignment }.into());
    }
    if let Some(value) = metadata.get(&format!("{SHAPE_KEY}{name}")) {
        shape = original_shape(value, values).ok_or_else(|| GgufProblem::BadShape {
            tensor: name.clone(),
            value: value.to_string(),
            stored: shape.clone(),
        })?;
    }
    Ok(HeaderEntry { name, dtype, shape, start, end })
}

/// The shape of a tensor of that many values, if it can be that.
fn original_shape(value: &MetadataValue, values: usize) -> Option<Vec<usize>> {
    let MetadataValue::Integers(dims) = value else { return None };
    let dims: Option<Vec<usize>> = dims.iter().map(|dim| usize::try_from(*dim).ok()).collect();
    let dims = dims.filter(|dims| dims.len() <= MAX_RANK)?;
    let product = dims.iter().try_fold(1usize, |product, dim| product.checked_mul(*dim));
    (product == Some(values)).then_some(dims)
}

/// Whether the tensors lie one after the other, each at the next multiple of the alignment. Returns where the last one ends.
fn check_ranges(entries: &[HeaderEntry], alignment: u64) -> Result<u64, HeaderProblem> {
    let mut by_offset: Vec<&HeaderEntry> = entries.iter().collect();
    by_offset.sort_unstable_by_key(|entry| (entry.start, entry.end));
    let mut end = 0u64;
    for (index, entry) in by_offset.iter().enumerate() {
        let tensor = entry.name.clone();
        if entry.start < end {
            return Err(HeaderProblem::Overlap { tensor, other: by_offset[index - 1].name.clone() });
        }
        let next = end.checked_next_multiple_of(alignment).unwrap_or(u64::MAX);
        if entry.start > next {
            return Err(HeaderProblem::Hole { tensor, bytes: entry.start - next });
        }
        end = entry.end;
    }
    Ok(end)
}

/// The dtypes that the format has a type for, and that type.
pub(crate) fn type_of(dtype: DType) -> Option<u32> {
    types::number(dtype)
}
