//! Matrix products with weights: `out = x · weightᵀ + bias + residual`.
//!
//! `x` is `[m, k]`, the weight `[n, k]` as `torch.nn.Linear` keeps it, `out` `[m, n]`, all row-major. The weight stays in the
//! file's number format and order ([`WeightMatrix`]); sums are in `f32`.

pub(crate) mod blocking;
#[cfg(feature = "gpu")]
pub mod gpu;
pub(crate) mod micro;
mod panel;
pub mod reference;
#[cfg(test)]
mod tests;
pub(crate) mod weight;

pub use weight::{PANEL, SharedBytes, Weight, WeightMatrix};

use crate::activation::geglu_with;
use crate::simd::Isa;
use blocking::{Factor, Rows, product};

/// One of the weights that rows are multiplied by, and where the product goes.
#[derive(Debug)]
pub struct Product<'a> {
    /// `[n, k]`
    pub weight: &'a WeightMatrix,
    /// `[n]`, added to each row.
    pub bias: Option<&'a [f32]>,
    /// `[m, n]`, added.
    pub residual: Option<&'a [f32]>,
    /// Add to what `out` holds.
    pub accumulate: bool,
    /// `[m, n]`
    pub out: &'a mut [f32],
}

/// `out[m, n] = x[m, k] · weightᵀ + bias[n] + residual[m, n]`, on the fastest instruction set.
///
/// `m` is the length of `x` over the weight's inputs.
///
/// # Panics
/// If the length of a slice disagrees with the weight.
pub fn gemm(
    x: &[f32],
    weight: &WeightMatrix,
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
    weight: &WeightMatrix,
    bias: Option<&[f32]>,
    residual: Option<&[f32]>,
    out: &mut [f32],
) {
    gemm_many_with(isa, x, &mut [Product { weight, bias, residual, accumulate: false, out }]);
}

/// Several products of the same rows at once: queries, keys and values. Threads then wait for each other once and not each
/// time.
///
/// # Panics
/// As [`gemm`], or if the weights have different inputs.
pub fn gemm_many(x: &[f32], products: &mut [Product<'_>]) {
    gemm_many_with(Isa::best(), x, products);
}

/// As [`gemm_many`], on a given instruction set.
///
/// # Panics
/// As [`gemm_many`], and if the CPU lacks the instruction set.
pub fn gemm_many_with(isa: Isa, x: &[f32], products: &mut [Product<'_>]) {
    let Some(k) = products.first().map(|product| product.weight.inputs()) else { return };
    let mut factors: Vec<Factor<'_>> = products
        .iter_mut()
        .map(|Product { weight, bias, residual, accumulate, out }| Factor {
            weight,
            bias: *bias,
            residual: *residual,
            accumulate: *accumulate,
            gated: false,
            out,
        })
        .collect();
    product(isa, &Matrix::new(x, k), x.len() / k, &mut factors);
}

/// The first layer of a gated feed-forward (GEGLU; Shazeer, GLU Variants Improve Transformer, 2020): of
/// `x · weightᵀ + bias` `[m, 2 width]`, the first half times the GELU of the second, `[m, width]`. Where `width` is whole
/// panels the product itself never exists.
///
/// # Panics
/// If the length of a slice disagrees with the weight, or its outputs are odd.
pub fn gemm_geglu(x: &[f32], weight: &WeightMatrix, bias: Option<&[f32]>, out: &mut [f32]) {
    gemm_geglu_with(Isa::best(), x, weight, bias, out);
}

/// As [`gemm_geglu`], on a given instruction set.
///
/// # Panics
/// As [`gemm_geglu`], and if the CPU lacks the instruction set.
pub fn gemm_geglu_with(isa: Isa, x: &[f32], weight: &WeightMatrix, bias: Option<&[f32]>, out: &mut [f32]) {
    let (n, k) = (weight.outputs(), weight.inputs());
    let rows = Matrix::new(x, k);
    if n.is_multiple_of(2 * PANEL) {
        product(
            isa,
            &rows,
            x.len() / k,
            &mut [Factor { weight, bias, residual: None, accumulate: false, gated: true, out }],
        );
        return;
    }
    assert!(n.is_multiple_of(2), "{n} outputs have no halves");
    let mut both = vec![0.0; x.len() / k * n];
    gemm_with(isa, x, weight, bias, None, &mut both);
    geglu_with(isa, &both, n / 2, out);
}

/// Rows of a contiguous matrix `[m, k]`.
struct Matrix<'a> {
    x: &'a [f32],
    k: usize,
}

impl Matrix<'_> {
    fn new(x: &[f32], k: usize) -> Matrix<'_> {
        assert_eq!(x.len() % k, 0, "{} values are no rows of {k}", x.len());
        Matrix { x, k }
    }
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
