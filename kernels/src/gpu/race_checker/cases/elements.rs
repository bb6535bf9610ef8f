//! Ops on single elements, and the shaders that measure an adapter.

use super::{BOTH, Case, array, compared, zeros};
use crate::DType;
use crate::activation::{Activation, Gate, gpu as activation};
use crate::elementwise::gpu as elementwise;
use crate::gpu::{Array, Dispatch, Gpu, peak};
use crate::modulation::gpu as modulation;
use crate::quant::gpu::GpuBlocks;
use crate::rotary::gpu::rotary;
use crate::rotary::{Rotary, RotaryPairing};
use crate::sampling::gpu as sampling;
use crate::testing::{random, to_bytes};
use crate::upsample::gpu::nearest;

pub(super) const CASES: &[Case] = &[
    compared("activations", activations),
    compared("gates", gates),
    compared("sums", sums),
    compared("sums by channel", sums_by_channel),
    compared("copies", copies),
    compared("guidance", guidance),
    compared("latents", latents),
    compared("modulation", modulations),
    compared("rotary", rotations),
    compared("upsample", upsample),
    compared("dequantize", dequantize),
    compared("peak", peaks),
];

const ACTIVATIONS: [Activation; 6] = [
    Activation::Silu,
    Activation::Gelu,
    Activation::QuickGelu,
    Activation::Relu,
    Activation::LeakyRelu,
    Activation::GeluTanh,
];

fn activations(gpu: &Gpu) {
    for dtype in BOTH {
        for kind in ACTIVATIONS {
            activation::activate(kind, &mut array(gpu, dtype, 1, 1030)).unwrap();
        }
        elementwise::scale(&mut array(gpu, dtype, 1, 3), 2.0).unwrap();
    }
}

fn gates(gpu: &Gpu) {
    for dtype in BOTH {
        for width in [7, 24] {
            let x = array(gpu, dtype, 1, 2 * width * 50);
            for gate in [Gate::GEGLU, Gate::SWIGLU] {
                activation::gated(gate, &x, width, &mut zeros(gpu, dtype, width * 50)).unwrap();
            }
        }
        for kind in [Activation::Silu, Activation::Gelu, Activation::GeluTanh] {
            let gates = array(gpu, dtype, 2, 1030);
            activation::multiply_activated(kind, &mut array(gpu, dtype, 1, 1030), &gates).unwrap();
        }
    }
}

fn sums(gpu: &Gpu) {
    for dtype in BOTH {
        let b = array(gpu, dtype, 2, 1030);
        elementwise::add_assign(&mut array(gpu, dtype, 1, 1030), &b).unwrap();
        elementwise::parameter_free_attention(&mut array(gpu, dtype, 1, 1030), &b).unwrap();
    }
}

fn sums_by_channel(gpu: &Gpu) {
    for dtype in BOTH {
        for channels in [5, 12] {
            for of in [dtype, DType::F32] {
                let vector = array(gpu, of, 2, 3 * channels);
                let mut x = array(gpu, dtype, 1, 3 * 30 * channels);
                elementwise::add_per_channel(&mut x, &vector, 3, channels).unwrap();
                elementwise::prelu(&mut x, &array(gpu, of, 3, channels)).unwrap();
            }
        }
    }
}

fn copies(gpu: &Gpu) {
    for dtype in BOTH {
        for (a, b) in [(3, 6), (4, 8)] {
            let (x, y) = (array(gpu, dtype, 1, 50 * a), array(gpu, dtype, 2, 50 * b));
            let mut both = zeros(gpu, dtype, 50 * (a + b));
            elementwise::concat_channels(&x, a, &y, b, &mut both).unwrap();
            let mut part = zeros(gpu, dtype, 50 * b);
            elementwise::slice_channels(&both, a + b, a..a + b, &mut part).unwrap();
        }
        for len in [333, 1300] {
            let x = array(gpu, dtype, 1, len);
            elementwise::repeat(&x, 2, &mut zeros(gpu, dtype, 2 * len)).unwrap();
            for to in BOTH {
                elementwise::convert(&x, &mut zeros(gpu, to, len)).unwrap();
            }
        }
    }
}

fn guidance(gpu: &Gpu) {
    for dtype in BOTH {
        for len in [333, 1100] {
            let x = array(gpu, dtype, 1, 2 * len);
            elementwise::guidance(&x, 7.5, &mut zeros(gpu, dtype, len)).unwrap();
        }
    }
}

