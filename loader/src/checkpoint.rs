//! An opened checkpoint: its tensors by name, wherever they lie.

use crate::header::Header;
use crate::pieces::{RunTasks, in_order};
use crate::source::{Source, cannot};
use crate::{Bytes, Dtype, LoadError, RawTensor, cached_snapshot, folder, pieces};
use serde_json::Value;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;

/// How a checkpoint is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// One safetensors file.
    SingleFile,
    /// A folder with a sub-folder for each component.
    DiffusersFolder,
    /// The folder of one component: a configuration beside weights.
    ComponentFolder,
    /// Parts of several checkpoints.
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
    /// The price: nobody may write to the file while the checkpoint or a tensor of it lives. If the file is changed, so
    /// are the weights, after they were checked for NaN; if it is cut short, the program is ended by a signal (`SIGBUS`)
    /// where the missing part is touched.
    Map,
}

/// What a header tells of a tensor.
#[derive(Clone, Debug)]
pub struct TensorInfo {
    /// Its name in the file; in a folder, `component.name in the file`.
    pub name: String,
    /// Format of its numbers.
    pub dtype: Dtype,
    /// Its dimensions, outermost first; empty for a single number.
    pub shape: Vec<usize>,
    /// Which of the checkpoint's files holds it.
    pub(crate) source: usize,
    /// Where in that file its numbers start.
    pub(crate) start: u64,
    /// How many bytes they take.
    pub(crate) len: usize,
}

impl TensorInfo {
    /// Bytes of its numbers.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.len
    }

    /// How many numbers it holds: the product of its dimensions.
    #[must_use]
    pub fn elements(&self) -> usize {
        // The header's check has shown that this does not overflow.
        self.shape.iter().product()
    }
}

/// A checkpoint whose headers were read and found valid. Its tensors are read when asked for.
///
/// It holds its files open, mapped under [`Access::Map`], and keeps nothing of their contents; share it in an
/// [`Arc`](std::sync::Arc). Several threads may read at once.
#[derive(Debug)]
pub struct Checkpoint {
    label: String,
    layout: Layout,
    /// The tensors are sorted by name, no two of the same.
    parts: Parts,
}

/// What is gathered while the files of a checkpoint are opened.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    pub(crate) tensors: Vec<TensorInfo>,
    pub(crate) configs: BTreeMap<String, Value>,
    access: Access,
    pub(crate) sources: Vec<Source>,
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) header_bytes: u64,
    pub(crate) file_bytes: u64,
}

impl Parts {
    pub(crate) fn new(access: Access) -> Parts {
        Parts { access, ..Parts::default() }
    }

    /// Reads the header of a file and adds its tensors and metadata, `prefix` before their names.
    pub(crate) fn add(&mut self, source: Source, prefix: &str) -> Result<(), LoadError> {
        let (Header { metadata, entries, .. }, data_start) = source.header()?;
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

impl Checkpoint {
    /// Opens a safetensors file, a diffusers folder, the folder of one component, or a model's folder in the Hugging Face
    /// cache ([`cached_snapshot`]): reads and checks all headers, and no tensor. Tensors will be read ([`Access::Read`]).
    ///
    /// # Errors
    /// A [`LoadError`] that names the file, what is wrong with it and what to do: there is no such file, it is of
    /// another kind, damaged, cut short, or the folder lacks weights.
    pub fn open(path: &Path) -> Result<Checkpoint, LoadError> {
        Checkpoint::open_with(path, Access::Read)
    }

    /// As [`open`](Checkpoint::open), with a choice of how tensors come into memory. [`Access::Map`] has a price.
    ///
    /// # Errors
    /// As [`open`](Checkpoint::open), and where the system cannot map the file.
    pub fn open_with(path: &Path, access: Access) -> Result<Checkpoint, LoadError> {
        let snapshot = cached_snapshot(path);
        let path = snapshot.as_deref().unwrap_or(path);
        let label = path.display().to_string();
        let metadata = std::fs::metadata(path).map_err(|error| cannot("open", path, &label, error))?;
        if metadata.is_dir() {
            let (layout, parts) = folder::open(path, access)?;
            return Ok(Checkpoint::new(label, layout, parts));
        }
        Checkpoint::single(Source::open(path, label)?, access)
    }

    /// Opens a safetensors file that lies in memory, for example one built into a program. It is checked as strictly as
    /// any other, and its tensors are not copied. `label` is what error messages call it.
    ///
    /// # Errors
    /// As [`open`](Checkpoint::open).
    pub fn from_bytes(label: &str, bytes: impl Into<Cow<'static, [u8]>>) -> Result<Checkpoint, LoadError> {
        let bytes = match bytes.into() {
            Cow::Borrowed(bytes) => Bytes::from_static(bytes),
            Cow::Owned(bytes) => Bytes::from(bytes),
        };
        Checkpoint::single(Source::embedded(label.to_owned(), bytes), Access::Read)
    }

    fn single(source: Source, access: Access) -> Result<Checkpoint, LoadError> {
        let label = source.label.clone();
        let mut parts = Parts::new(access);
        parts.add(source, "")?;
        Ok(Checkpoint::new(label, Layout::SingleFile, parts))
    }

    pub(crate) fn into_parts(self) -> Parts {
        self.parts
    }

    pub(crate) fn new(label: String, layout: Layout, mut parts: Parts) -> Checkpoint {
        parts.tensors.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Checkpoint { label, layout, parts }
    }

    /// How it is laid out.
    #[must_use]
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// What error messages call it: its path as it was given, or the label of an embedded file.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The `__metadata__` of the file; in a folder, those of all files, as `component.key`. Without what tells of the numbers
    /// of tensors ([`q8_0`](crate::q8_0)), which the tensors tell themselves.
    #[must_use]
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.parts.metadata
    }

    /// All tensors, sorted by name.
    pub fn tensors(&self) -> impl Iterator<Item = &TensorInfo> {
        self.parts.tensors.iter()
    }

    /// The tensor of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&TensorInfo> {
        let tensors = &self.parts.tensors;
        let index = tensors.binary_search_by(|tensor| tensor.name.as_str().cmp(name)).ok()?;
        Some(&tensors[index])
    }

