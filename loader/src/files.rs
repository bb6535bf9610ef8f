//! The files of a checkpoint while it is opened, and what their headers say of its tensors.

use crate::block_table;
use crate::byte_source::ByteSource;
use crate::header::Header;
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
}

impl TensorInfo {
    /// Bytes of its values.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.len
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

    /// Reads the header of a file and adds its tensors and metadata, `prefix` before their names.
    pub(crate) fn add(&mut self, source: ByteSource, prefix: &str) -> Result<(), LoadError> {
        let (Header { metadata, entries, .. }, data_start) = source.header(block_table::apply)?;
        for entry in entries {
            self.tensors.push(TensorInfo {
                name: format!("{prefix}{}", entry.name),
                dtype: entry.dtype,
                shape: entry.shape,
                source: self.sources.len(),
                start: data_start + entry.start,
                // Not longer than the file, and `check_size` counted its bits in a `usize`.
                len: (entry.end - entry.start) as usize,
            });
        }
        for (key, value) in metadata {
            self.metadata.entry(format!("{prefix}{key}")).or_insert(value);
        }
        self.header_bytes += data_start;
        self.file_bytes += source.len;
        self.sources.push(match self.access {
            Access::Read => source,
            Access::Map => source.map()?,
        });
        Ok(())
    }
}
