//! Matrix product with a packed weight: `out = x · weightᵀ + bias + residual`.
//!
//! `x` is `[m, k]`, the weight `[n, k]` as `torch.nn.Linear` keeps it, `out` `[m, n]`, all row-major. The weight is
//! packed once, at load ([`PackedMatrix`]), and stays in the file's number format; sums are in `f32`.

pub(crate) mod blocking;
pub(crate) mod micro;
pub(crate) mod pack;
pub mod reference;
#[cfg(test)]
mod tests;

pub use pack::{PANEL, PackedMatrix};

use crate::simd::Isa;
use blocking::{Epilogue, Rows, product};

/// `out[m, n] = x[m, k] · weightᵀ + bias[n] + residual[m, n]`, on the fastest instruction set.
///
/// `m` is the length of `x` over the weight's inputs.
///
/// # Panics
/// If the length of a slice disagrees with the weight.
pub fn gemm(
    x: &[f32],
    weight: &PackedMatrix,
    bias: Option<&[f32]>,
    residual: Option<&[f32]>,
    out: &mut [f32],
) {
    gemm_with(Isa::best(), x, weight, bias, residual, out);
}

/// As [`gemm`], on a given instruction set.
///
/// # Panics
/// As [`gemm`], and if the CPU lacks the instruction set.
pub fn gemm_with(
    isa: Isa,
    x: &[f32],
    weight: &PackedMatrix,
    bias: Option<&[f32]>,
    residual: Option<&[f32]>,
    out: &mut [f32],
) {
    let k = weight.inputs();
    assert_eq!(x.len() % k, 0, "{} values are no rows of {k}", x.len());
    product(isa, &Matrix { x, k }, x.len() / k, weight, Epilogue { bias, residual }, out);
}

/// Rows of a contiguous matrix `[m, k]`.
struct Matrix<'a> {
    x: &'a [f32],
    k: usize,
}

// SAFETY: `pointer` slices `x`, so it is valid for the k values of each row, or panics.
unsafe impl Rows for Matrix<'_> {
    fn segments(&self) -> usize {
        1
    }
    fn segment_len(&self) -> usize {
        self.k
    }
    #[inline]
    fn pointer(&self, row: usize, _segment: usize) -> *const f32 {
        self.x[row * self.k..][..self.k].as_ptr()
    }
}
