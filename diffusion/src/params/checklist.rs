//! Which tensors the loading of a component asks for, found out by a loading that reads nothing.
//!
//! Layers are loaded as ever, from zeros for which no memory is touched: what they ask for is what a file must contain. So
//! there is no second list of names that could differ from what the models do.

use super::synthetic;
use crate::Error;

use crate::families::completeness::missing::MisshapedTensor;
use latent_loader::{Bytes, DType, LoadError, RawTensor, Weights};
use std::collections::BTreeSet;
use std::fmt::Display;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Maximum bytes of a tensor of zeros where the file has none, or one of another shape. The largest tensor of any model here
/// has 253 million.
const MAX_BYTES: usize = 1 << 30;

/// Tensors that were asked for.
#[derive(Debug, Default)]
pub(crate) struct RequestedTensors {
    /// Canonical names of those that are there.
    pub(crate) found: BTreeSet<String>,
    /// Those that are not.
    pub(crate) missing: BTreeSet<String>,
    /// Those that are there and have another shape.
    pub(crate) misshaped: Vec<MisshapedTensor>,
    /// As many zeros as were needed so far.
    zeros: Option<Bytes>,
}

/// Weights of which only names and shapes are looked at.
#[derive(Clone, Debug)]
pub(crate) struct Checklist {
    weights: Weights,
    requested: Arc<Mutex<RequestedTensors>>,
}

impl Checklist {
    pub(crate) fn of(weights: Weights) -> Checklist {
        Checklist { weights, requested: Arc::default() }
    }

    pub(crate) fn scope(&self, name: impl Display) -> Checklist {
        Checklist { weights: self.weights.scope(name), requested: self.requested.clone() }
    }

    pub(crate) fn requested(&self) -> MutexGuard<'_, RequestedTensors> {
        self.requested.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn shape(&self, name: &str) -> Option<&[usize]> {
        self.weights.shape(name)
    }

    /// Whether the tensor is there. A bias that every Stable Diffusion model has is missed where it is not.
    pub(crate) fn contains(&self, name: &str) -> bool {
        let is_there = self.weights.contains(name);
        let canonical = self.weights.canonical(name);
        if !is_there && name == "bias" && !synthetic::is_left_out(&canonical) {
            self.requested().missing.insert(canonical);
        }
        is_there
    }

    /// Records that a tensor is asked for; gives one of zeros.
    pub(crate) fn read(&self, name: &str, shape: &[usize]) -> Result<RawTensor, Error> {
        let canonical = self.weights.canonical(name);
        let mut requested = self.requested();
        let found = self.weights.shape(name);
        match found {
            None => drop(requested.missing.insert(canonical.clone())),
            Some(found) if found != shape => {
                requested.misshaped.push(MisshapedTensor::new(canonical.clone(), shape, found));
            }
            Some(_) => self.weights.check_dtype(name)?,
        }
        if found.is_some() {
            requested.found.insert(canonical.clone());
        }
        let limit = if found.is_some_and(|found| found == shape) { usize::MAX } else { MAX_BYTES };
        let bytes = shape.iter().try_fold(2usize, |bytes, dim| bytes.checked_mul(*dim));
        let Some(bytes) = bytes.filter(|bytes| *bytes <= limit) else {
            let file = self.weights.label().to_owned();
            return Err(Error::Load(LoadError::MissingTensor {
                file,
                tensor: canonical,
                name_in_file: None,
            }));
        };
        // The system gives zeroed memory that takes none before it is touched.
        let zeros = requested.zeros.take().filter(|zeros| zeros.len() >= bytes);
        let zeros = zeros.unwrap_or_else(|| Bytes::from(vec![0; bytes]));
        let data = zeros.slice(0, bytes).expect("it is at least that long");
        requested.zeros = Some(zeros);
        Ok(RawTensor { dtype: DType::F16, shape: shape.to_vec(), data })
    }
}