    /// The file that a tensor lies in, as error messages call it.
    #[must_use]
    pub fn file_of(&self, tensor: &TensorInfo) -> &str {
        self.parts.sources.get(tensor.source).map_or(&self.label, |source| &source.label)
    }

    /// How its tensors come into memory.
    #[must_use]
    pub fn access(&self) -> Access {
        self.parts.access
    }

    /// Reads one tensor, of any number format, as it lies in the file.
    ///
    /// # Errors
    /// [`LoadError::MissingTensor`], [`LoadError::Shrunk`] if the file has become shorter since it was opened,
    /// [`LoadError::OutOfMemory`], [`LoadError::Io`].
    pub fn read(&self, name: &str) -> Result<RawTensor, LoadError> {
        let info = self.get(name).ok_or_else(|| LoadError::MissingTensor {
            file: self.label.clone(),
            tensor: name.to_owned(),
            name_in_file: None,
        })?;
        self.read_with(info, in_order).map(|(tensor, _)| tensor)
    }

    /// Reads one of the tensors, and gives the index of its first value that is NaN or infinite.
    pub(crate) fn read_with(
        &self,
        info: &TensorInfo,
        run: RunTasks,
    ) -> Result<(RawTensor, Option<usize>), LoadError> {
        let source = &self.parts.sources[info.source];
        let read = pieces::read(source, info.start, info.len, info.dtype, run);
        let (data, non_finite) = read.map_err(|error| {
            let (file, tensor) = (source.label.clone(), info.name.clone());
            match error.kind() {
                io::ErrorKind::UnexpectedEof => LoadError::Shrunk { file, tensor },
                io::ErrorKind::OutOfMemory => LoadError::OutOfMemory { file, tensor, bytes: info.len as u64 },
                _ => LoadError::Io { file, action: "read", error },
            }
        })?;
        Ok((RawTensor { dtype: info.dtype, shape: info.shape.clone(), data }, non_finite))
    }

    /// The configuration of a component of a folder: its `config.json`, or the `scheduler_config.json` of `scheduler`.
    /// `model_index` is the folder's own list of components; the configuration of a component's own folder has an empty name.
    /// `None` in a single file.
    #[must_use]
    pub fn config(&self, component: &str) -> Option<&Value> {
        self.parts.configs.get(component)
    }

    /// Bytes of all headers, the eight before each included.
    #[must_use]
    pub fn header_bytes(&self) -> u64 {
        self.parts.header_bytes
    }

    /// Bytes of all files that hold tensors.
    #[must_use]
    pub fn file_bytes(&self) -> u64 {
        self.parts.file_bytes
    }
}
