//! What can be wrong in the header of a GGUF file, and only there.

use super::{MAX_ALIGNMENT, MAX_TEXT_BYTES, types};
use crate::DType;
use crate::limits::{MAX_HEADER_BYTES, MAX_NAME_BYTES};
use crate::text::{Clipped, Quoted};
use std::fmt;

/// Why the header of a GGUF file is refused; a [`HeaderProblem`](crate::HeaderProblem).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GgufProblem {
    /// A version of the format other than 2 and 3.
    BadVersion {
        /// The version.
        version: u32,
    },
    /// Numbers whose highest byte comes first.
    BigEndian,
    /// A name longer than [`MAX_NAME_BYTES`](crate::MAX_NAME_BYTES).
    NameTooLong {
        /// Bytes that it claims.
        len: u64,
        /// Its beginning.
        start: Vec<u8>,
    },
    /// An entry of the metadata of a type that the format does not have, or a list of lists.
    BadValueType {
        /// The entry.
        key: String,
        /// The type.
        kind: u32,
    },
    /// A truth value that is neither 0 nor 1.
    BadBool {
        /// The entry.
        key: String,
        /// The value.
        value: u8,
    },
    /// A text that is longer than texts are.
    TextTooLong {
        /// The entry.
        key: String,
        /// Bytes that it claims.
        len: u64,
    },
    /// A list that is longer than a header can be.
    ListTooLong {
        /// The entry.
        key: String,
        /// Values that it claims.
        len: u64,
    },
    /// An alignment that is not a power of two.
    BadAlignment {
        /// What it is.
        alignment: String,
    },
    /// A tensor of a type that is not read, or that the format does not have.
    UnknownType {
        /// The tensor.
        tensor: String,
        /// The number of the type.
        kind: u32,
    },
    /// A tensor whose innermost dimension is not whole blocks.
    PartOfBlock {
        /// The tensor.
        tensor: String,
        /// Its dtype.
        dtype: DType,
        /// Its shape.
        shape: Vec<usize>,
    },
    /// A tensor that begins elsewhere than at a multiple of the alignment.
    Misaligned {
        /// The tensor.
        tensor: String,
        /// Where it begins, counted from the start of the values.
        offset: u64,
        /// The alignment.
        alignment: u64,
    },
    /// An original shape that is not one of the tensor's number of values.
    BadShape {
        /// The tensor.
        tensor: String,
        /// What stands in its place.
        value: String,
        /// The shape that it is stored in.
        stored: Vec<usize>,
    },
}

impl fmt::Display for GgufProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadVersion { version } => {
                write!(f, "has version {version} of GGUF, where 2 and 3 are read")
            }
            Self::BigEndian => {
                f.write_str("is one of a GGUF file for big-endian machines, which is not read")
            }
            Self::NameTooLong { len, start } => write!(
                f,
                "has a name of {len} bytes ({}); at most {MAX_NAME_BYTES} are read",
                Quoted(&String::from_utf8_lossy(start))
            ),
            Self::BadValueType { key, kind } => {
                write!(
                    f,
                    "has metadata {} of the type {kind}, which the format does not have there",
                    Quoted(key)
                )
            }
            Self::BadBool { key, value } => {
                write!(f, "has metadata {} that are {value} where a truth value is 0 or 1", Quoted(key))
            }
            Self::TextTooLong { key, len } => write!(
                f,
                "has metadata {} of {len} bytes, more than the {MAX_TEXT_BYTES} that are read",
                Quoted(key)
            ),
            Self::ListTooLong { key, len } => write!(
                f,
                "has metadata {} of {len} values, more than the {MAX_HEADER_BYTES} bytes of a header that are read",
                Quoted(key)
            ),
            Self::BadAlignment { alignment } => write!(
                f,
                "has the alignment {}, which is not a power of two of at most {MAX_ALIGNMENT}",
                Clipped(alignment)
            ),
            Self::UnknownType { tensor, kind } => match types::other_name(*kind) {
                Some(name) => write!(f, "gives tensor {} the type {name}, which is not read", Quoted(tensor)),
                None => write!(f, "gives tensor {} the type {kind}, which is not known", Quoted(tensor)),
            },
            Self::PartOfBlock { tensor, dtype, shape } => write!(
                f,
                "gives tensor {} the shape {shape:?}, whose rows are not whole blocks of {} values of {dtype}",
                Quoted(tensor),
                dtype.block_len()
            ),
            Self::Misaligned { tensor, offset, alignment } => write!(
                f,
                "puts tensor {} at {offset}, which is not a multiple of the alignment {alignment}",
                Quoted(tensor)
            ),
            Self::BadShape { tensor, value, stored } => write!(
                f,
                "gives tensor {} the original shape {}, which does not have the values of {stored:?}",
                Quoted(tensor),
                Clipped(value)
            ),
        }
    }
}
