//! Tensors of a converted file, and what each is made of.

use super::dtypes::dtype_of;
use latent_loader::block_storage::stored_shape;
use latent_loader::{DType, NewTensor, TensorInfo, Weights};

/// The weight that lies the other way round in the other layout.
const PROJECTION: &str = ".text_projection";

/// A tensor to be written.
#[derive(Debug)]
pub(super) struct Tensor {
    /// Its name in the new file.
    pub(super) name: String,
    pub(super) shape: Vec<usize>,
    pub(super) dtype: DType,
    pub(super) from: From,
}

/// Where its numbers come from.
#[derive(Debug)]
pub(super) enum From {
    /// Weights of the model, one behind the other.
    Weights(Vec<Piece>),
    /// A tensor of the old file by its name there.
    Old(String),
    /// Made here.
    Made(Vec<u8>),
}

/// A weight of the model, or a part of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// Its canonical name.
    pub(super) canonical: String,
    /// Which third of it along its first dimension.
    pub(super) third: Option<usize>,
    /// Whether rows become columns.
    pub(super) turned: bool,
}

impl Piece {
    pub(super) fn whole(canonical: &str) -> Piece {
        Piece { canonical: canonical.to_owned(), third: None, turned: false }
    }
}

impl Tensor {
    /// A weight under a new name; `None` if it is not there. Its dtype is `target`, or what it was.
    pub(super) fn weight(
        weights: &Weights,
        name: String,
        pieces: Vec<Piece>,
        target: Option<DType>,
    ) -> Option<Tensor> {
        let first = pieces.first()?;
        let info = weights.info(&first.canonical)?;
        let mut shape = info.shape.clone();
        if let Some(rows) = shape.first_mut() {
            *rows = if first.third.is_some() { *rows / 3 } else { *rows * pieces.len() };
        }
        // Blocks lie along rows, which are columns of a projection in the other layout: it stays as exact as it is.
        let is_projection = first.canonical.contains(PROJECTION);
        let target = target.filter(|target| !target.is_block_format() || !is_projection);
        let mut dtype = target.map_or(info.dtype, |target| dtype_of(target, info.dtype, &shape));
        let in_blocks = stored_shape(dtype, &shape).is_some() && !first.turned;
        if dtype.is_block_format() && !in_blocks {
            dtype = DType::F32;
        }
        Some(Tensor { name, shape, dtype, from: From::Weights(pieces) })
    }

    /// A tensor of the old file, as it is, or in another dtype where it is one of weights.
    pub(super) fn old(info: &TensorInfo, target: Option<DType>) -> Tensor {
        let target = target.filter(|_| info.dtype.is_weight());
        Tensor {
            name: info.name.clone(),
            shape: info.shape.clone(),
            dtype: target.map_or(info.dtype, |target| dtype_of(target, info.dtype, &info.shape)),
            from: From::Old(info.name.clone()),
        }
    }

    /// A tensor of these `f32` values, in another format if need be.
    pub(super) fn made(name: &str, shape: &[usize], values: &[f32]) -> Tensor {
        let data = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Tensor { name: name.to_owned(), shape: shape.to_vec(), dtype: DType::F32, from: From::Made(data) }
    }

    pub(super) fn header(&self) -> NewTensor {
        NewTensor { name: self.name.clone(), dtype: self.dtype, shape: self.shape.clone() }
    }
}
