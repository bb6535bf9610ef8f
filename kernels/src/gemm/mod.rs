//! Matrix products with weights: `out = x · weightᵀ + bias + residual`.
//!
//! `x` is `[m, k]`, the weight `[n, k]` as `torch.nn.Linear` keeps it, `out` `[m, n]`, all row-major. The weight stays in the
//! file's dtype and order ([`WeightMatrix`]); sums are in `f32`.
//!
//! `feed_forward` has the products that end in an activation or a gate. `blocking` has the loops, `arithmetic` the types that they are generic over, `lhs` and `packed` the two kinds of left
//! side, `micro` the micro-kernel and how one is selected. `single_precision`, `bf16` and `int8` are the arithmetics, each with
//! its kernels and their list; [`Precision`] chooses between them.

pub(crate) mod arithmetic;
pub(crate) mod bf16;
pub(crate) mod blocking;
mod epilogue;
pub(crate) mod factor;
mod feed_forward;
#[cfg(feature = "gpu")]
pub mod gpu;
mod int8;
pub(crate) mod lhs;
pub(crate) mod micro;
pub(crate) mod packed;
mod panel;
mod plain_value;
pub mod reference;
mod shared_panels;
pub(crate) mod single_precision;
#[cfg(test)]
mod tests;
pub(crate) mod weight;

pub use feed_forward::{
    GatedWeights, LayerWeights, gemm_activated, gemm_activated_with, gemm_gated, gemm_gated_with, gemm_geglu,
    gemm_geglu_with,
};
pub use weight::{PANEL, SharedBytes, Weight, WeightMatrix};

use crate::Precision;
use crate::simd::Isa;
use arithmetic::Arithmetic;
use bf16::Bf16;
use blocking::product;
use factor::{Factor, FactorEnd};
use int8::Int8;
use lhs::{LhsRows, MatrixRows};
use single_precision::SinglePrecision;

/// One of the weights that rows are multiplied by, with the epilogue and the output of the product.
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
    /// What rows and weight are multiplied in.
    pub precision: Precision,
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
    let (accumulate, precision) = (false, Precision::F32);
    gemm_many_with(isa, x, &mut [Product { weight, bias, residual, accumulate, precision, out }]);
}

/// Several products of the same rows at once: queries, keys and values. Threads then wait for each other once instead of
/// after each product.
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
    let rows = MatrixRows::new(x, k);
    for &precision in Precision::ALL {
        let of_precision = products.iter_mut().filter(|product| product.precision == precision);
        let mut factors: Vec<Factor<'_, f32>> = of_precision
            .map(|Product { weight, bias, residual, accumulate, out, .. }| Factor {
                weight,
                bias: *bias,
                residual: *residual,
                accumulate: *accumulate,
                end: FactorEnd::Sums,
                out,
            })
            .collect();
        if !factors.is_empty() {
            product_in(precision, isa, &rows, x.len() / k, &mut factors);
        }
    }
}

/// A product in a precision. Weights of several taps are not multiplied in `Int8`.
pub(crate) fn product_in<R: LhsRows>(
    precision: Precision,
    isa: Isa,
    rows: &R,
    m: usize,
    factors: &mut [Factor<'_, f32>],
) {
    match precision {
        Precision::F32 => product::<SinglePrecision, _>(isa, rows, m, factors),
        Precision::Bf16 => product::<Bf16, _>(isa, rows, m, factors),
        Precision::Int8 => product::<Int8, _>(isa, rows, m, factors),
    }
}

/// Outputs of a panel.
fn panel_width(precision: Precision, isa: Isa) -> usize {
    match precision {
        Precision::F32 => SinglePrecision::kernels(isa).rhs.width,
        Precision::Bf16 => Bf16::kernels(isa).rhs.width,
        Precision::Int8 => Int8::kernels(isa).rhs.width,
    }
}
