//! Which tensors the loading of a part asks for, told by a loading that reads nothing.
//!
//! Layers are loaded as ever, of zeros that no memory was touched for: what they ask for is what a file must hold. So there is
//! no second list of names that could differ from what the models do.

use crate::Error;
use crate::synthetic;
use latent_loader::{Bytes, DType, LoadError, RawTensor, Weights};
use std::collections::BTreeSet;
use std::fmt::Display;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Most bytes of a tensor of zeros where the file has none, or one of another shape. The largest of any model here has 253
/// million.
const MOST_BYTES: usize = 1 << 30;

/// A tensor of another shape than is needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misshaped {
    /// Its canonical name.
    pub name: String,
    /// The shape that is needed.
    pub expected: Vec<usize>,
    /// The shape in the file.
    pub found: Vec<usize>,
}

/// Names that were asked for.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    /// Those that are there.
    pub(crate) found: BTreeSet<String>,
    /// Those that are not.
    pub(crate) missing: BTreeSet<String>,
    /// Those that are there and have another shape.
    pub(crate) misshaped: Vec<Misshaped>,
    /// As many as were needed so far.
    zeros: Option<Bytes>,
}

/// Weights of which only names and shapes are looked at.
#[derive(Clone)]
pub(crate) struct Checklist {
    weights: Weights,
    asked: Arc<Mutex<Asked>>,
}

impl Checklist {
    pub(crate) fn of(weights: Weights) -> Checklist {
        Checklist { weights, asked: Arc::default() }
    }

    pub(crate) fn scope(&self, name: impl Display) -> Checklist {
        Checklist { weights: self.weights.scope(name), asked: self.asked.clone() }
    }

    pub(crate) fn asked(&self) -> MutexGuard<'_, Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn shape(&self, name: &str) -> Option<&[usize]> {
        self.weights.shape(name)
    }

    /// Whether the tensor is there. A bias that every Stable Diffusion model has is missed where it is not.
    pub(crate) fn contains(&self, name: &str) -> bool {
        let is_there = self.weights.contains(name);
        let canonical = self.weights.canonical(name);
        if !is_there && name == "bias" && !synthetic::is_left_out(&canonical) {
            self.asked().missing.insert(canonical);
        }
        is_there
    }

    /// Notes that a tensor is asked for; gives one of zeros.
    pub(crate) fn read(&self, name: &str, shape: &[usize]) -> Result<RawTensor, Error> {
        let canonical = self.weights.canonical(name);
        let mut asked = self.asked();
        let found = self.weights.shape(name);
        match found {
            None => drop(asked.missing.insert(canonical.clone())),
            Some(found) if found != shape => asked.misshaped.push(Misshaped {
                name: canonical.clone(),
                expected: shape.to_vec(),
                found: found.to_vec(),
            }),
            Some(_) => self.weights.check_dtype(name)?,
        }
        if found.is_some() {
            asked.found.insert(canonical.clone());
        }
        let most = if found.is_some_and(|found| found == shape) { usize::MAX } else { MOST_BYTES };
        let bytes = shape.iter().try_fold(2usize, |bytes, dim| bytes.checked_mul(*dim));
        let Some(bytes) = bytes.filter(|bytes| *bytes <= most) else {
            let file = self.weights.label().to_owned();
            return Err(Error::Load(LoadError::MissingTensor {
                file,
                tensor: canonical,
                name_in_file: None,
            }));
        };
        // The system gives zeroed memory that takes none before it is touched.
        let zeros = asked.zeros.take().filter(|zeros| zeros.len() >= bytes);
        let zeros = zeros.unwrap_or_else(|| Bytes::from(vec![0; bytes]));
        let data = zeros.slice(0, bytes).expect("as long as that");
        asked.zeros = Some(zeros);
        Ok(RawTensor { dtype: DType::F16, shape: shape.to_vec(), data })
    }
}
