//! The kernel for GPUs, in three shaders: mean and spread of each channel in pieces of the image; the same of each group,
//! from the pieces of its channels; and the remaining affine map of each channel.
//!
//! An image that is larger than a binding is bound in parts, one after the other. All parts have the same pieces, and the
//! statistics of a piece are merged with those of the same piece in earlier parts.

use super::GroupNormParams as GroupNorm;
use crate::DType;
use crate::gpu::{Array, BindingAccess, Dispatch, GpuError, Shader, ShaderVariant, prelude};
use bytemuck::{Pod, Zeroable};

/// Vectors of a pixel that a workgroup takes.
const LANES: usize = 16;
/// Pixels that a workgroup takes at once.
const ROWS: usize = 16;

/// Minimum pixels of a piece: fewer are not worth a workgroup.
const MIN_PIECE: usize = 128;

/// Maximum pieces of an image: enough for the largest GPUs, and few enough for one workgroup to merge.
const MAX_PIECES: usize = 512;

/// Pixels that a workgroup of the map takes.
const TILE: usize = ROWS * 4;

/// Maximum workgroups in one dimension.
const MAX_GROUPS: usize = 65535;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct StatisticsParams {
    width: u32,
    count: u32,
    piece: u32,
    pieces: u32,
    before: u32,
    x_first: u32,
    state_first: u32,
    pad: u32,
}

pub(crate) static STATISTICS: Shader = Shader {
    name: "group_norm_statistics",
    sources: &[include_str!("statistics.wgsl")],
    bindings: &[BindingAccess::Read, BindingAccess::Write],
    params: size_of::<StatisticsParams>(),
    variants: ShaderVariant::basic,
};

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct FinishParams {
    channels: u32,
    width: u32,
    pieces: u32,
    piece: u32,
    before: u32,
    last: u32,
    state_first: u32,
    out_first: u32,
    count: f32,
    eps: f32,
    pad: [u32; 2],
}

pub(crate) static FINISH: Shader = Shader {
    name: "group_norm_finish",
    sources: &[include_str!("finish.wgsl")],
    bindings: &[BindingAccess::Read, BindingAccess::Read, BindingAccess::Write],
    params: size_of::<FinishParams>(),
    variants: || vec![ShaderVariant::new(DType::F32, 1)],
};

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct ApplyParams {
    width: u32,
    count: u32,
    x_first: u32,
    out_first: u32,
    statistic_first: u32,
    pad: [u32; 3],
}

pub(crate) static APPLY: Shader = Shader {
    name: "group_norm_apply",
    sources: &[prelude::ELEMENTS, include_str!("apply.wgsl")],
    bindings: &[BindingAccess::Read, BindingAccess::Read, BindingAccess::Read, BindingAccess::Write],
    params: size_of::<ApplyParams>(),
    variants: || {
        let both = |v: ShaderVariant| [v.clone(), v.flag("SILU", true)];
        ShaderVariant::basic().into_iter().flat_map(both).collect()
    },
};

/// As [`super::group_norm`]: `(x - mean) / sqrt(variance + eps) * weight + bias` with mean and variance over each image's
/// groups, then SiLU if asked for. `x` and `out` are `[batch, positions, channels]`, `weight` and `bias` `[channels]` in
/// `f32`.
///
/// # Errors
/// No memory, a lost GPU, a command that it refused.
///
/// # Panics
/// If the length of an array disagrees with `shape`, the groups do not divide the channels, or the dtypes differ.
pub fn group_norm(
    shape: GroupNorm,
    x: &Array,
    weight: &Array,
    bias: &Array,
    out: &mut Array,
) -> Result<(), GpuError> {
    let GroupNorm { channels, silu, .. } = shape;
    shape.assert_lengths(x.len(), weight.len(), bias.len(), out.len());
    assert_eq!(out.dtype(), x.dtype(), "output of another dtype");
    assert!(weight.dtype() == DType::F32 && bias.dtype() == DType::F32, "weight and bias are f32");
    let parts = ImageParts::new(shape, x);
    let statistics = statistics(shape, &parts, x, weight)?;
    let variant = ShaderVariant::of_width(x.dtype(), channels);
    let width = channels / variant.vector as usize;
    parts.each(shape, |part| {
        let (from, x_first) = x.window(part.start, part.len);
        let (to, out_first) = out.window(part.start, part.len);
        let (means, statistic_first) =
            statistics.window(part.image * 2 * channels, part.images * 2 * channels);
        x.gpu().dispatch(&Dispatch {
            shader: &APPLY,
            variant: variant.clone().flag("SILU", silu),
            arrays: &[from, means, bias.whole(), to],
            params: ApplyParams {
                width: width as u32,
                count: part.pixels as u32,
                x_first: x_first / variant.vector,
                out_first: out_first / variant.vector,
                statistic_first: statistic_first / variant.vector,
                pad: [0; 3],
            },
            groups: [width.div_ceil(LANES), part.pixels.div_ceil(TILE), part.images].map(|n| n as u32),
            flops: 0,
        })
    })
}

