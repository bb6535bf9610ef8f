//! What can be wrong in the header of a safetensors file, and of a GGUF file.

use crate::DType;
use crate::block_storage::{key, stored_shape};
use crate::gguf::GgufProblem;
use crate::limits::{MAX_METADATA_ENTRIES, MAX_NAME_BYTES, MAX_RANK, MAX_TENSORS};
use crate::text::{Clipped, Quoted};
use std::fmt;

/// Why a header is refused; the `problem` of [`LoadError::Header`](crate::LoadError::Header).
///
/// Names are as in the file; they are escaped when printed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeaderProblem {
    /// A byte that is not UTF-8.
    BadUtf8 {
        /// Where in the header, counted from 0.
        offset: usize,
    },
    /// White space before the opening brace: the format forbids it, so that a file cannot be two formats at once.
    LeadingWhitespace,
    /// Not JSON, or JSON of another form.
    BadJson {
        /// What the parser says, with line and column.
        message: String,
    },
    /// Two tensors, two entries of the metadata, or two metadata tables of one name.
    DuplicateName {
        /// The name.
        name: String,
    },
    /// A tensor with a field that the format does not have.
    UnknownField {
        /// The tensor.
        tensor: String,
        /// The field.
        field: String,
    },
    /// A tensor with a field given twice.
    DuplicateField {
        /// The tensor.
        tensor: String,
        /// The field.
        field: &'static str,
    },
    /// A tensor without one of its fields.
    MissingField {
        /// The tensor.
        tensor: String,
        /// The field.
        field: &'static str,
    },
    /// Metadata that are not a table of texts.
    MetadataNotText {
        /// The entry, or `__metadata__` itself.
        key: String,
    },
    /// More metadata than [`MAX_METADATA_ENTRIES`].
    TooMuchMetadata,
    /// More tensors than [`MAX_TENSORS`].
    TooManyTensors,
    /// A name longer than [`MAX_NAME_BYTES`].
    NameTooLong {
        /// The name.
        name: String,
    },
    /// More dimensions than [`MAX_RANK`].
    RankTooHigh {
        /// The tensor.
        tensor: String,
    },
    /// A dtype that the safetensors format does not have.
    UnknownDType {
        /// The tensor.
        tensor: String,
        /// The dtype named there.
        dtype: String,
    },
    /// Not exactly two offsets.
    BadOffsets {
        /// The tensor.
        tensor: String,
    },
    /// A shape whose number of bits does not fit in 64 bits.
    Overflow {
        /// The tensor.
        tensor: String,
        /// Its shape.
        shape: Vec<usize>,
    },
    /// A range of bytes that ends before it starts.
    ReversedRange {
        /// The tensor.
        tensor: String,
        /// Where it starts, counted from the end of the header.
        start: u64,
        /// Where it ends.
        end: u64,
    },
    /// A range that is not as long as shape and dtype ask.
    WrongSize {
        /// The tensor.
        tensor: String,
        /// Its dtype.
        dtype: DType,
        /// Its shape.
        shape: Vec<usize>,
        /// Bytes that shape and dtype ask for; `None` where they do not fill whole bytes.
        needed: Option<u64>,
        /// Bytes of the range.
        range: u64,
    },
    /// A tensor that begins inside another.
    Overlap {
        /// The tensor.
        tensor: String,
        /// The tensor before it.
        other: String,
    },
    /// Bytes that belong to no tensor.
    Hole {
        /// The tensor after the hole.
        tensor: String,
        /// Bytes of the hole.
        bytes: u64,
    },
    /// A table of tensors of a block format ([`block_storage`](crate::block_storage)) that is not a table of shapes.
    BadBlockTable {
        /// The block format.
        format: DType,
        /// What the parser says, with line and column.
        message: String,
    },
    /// That table names a tensor which is not there.
    BlockTensorMissing {
        /// The block format.
        format: DType,
        /// The tensor.
        tensor: String,
    },
    /// A tensor of a block format whose bytes are not as its shape in that table asks.
    BlockTensorMismatch {
        /// The block format.
        format: DType,
        /// The tensor.
        tensor: String,
        /// Its shape in the table. [`stored_shape`] gives that of its bytes, if any tensor of the format has this shape.
        shape: Vec<usize>,
        /// The dtype that its bytes have.
        dtype: DType,
        /// The shape that its bytes have.
        stored: Vec<usize>,
    },
    /// What only a GGUF file can have.
    Gguf(GgufProblem),
}

impl From<GgufProblem> for HeaderProblem {
    fn from(problem: GgufProblem) -> HeaderProblem {
        HeaderProblem::Gguf(problem)
    }
}

