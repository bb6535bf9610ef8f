//! Reads the parts of a header one after the other.

use super::MAX_TEXT_BYTES;
use super::problem::GgufProblem;
use crate::HeaderProblem;
use crate::limits::{MAX_HEADER_BYTES, MAX_NAME_BYTES};
use std::fmt;

/// Why a header is not read further.
pub(super) enum Stop {
    /// The bytes end within it.
    AtEnd,
    /// It is not valid.
    Problem(Box<HeaderProblem>),
}

impl From<HeaderProblem> for Stop {
    fn from(problem: HeaderProblem) -> Stop {
        Stop::Problem(Box::new(problem))
    }
}

impl From<GgufProblem> for Stop {
    fn from(problem: GgufProblem) -> Stop {
        HeaderProblem::from(problem).into()
    }
}

/// The value of an entry of the metadata.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum MetadataValue {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Bool(bool),
    Text(String),
    /// A short list of integers.
    Integers(Vec<i64>),
    /// Another list: only how long it is.
    List {
        len: u64,
    },
}

/// Integers of a list that are kept: shapes have fewer.
const MAX_INTEGERS: u64 = 16;

/// A place in the bytes of a header.
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Cursor<'a> {
        Cursor { bytes, at: 0 }
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], Stop> {
        let bytes = self.bytes[self.at..].get(..len).ok_or(Stop::AtEnd)?;
        self.at += len;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Stop> {
        Ok(*self.take(N)?.first_chunk().expect("as many were taken"))
    }

    pub(super) fn u32(&mut self) -> Result<u32, Stop> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, Stop> {
        self.array().map(u64::from_le_bytes)
    }

    /// The name of a tensor or of an entry.
    pub(super) fn name(&mut self) -> Result<String, Stop> {
        let len = self.u64()?;
        if len > MAX_NAME_BYTES as u64 {
            let rest = self.bytes[self.at..].iter().take(MAX_NAME_BYTES).copied().collect();
            return Err(GgufProblem::NameTooLong { len, start: rest }.into());
        }
        self.text(len as usize)
    }

    fn text(&mut self, len: usize) -> Result<String, Stop> {
        let offset = self.at;
        let bytes = self.take(len)?;
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(error) => Err(HeaderProblem::BadUtf8 { offset: offset + error.valid_up_to() }.into()),
        }
    }

    /// The type and the value of an entry.
    pub(super) fn value(&mut self, key: &str) -> Result<MetadataValue, Stop> {
        let kind = self.u32()?;
        if kind == LIST { self.list(key) } else { self.scalar(key, kind) }
    }

    fn scalar(&mut self, key: &str, kind: u32) -> Result<MetadataValue, Stop> {
        use MetadataValue::{Bool, Float, Signed, Text, Unsigned};
        Ok(match kind {
            0 => Unsigned(self.array().map(u8::from_le_bytes)?.into()),
            1 => Signed(self.array().map(i8::from_le_bytes)?.into()),
            2 => Unsigned(self.array().map(u16::from_le_bytes)?.into()),
            3 => Signed(self.array().map(i16::from_le_bytes)?.into()),
            4 => Unsigned(self.u32()?.into()),
            5 => Signed(self.array().map(i32::from_le_bytes)?.into()),
            6 => Float(self.array().map(f32::from_le_bytes)?.into()),
            7 => match self.array()? {
                [0] => Bool(false),
                [1] => Bool(true),
                [value] => return Err(GgufProblem::BadBool { key: key.to_owned(), value }.into()),
            },
            8 => {
                let len = self.u64()?;
                if len > MAX_TEXT_BYTES as u64 {
                    return Err(GgufProblem::TextTooLong { key: key.to_owned(), len }.into());
                }
                Text(self.text(len as usize)?)
            }
            10 => Unsigned(self.u64()?),
            11 => Signed(self.array().map(i64::from_le_bytes)?),
            12 => Float(self.array().map(f64::from_le_bytes)?),
            _ => return Err(GgufProblem::BadValueType { key: key.to_owned(), kind }.into()),
        })
    }

    /// A list. Each element is read, so that what is skipped is as valid as what is kept.
    fn list(&mut self, key: &str) -> Result<MetadataValue, Stop> {
        let (kind, len) = (self.u32()?, self.u64()?);
        // The smallest element has a byte.
        if len > MAX_HEADER_BYTES {
            return Err(GgufProblem::ListTooLong { key: key.to_owned(), len }.into());
        }
        let mut integers = Vec::new();
        let is_short = len <= MAX_INTEGERS && matches!(kind, 0..=5 | 10 | 11);
        for _ in 0..len {
            match self.scalar(key, kind)? {
                MetadataValue::Unsigned(value) if is_short => integers.extend(i64::try_from(value)),
                MetadataValue::Signed(value) if is_short => integers.push(value),
                _ => {}
            }
        }
        let is_whole = is_short && integers.len() as u64 == len;
        Ok(if is_whole { MetadataValue::Integers(integers) } else { MetadataValue::List { len } })
    }
}

/// The type of a list of values of another type.
const LIST: u32 = 9;

impl fmt::Display for MetadataValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MetadataValue::Unsigned(value) => write!(f, "{value}"),
            MetadataValue::Signed(value) => write!(f, "{value}"),
            MetadataValue::Float(value) => write!(f, "{value}"),
            MetadataValue::Bool(value) => write!(f, "{value}"),
            MetadataValue::Text(text) => f.write_str(text),
            MetadataValue::Integers(values) => write!(f, "{values:?}"),
            MetadataValue::List { len } => write!(f, "a list of {len} values"),
        }
    }
}
