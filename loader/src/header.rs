//! The header of a safetensors file, parsed strictly.
//!
//! A file is: the length `n` of the header (8 bytes, little-endian), `n` bytes of JSON, and the tensors' values, one
//! tensor after the other without gaps. The JSON is one table; `__metadata__` is a table of texts, and every other
//! entry is a tensor: `{"dtype": "F16", "shape": [320, 4, 3, 3], "data_offsets": [start, end]}`, the offsets counted
//! from the end of the header (<https://github.com/huggingface/safetensors#format>).
//!
//! The visitors below build nothing but the list of tensors, and refuse while they read: the ninth dimension of a shape
//! is refused as soon as it is read, not after fifty million were stored. Memory is therefore bounded by the size of the
//! header, which is bounded by [`MAX_HEADER_BYTES`](crate::MAX_HEADER_BYTES).
//!
//! The format asks writers to align the values; this reader does not need that: it copies bytes and never casts them.

use crate::limits::{MAX_METADATA_ENTRIES, MAX_NAME_BYTES, MAX_RANK, MAX_TENSORS};
use crate::{DType, HeaderProblem};
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;

const METADATA: &str = "__metadata__";

/// A valid header.
#[derive(Debug, Default)]
pub(crate) struct Header {
    pub(crate) metadata: BTreeMap<String, String>,
    /// Sorted by name, no two of the same.
    pub(crate) entries: Vec<HeaderEntry>,
    /// Bytes of all tensors together.
    pub(crate) data_bytes: u64,
}

impl Header {
    /// The tensor of that name.
    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        self.entries.binary_search_by(|entry| entry.name.as_str().cmp(name)).ok()
    }
}

/// One tensor of a header.
#[derive(Debug)]
pub(crate) struct HeaderEntry {
    pub(crate) name: String,
    pub(crate) dtype: DType,
    pub(crate) shape: Vec<usize>,
    /// Where its values start and end, counted from the end of the header.
    pub(crate) start: u64,
    pub(crate) end: u64,
}

/// Parses the JSON of a header and checks that its tensors fill the data exactly.
pub(crate) fn parse(bytes: &[u8]) -> Result<Header, HeaderProblem> {
    let text = std::str::from_utf8(bytes).map_err(|e| HeaderProblem::BadUtf8 { offset: e.valid_up_to() })?;
    if text.starts_with([' ', '\t', '\r', '\n']) {
        return Err(HeaderProblem::LeadingWhitespace);
    }
    let problem = Cell::new(None);
    let mut json = serde_json::Deserializer::from_str(text);
    let parsed = HeaderSeed(&problem).deserialize(&mut json).and_then(|header| json.end().map(|()| header));
    let mut header = parsed.map_err(|error| {
        problem.take().unwrap_or_else(|| HeaderProblem::BadJson { message: error.to_string() })
    })?;
    sort_by_name(&mut header.entries)?;
    header.entries.iter().try_for_each(check_size)?;
    header.data_bytes = check_ranges(&header.entries)?;
    Ok(header)
}

/// Whether range, shape and dtype of one tensor agree.
fn check_size(entry: &HeaderEntry) -> Result<(), HeaderProblem> {
    let HeaderEntry { name, dtype, shape, start, end } = entry;
    let tensor = || name.clone();
    let range = end.checked_sub(*start).ok_or_else(|| HeaderProblem::ReversedRange {
        tensor: tensor(),
        start: *start,
        end: *end,
    })?;
    let bits = shape
        .iter()
        .try_fold(1usize, |product, dim| product.checked_mul(*dim))
        .and_then(|elements| elements.checked_mul(dtype.bits()))
        .ok_or_else(|| HeaderProblem::Overflow { tensor: tensor(), shape: shape.clone() })?;
    let needed = bits.is_multiple_of(8).then_some(bits as u64 / 8);
    if needed == Some(range) {
        return Ok(());
    }
    Err(HeaderProblem::WrongSize { tensor: tensor(), dtype: *dtype, shape: shape.clone(), needed, range })
}

