//! Sizes of a tensor's dimensions.

use crate::{DType, TensorError};
use std::fmt;

/// Most dimensions of a tensor.
const MAX_RANK: usize = 4;

/// Up to four dimensions; the last is contiguous.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    dims: [usize; MAX_RANK],
    rank: usize,
}

impl Shape {
    /// # Errors
    /// More than four dimensions, or more elements than memory can address.
    pub fn new(dims: &[usize]) -> Result<Shape, TensorError> {
        let bytes = dims.iter().try_fold(size_of::<f32>(), |product, dim| product.checked_mul(*dim));
        if dims.len() > MAX_RANK || bytes.is_none_or(|bytes| isize::try_from(bytes).is_err()) {
            return Err(TensorError::shape(
                "shape",
                "at most 4 dimensions within memory",
                format_args!("{dims:?}"),
            ));
        }
        let mut all = [1; MAX_RANK];
        all[..dims.len()].copy_from_slice(dims);
        Ok(Shape { dims: all, rank: dims.len() })
    }

    /// The dimensions, outermost first.
    #[must_use]
    pub fn dims(&self) -> &[usize] {
        &self.dims[..self.rank]
    }

    /// Number of elements.
    #[must_use]
    pub fn elements(&self) -> usize {
        self.dims.iter().product()
    }
}

/// Checks that a row of a weight is whole blocks of its number format.
pub(crate) fn expect_blocks(op: &'static str, dtype: DType, row: usize) -> Result<(), TensorError> {
    if row.is_multiple_of(dtype.block_len()) {
        return Ok(());
    }
    let expected =
        format_args!("rows of whole blocks of {} values in {dtype}", dtype.block_len()).to_string();
    Err(TensorError::shape(op, expected, row))
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.dims())
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.dims())
    }
}
