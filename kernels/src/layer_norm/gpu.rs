//! The kernel for GPUs.

use crate::DType;
use crate::gpu::{Array, BindingAccess, Dispatch, GpuError, Shader, in_rows, prelude};
use bytemuck::{Pod, Zeroable};

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Params {
    rows: u32,
    width: u32,
    x_first: u32,
    out_first: u32,
    eps: f32,
    tokens: u32,
    skipped: u32,
    vector_first: u32,
    shift_first: u32,
    pad: [u32; 3],
}

pub(crate) static LAYER_NORM: Shader = Shader {
    name: "layer_norm",
    sources: &[prelude::ROWS, include_str!("layer_norm.wgsl")],
    bindings: &[BindingAccess::Read, BindingAccess::Read, BindingAccess::Read, BindingAccess::Write],
    params: size_of::<Params>(),
    variants: || {
        let modulated = prelude::row_variants().into_iter().map(|variant| variant.flag(MODULATED, true));
        prelude::row_variants().into_iter().chain(modulated).collect()
    },
};

/// The flag for a scale and a shift of each sequence in place of weight and bias.
const MODULATED: &str = "MODULATED";

/// As [`super::layer_norm`]; `weight` and `bias` are `f32`.
///
/// # Errors
/// A lost GPU, a command that it refused.
///
/// # Panics
/// As [`super::layer_norm`], and if a dtype disagrees.
pub fn layer_norm(
    x: &Array,
    weight: &Array,
    bias: &Array,
    eps: f32,
    out: &mut Array,
) -> Result<(), GpuError> {
    let width = weight.len();
    super::assert_lengths(x.len(), width, bias.len(), out.len());
    assert_eq!((weight.dtype(), bias.dtype()), (DType::F32, DType::F32), "weight and bias");
    run(x, [weight, bias], None, width, eps, out)
}

/// As [`super::layer_norm_modulated`].
///
/// # Errors
/// As [`layer_norm`].
///
/// # Panics
/// As [`super::layer_norm_modulated`], and if a dtype disagrees.
pub fn layer_norm_modulated(
    x: &Array,
    scale: &Array,
    shift: &Array,
    batch: usize,
    eps: f32,
    out: &mut Array,
) -> Result<(), GpuError> {
    let lengths = [scale.len(), shift.len()];
    let Some(width) = super::assert_modulated_lengths(x.len(), lengths, batch, out.len()) else {
        return Ok(());
    };
    assert_eq!((scale.dtype(), shift.dtype()), (x.dtype(), x.dtype()), "scale and shift");
    run(x, [scale, shift], Some(batch), width, eps, out)
}

/// A norm with the weight and the bias of all rows, or with the vectors of each of `batch` sequences.
fn run(
    x: &Array,
    vectors: [&Array; 2],
    batch: Option<usize>,
    width: usize,
    eps: f32,
    out: &mut Array,
) -> Result<(), GpuError> {
    assert_eq!(out.dtype(), x.dtype(), "output of another dtype");
    let gpu = x.gpu().clone();
    let (variant, rows_per_group) = prelude::row_variant(&gpu, x.dtype(), width);
    let variant = variant.flag(MODULATED, batch.is_some());
    let vector = variant.vector;
    let rows = x.len() / width;
    let tokens = rows / batch.unwrap_or(1).max(1);
    // A sequence has a row at least, so the vectors of these rows fit, too.
    let piece = gpu.rows_at_once(width * x.dtype().size());
    for row in (0..rows).step_by(piece) {
        let here = piece.min(rows - row);
        let (from, x_first) = x.window(row * width, here * width);
        let (to, out_first) = out.window(row * width, here * width);
        let (sequence, last) = (row / tokens, (row + here - 1) / tokens);
        let [(weight, vector_first), (bias, shift_first)] =
            vectors.map(|vector| vector.window(sequence * width, (last + 1 - sequence) * width));
        gpu.dispatch(&Dispatch {
            shader: &LAYER_NORM,
            variant: variant.clone(),
            arrays: &[from, weight, bias, to],
            params: Params {
                rows: here as u32,
                width: width as u32 / vector,
                x_first: x_first / vector,
                out_first: out_first / vector,
                eps,
                tokens: tokens as u32,
                skipped: (row % tokens) as u32,
                vector_first: vector_first / vector,
                shift_first: shift_first / vector,
                pad: [0; 3],
            },
            groups: in_rows(here.div_ceil(rows_per_group)),
            flops: 0,
        })?;
    }
    Ok(())
}