/// Whether the tensors lie one after the other. Returns where the last one ends.
fn check_ranges(entries: &[HeaderEntry]) -> Result<u64, HeaderProblem> {
    let mut by_offset: Vec<&HeaderEntry> = entries.iter().collect();
    by_offset.sort_unstable_by_key(|entry| (entry.start, entry.end));
    let mut filled = 0;
    for (index, entry) in by_offset.iter().enumerate() {
        let tensor = || entry.name.clone();
        if entry.start > filled {
            return Err(HeaderProblem::Hole { tensor: tensor(), bytes: entry.start - filled });
        }
        if entry.start < filled {
            let other = by_offset[index - 1].name.clone();
            return Err(HeaderProblem::Overlap { tensor: tensor(), other });
        }
        filled = entry.end;
    }
    Ok(filled)
}

/// Sorts the tensors and refuses two of one name.
pub(crate) fn sort_by_name(entries: &mut [HeaderEntry]) -> Result<(), HeaderProblem> {
    entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    match entries.windows(2).find(|pair| pair[0].name == pair[1].name) {
        Some(pair) => Err(HeaderProblem::DuplicateName { name: pair[0].name.clone() }),
        None => Ok(()),
    }
}

/// Where a visitor leaves its reason; the error type of the JSON parser carries only text.
type ProblemSlot<'p> = &'p Cell<Option<HeaderProblem>>;

fn refuse<E: serde::de::Error>(slot: ProblemSlot<'_>, problem: HeaderProblem) -> E {
    slot.set(Some(problem));
    E::custom("refused")
}

/// The whole table.
struct HeaderSeed<'p>(ProblemSlot<'p>);

impl<'de> DeserializeSeed<'de> for HeaderSeed<'_> {
    type Value = Header;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Header, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for HeaderSeed<'_> {
    type Value = Header;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
        let mut header = Header::default();
        let mut has_metadata = false;
        while let Some(name) = map.next_key_seed(NameSeed(self.0))? {
            if name == METADATA {
                if has_metadata {
                    return Err(refuse(self.0, HeaderProblem::DuplicateName { name }));
                }
                has_metadata = true;
                header.metadata = map.next_value_seed(MetadataSeed(self.0))?;
            } else if header.entries.len() == MAX_TENSORS {
                return Err(refuse(self.0, HeaderProblem::TooManyTensors));
            } else {
                header.entries.push(map.next_value_seed(EntrySeed { name, slot: self.0 })?);
            }
        }
        Ok(header)
    }
}

/// A name of limited length.
struct NameSeed<'p>(ProblemSlot<'p>);

impl<'de> DeserializeSeed<'de> for NameSeed<'_> {
    type Value = String;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for NameSeed<'_> {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<String, E> {
        if name.len() > MAX_NAME_BYTES {
            return Err(refuse(self.0, HeaderProblem::NameTooLong { name: name.to_owned() }));
        }
        Ok(name.to_owned())
    }
}

/// The table of texts under `__metadata__`.
struct MetadataSeed<'p>(ProblemSlot<'p>);

impl<'de> DeserializeSeed<'de> for MetadataSeed<'_> {
    type Value = BTreeMap<String, String>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        let not_text = HeaderProblem::MetadataNotText { key: METADATA.to_owned() };
        let slot = self.0;
        deserializer.deserialize_map(self).map_err(|error| blame(slot, error, not_text))
    }
}

impl<'de> Visitor<'de> for MetadataSeed<'_> {
    type Value = BTreeMap<String, String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table of texts")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut metadata = BTreeMap::new();
        while let Some(key) = map.next_key_seed(NameSeed(self.0))? {
            if metadata.len() == MAX_METADATA_ENTRIES {
                return Err(refuse(self.0, HeaderProblem::TooMuchMetadata));
            }
            let value: String = map
                .next_value()
                .map_err(|error| blame(self.0, error, HeaderProblem::MetadataNotText { key: key.clone() }))?;
            if metadata.insert(key.clone(), value).is_some() {
                return Err(refuse(self.0, HeaderProblem::DuplicateName { name: key }));
            }
        }
        Ok(metadata)
    }
}

/// Leaves `problem` as the reason of an error about the *form* of a value. Broken JSON stays what the parser says, and
/// a reason from further inside stays too.
fn blame<E: fmt::Display>(slot: ProblemSlot<'_>, error: E, problem: HeaderProblem) -> E {
    let earlier = slot.take();
    slot.set(if earlier.is_none() && error.to_string().starts_with("invalid type") {
        Some(problem)
    } else {
        earlier
    });
    error
}

