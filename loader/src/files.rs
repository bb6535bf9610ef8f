//! The files of a checkpoint while it is opened, and what their headers say of its tensors.

use crate::block_table;
use crate::byte_source::ByteSource;
use crate::header::Header;
use crate::pickle::{self, PickleForm, PickleProblem, PickledTensors};
use crate::sniff::FileKind;
use crate::tensor_form::TensorForm;
use crate::{Config, DType, LoadError};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// How a checkpoint is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckpointLayout {
    /// One safetensors file.
    SingleFile,
    /// A folder with a sub-folder for each component.
    DiffusersFolder,
    /// The folder of one component: a configuration beside weights.
    ComponentFolder,
    /// CheckpointFiles of several checkpoints.
    Joined,
}

/// How the tensors of a checkpoint's files come into memory. Headers are read and checked in the same way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// A tensor is copied into memory of its own when it is asked for. What happens to the file afterwards does not
    /// matter, and a file that became shorter before is an error.
    #[default]
    Read,
    /// A tensor is a range of the mapped file: it takes no memory beside the system's cache of the file, which can give
    /// its pages up when memory is short, and read them again.
    ///
    /// The price: nothing may write to the file while the checkpoint or a tensor of it exists. If the file is changed, so
    /// are the weights, after they were checked for NaN; if it is cut short, the program is ended by a signal (`SIGBUS`)
    /// where the missing part is touched.
    Map,
}

/// What a header says of a tensor.
#[derive(Clone, Debug)]
pub struct TensorInfo {
    /// Its name in the file; in a folder, `component.name in the file`.
    pub name: String,
    /// Its dtype.
    pub dtype: DType,
    /// Its dimensions, outermost first; empty for a single value.
    pub shape: Vec<usize>,
    /// Which of the checkpoint's files holds it.
    pub(crate) source: usize,
    /// Where in that file its values start.
    pub(crate) start: u64,
    /// How many bytes they take.
    pub(crate) len: usize,
    /// How its values follow from these bytes.
    pub(crate) form: TensorForm,
    /// The CRC-32 that the file has of all that is read of it.
    pub(crate) crc32: Option<u32>,
}

impl TensorInfo {
    /// Bytes of its values.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.len
    }

    /// Whether its values are those of its dtype times scales, which are in a tensor of their own in the file.
    #[must_use]
    pub fn is_scaled(&self) -> bool {
        matches!(self.form, TensorForm::Scaled(_))
    }

    /// The dtype in which [`Checkpoint::read`](crate::Checkpoint::read) gives its values: its own, but `f32` of scaled ones.
    #[must_use]
    pub fn read_dtype(&self) -> DType {
        if self.is_scaled() { DType::F32 } else { self.dtype }
    }

    /// Number of its values: the product of its dimensions.
    #[must_use]
    pub fn elements(&self) -> usize {
        // The header's check has shown that this does not overflow.
        self.shape.iter().product()
    }
}

/// The files of a checkpoint, as they are opened one after the other.
#[derive(Debug, Default)]
pub(crate) struct CheckpointFiles {
    pub(crate) tensors: Vec<TensorInfo>,
    pub(crate) configs: BTreeMap<String, Config>,
    pub(crate) access: Access,
    pub(crate) sources: Vec<ByteSource>,
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) header_bytes: u64,
    pub(crate) file_bytes: u64,
    /// Of a folder, all files that were read, by their paths below it.
    pub(crate) read_files: Vec<PathBuf>,
}

impl CheckpointFiles {
    /// None yet.
    pub(crate) fn new(access: Access) -> CheckpointFiles {
        CheckpointFiles { access, ..CheckpointFiles::default() }
    }

    /// Reads the header of a file, or its pickle, and adds its tensors and metadata, `prefix` before their names.
    pub(crate) fn add(&mut self, source: ByteSource, prefix: &str) -> Result<(), LoadError> {
        let header = match source.header(block_table::apply) {
            // A safetensors file may begin with any byte, so that it is tried first.
            Err(LoadError::NotSafetensors { file, kind }) => {
                let Some(form) = pickle_form(&kind).filter(|_| source.is_whole()) else {
                    return Err(LoadError::NotSafetensors { file, kind });
                };
                match pickle::read(&source, form) {
                    // Any tar archive begins alike; few are of PyTorch.
                    Err(LoadError::Pickle { problem: PickleProblem::Archive { .. }, .. })
                        if form == PickleForm::Tar =>
                    {
                        return Err(LoadError::NotSafetensors { file, kind });
                    }
                    pickled => self.add_pickled(pickled?, prefix),
                }
                return self.keep(source);
            }
            header => header?,
        };
        let (Header { metadata, entries, .. }, data_start) = header;
        for entry in entries {
            self.tensors.push(TensorInfo {
                name: format!("{prefix}{}", entry.name),
                dtype: entry.dtype,
                shape: entry.shape,
                source: self.sources.len(),
                start: data_start + entry.start,
                // Not longer than the file, and `check_size` counted its bits in a `usize`.
                len: (entry.end - entry.start) as usize,
                form: TensorForm::Plain,
                crc32: None,
            });
        }
        for (key, value) in metadata {
            self.metadata.entry(format!("{prefix}{key}")).or_insert(value);
        }
        self.header_bytes += data_start;
        self.keep(source)
    }

    /// Adds the tensors of a pickle.
    fn add_pickled(&mut self, pickled: PickledTensors, prefix: &str) {
        for tensor in pickled.tensors {
            self.tensors.push(TensorInfo {
                name: format!("{prefix}{}", tensor.name),
                dtype: tensor.dtype,
                shape: tensor.shape,
                source: self.sources.len(),
                start: tensor.start,
                len: tensor.len,
                form: tensor.form,
                crc32: tensor.crc32,
            });
        }
        for (key, value) in pickled.metadata {
            self.metadata.entry(format!("{prefix}{key}")).or_insert(value);
        }
        self.header_bytes += pickled.pickle_bytes;
    }

    /// Keeps a file whose tensors were added.
    fn keep(&mut self, source: ByteSource) -> Result<(), LoadError> {
        self.file_bytes += source.len;
        self.sources.push(match self.access {
            Access::Read => source,
            Access::Map => source.map()?,
        });
        Ok(())
    }
}

/// The form of pickle that a file of another kind may have.
fn pickle_form(kind: &FileKind) -> Option<PickleForm> {
    match kind {
        FileKind::Pickle => Some(PickleForm::Legacy),
        FileKind::Zip => Some(PickleForm::Zip),
        FileKind::Archive { format: "tar" } => Some(PickleForm::Tar),
        _ => None,
    }
}
