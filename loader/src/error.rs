//! The error type of the crate.

use crate::text::{Clipped, Plain, Quoted};
use crate::{Dtype, FileKind, HeaderProblem};
use std::fmt;

/// Why a checkpoint cannot be opened, or a tensor not be read. Printed, it is one line.
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
    /// The file ends before its tensors do.
    Truncated {
        /// The file.
        file: String,
        /// Bytes of the whole file, by its header.
        expected: u64,
        /// Bytes that it has.
        actual: u64,
    },
    /// The file goes on behind its last tensor.
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

    /// A folder without weights that could be read.
    NoModelInFolder {
        /// The folder.
        folder: String,
        /// What is there instead, and what to do.
        hint: String,
    },
    /// A folder whose weights are pickles.
    OnlyPickles {
        /// The folder.
        folder: String,
        /// One of them.
        pickle: String,
    },
    /// A small JSON file (configuration, index) that is larger than such files are.
    JsonTooLarge {
        /// The file.
        file: String,
        /// Bytes that it has.
        actual: u64,
        /// The most that are read.
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
    /// A shard with a tensor that the index lists elsewhere or not at all.
    NotInIndex {
        /// The index.
        file: String,
        /// The shard.
        shard: String,
        /// The tensor.
        tensor: String,
    },
    /// A link that leads out of the model's folder.
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
        /// What there is too much of: "components", "shards", "tensors".
        what: &'static str,
        /// The most that are read.
        limit: usize,
    },

    /// The checkpoint lacks a tensor.
    MissingTensor {
        /// The file or folder.
        file: String,
        /// The name that was asked for.
        tensor: String,
        /// The name in the file that it stands for, where that is another.
        name_in_file: Option<String>,
    },
    /// A tensor of another shape.
    ShapeMismatch {
        /// The file.
        file: String,
        /// The name that was asked for.
        tensor: String,
        /// The name in the file, where that is another.
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
        /// The name in the file, where that is another.
        name_in_file: Option<String>,
        /// The dimension that was asked for, counted from 0.
        axis: usize,
        /// The shape in the file.
        found: Vec<usize>,
    },
    /// A tensor that is asked for as a weight and whose number format is none of weights.
    UnsupportedDtype {
        /// The file.
        file: String,
        /// The name that was asked for.
        tensor: String,
        /// The name in the file, where that is another.
        name_in_file: Option<String>,
        /// Its number format.
        dtype: Dtype,
    },
    /// A weight that is NaN or infinite.
    NonFinite {
        /// The file.
        file: String,
        /// The name that was asked for.
        tensor: String,
        /// The name in the file, where that is another.
        name_in_file: Option<String>,
        /// Which of its values, counted in row-major order from 0.
        index: usize,
    },
    /// A conversion to `f32` from a number format that is none of weights.
    NotAFloat {
        /// The number format.
        dtype: Dtype,
    },
}

impl LoadError {
    /// Whether the cause lies in what was given, a path or a file, and not in the machine at this moment.
    #[must_use]
    pub fn is_bad_input(&self) -> bool {
        !matches!(self, Self::Io { .. } | Self::OutOfMemory { .. } | Self::Shrunk { .. })
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound { file, link_to: None } => {
                write!(f, "{}: there is no such file; check the path", Plain(file))
            }
            Self::NotFound { file, link_to: Some(target) } => write!(
                f,
                "{}: is a link to {}, which is not there; download the model again",
                Plain(file),
                Plain(target)
            ),
            Self::Io { file, action, error } => write!(f, "{}: cannot {action} it: {error}", Plain(file)),
            Self::NotARegularFile { file } => write!(
                f,
                "{}: is a pipe, a device or a socket; give a .safetensors file or a diffusers folder",
                Plain(file)
            ),
            Self::EmptyFile { file } => write!(f, "{}: is empty; download it again", Plain(file)),
            Self::NotSafetensors { file, kind } => write!(f, "{}: {kind}", Plain(file)),
            Self::Shrunk { file, tensor } => write!(
                f,
                "{}: became shorter while tensor {} was read; let no other program write to it",
                Plain(file),
                Quoted(tensor)
            ),
            Self::OutOfMemory { file, tensor, bytes } => write!(
                f,
                "{}: there is no memory for the {bytes} bytes of tensor {}; close other programs or take a smaller model",
                Plain(file),
                Quoted(tensor)
            ),
            Self::HeaderTooLarge { .. }
            | Self::HeaderPastEnd { .. }
            | Self::Header { .. }
            | Self::Truncated { .. }
            | Self::TrailingBytes { .. } => self.fmt_contents(f),
            Self::MissingTensor { .. }
            | Self::ShapeMismatch { .. }
            | Self::MissingAxis { .. }
            | Self::UnsupportedDtype { .. }
            | Self::NonFinite { .. }
            | Self::NotAFloat { .. } => self.fmt_weight(f),
            _ => self.fmt_folder(f),
        }
    }
}

