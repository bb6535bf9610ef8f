//! The kernel for GPUs.

use super::{Rotary, RotaryPairing};
use crate::DType;
use crate::gpu::{Array, BindingAccess, Dispatch, GpuError, Shader, ShaderVariant, in_rows, prelude};
use bytemuck::{Pod, Zeroable};

/// Threads of a workgroup.
const THREADS: usize = 256;

/// The flag for pairs of a channel of each half.
const HALVES: &str = "HALVES";

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Params {
    count: u32,
    units: u32,
    heads: u32,
    width: u32,
    x_first: u32,
    table_first: u32,
    pad: [u32; 2],
}

pub(crate) static ROTARY: Shader = Shader {
    name: "rotary",
    sources: &[prelude::ELEMENTS, include_str!("rotary.wgsl")],
    bindings: &[BindingAccess::Write, BindingAccess::Read],
    params: size_of::<Params>(),
    variants: || {
        let of = |dtype| [1, 4].map(|vector| ShaderVariant::new(dtype, vector).flag("SCALAR", vector == 1));
        let all = [DType::F32, DType::F16].into_iter().flat_map(of);
        all.flat_map(|variant| [false, true].map(|halves| variant.clone().flag(HALVES, halves))).collect()
    },
};

/// As [`super::rotary`]; the table is `f32`.
///
/// # Errors
/// A lost GPU, a command that it refused.
///
/// # Panics
/// As [`super::rotary`], and if the table is not `f32`.
pub fn rotary(shape: Rotary, x: &mut Array, table: &Array) -> Result<(), GpuError> {
    shape.assert_lengths(x.len(), table.len());
    assert_eq!(table.dtype(), DType::F32, "a table of another dtype");
    let Rotary { batch, tokens, heads, width, pairing } = shape;
    let gpu = x.gpu().clone();
    let halves = pairing == RotaryPairing::Halves;
    // A thread takes whole vectors of each half, or whole pairs.
    let aligned = if halves { width / 2 } else { width };
    let vector = if aligned.is_multiple_of(4) { 4 } else { 1 };
    let variant = ShaderVariant::new(x.dtype(), vector).flag("SCALAR", vector == 1).flag(HALVES, halves);
    let units = if halves || vector == 1 { width / 2 / vector as usize } else { width / 4 };
    let row = heads * width;
    let piece = gpu.rows_at_once((row * x.dtype().size()).max(width * size_of::<f32>()));
    let own = if table.len() == tokens * width { 0 } else { tokens };
    for sequence in 0..batch {
        for token in (0..tokens).step_by(piece) {
            let here = piece.min(tokens - token);
            let (to, x_first) = x.window((sequence * tokens + token) * row, here * row);
            let (from, table_first) = table.window((sequence * own + token) * width, here * width);
            let count = here * heads * units;
            gpu.dispatch(&Dispatch {
                shader: &ROTARY,
                variant: variant.clone(),
                arrays: &[to, from],
                params: Params {
                    count: count as u32,
                    units: units as u32,
                    heads: heads as u32,
                    width: width as u32,
                    x_first,
                    table_first,
                    pad: [0; 2],
                },
                groups: in_rows(count.div_ceil(THREADS)),
                flops: 0,
            })?;
        }
    }
    Ok(())
}
