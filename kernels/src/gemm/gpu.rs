//! The kernel for GPUs.
//!
//! A product is computed in tiles (`tile.wgsl`), one for each workgroup. The left side is gathered by `rows.wgsl` for
//! matrices and by `pixels.wgsl` for convolutions. The sums are in registers of each thread (`fma.wgsl`), or in
//! cooperative matrices if the GPU has them and both sides are `f16` (`matrices.wgsl`). The epilogue is applied as the
//! sums are stored. Where it is a gate (`feed_forward.rs`), a tile has values and their gates side by side (`columns.wgsl`).

mod feed_forward;
mod pack;
pub(crate) mod run;
mod strip;
pub(crate) mod tile;

pub use feed_forward::{GpuGatedWeights, GpuLayer, gemm_activated, gemm_gated};
#[cfg(test)]
pub(crate) use feed_forward::{activated_by, gated_by};
pub use pack::PackedWeight;

use crate::activation::Activation;
use crate::gpu::{Array, GpuError, Shader, ShaderVariant, prelude};
use run::{Addends, ImageParams, Params, ProductRun};
use tile::Method;

/// What all shaders for products share.
const PARAMS: &str = include_str!("params.wgsl");

/// Before text that only products with an activation have.
const ACTIVATED_ONLY: &str = "#if ACTIVATED";

pub(crate) static GEMM: Shader = Shader {
    name: "gemm",
    sources: &sources(include_str!("rows.wgsl")),
    bindings: &run::BINDINGS,
    params: size_of::<Params>(),
    variants: || [tile::variants(), feed_forward::variants()].concat(),
};

/// The text of a shader that gathers its left side by `left`.
pub(crate) const fn sources(left: &'static str) -> [&'static str; 14] {
    [
        ACTIVATED_ONLY,
        prelude::ELEMENTS,
        "#endif",
        PARAMS,
        include_str!("weight.wgsl"),
        left,
        include_str!("fma.wgsl"),
        "#if MATRICES",
        prelude::MATRICES,
        "#endif",
        include_str!("matrices.wgsl"),
        include_str!("store.wgsl"),
        include_str!("columns.wgsl"),
        include_str!("tile.wgsl"),
    ]
}

/// The second half of a product whose sums are split.
pub(crate) static SUM: Shader = Shader {
    name: "gemm_sum",
    sources: &[ACTIVATED_ONLY, prelude::ELEMENTS, "#endif", PARAMS, include_str!("sum.wgsl")],
    bindings: run::BINDINGS.split_at(5).0,
    params: size_of::<Params>(),
    variants: || {
        let plain = ShaderVariant::basic().into_iter().map(|v| v.clone().flag(tile::WIDE, v.vector == 4));
        let wide = plain.clone().filter(|variant| variant.vector == 4);
        plain.chain(wide.flat_map(feed_forward::with_both_ends)).collect()
    },
};

/// A matrix product on a GPU: `out = x · weightᵀ + bias + residual`.
#[derive(Clone, Copy, Debug)]
pub struct GpuProduct<'a> {
    /// `[rows, inputs]`
    pub x: &'a Array,
    /// `[outputs, inputs]`
    pub weight: &'a PackedWeight,
    /// `[outputs]` of `f32`, added to each row.
    pub bias: Option<&'a Array>,
    /// `[rows, outputs]`, added.
    pub residual: Option<&'a Array>,
    /// Add the previous contents of the output.
    pub accumulate: bool,
}

/// Computes a product to `out` `[rows, outputs]`, with sums in `f32`.
///
/// # Errors
/// No memory, a lost GPU, a command that it refused.
///
/// # Panics
/// If the length of an array disagrees, the bias is not of `f32`, or another array is of another dtype than `x`.
pub fn gemm(product: &GpuProduct<'_>, out: &mut Array) -> Result<(), GpuError> {
    let GpuProduct { x, weight, bias, residual, accumulate } = *product;
    assert_eq!(weight.terms(), weight.inputs(), "the weight of a convolution");
    let addends = Addends { bias, vector: None, residual, accumulate };
    matrices(Method::best(x.gpu()), x, weight, &addends, usize::MAX, out)
}

/// As [`gemm`], by a given method, with a vector for every `pixels` rows.
pub(crate) fn matrices(
    method: Method,
    x: &Array,
    weight: &PackedWeight,
    addends: &Addends<'_>,
    pixels: usize,
    out: &mut Array,
) -> Result<(), GpuError> {
    matrices_activated(method, x, weight, addends, pixels, None, out)
}

/// As [`matrices`]. The sums with all that is added go through an activation, if there is one.
fn matrices_activated(
    method: Method,
    x: &Array,
    weight: &PackedWeight,
    addends: &Addends<'_>,
    pixels: usize,
    activation: Option<Activation>,
    out: &mut Array,
) -> Result<(), GpuError> {
    let weight = &weight.ready()?;
    let (inputs, outputs) = (weight.inputs(), weight.outputs());
    assert!(x.len().is_multiple_of(inputs), "{} values are not rows of {inputs}", x.len());
    let rows = x.len() / inputs;
    addends.assert_lengths(x, rows, rows.div_ceil(pixels), outputs, out);
    let max_rows =
        run::rows_at_once(x.gpu(), inputs.max(outputs) * x.dtype().size(), weight.terms() * outputs);
    // A vector belongs to a whole image.
    let max_rows = if addends.vector.is_none() || max_rows >= rows { max_rows } else { max_rows.min(pixels) };
    let mut row = 0;
    while row < rows {
        let mut here = max_rows.min(rows - row);
        if addends.vector.is_some() && max_rows < rows {
            here = here.min(pixels - row % pixels);
        }
        let run = ProductRun {
            shader: &GEMM,
            method,
            x,
            x_part: row * inputs..(row + here) * inputs,
            weight,
            addends,
            activation,
            rows: row..row + here,
            first_image: row / pixels,
            images: ImageParams { pixels: pixels.min(u32::MAX as usize) as u32, ..ImageParams::default() },
        };
        run.record(out)?;
        row += here;
    }
    Ok(())
}
