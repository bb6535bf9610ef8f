//! Sizes of a tensor's dimensions.

use std::fmt;

/// Maximum number of dimensions of a tensor.
const MAX_RANK: usize = 4;

/// Up to four dimensions; the last is contiguous.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    dims: [usize; MAX_RANK],
    rank: usize,
}

/// Dimensions that are not a [`Shape`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidShape {
    /// The dimensions, outermost first.
    pub dims: Vec<usize>,
}

impl Shape {
    /// A shape with these dimensions.
    ///
    /// # Errors
    /// More than four dimensions, or more elements than memory can address.
    pub fn new(dims: &[usize]) -> Result<Shape, InvalidShape> {
        let bytes = dims.iter().try_fold(size_of::<f32>(), |product, dim| product.checked_mul(*dim));
        if dims.len() > MAX_RANK || bytes.is_none_or(|bytes| isize::try_from(bytes).is_err()) {
            return Err(InvalidShape { dims: dims.to_vec() });
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

impl fmt::Display for InvalidShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected at most {MAX_RANK} dimensions within memory, got {:?}", self.dims)
    }
}

impl std::error::Error for InvalidShape {}
