//! Work that runs together with a convolution: on its input (the prologue) and on its output (the epilogue). Fused, none
//! of it needs a pass over memory, or memory, of its own.

use super::GroupNorm;
use crate::Tensor;

/// What happens to the input of a convolution as it is read: first the norm, then the resize. `N` is a [`GroupNorm`], or,
/// for an image that comes in bands of rows, a [`super::PrecomputedNorm`].
#[derive(Debug)]
pub struct Prologue<'a, N = GroupNorm> {
    /// Group norm, then SiLU.
    pub norm_silu: Option<&'a N>,
    /// Nearest-neighbour resize to this height and width.
    pub resize: Option<[usize; 2]>,
}

impl<'a, N> Prologue<'a, N> {
    /// The input as it is.
    #[must_use]
    pub fn none() -> Prologue<'a, N> {
        Prologue { norm_silu: None, resize: None }
    }

    /// A group norm, then SiLU.
    #[must_use]
    pub fn norm_silu(norm: &'a N) -> Prologue<'a, N> {
        Prologue { norm_silu: Some(norm), resize: None }
    }

    /// A nearest-neighbour resize to this height and width, if any.
    #[must_use]
    pub fn resize(size: Option<[usize; 2]>) -> Prologue<'a, N> {
        Prologue { norm_silu: None, resize: size }
    }
}

impl<N> Clone for Prologue<'_, N> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<N> Copy for Prologue<'_, N> {}

/// What is added to the output of a convolution before it is stored.
#[derive(Clone, Debug, Default)]
pub struct Epilogue<'a> {
    /// A vector `[batch, outputs]`, added to all pixels of its image.
    pub vector: Option<&'a Tensor>,
    /// A tensor of the shape of the result. The result is written into it unless its memory is shared.
    pub residual: Option<Tensor>,
}

impl<'a> Epilogue<'a> {
    /// Nothing is added.
    #[must_use]
    pub fn none() -> Epilogue<'a> {
        Epilogue::default()
    }

    /// A residual is added.
    #[must_use]
    pub fn residual(residual: Tensor) -> Epilogue<'a> {
        Epilogue { vector: None, residual: Some(residual) }
    }

    /// A vector for each image is added, if any.
    #[must_use]
    pub fn vector(vector: Option<&'a Tensor>) -> Epilogue<'a> {
        Epilogue { vector, residual: None }
    }
}
