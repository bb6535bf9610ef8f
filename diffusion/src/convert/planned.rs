//! Tensors of a converted file, and where the values of each come from.

use super::dtypes::TargetDType;
use crate::params::layout::QkvPart;
use latent_loader::block_storage::stored_shape;
use latent_loader::{DType, LoadError, NewTensor, RawTensor, TensorInfo, Weights};

/// The weight that is transposed in the other layout.
const PROJECTION: &str = ".text_projection";

/// A tensor to be written.
#[derive(Debug)]
pub(super) struct PlannedTensor {
    /// Its name in the new file.
    pub(super) name: String,
    pub(super) shape: Vec<usize>,
    pub(super) dtype: DType,
    pub(super) origin: TensorOrigin,
}

/// Where the values of a tensor come from.
#[derive(Debug)]
pub(super) enum TensorOrigin {
    /// Weights of the model, one after the other.
    Weights(Vec<WeightPiece>),
    /// A tensor of the input by its name there.
    Input(String),
    /// Constants.
    Constant(Vec<u8>),
}

/// A weight of the model, or a part of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WeightPiece {
    /// Its canonical name.
    pub(super) canonical: String,
    /// Which part of a fused attention projection.
    pub(super) part: Option<QkvPart>,
    /// Which half of its rows.
    pub(super) half: Option<usize>,
    /// Whether it is transposed.
    pub(super) is_transposed: bool,
}

impl WeightPiece {
    pub(super) fn whole(canonical: &str) -> WeightPiece {
        WeightPiece { canonical: canonical.to_owned(), part: None, half: None, is_transposed: false }
    }
}

impl WeightPiece {
    /// The number of its rows; `None` if it is not there.
    fn rows(&self, weights: &Weights) -> Option<usize> {
        let rows = weights.shape(&self.canonical)?.first()?;
        Some(rows / if self.part.is_some() { 3 } else { 1 } / if self.half.is_some() { 2 } else { 1 })
    }

    /// Its half of a tensor, where it is one. Where a block goes on from one half to the other, it becomes `f32`.
    pub(super) fn half_of(&self, raw: RawTensor) -> Result<RawTensor, LoadError> {
        let Some(half) = self.half else { return Ok(raw) };
        let values: usize = raw.shape.iter().product();
        let raw = match (values / 2).is_multiple_of(raw.dtype.block_len()) {
            true => raw,
            false => {
                let data: Vec<u8> = raw.to_f32()?.iter().flat_map(|value| value.to_le_bytes()).collect();
                RawTensor { dtype: DType::F32, shape: raw.shape, data: data.into() }
            }
        };
        let len = raw.data.len() / 2;
        let data = raw.data.slice((half * len) as u64, len).expect("a half of it");
        let mut shape = raw.shape;
        if let Some(rows) = shape.first_mut() {
            *rows /= 2;
        }
        Ok(RawTensor { dtype: raw.dtype, shape, data })
    }
}

impl PlannedTensor {
    /// A weight under a new name; `None` if it is not there. `target` says what its dtype becomes.
    pub(super) fn weight(
        weights: &Weights,
        name: String,
        pieces: Vec<WeightPiece>,
        target: TargetDType,
    ) -> Option<PlannedTensor> {
        let first = pieces.first()?;
        let info = weights.info(&first.canonical)?;
        let mut shape = info.shape.clone();
        if let Some(rows) = shape.first_mut() {
            *rows = pieces.iter().map(|piece| piece.rows(weights)).sum::<Option<usize>>()?;
        }
        // Blocks are parts of rows, which are columns of a projection in the other layout: its dtype is kept.
        let is_projection = first.canonical.contains(PROJECTION);
        let asked = target.dtype.filter(|target| !target.is_block_format() || !is_projection);
        let mut dtype =
            TargetDType { dtype: asked, ..target }.of(&first.canonical, info.read_dtype(), &shape);
        let in_blocks = stored_shape(dtype, &shape).is_some() && !first.is_transposed;
        if dtype.is_block_format() && !in_blocks {
            dtype = DType::F32;
        }
        Some(PlannedTensor { name, shape, dtype, origin: TensorOrigin::Weights(pieces) })
    }

    /// A tensor of the input, as it is, or in another dtype if it has one of weights.
    pub(super) fn input(info: &TensorInfo, target: TargetDType) -> PlannedTensor {
        let old = info.read_dtype();
        PlannedTensor {
            name: info.name.clone(),
            shape: info.shape.clone(),
            dtype: if old.is_weight() { target.of(&info.name, old, &info.shape) } else { old },
            origin: TensorOrigin::Input(info.name.clone()),
        }
    }

    /// A tensor of these `f32` values.
    pub(super) fn constant(name: &str, shape: &[usize], values: &[f32]) -> PlannedTensor {
        let data = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        PlannedTensor {
            name: name.to_owned(),
            shape: shape.to_vec(),
            dtype: DType::F32,
            origin: TensorOrigin::Constant(data),
        }
    }

    pub(super) fn header(&self) -> NewTensor {
        NewTensor { name: self.name.clone(), dtype: self.dtype, shape: self.shape.clone() }
    }
}
