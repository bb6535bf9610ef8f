//! The error type of the crate.

mod display;

use crate::{DType, FileKind, HeaderProblem, PickleProblem};

/// Why a checkpoint cannot be opened, or a tensor cannot be read. Printed, it is one line.
///
/// `file` and `folder` are paths as they were given, or the label of an embedded file. Texts are kept as they were
/// found; they are escaped when printed.
#[derive(Debug)]
#[non_exhaustive]
pub enum LoadError {
    /// There is no such file, or it is a link to one that is not there.
    NotFound {
        /// The file.
        file: String,
        /// Where the link leads, if it is one.
        link_to: Option<String>,
    },
    /// The operating system refused.
    Io {
        /// The file.
        file: String,
        /// What was tried: "open", "read", "map", "list".
        action: &'static str,
        /// Its answer.
        error: std::io::Error,
    },
    /// A pipe, a device, a socket: refused before anything is read.
    NotARegularFile {
        /// The file.
        file: String,
    },
    /// A file of 0 bytes.
    EmptyFile {
        /// The file.
        file: String,
    },
    /// A file of another kind.
    NotSafetensors {
        /// The file.
        file: String,
        /// What it is.
        kind: FileKind,
    },
    /// A header longer than [`MAX_HEADER_BYTES`](crate::MAX_HEADER_BYTES).
    HeaderTooLarge {
        /// The file.
        file: String,
        /// Bytes that the file says its header has.
        claimed: u64,
    },
    /// The file ends before its header does.
    HeaderPastEnd {
        /// The file.
        file: String,
        /// Bytes that the file needs for its header alone.
        needed: u64,
        /// Bytes that it has.
        actual: u64,
    },
    /// The header is not valid.
    Header {
        /// The file.
        file: String,
        /// What is wrong with it.
        problem: HeaderProblem,
    },
    /// A pickle of PyTorch that is not read.
    Pickle {
        /// The file.
        file: String,
        /// What is wrong with it.
        problem: PickleProblem,
    },
    /// The file ends before its tensors do.
    Truncated {
        /// The file.
        file: String,
        /// Bytes of the whole file, by its header.
        expected: u64,
        /// Bytes that it has.
        actual: u64,
    },
    /// The file has trailing bytes after its last tensor.
    TrailingBytes {
        /// The file.
        file: String,
        /// Bytes of the whole file, by its header.
        expected: u64,
        /// Bytes that it has.
        actual: u64,
    },
    /// The file became shorter after it was opened.
    Shrunk {
        /// The file.
        file: String,
        /// The tensor that was being read.
        tensor: String,
    },
    /// No memory for a tensor.
    OutOfMemory {
        /// The file.
        file: String,
        /// The tensor.
        tensor: String,
        /// Its size.
        bytes: u64,
    },

    /// A folder without weights that can be read.
    NoModelInFolder {
        /// The folder.
        folder: String,
        /// What is there instead, and what to do.
        hint: String,
    },
    /// A small JSON file (configuration, index) that is larger than such files are.
    JsonTooLarge {
        /// The file.
        file: String,
        /// Bytes that it has.
        actual: u64,
        /// The maximum that is read.
        limit: u64,
    },
    /// A JSON file (configuration, index) that is damaged or has another form.
    BadJson {
        /// The file.
        file: String,
        /// What is wrong with it.
        message: String,
    },
    /// An index that names a shard outside its own folder.
    UnsafeShardName {
        /// The index.
        file: String,
        /// The name.
        shard: String,
    },
    /// An index that names a shard that is not there.
    MissingShard {
        /// The index.
        file: String,
        /// The shard.
        shard: String,
        /// A tensor that should be in it.
        tensor: String,
    },
    /// An index that lists a tensor which its shard does not have.
    NotInShard {
        /// The index.
        file: String,
        /// The shard.
        shard: String,
        /// The tensor.
        tensor: String,
    },
    /// A shard with a tensor that the index lists elsewhere, or not at all.
    NotInIndex {
        /// The index.
        file: String,
        /// The shard.
        shard: String,
        /// The tensor.
        tensor: String,
    },
    /// A link that leads out of the model's folder, where that is not allowed ([`Checkpoint::open_fenced`](crate::Checkpoint::open_fenced)).
    LinkOutside {
        /// The link.
        file: String,
        /// Where it leads.
        target: String,
    },
    /// More of something than any model has.
    TooMany {
        /// The folder or file.
        file: String,
        /// What there are too many of: "components", "shards", "tensors".
        what: &'static str,
        /// The maximum that is read.
        limit: usize,
    },

    /// The checkpoint lacks a tensor.
    MissingTensor {
        /// The file or folder.
        file: String,
        /// The name that was asked for.
        tensor: String,
        /// The name in the file that it stands for, where that differs.
        name_in_file: Option<String>,
    },
    /// A tensor of another shape than was asked for.
    ShapeMismatch {
        /// The file.
        file: String,
        /// The name that was asked for.
        tensor: String,
        /// The name in the file, where that differs.
        name_in_file: Option<String>,
        /// The shape that was asked for.
        expected: Vec<usize>,
        /// The shape in the file.
        found: Vec<usize>,
    },
    /// A tensor with too few dimensions.
    MissingAxis {
        /// The file.
        file: String,
        /// The name that was asked for.
        tensor: String,
        /// The name in the file, where that differs.
        name_in_file: Option<String>,
        /// The dimension that was asked for, counted from 0.
        axis: usize,
        /// The shape in the file.
        found: Vec<usize>,
    },
    /// A tensor that is asked for as a weight and whose dtype is not one of weights.
    UnsupportedDType {
        /// The file.
        file: String,
        /// The name that was asked for.
        tensor: String,
        /// The name in the file, where that differs.
        name_in_file: Option<String>,
        /// Its dtype.
        dtype: DType,
    },
    /// Weights of a quantisation that is not read.
    UnsupportedQuantization {
        /// The file.
        file: String,
        /// A tensor that belongs to it.
        tensor: String,
        /// What it is called, or what it looks like.
        format: String,
    },
    /// A weight that is NaN or infinite.
    NonFinite {
        /// The file.
        file: String,
        /// The name that was asked for.
        tensor: String,
        /// The name in the file, where that differs.
        name_in_file: Option<String>,
        /// Which of its values, counted in row-major order from 0.
        index: usize,
    },
    /// A conversion to `f32` from a dtype that is not one of weights.
    NotAFloat {
        /// The dtype.
        dtype: DType,
    },
}

impl LoadError {
    /// Whether the cause is what was given, a path or a file, and not the machine at this moment.
    #[must_use]
    pub fn is_bad_input(&self) -> bool {
        !matches!(self, Self::Io { .. } | Self::OutOfMemory { .. } | Self::Shrunk { .. })
    }
}

impl std::error::Error for LoadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { error, .. } => Some(error),
            _ => None,
        }
    }
}