/// One tensor's table.
struct EntrySeed<'p> {
    name: String,
    slot: ProblemSlot<'p>,
}

impl EntrySeed<'_> {
    fn refuse<E: serde::de::Error>(&self, problem: impl FnOnce(String) -> HeaderProblem) -> E {
        refuse(self.slot, problem(self.name.clone()))
    }

    /// Keeps a field's first value and refuses a second one.
    fn set<T, E: serde::de::Error>(
        &self,
        kept: &mut Option<T>,
        field: &'static str,
        value: T,
    ) -> Result<(), E> {
        match kept.replace(value) {
            None => Ok(()),
            Some(_) => Err(self.refuse(|tensor| HeaderProblem::DuplicateField { tensor, field })),
        }
    }

    fn need<T, E: serde::de::Error>(&self, value: Option<T>, field: &'static str) -> Result<T, E> {
        value.ok_or_else(|| self.refuse(|tensor| HeaderProblem::MissingField { tensor, field }))
    }
}

impl<'de> DeserializeSeed<'de> for EntrySeed<'_> {
    type Value = HeaderEntry;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<HeaderEntry, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for EntrySeed<'_> {
    type Value = HeaderEntry;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table with dtype, shape and data_offsets")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<HeaderEntry, A::Error> {
        let (mut dtype, mut shape, mut range) = (None, None, None);
        while let Some(field) = map.next_key_seed(NameSeed(self.slot))? {
            match field.as_str() {
                "dtype" => self.set(&mut dtype, "dtype", map.next_value_seed(DTypeSeed(&self))?)?,
                "shape" => self.set(&mut shape, "shape", map.next_value_seed(ShapeSeed(&self))?)?,
                "data_offsets" => {
                    self.set(&mut range, "data_offsets", map.next_value_seed(OffsetsSeed(&self))?)?;
                }
                _ => return Err(self.refuse(|tensor| HeaderProblem::UnknownField { tensor, field })),
            }
        }
        let (start, end) = self.need(range, "data_offsets")?;
        let (dtype, shape) = (self.need(dtype, "dtype")?, self.need(shape, "shape")?);
        Ok(HeaderEntry { name: self.name, dtype, shape, start, end })
    }
}

/// The dtype, by its name.
struct DTypeSeed<'a, 'p>(&'a EntrySeed<'p>);

impl<'de> DeserializeSeed<'de> for DTypeSeed<'_, '_> {
    type Value = DType;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<DType, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for DTypeSeed<'_, '_> {
    type Value = DType;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a dtype")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<DType, E> {
        let unknown = |tensor| HeaderProblem::UnknownDType { tensor, dtype: name.to_owned() };
        DType::from_header_name(name).ok_or_else(|| self.0.refuse(unknown))
    }
}

/// The dimensions, at most [`MAX_RANK`].
struct ShapeSeed<'a, 'p>(&'a EntrySeed<'p>);

impl<'de> DeserializeSeed<'de> for ShapeSeed<'_, '_> {
    type Value = Vec<usize>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<usize>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for ShapeSeed<'_, '_> {
    type Value = Vec<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of dimensions")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<usize>, A::Error> {
        let mut shape = Vec::with_capacity(4);
        while let Some(dim) = seq.next_element::<u64>()? {
            if shape.len() == MAX_RANK {
                return Err(self.0.refuse(|tensor| HeaderProblem::RankTooHigh { tensor }));
            }
            shape.push(usize::try_from(dim).map_err(|_| A::Error::custom("dimension too large"))?);
        }
        Ok(shape)
    }
}

/// Start and end.
struct OffsetsSeed<'a, 'p>(&'a EntrySeed<'p>);

impl<'de> DeserializeSeed<'de> for OffsetsSeed<'_, '_> {
    type Value = (u64, u64);
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(u64, u64), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for OffsetsSeed<'_, '_> {
    type Value = (u64, u64);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of two offsets")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(u64, u64), A::Error> {
        let (start, end) = (seq.next_element::<u64>()?, seq.next_element::<u64>()?);
        match (start, end, seq.next_element::<u64>()?) {
            (Some(start), Some(end), None) => Ok((start, end)),
            _ => Err(self.0.refuse(|tensor| HeaderProblem::BadOffsets { tensor })),
        }
    }
}
