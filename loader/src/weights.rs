//! Weights under names of the caller's choice, scope by scope.

use crate::pieces::{RunTasks, in_order};
use crate::{Checkpoint, LoadError, RawTensor, TensorInfo};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;

/// The weights of a checkpoint below a scope. Cheap to clone.
///
/// Files of different origin name the same weights differently. A table of *canonical* names may therefore be
/// between the caller and the file; errors give both names.
#[derive(Clone, Debug)]
pub struct Weights {
    /// The first gives the label.
    checkpoints: Arc<[Arc<Checkpoint>]>,
    /// Where the tensor of each canonical name is. Only tensors that are there.
    names: Arc<BTreeMap<String, StoredAt>>,
    /// Empty, or the scope followed by a dot.
    prefix: String,
    run: RunTasks,
}

/// Which of the checkpoints a tensor is in, and its name there.
#[derive(Clone, Debug)]
struct StoredAt {
    checkpoint: usize,
    name: String,
}

/// A tensor with its canonical name.
struct FoundTensor<'a> {
    canonical: String,
    checkpoint: &'a Checkpoint,
    info: &'a TensorInfo,
}

impl Weights {
    /// All tensors of a checkpoint, named as in the file (in a folder: `component.name`).
    #[must_use]
    pub fn new(checkpoint: Arc<Checkpoint>) -> Weights {
        let names = checkpoint.tensors().map(|t| (t.name.clone(), t.name.clone())).collect();
        Weights::named(checkpoint, names)
    }

    /// Tensors of a checkpoint under other names: a table from canonical name to name in the file. Tensors that the
    /// table does not name cannot be seen; entries whose tensor is not in the file are as if they were not there.
    #[must_use]
    pub fn renamed(checkpoint: Arc<Checkpoint>, mut names: BTreeMap<String, String>) -> Weights {
        names.retain(|_, in_file| checkpoint.get(in_file).is_some());
        Weights::named(checkpoint, names)
    }

    fn named(checkpoint: Arc<Checkpoint>, names: BTreeMap<String, String>) -> Weights {
        let names = names.into_iter().map(|(canonical, name)| (canonical, StoredAt { checkpoint: 0, name }));
        Weights {
            checkpoints: [checkpoint].into(),
            names: Arc::new(names.collect()),
            prefix: String::new(),
            run: in_order,
        }
    }

    /// The weights below the scopes of two as one: of those that both have, the first's. Error messages call it what they call
    /// the first, and name the file of the tensor that they are about.
    #[must_use]
    pub fn over(&self, base: &Weights) -> Weights {
        let own = |(name, at): (&String, &StoredAt)| (name[self.prefix.len()..].to_owned(), at.clone());
        let first = self.checkpoints.len();
        let below = |(name, at): (&String, &StoredAt)| {
            let at = StoredAt { checkpoint: first + at.checkpoint, name: at.name.clone() };
            (name[base.prefix.len()..].to_owned(), at)
        };
        let mut names: BTreeMap<_, _> = base.below().map(below).collect();
        names.extend(self.below().map(own));
        let checkpoints = self.checkpoints.iter().chain(base.checkpoints.iter()).cloned().collect();
        Weights { checkpoints, names: Arc::new(names), prefix: String::new(), run: self.run }
    }

    /// Those below this scope whose names, without its prefix, pass a test.
    #[must_use]
    pub fn only(&self, test: impl Fn(&str) -> bool) -> Weights {
        let kept = self.below().filter(|(name, _)| test(&name[self.prefix.len()..]));
        let names = kept.map(|(name, at)| (name.clone(), at.clone())).collect();
        Weights { names: Arc::new(names), ..self.clone() }
    }

    /// The weights below a name: `weights.scope("down_blocks").scope(0)` holds those of `down_blocks.0.…`.
    #[must_use]
    pub fn scope(&self, name: impl Display) -> Weights {
        let prefix = format!("{}{name}.", self.prefix);
        Weights { prefix, ..self.clone() }
    }

    /// The same weights, read on the threads of `run`: the pieces of a large tensor are its tasks. Values and errors do
    /// not depend on it. Without this, the thread that asks reads.
    ///
    /// ```
    /// # use latent_loader::Weights;
    /// fn on_two_threads(weights: Weights) -> Weights {
    ///     weights.read_on(|count, task| {
    ///         std::thread::scope(|scope| {
    ///             scope.spawn(|| (0..count / 2).for_each(task));
    ///             (count / 2..count).for_each(task);
    ///         });
    ///     })
    /// }
    /// ```
    #[must_use]
    pub fn read_on(self, run: RunTasks) -> Weights {
        Weights { run, ..self }
    }

    /// What error messages call the checkpoint.
    #[must_use]
    pub fn label(&self) -> &str {
        self.checkpoints[0].label()
    }

    /// The canonical name of a tensor below this scope, with the scope's prefix.
    #[must_use]
    pub fn canonical(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Canonical names below this scope, without its prefix, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.below().map(|(name, _)| &name[self.prefix.len()..])
    }

