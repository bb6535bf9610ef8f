//! The texts of errors.

use super::LoadError;
use crate::text::{Clipped, Plain, Quoted};
use std::fmt;

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
            | Self::Pickle { .. }
            | Self::Truncated { .. }
            | Self::TrailingBytes { .. } => self.fmt_contents(f),
            Self::MissingTensor { .. }
            | Self::ShapeMismatch { .. }
            | Self::MissingAxis { .. }
            | Self::UnsupportedDType { .. }
            | Self::UnsupportedQuantization { .. }
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
                "{}: claims a header of {claimed} bytes, more than the {} that are read; it is not a model, or damaged",
                Plain(file),
                crate::MAX_HEADER_BYTES
            ),
            Self::HeaderPastEnd { file, needed, actual } => write!(
                f,
                "{}: ends inside its header: expected at least {needed} bytes, have {actual}; download it again",
                Plain(file)
            ),
            Self::Header { file, problem } => {
                write!(f, "{}: its header {problem}; {}", Plain(file), problem.advice())
            }
            Self::Pickle { file, problem } => {
                write!(f, "{}: is a PyTorch pickle that {problem}", Plain(file))
            }
            Self::Truncated { file, expected, actual } => write!(
                f,
                "{}: is cut short: expected {expected} bytes, have {actual}; download it again",
                Plain(file)
            ),
            Self::TrailingBytes { file, expected, actual } => write!(
                f,
                "{}: has trailing bytes after its last tensor: expected {expected} bytes, have {actual}; download it again",
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
                write!(f, "{}: has more than {limit} {what}, the maximum that is read", Plain(file))
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
                TensorLabel(tensor, name_in_file)
            ),
            Self::ShapeMismatch { file, tensor, name_in_file, expected, found } => write!(
                f,
                "{}: tensor {} has shape {found:?} where {expected:?} is needed; the file is damaged or of another kind of model",
                Plain(file),
                TensorLabel(tensor, name_in_file)
            ),
            Self::MissingAxis { file, tensor, name_in_file, axis, found } => write!(
                f,
                "{}: tensor {} has shape {found:?} where at least {} dimensions are needed; \
                 the file is damaged or of another kind of model",
                Plain(file),
                TensorLabel(tensor, name_in_file),
                axis.saturating_add(1)
            ),
            Self::UnsupportedDType { file, tensor, name_in_file, dtype } => write!(
                f,
                "{}: tensor {} has the dtype {} where weights of F32, F16, BF16, F8_E4M3 or F8_E5M2 are needed; get it in one of these from its source",
                Plain(file),
                TensorLabel(tensor, name_in_file),
                dtype.header_name()
            ),
            Self::UnsupportedQuantization { file, tensor, format } => write!(
                f,
                "{}: its weights are quantised as {} (tensor {}), which is not read; get it in F16, BF16, F8_E4M3 or a GGUF type",
                Plain(file),
                Clipped(format),
                Quoted(tensor)
            ),
            Self::NonFinite { file, tensor, name_in_file, index } => write!(
                f,
                "{}: tensor {} is NaN or infinite at index {index}; the file is damaged, get it again from its source",
                Plain(file),
                TensorLabel(tensor, name_in_file)
            ),
            Self::NotAFloat { dtype } => {
                write!(
                    f,
                    "a tensor of {} does not hold weights; only F32, F16, BF16, F8_E4M3 and F8_E5M2 do",
                    dtype.header_name()
                )
            }
            _ => Ok(()),
        }
    }
}

/// The name that was asked for and, where that differs, the name in the file.
struct TensorLabel<'a>(&'a str, &'a Option<String>);

impl fmt::Display for TensorLabel<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Quoted(self.0))?;
        match self.1 {
            Some(name) => write!(f, " ({} in the file)", Quoted(name)),
            None => Ok(()),
        }
    }
}
