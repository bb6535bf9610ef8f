//! Reads the pickles that PyTorch writes (`.ckpt`, `.pt`, `.pth`, `.bin`) without running them.
//!
//! A pickle is a program that builds objects and may call any function that it names. Here nothing is called. The opcodes are
//! interpreted ([`machine`]), a short table says which names stand for tensors and what they are made of ([`globals`]), and a
//! file that names anything else is refused with all such names. Numbers of opcodes, lengths, depths and copies are
//! limited, so that time and memory are linear in the pickle's length.
//!
//! Three forms are in use: a zip archive with `data.pkl` and a file for each storage ([`zip`]); before PyTorch 1.6 several
//! pickles one after the other, and the storages behind them ([`legacy`]); in its first year a tar archive ([`tar`]). In all
//! of them a tensor's values are a range of the file, and are read as those of safetensors are.

mod calls;
mod globals;
mod legacy;
mod machine;
mod names;
mod problem;
mod state;
mod tar;
mod tensors;
mod value;
mod zip;

pub use problem::{PickleProblem, RefusedGlobal};
pub(crate) use tensors::PickledTensors;

use crate::LoadError;
use crate::byte_source::ByteSource;
use machine::PickleMachine;
use std::io;
use tensors::StoragePlace;
use zip::ZipArchive;

/// Maximum length of a pickle without its storages, in bytes.
const MAX_PICKLE_BYTES: u64 = 16 << 20;

/// Why a pickle was not read.
#[derive(Debug)]
enum PickleFailure {
    Io(io::Error),
    Problem(PickleProblem),
}

impl From<io::Error> for PickleFailure {
    fn from(error: io::Error) -> PickleFailure {
        PickleFailure::Io(error)
    }
}

impl From<PickleProblem> for PickleFailure {
    fn from(problem: PickleProblem) -> PickleFailure {
        PickleFailure::Problem(problem)
    }
}

/// The failure of a damaged archive.
fn broken(what: &'static str) -> PickleFailure {
    PickleFailure::Problem(PickleProblem::Archive { what })
}

/// Which of the forms a file has, by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PickleForm {
    Zip,
    Legacy,
    Tar,
}

/// The tensors of a pickle in one of its forms.
///
/// # Errors
/// [`LoadError::Pickle`], [`LoadError::Io`].
pub(crate) fn read(source: &ByteSource, form: PickleForm) -> Result<PickledTensors, LoadError> {
    let tensors = match form {
        PickleForm::Zip => read_zip(source),
        PickleForm::Legacy => legacy::read(source),
        PickleForm::Tar => tar::read(source),
    };
    let file = || source.label.clone();
    tensors.map_err(|failure| match failure {
        PickleFailure::Io(error) => LoadError::Io { file: file(), action: "read", error },
        PickleFailure::Problem(problem) => LoadError::Pickle { file: file(), problem },
    })
}

fn read_zip(source: &ByteSource) -> Result<PickledTensors, PickleFailure> {
    let archive = ZipArchive::open(source)?;
    let Some(pickle) = archive.find("data.pkl") else {
        return Err(broken("it is a zip archive without a data.pkl, which no model is"));
    };
    let folder = pickle.strip_suffix("data.pkl").unwrap_or_default();
    if archive.contains(&format!("{folder}constants.pkl")) {
        return Err(broken("it is a TorchScript program, which is code and not read"));
    }
    // The bytes of a file, and whether they are those that were saved.
    let text = |name: &str| -> Result<Option<(Vec<u8>, bool)>, PickleFailure> {
        let place = archive.locate(source, &format!("{folder}{name}"))?;
        let Some(StoragePlace { start, len, crc32 }) = place else { return Ok(None) };
        if len > MAX_PICKLE_BYTES {
            return Err(PickleProblem::TooMany { what: "bytes of a pickle", limit: MAX_PICKLE_BYTES }.into());
        }
        let mut bytes = vec![0; len as usize];
        source.read_at(start, &mut bytes)?;
        let is_whole = crc32.is_none_or(|sum| sum == crc32fast::hash(&bytes));
        Ok(Some((bytes, is_whole)))
    };
    if text("byteorder")?.is_some_and(|(order, _)| order.trim_ascii() != b"little") {
        return Err(broken("its values are big-endian, which are not read"));
    }
    let (data, is_whole) = text("data.pkl")?.unwrap_or_default();
    let mut machine = PickleMachine::new(&data);
    let root = machine.run();
    machine.state.refuse()?;
    let root = root?;
    // What it asks for and where it is damaged is said first: that names more.
    if !is_whole {
        return Err(broken("its zip archive is damaged: its pickle is not what was saved, by its CRC-32"));
    }
    let locate = |key: &str| archive.locate(source, &format!("{folder}data/{key}"));
    tensors::resolve(&machine.state, root, data.len() as u64, locate)
}