/// The mean, then the scale (`weight` over the standard deviation), of each channel of each image: `[batch, 2, channels]`
/// in `f32`.
fn statistics(shape: GroupNorm, parts: &ImageParts, x: &Array, weight: &Array) -> Result<Array, GpuError> {
    let GroupNorm { batch, positions, channels, groups, eps, .. } = shape;
    let gpu = x.gpu();
    let ImageParts { pixels, piece, pieces, .. } = *parts;
    // Mean, then squared distances, of each channel of each piece.
    let image_len = pieces * 2 * channels;
    let state = Array::scratch(gpu, DType::F32, batch * image_len)?;
    let variant = ShaderVariant::of_width(x.dtype(), channels);
    let width = channels / variant.vector as usize;
    parts.each(shape, |part| {
        let (from, x_first) = x.window(part.start, part.len);
        let (to, state_first) = state.window(part.image * image_len, part.images * image_len);
        gpu.dispatch(&Dispatch {
            shader: &STATISTICS,
            variant: variant.clone(),
            arrays: &[from, to],
            params: StatisticsParams {
                width: width as u32,
                count: part.pixels as u32,
                piece: piece as u32,
                pieces: pieces as u32,
                before: (part.index * piece) as u32,
                x_first: x_first / variant.vector,
                state_first: state_first / variant.vector,
                pad: 0,
            },
            groups: [width.div_ceil(LANES), part.pixels.div_ceil(piece), part.images].map(|n| n as u32),
            flops: 0,
        })
    })?;

    let out = Array::scratch(gpu, DType::F32, batch * 2 * channels)?;
    let earlier = (positions - 1) / pixels;
    for image in (0..batch).step_by(parts.images) {
        let here = parts.images.min(batch - image);
        let (from, state_first) = state.window(image * image_len, here * image_len);
        let (to, out_first) = out.window(image * 2 * channels, here * 2 * channels);
        gpu.dispatch(&Dispatch {
            shader: &FINISH,
            variant: ShaderVariant::new(DType::F32, 1),
            arrays: &[from, weight.whole(), to],
            params: FinishParams {
                channels: channels as u32,
                width: (channels / groups) as u32,
                pieces: pieces as u32,
                piece: piece as u32,
                before: (earlier * piece) as u32,
                last: (positions - earlier * pixels) as u32,
                state_first,
                out_first,
                count: (positions * (channels / groups)) as f32,
                eps,
                pad: [0; 2],
            },
            groups: [groups as u32, here as u32, 1],
            flops: 0,
        })?;
    }
    Ok(out)
}

/// How images are split: into runs of whole images, or each into parts.
struct ImageParts {
    /// Images that are bound at once; one if it is split.
    images: usize,
    /// Pixels of each part of an image; the last may have fewer.
    pixels: usize,
    /// Pixels of each piece of a part.
    piece: usize,
    /// Pieces of a part.
    pieces: usize,
}

/// The images, or the part of one, that are bound at once.
struct ImagePart {
    image: usize,
    images: usize,
    /// Its index in the image.
    index: usize,
    /// Pixels of each image that are bound.
    pixels: usize,
    start: usize,
    len: usize,
}

impl ImageParts {
    fn new(shape: GroupNorm, x: &Array) -> ImageParts {
        let GroupNorm { positions, channels, .. } = shape;
        let gpu = x.gpu();
        let fit = gpu.rows_at_once(channels * x.dtype().size()).min(MAX_GROUPS * TILE);
        // Pieces whose statistics can be bound.
        let room = gpu.rows_at_once(2 * channels * DType::F32.size());
        let most = fit.min(positions);
        let piece = most.div_ceil(room.min(MAX_PIECES)).max(MIN_PIECE).min(most);
        if positions <= fit {
            let pieces = positions.div_ceil(piece);
            let images = (fit / positions).min(room / pieces).min(MAX_GROUPS);
            ImageParts { images, pixels: positions, piece, pieces }
        } else {
            let pieces = fit / piece;
            ImageParts { images: 1, pixels: pieces * piece, piece, pieces }
        }
    }

    /// Calls `op` for each part, in order.
    fn each(&self, shape: GroupNorm, op: impl Fn(ImagePart) -> Result<(), GpuError>) -> Result<(), GpuError> {
        let GroupNorm { batch, positions, channels, .. } = shape;
        for image in (0..batch).step_by(self.images) {
            let images = self.images.min(batch - image);
            for (index, first) in (0..positions).step_by(self.pixels).enumerate() {
                let pixels = self.pixels.min(positions - first);
                let (start, len) = ((image * positions + first) * channels, images * pixels * channels);
                op(ImagePart { image, images, index, pixels, start, len })?;
            }
        }
        Ok(())
    }
}