    /// Bytes of all weights below this scope, as they are stored in the file.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        let tensors = self.below().filter_map(|(_, at)| self.checkpoints[at.checkpoint].get(&at.name));
        tensors.map(|tensor| tensor.bytes() as u64).sum()
    }

    fn below(&self) -> impl Iterator<Item = (&String, &StoredAt)> {
        self.names.range(self.prefix.clone()..).take_while(|(name, _)| name.starts_with(&self.prefix))
    }

    /// Whether there is a tensor of that name, of any dtype.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.find(name).is_ok()
    }

    /// The shape of a tensor, if it is there.
    #[must_use]
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.find(name).ok().map(|found| found.info.shape.as_slice())
    }

    /// What the header says of a tensor, if it is there.
    #[must_use]
    pub fn info(&self, name: &str) -> Option<&TensorInfo> {
        self.find(name).ok().map(|found| found.info)
    }

    /// One dimension of a tensor, counted from 0, for configurations that are read from shapes.
    ///
    /// # Errors
    /// [`LoadError::MissingTensor`], [`LoadError::MissingAxis`].
    pub fn dim(&self, name: &str, axis: usize) -> Result<usize, LoadError> {
        let found = self.find(name)?;
        let shape = &found.info.shape;
        shape.get(axis).copied().ok_or_else(|| {
            let (file, tensor, name_in_file) = self.names_for_error(&found);
            LoadError::MissingAxis { file, tensor, name_in_file, axis, found: shape.clone() }
        })
    }

    /// Reads a weight of a known shape, in the dtype of the file: `f32`, `f16`, `bf16`, `f8_e4m3`, `f8_e5m2` or a block
    /// format. One of 8 bits with scales becomes `f32`.
    ///
    /// # Errors
    /// [`LoadError::MissingTensor`], [`LoadError::ShapeMismatch`], [`LoadError::UnsupportedDType`],
    /// [`LoadError::NonFinite`] if a value is NaN or infinite, and those of [`Checkpoint::read`].
    pub fn get(&self, name: &str, shape: &[usize]) -> Result<RawTensor, LoadError> {
        self.read(&self.find(name)?, shape)
    }

    /// As [`get`](Weights::get), with the scales of a weight of 8 bits apart ([`TensorInfo::is_scaled`]), which `get` multiplies
    /// its values by: one, or one for each row, so that it can stay as small as it is. None of any other weight.
    ///
    /// # Errors
    /// As [`get`](Weights::get).
    pub fn get_parts(&self, name: &str, shape: &[usize]) -> Result<(RawTensor, Vec<f32>), LoadError> {
        let found = self.find(name)?;
        self.check(&found, shape)?;
        let (raw, scales, non_finite) = found.checkpoint.read_parts(found.info, self.run)?;
        self.finite(&found, non_finite)?;
        Ok((raw, scales))
    }

    fn find(&self, name: &str) -> Result<FoundTensor<'_>, LoadError> {
        let canonical = self.canonical(name);
        let found = self.names.get(&canonical).and_then(|at| {
            let checkpoint = &*self.checkpoints[at.checkpoint];
            Some((checkpoint, checkpoint.get(&at.name)?))
        });
        match found {
            Some((checkpoint, info)) => Ok(FoundTensor { canonical, checkpoint, info }),
            None => Err(LoadError::MissingTensor {
                file: self.checkpoints[0].file_for(&canonical).to_owned(),
                tensor: canonical,
                name_in_file: None,
            }),
        }
    }

    fn read(&self, found: &FoundTensor<'_>, expected: &[usize]) -> Result<RawTensor, LoadError> {
        self.check(found, expected)?;
        let (raw, non_finite) = found.checkpoint.read_with(found.info, self.run)?;
        self.finite(found, non_finite)?;
        Ok(raw)
    }

    /// Whether a tensor is a weight of that shape.
    fn check(&self, found: &FoundTensor<'_>, expected: &[usize]) -> Result<(), LoadError> {
        let info = found.info;
        if info.shape != expected {
            let (file, tensor, name_in_file) = self.names_for_error(found);
            let (expected, found) = (expected.to_vec(), info.shape.clone());
            return Err(LoadError::ShapeMismatch { file, tensor, name_in_file, expected, found });
        }
        self.weight_dtype(found)
    }

    fn finite(&self, found: &FoundTensor<'_>, non_finite: Option<usize>) -> Result<(), LoadError> {
        match non_finite {
            None => Ok(()),
            Some(index) => {
                let (file, tensor, name_in_file) = self.names_for_error(found);
                Err(LoadError::NonFinite { file, tensor, name_in_file, index })
            }
        }
    }

    /// Whether a tensor's dtype is one of weights; nothing is read.
    ///
    /// # Errors
    /// [`LoadError::MissingTensor`], [`LoadError::UnsupportedDType`].
    pub fn check_dtype(&self, name: &str) -> Result<(), LoadError> {
        self.weight_dtype(&self.find(name)?)
    }

    fn weight_dtype(&self, found: &FoundTensor<'_>) -> Result<(), LoadError> {
        let dtype = found.info.dtype;
        if dtype.is_weight() || found.info.is_scaled() {
            return Ok(());
        }
        let (file, tensor, name_in_file) = self.names_for_error(found);
        Err(LoadError::UnsupportedDType { file, tensor, name_in_file, dtype })
    }

    /// The file of a tensor, its canonical name, and its name in the file where that differs.
    fn names_for_error(&self, found: &FoundTensor<'_>) -> (String, String, Option<String>) {
        let file = found.checkpoint.file_of(found.info).to_owned();
        let in_file = &found.info.name;
        (file, found.canonical.clone(), (*in_file != found.canonical).then(|| in_file.clone()))
    }
}