impl HeaderProblem {
    /// What to do about it.
    pub(crate) fn advice(&self) -> &'static str {
        match self {
            Self::Gguf(GgufProblem::UnknownType { .. }) => {
                "get the model in another type, such as Q8_0 or Q4_K"
            }
            Self::Gguf(GgufProblem::BadVersion { .. } | GgufProblem::BigEndian) => {
                "get the model as a little-endian GGUF file of version 3"
            }
            _ => "the file is damaged, get it again from its source",
        }
    }
}

impl fmt::Display for HeaderProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gguf(problem) => problem.fmt(f),
            Self::BadUtf8 { offset } => write!(f, "is not UTF-8 text at byte {offset}"),
            Self::LeadingWhitespace => f.write_str("begins with white space, which the format forbids"),
            Self::BadJson { message } => write!(f, "is not valid JSON of the format: {}", Clipped(message)),
            Self::DuplicateName { name } => write!(f, "names {} twice", Quoted(name)),
            Self::MetadataNotText { key } => {
                write!(f, "has metadata {} that are not text; the format allows only text", Quoted(key))
            }
            Self::BadBlockTable { format, message } => {
                write!(
                    f,
                    "has metadata {:?} that are not a table of shapes: {}",
                    key(*format),
                    Clipped(message)
                )
            }
            Self::TooMuchMetadata => {
                write!(
                    f,
                    "has more than {MAX_METADATA_ENTRIES} entries of metadata, the maximum that is read"
                )
            }
            Self::TooManyTensors => {
                write!(f, "has more than {MAX_TENSORS} tensors, the maximum that is read")
            }
            Self::NameTooLong { name } => {
                write!(
                    f,
                    "has a name of {} bytes ({}); at most {MAX_NAME_BYTES} are read",
                    name.len(),
                    Quoted(name)
                )
            }
            tensor => tensor.fmt_tensor(f),
        }
    }
}

impl HeaderProblem {
    /// The problems of one tensor.
    // Over 60 lines because it is one message for each problem, and nothing else.
    fn fmt_tensor(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownField { tensor, field } => {
                write!(f, "gives tensor {} an unknown field {}", Quoted(tensor), Quoted(field))
            }
            Self::DuplicateField { tensor, field } => {
                write!(f, "gives tensor {} two fields {field:?}", Quoted(tensor))
            }
            Self::MissingField { tensor, field } => {
                write!(f, "gives tensor {} no field {field:?}", Quoted(tensor))
            }
            Self::RankTooHigh { tensor } => {
                write!(f, "gives tensor {} more than {MAX_RANK} dimensions", Quoted(tensor))
            }
            Self::UnknownDType { tensor, dtype } => {
                write!(f, "gives tensor {} the unknown dtype {}", Quoted(tensor), Quoted(dtype))
            }
            Self::BadOffsets { tensor } => {
                write!(f, "gives tensor {} data_offsets that are not two numbers", Quoted(tensor))
            }
            Self::Overflow { tensor, shape } => {
                write!(f, "gives tensor {} the shape {shape:?}, larger than any file", Quoted(tensor))
            }
            Self::ReversedRange { tensor, start, end } => {
                write!(f, "gives tensor {} an end at byte {end}, before its start at {start}", Quoted(tensor))
            }
            Self::WrongSize { tensor, dtype, shape, needed: Some(needed), range } => write!(
                f,
                "gives tensor {} {range} bytes where {} {shape:?} needs {needed}",
                Quoted(tensor),
                dtype.header_name()
            ),
            Self::WrongSize { tensor, dtype, shape, needed: None, .. } => write!(
                f,
                "gives tensor {} the shape {shape:?}, which in {} does not fill whole bytes",
                Quoted(tensor),
                dtype.header_name()
            ),
            Self::Overlap { tensor, other } => {
                write!(f, "makes tensor {} overlap tensor {}", Quoted(tensor), Quoted(other))
            }
            Self::Hole { tensor, bytes } => {
                write!(f, "leaves {bytes} bytes before tensor {} unused", Quoted(tensor))
            }
            Self::BlockTensorMissing { format, tensor } => {
                write!(
                    f,
                    "lists tensor {} in the metadata {:?} and does not have it",
                    Quoted(tensor),
                    key(*format)
                )
            }
            Self::BlockTensorMismatch { format, tensor, shape, dtype, stored } => {
                let (tensor, name) = (Quoted(tensor), format.header_name());
                match stored_shape(*format, shape) {
                    Some(needed) => write!(
                        f,
                        "gives tensor {tensor} the bytes {} {stored:?} where {name} {shape:?} needs U8 {needed:?}",
                        dtype.header_name()
                    ),
                    None => {
                        write!(f, "gives tensor {tensor} the shape {shape:?}, which no tensor of {name} has")
                    }
                }
            }
            _ => f.write_str("is not valid"),
        }
    }
}
