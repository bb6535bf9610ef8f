//! An opened checkpoint: its tensors by name, whatever files they are in.

use crate::adapter;
use crate::byte_source::{ByteSource, ReadRange, cannot};
use crate::files::CheckpointFiles;
use crate::finite::find_non_finite;
use crate::pickle::PickleProblem;
use crate::pieces::{self, ReadPieces, RunTasks, in_order};
use crate::sandbox::Links;
use crate::scaled;
use crate::tensor_form::TensorForm;
use crate::{
    Access, Bytes, CheckpointLayout, Config, LoadError, RawTensor, TensorInfo, cached_snapshot, folder,
};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// A checkpoint whose headers were read and found valid. Its tensors are read when asked for.
///
/// It holds its files open, mapped under [`Access::Map`], and keeps nothing of their contents; share it in an
/// [`Arc`](std::sync::Arc). Several threads may read at once.
#[derive(Debug)]
pub struct Checkpoint {
    label: String,
    layout: CheckpointLayout,
    /// The tensors are sorted by name, no two of the same.
    files: CheckpointFiles,
}

impl Checkpoint {
    /// Opens a safetensors file, a diffusers folder, the folder of one component, or a model's folder in the Hugging Face
    /// cache ([`cached_snapshot`]): reads and checks all headers, and no tensor. Tensors will be read ([`Access::Read`]).
    /// Files of a folder may be links to others elsewhere; those that an index names are right beside it.
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
        Checkpoint::open_at(path, access, Links::Follow)
    }

    /// As [`open`](Checkpoint::open), for a folder that nobody named: links in it may not lead out of it, but for those of the
    /// Hugging Face cache.
    ///
    /// # Errors
    /// As [`open`](Checkpoint::open), and [`LoadError::LinkOutside`].
    pub fn open_fenced(path: &Path) -> Result<Checkpoint, LoadError> {
        Checkpoint::open_at(path, Access::Read, Links::Inside)
    }

    fn open_at(path: &Path, access: Access, links: Links) -> Result<Checkpoint, LoadError> {
        let snapshot = cached_snapshot(path);
        let path = snapshot.as_deref().unwrap_or(path);
        let label = path.display().to_string();
        let metadata = std::fs::metadata(path).map_err(|error| cannot("open", path, &label, error))?;
        if metadata.is_dir() {
            let (layout, files) = folder::open(path, access, links)?;
            return Ok(Checkpoint::new(label, layout, files));
        }
        let mut checkpoint = Checkpoint::single(ByteSource::open(path, label)?, access)?;
        let config = adapter::config_beside(path, links)?;
        checkpoint.files.configs.extend(config.map(|config| (adapter::CONFIG.to_owned(), config)));
        Ok(checkpoint)
    }

    /// Opens a safetensors file that is in memory, for example one built into a program. It is checked as strictly as
    /// any other, and its tensors are not copied. `label` is what error messages call it.
    ///
    /// # Errors
    /// As [`open`](Checkpoint::open).
    pub fn from_bytes(label: &str, bytes: impl Into<Cow<'static, [u8]>>) -> Result<Checkpoint, LoadError> {
        let bytes = match bytes.into() {
            Cow::Borrowed(bytes) => Bytes::from_static(bytes),
            Cow::Owned(bytes) => Bytes::from(bytes),
        };
        Checkpoint::single(ByteSource::embedded(label.to_owned(), bytes), Access::Read)
    }

    /// Opens a file of which ranges can be read, and which is `file_bytes` long: its header is read and checked, and no tensor. `label` is
    /// what error messages call it.
    ///
    /// # Errors
    /// As [`open`](Checkpoint::open).
    ///
    /// ```
    /// use latent_loader::{Checkpoint, ReadRange};
    ///
    /// struct Zeros;
    ///
    /// impl ReadRange for Zeros {
    ///     fn read_range(&self, _offset: u64, buffer: &mut [u8]) -> std::io::Result<()> {
    ///         buffer.fill(0);
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let error = Checkpoint::from_ranges("zeros", 1000, Zeros).unwrap_err();
    /// assert!(error.to_string().starts_with("zeros: "), "{error}");
    /// ```
    pub fn from_ranges(
        label: &str,
        file_bytes: u64,
        source: impl ReadRange + 'static,
    ) -> Result<Checkpoint, LoadError> {
        let source = ByteSource::ranges(label.to_owned(), file_bytes, Box::new(source));
        Checkpoint::single(source, Access::Read)
    }

    /// A safetensors file of which only the beginning is here, with its whole header: its names, shapes and metadata can be
    /// looked at, and no tensor can be read. `file_bytes` is the length of the whole file.
    ///
    /// # Errors
    /// As [`open`](Checkpoint::open).
    pub fn of_header(label: &str, head: Vec<u8>, file_bytes: u64) -> Result<Checkpoint, LoadError> {
        let source = ByteSource::beginning(label.to_owned(), Bytes::from(head), file_bytes);
        Checkpoint::single(source, Access::Read)
    }

    fn single(source: ByteSource, access: Access) -> Result<Checkpoint, LoadError> {
        let label = source.label.clone();
        let mut files = CheckpointFiles::new(access);
        files.add(source, "")?;
        scaled::fold(&mut files)?;
        Ok(Checkpoint::new(label, CheckpointLayout::SingleFile, files))
    }

    pub(crate) fn into_files(self) -> CheckpointFiles {
        self.files
    }

    pub(crate) fn new(label: String, layout: CheckpointLayout, mut files: CheckpointFiles) -> Checkpoint {
        files.tensors.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Checkpoint { label, layout, files }
    }

    /// How it is laid out.
    #[must_use]
    pub fn layout(&self) -> CheckpointLayout {
        self.layout
    }

    /// What error messages call it: its path as it was given, or the label of an embedded file.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The `__metadata__` of the file; in a folder, those of all files, as `component.key`. Without the tables
    /// of tensors of block formats ([`block_storage`](crate::block_storage)), whose dtypes the tensors themselves have.
    #[must_use]
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.files.metadata
    }

    /// All tensors, sorted by name.
    pub fn tensors(&self) -> impl Iterator<Item = &TensorInfo> {
        self.files.tensors.iter()
    }

    /// The tensor of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&TensorInfo> {
        let tensors = &self.files.tensors;
        let index = tensors.binary_search_by(|tensor| tensor.name.as_str().cmp(name)).ok()?;
        Some(&tensors[index])
    }

    /// The file that a tensor is in, as error messages call it.
    #[must_use]
    pub fn file_of(&self, tensor: &TensorInfo) -> &str {
        self.files.sources.get(tensor.source).map_or(&self.label, |source| &source.label)
    }

    /// How its tensors come into memory.
    #[must_use]
    pub fn access(&self) -> Access {
        self.files.access
    }

    /// Reads one tensor, of any dtype, as it is stored in the file; one of 8 bits with scales ([`TensorInfo::is_scaled`]) as `f32`.
    ///
    /// # Errors
    /// [`LoadError::MissingTensor`], [`LoadError::Shrunk`] if the file has become shorter since it was opened,
    /// [`LoadError::OutOfMemory`], [`LoadError::Io`], [`PickleProblem::WrongSum`].
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
        let (raw, scales, non_finite) = self.read_parts(info, run)?;
        match info.form {
            TensorForm::Scaled(_) => Ok((scaled::dequantized(&raw, &scales)?, non_finite)),
            TensorForm::Plain | TensorForm::Strided(_) => Ok((raw, non_finite)),
        }
    }

    /// As [`read_with`](Checkpoint::read_with), with the values of a scaled tensor and its scales apart. Those of any other are
    /// empty. A value with a scale that is NaN or infinite is so itself.
    pub(crate) fn read_parts(
        &self,
        info: &TensorInfo,
        run: RunTasks,
    ) -> Result<(RawTensor, Vec<f32>, Option<usize>), LoadError> {
        let source = &self.files.sources[info.source];
        let read = match &info.form {
            TensorForm::Strided(strides) => pieces::read(source, info.start, strides.span, info, run)
                .and_then(|span| {
                    let bytes: Bytes = strides.gather(&span.bytes, &info.shape, info.dtype.size())?.into();
                    Ok(ReadPieces { non_finite: find_non_finite(info.dtype, &bytes), bytes, ..span })
                }),
            _ => pieces::read(source, info.start, info.len, info, run),
        };
        let ReadPieces { bytes: data, non_finite, crc32 } = read.map_err(|error| {
            let (file, tensor) = (source.label.clone(), info.name.clone());
            match error.kind() {
                io::ErrorKind::UnexpectedEof => LoadError::Shrunk { file, tensor },
                io::ErrorKind::OutOfMemory => LoadError::OutOfMemory { file, tensor, bytes: info.len as u64 },
                _ => LoadError::Io { file, action: "read", error },
            }
        })?;
        if crc32 != info.crc32 {
            let problem = PickleProblem::WrongSum { name: info.name.clone() };
            return Err(LoadError::Pickle { file: source.label.clone(), problem });
        }
        let raw = RawTensor { dtype: info.dtype, shape: info.shape.clone(), data };
        let TensorForm::Scaled(scale) = &info.form else { return Ok((raw, Vec::new(), non_finite)) };
        let scales = scale.read(&self.files.sources).map_err(|error| LoadError::Io {
            file: source.label.clone(),
            action: "read",
            error,
        })?;
        let row = info.elements() / scales.len().max(1);
        let bad_scale = scales.iter().position(|scale| !scale.is_finite()).map(|index| index * row);
        Ok((raw, scales, non_finite.into_iter().chain(bad_scale).min()))
    }

    /// The configuration of a component of a folder: its `config.json`, or the `scheduler_config.json` of `scheduler`.
    /// `model_index` is the folder's own list of components; the configuration of a component's own folder has an empty name,
    /// that of a PEFT adapter, in a folder or beside its file, the name `adapter_config`. `None` in other single files.
    #[must_use]
    pub fn config(&self, component: &str) -> Option<&Config> {
        self.files.configs.get(component)
    }

    /// Of a folder, all files that were read (weights, their indexes and configurations) by their paths below the folder,
    /// sorted; none of a single file.
    #[must_use]
    pub fn folder_files(&self) -> &[PathBuf] {
        &self.files.read_files
    }

    /// Bytes of all headers, the eight before each included.
    #[must_use]
    pub fn header_bytes(&self) -> u64 {
        self.files.header_bytes
    }

    /// Bytes of all files that hold tensors.
    #[must_use]
    pub fn file_bytes(&self) -> u64 {
        self.files.file_bytes
    }
}
