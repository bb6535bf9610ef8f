//! What can be wrong with a PyTorch pickle.

use crate::text::{Plain, Quoted};
use std::fmt;

/// Names that one message lists.
const MAX_LISTED: usize = 8;
/// Characters of a call that a message shows.
const MAX_CALL: usize = 80;

/// Why a pickle is refused; the `problem` of [`LoadError::Pickle`](crate::LoadError::Pickle).
///
/// Positions are bytes from the start of the pickle: of the file, or of `data.pkl` in a zip archive.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PickleProblem {
    /// It asks for functions or classes that are not among those of tensors. None of them was looked for, let alone run.
    Refused {
        /// Each of them once, in the order of the pickle; at most 64.
        globals: Vec<RefusedGlobal>,
        /// How many there are.
        total: usize,
    },
    /// It ends before it is complete.
    Truncated,
    /// It is not a pickle, or a damaged one.
    Malformed {
        /// What is wrong.
        what: &'static str,
        /// Where.
        at: u64,
    },
    /// It needs something that pickles of tensors do not have.
    Unsupported {
        /// What it needs.
        what: &'static str,
        /// Where.
        at: u64,
    },
    /// More of something than any model has.
    TooMany {
        /// Of what: "opcodes", "bytes".
        what: &'static str,
        /// The maximum that is read.
        limit: u64,
    },
    /// A valid pickle, and not one that PyTorch wrote.
    NotPyTorch,
    /// There is not a tensor in it.
    NoTensors,
    /// Two tensors of one name.
    DuplicateName {
        /// The name.
        name: String,
    },
    /// A name that is too long.
    NameTooLong {
        /// The name.
        name: String,
    },
    /// A tensor whose values are not in its storage, or not of its dtype.
    BadTensor {
        /// Its name.
        name: String,
        /// What is wrong.
        what: &'static str,
    },
    /// A tensor whose bytes are not those that were saved, by the CRC-32 that the file has of them. It is found when the tensor is read.
    WrongSum {
        /// Its name.
        name: String,
    },
    /// A zip or tar archive that is damaged, or that PyTorch did not write.
    Archive {
        /// What is wrong with it.
        what: &'static str,
    },
}

/// A function or class that a pickle asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedGlobal {
    /// Its module and name, as in `os.system`.
    pub name: String,
    /// Where the pickle names it.
    pub at: u64,
    /// The arguments with which it would have been called, if it would: `("echo", 1)`.
    pub call: Option<String>,
}

impl fmt::Display for PickleProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { globals, total } => {
                f.write_str("asks for what a model does not need: ")?;
                for (index, global) in globals.iter().take(MAX_LISTED).enumerate() {
                    write!(f, "{}{global}", if index == 0 { "" } else { ", " })?;
                }
                let more = total - globals.len().min(MAX_LISTED);
                if more > 0 {
                    write!(f, " and {more} more")?;
                }
                f.write_str("; nothing of it was run and none of it is read, get the model as .safetensors")
            }
            Self::Truncated => f.write_str("ends before it is complete; download it again"),
            Self::Malformed { what, at } => {
                write!(f, "is damaged: {what} at byte {at}; get it again from its source")
            }
            Self::Unsupported { what, at } => write!(
                f,
                "has {what} at byte {at}, which is not read; get the model as .safetensors"
            ),
            Self::TooMany { what, limit } => {
                write!(f, "has more than {limit} {what}, the maximum that is read")
            }
            Self::NotPyTorch => f.write_str(
                "does not begin as PyTorch writes them; give a file that torch.save wrote, or a .safetensors file",
            ),
            Self::NoTensors => f.write_str("holds no tensors; give the file of a model"),
            Self::DuplicateName { name } => {
                write!(f, "names {} twice; get the model as .safetensors", Quoted(name))
            }
            Self::NameTooLong { name } => {
                write!(f, "has a name of {} bytes ({}), which is too long", name.len(), Quoted(name))
            }
            Self::BadTensor { name, what } => {
                write!(f, "has a tensor {} {what}; get it again from its source", Quoted(name))
            }
            Self::WrongSum { name } => write!(
                f,
                "is damaged: the values of {} are not those that were saved (their CRC-32 differs); download it again",
                Quoted(name)
            ),
            Self::Archive { what } => write!(f, "cannot be read: {what}; get it again from its source"),
        }
    }
}

impl fmt::Display for RefusedGlobal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let clip = |text: &str| text.chars().take(MAX_CALL).collect::<String>();
        write!(f, "{}", Plain(&clip(&self.name)))?;
        if let Some(call) = &self.call {
            write!(f, "{}", Plain(&clip(call)))?;
        }
        write!(f, " (byte {})", self.at)
    }
}