fn latents(gpu: &Gpu) {
    let arrays: Vec<Array> = (1..=6).map(|seed| array(gpu, DType::F32, seed, 1102)).collect();
    for terms in 1..=arrays.len() {
        let terms: Vec<(f64, &Array)> = arrays[..terms].iter().map(|array| (0.5, array)).collect();
        sampling::linear_combination(&terms, &mut zeros(gpu, DType::F32, 1102)).unwrap();
    }
    sampling::select(&arrays[0], &mut array(gpu, DType::F32, 7, 1102), &arrays[1]).unwrap();
    for len in [5, 1102] {
        assert!(sampling::all_finite(&array(gpu, DType::F32, 1, len)).unwrap().finish().unwrap());
    }
    for dtype in BOTH {
        for width in [6, 8] {
            let x = array(gpu, dtype, 1, 5 * width);
            sampling::index_select(&x, width, &[1, 2, 0, 4], &mut zeros(gpu, dtype, 4 * width)).unwrap();
        }
    }
}

fn modulations(gpu: &Gpu) {
    for dtype in BOTH {
        for channels in [5, 12] {
            let (scale, shift) = (array(gpu, dtype, 2, 3 * channels), array(gpu, dtype, 3, 3 * channels));
            let mut x = array(gpu, dtype, 1, 3 * 30 * channels);
            modulation::modulate(&mut x, &scale, &shift, 3).unwrap();
            let y = array(gpu, dtype, 4, 3 * 30 * channels);
            modulation::add_gated(&mut x, &y, &scale, 3).unwrap();
        }
    }
}

fn rotations(gpu: &Gpu) {
    for dtype in BOTH {
        for pairing in [RotaryPairing::Halves, RotaryPairing::Interleaved] {
            for width in [6, 16] {
                let shape = Rotary { batch: 2, tokens: 9, heads: 3, width, pairing };
                let mut x = array(gpu, dtype, 1, 2 * 9 * 3 * width);
                rotary(shape, &mut x, &array(gpu, DType::F32, 2, 9 * width)).unwrap();
                rotary(shape, &mut x, &array(gpu, DType::F32, 2, 2 * 9 * width)).unwrap();
            }
        }
    }
}

fn upsample(gpu: &Gpu) {
    for dtype in BOTH {
        for channels in [3, 8] {
            let x = array(gpu, dtype, 1, 2 * 5 * 6 * channels);
            for [height, width] in [[10, 12], [7, 5]] {
                let mut out = zeros(gpu, dtype, 2 * height * width * channels);
                nearest(&x, [2, 5, 6, channels], [height, width], &mut out).unwrap();
            }
        }
    }
}

/// Every format, with outputs past the last in the panel; of values so small that scales are denormal as `f16`, too.
fn dequantize(gpu: &Gpu) {
    // A panel of nine taps is too large for small bindings.
    let taps = if gpu.binding_limit() <= 16 << 10 { 1 } else { 9 };
    for (to, factor) in [(DType::F32, 1.0), (DType::F32, 1e-3), (DType::F16, 1.0)] {
        for codec in latent_dtype::block::CODECS {
            let format = codec.dtype();
            let (inputs, taps) = if format.block_len() == 32 { (32, taps) } else { (256, 1) };
            let values: Vec<f32> = random(1, 66 * inputs * taps).iter().map(|v| v * factor).collect();
            let blocks = GpuBlocks { format, to, outputs: 66, inputs, taps };
            if blocks.fits(gpu) {
                let words = Array::words(gpu, &to_bytes(&values, format)).unwrap();
                blocks.dequantized(&words).unwrap();
            }
        }
    }
}

/// Two workgroups for two rounds.
fn peaks(gpu: &Gpu) {
    let params = [2, 0.5f32.to_bits(), 0.25f32.to_bits(), 0];
    for variant in (peak::MULTIPLY_ADD.variants)() {
        let out = zeros(gpu, variant.dtype, 2 * 256 * 4);
        let arrays = &[out.whole()];
        let dispatch =
            Dispatch { shader: &peak::MULTIPLY_ADD, variant, arrays, params, groups: [2, 1, 1], flops: 0 };
        gpu.dispatch(&dispatch).unwrap();
    }
    for variant in (peak::MULTIPLY_MATRICES.variants)() {
        let out = zeros(gpu, DType::F32, 2 * 8 * 32);
        let arrays = &[out.whole()];
        let dispatch = Dispatch {
            shader: &peak::MULTIPLY_MATRICES,
            variant,
            arrays,
            params,
            groups: [2, 1, 1],
            flops: 0,
        };
        gpu.dispatch(&dispatch).unwrap();
    }
    for variant in (peak::STREAM.variants)() {
        let (x, out) = (array(gpu, DType::F32, 1, 1200), zeros(gpu, DType::F32, 1200));
        let (params, arrays) = ([300, 0, 0, 0], &[x.whole(), out.whole()]);
        let dispatch =
            Dispatch { shader: &peak::STREAM, variant, arrays, params, groups: [2, 1, 1], flops: 0 };
        gpu.dispatch(&dispatch).unwrap();
    }
}
