//! The kernel for GPUs.

use crate::gpu::{Array, BindingAccess, Dispatch, GpuError, Shader, ShaderVariant, in_rows, prelude};
use bytemuck::{Pod, Zeroable};

/// Threads of a workgroup.
const THREADS: usize = 256;

/// The flag for a gated sum.
const GATED: &str = "GATED";

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Params {
    count: u32,
    width: u32,
    tokens: u32,
    skipped: u32,
    x_first: u32,
    other_first: u32,
    vector_first: u32,
    pad: u32,
}

pub(crate) static MODULATION: Shader = Shader {
    name: "modulation",
    sources: &[prelude::ELEMENTS, include_str!("modulation.wgsl")],
    bindings: &[BindingAccess::Write, BindingAccess::Read, BindingAccess::Read],
    params: size_of::<Params>(),
    variants: || {
        let both = |variant: ShaderVariant| [false, true].map(|gated| variant.clone().flag(GATED, gated));
        ShaderVariant::basic().into_iter().flat_map(both).collect()
    },
};

/// As [`super::modulate`].
///
/// # Errors
/// A lost GPU, a command that it refused.
///
/// # Panics
/// As [`super::modulate`], and if a dtype disagrees.
pub fn modulate(x: &mut Array, scale: &Array, shift: &Array, batch: usize) -> Result<(), GpuError> {
    run(x, shift, scale, batch, false)
}

/// As [`super::add_gated`].
///
/// # Errors
/// As [`modulate`].
///
/// # Panics
/// As [`super::add_gated`], and if a dtype disagrees.
pub fn add_gated(x: &mut Array, y: &Array, gate: &Array, batch: usize) -> Result<(), GpuError> {
    assert_eq!(x.len(), y.len(), "sum of different lengths");
    run(x, y, gate, batch, true)
}

fn run(x: &mut Array, other: &Array, vector: &Array, batch: usize, gated: bool) -> Result<(), GpuError> {
    let vectors = if gated { [vector.len(); 2] } else { [vector.len(), other.len()] };
    let Some(channels) = super::assert_lengths(x.len(), vectors, batch) else { return Ok(()) };
    assert!(x.dtype() == other.dtype() && x.dtype() == vector.dtype(), "vectors of other dtypes");
    let gpu = x.gpu().clone();
    let variant = ShaderVariant::of_width(x.dtype(), channels).flag(GATED, gated);
    let width = channels / variant.vector as usize;
    let rows = x.len() / channels;
    let tokens = rows / batch;
    // There are no more sequences than tokens, so their vectors fit too.
    let piece = gpu.rows_at_once(channels * x.dtype().size());
    for row in (0..rows).step_by(piece) {
        let here = piece.min(rows - row);
        let (sequence, last) = (row / tokens, (row + here - 1) / tokens);
        let own = [sequence * channels, (last + 1 - sequence) * channels];
        let (to, x_first) = x.window(row * channels, here * channels);
        let (vector, vector_first) = vector.window(own[0], own[1]);
        let (other, other_first) =
            if gated { other.window(row * channels, here * channels) } else { other.window(own[0], own[1]) };
        let count = here * width;
        gpu.dispatch(&Dispatch {
            shader: &MODULATION,
            variant: variant.clone(),
            arrays: &[to, other, vector],
            params: Params {
                count: count as u32,
                width: width as u32,
                tokens: tokens as u32,
                skipped: (row % tokens) as u32,
                x_first: x_first / variant.vector,
                other_first: other_first / variant.vector,
                vector_first: vector_first / variant.vector,
                pad: 0,
            },
            groups: in_rows(count.div_ceil(THREADS)),
            flops: 0,
        })?;
    }
    Ok(())
}