impl LoadError {
    /// The problems inside a safetensors file.
    fn fmt_contents(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HeaderTooLarge { file, claimed } => write!(
                f,
                "{}: claims a header of {claimed} bytes, more than the {} that are read; it is no safetensors file, or damaged",
                Plain(file),
                crate::MAX_HEADER_BYTES
            ),
            Self::HeaderPastEnd { file, needed, actual } => write!(
                f,
                "{}: ends inside its header: expected at least {needed} bytes, have {actual}; download it again",
                Plain(file)
            ),
            Self::Header { file, problem } => {
                write!(
                    f,
                    "{}: its header {problem}; the file is damaged, get it again from its source",
                    Plain(file)
                )
            }
            Self::Truncated { file, expected, actual } => write!(
                f,
                "{}: is cut short: expected {expected} bytes, have {actual}; download it again",
                Plain(file)
            ),
            Self::TrailingBytes { file, expected, actual } => write!(
                f,
                "{}: goes on behind its last tensor: expected {expected} bytes, have {actual}; download it again",
                Plain(file)
            ),
            _ => Ok(()),
        }
    }

    /// The problems of a diffusers folder.
    fn fmt_folder(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoModelInFolder { folder, hint } => {
                write!(f, "{}: is a folder without a model: {}", Plain(folder), Plain(hint))
            }
            Self::OnlyPickles { folder, pickle } => write!(
                f,
                "{}: holds its weights only as PyTorch pickles ({}), which can run code when opened and are not read; \
                 download the model's .safetensors files or convert it to safetensors",
                Plain(folder),
                Plain(pickle)
            ),
            Self::JsonTooLarge { file, actual, limit } => write!(
                f,
                "{}: has {actual} bytes, more than the {limit} that are read of such a file; get it again from its source",
                Plain(file)
            ),
            Self::BadJson { file, message } => {
                write!(f, "{}: {}; get it again from its source", Plain(file), Clipped(message))
            }
            Self::UnsafeShardName { file, shard } => write!(
                f,
                "{}: names the shard {}; a shard must be a .safetensors file beside its index, named without a path",
                Plain(file),
                Quoted(shard)
            ),
            Self::MissingShard { file, shard, tensor } => write!(
                f,
                "{}: its shard {} is missing (it should hold tensor {}); download it too",
                Plain(file),
                Quoted(shard),
                Quoted(tensor)
            ),
            Self::NotInShard { file, shard, tensor } => write!(
                f,
                "{}: lists tensor {} in shard {}, which does not hold it; download index and shards again",
                Plain(file),
                Quoted(tensor),
                Quoted(shard)
            ),
            Self::NotInIndex { file, shard, tensor } => write!(
                f,
                "{}: does not list tensor {} in shard {}, which holds it; download index and shards again",
                Plain(file),
                Quoted(tensor),
                Quoted(shard)
            ),
            Self::LinkOutside { file, target } => write!(
                f,
                "{}: leads out of the model's folder to {}; put the file itself in its place",
                Plain(file),
                Plain(target)
            ),
            Self::TooMany { file, what, limit } => {
                write!(f, "{}: has more than {limit} {what}, the most that are read", Plain(file))
            }
            _ => Ok(()),
        }
    }

    /// The problems of one weight.
    fn fmt_weight(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MissingTensor { file, tensor, name_in_file } => write!(
                f,
                "{}: has no tensor {}; the file is incomplete or of another kind of model",
                Plain(file),
                Named(tensor, name_in_file)
            ),
            Self::ShapeMismatch { file, tensor, name_in_file, expected, found } => write!(
                f,
                "{}: tensor {} has shape {found:?} where {expected:?} is needed; the file is damaged or of another kind of model",
                Plain(file),
                Named(tensor, name_in_file)
            ),
            Self::MissingAxis { file, tensor, name_in_file, axis, found } => write!(
                f,
                "{}: tensor {} has shape {found:?} where at least {} dimensions are needed; \
                 the file is damaged or of another kind of model",
                Plain(file),
                Named(tensor, name_in_file),
                axis.saturating_add(1)
            ),
            Self::UnsupportedDtype { file, tensor, name_in_file, dtype } => write!(
                f,
                "{}: tensor {} holds {dtype} numbers where weights of F32, F16 or BF16 are needed; convert the file to one of these",
                Plain(file),
                Named(tensor, name_in_file)
            ),
            Self::NonFinite { file, tensor, name_in_file, index } => write!(
                f,
                "{}: tensor {} is NaN or infinite at index {index}; the file is damaged, get it again from its source",
                Plain(file),
                Named(tensor, name_in_file)
            ),
            Self::NotAFloat { dtype } => {
                write!(f, "a tensor of {dtype} is no tensor of weights; only F32, F16 and BF16 are")
            }
            _ => Ok(()),
        }
    }
}

/// The name that was asked for and, where it is another, the name in the file.
struct Named<'a>(&'a str, &'a Option<String>);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Quoted(self.0))?;
        match self.1 {
            Some(name) => write!(f, " ({} in the file)", Quoted(name)),
            None => Ok(()),
        }
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
