//! Products that end in a gate on GPUs, against the specification.

use super::*;
use crate::activation::{Activation, Gate, reference as activation};
use crate::gpu::testing::{check, gpus};
use crate::gpu::{Array, Gpu};
use gpu::tile::Method;
use gpu::{GpuGatedWeights, GpuLayer, PackedWeight};

const GATES: [Gate; 3] =
    [Gate::GEGLU, Gate::SWIGLU, Gate { activation: Activation::GeluTanh, gate_first: false }];

/// A gated product: `rows` of `inputs` to `width` values and gates.
#[derive(Clone, Copy, Debug)]
struct Case {
    shape: [usize; 3],
    dtype: DType,
    /// Whether the weights become `f16`.
    half: bool,
    gate: Gate,
    /// Whether values and gates are a layer each.
    is_pair: bool,
    has_bias: bool,
    method: Option<Method>,
}

impl Case {
    /// GEGLU of a layer with a bias, in `f16`.
    fn new(shape: [usize; 3]) -> Case {
        let (dtype, gate) = (DType::F16, Gate::GEGLU);
        Case { shape, dtype, half: false, gate, is_pair: false, has_bias: true, method: None }
    }

    /// Runs it on a GPU, of weights `[2 width, inputs]`.
    fn run(&self, x: &Array, bytes: &[u8], bias: &[f32], out: &mut Array) {
        let Case { shape: [_, width, inputs], dtype, half, gate, is_pair, has_bias, method } = *self;
        let gpu = x.gpu();
        let layer = |part: usize, of: usize| {
            let len = bytes.len() / of;
            let weight = WeightBytes::new(dtype, &bytes[part * len..][..len]);
            let matrix = WeightMatrix::new(weight, 2 * width / of, inputs);
            let bias = &bias[part * bias.len() / of..][..bias.len() / of];
            let packed = PackedWeight::new(gpu, &matrix, half).unwrap();
            (packed, Array::upload(gpu, DType::F32, bias).unwrap())
        };
        let layers = if is_pair { vec![layer(0, 2), layer(1, 2)] } else { vec![layer(0, 1)] };
        let of = |i: usize| GpuLayer { weight: &layers[i].0, bias: has_bias.then_some(&layers[i].1) };
        let weights = match (is_pair, gate.gate_first) {
            (false, _) => GpuGatedWeights::Fused(of(0), gate),
            (true, false) => {
                GpuGatedWeights::Pair { values: of(0), gates: of(1), activation: gate.activation }
            }
            (true, true) => {
                GpuGatedWeights::Pair { values: of(1), gates: of(0), activation: gate.activation }
            }
        };
        match method {
            Some(method) => gpu::gated_by(method, x, weights, out),
            None => gpu::gemm_gated(x, weights, out),
        }
        .unwrap_or_else(|error| panic!("{self:?}: {error}"));
    }

    /// Compares it with the specification.
    fn check(&self, name: &str, gpu: &Gpu) {
        let Case { shape: [rows, width, inputs], dtype, half, gate, has_bias, .. } = *self;
        let (x, bias) = (random(1, rows * inputs), random(3, 2 * width));
        let bytes = to_bytes(&random(2, 2 * width * inputs), dtype);
        let values = WeightBytes::new(dtype, &bytes).to_f32();
        let mut both = reference::gemm(&x, &values, rows, 2 * width, inputs);
        if has_bias {
            both.iter_mut().enumerate().for_each(|(i, v)| *v += bias[i % (2 * width)]);
        }
        let want = activation::gated(gate, &both, width);
        // An error of a sum counts once for the value and once for the gate, times the other.
        let largest = both.iter().fold(1.0f32, |most, v| most.max(v.abs()));
        let mut tolerance = 6e-6 * (inputs as f32).sqrt() * largest;
        if half && dtype != DType::F16 {
            tolerance += 6e-4 * (inputs as f32).sqrt() * largest;
        }
        check(gpu, &[&x], &want, tolerance, &format!("{name} {self:?}"), |arrays| {
            let mut out = Array::scratch(gpu, arrays[0].dtype(), rows * width)?;
            self.run(&arrays[0], &bytes, &bias, &mut out);
            Ok(out)
        });
    }
}

/// SD's feed-forward, the two layers of T5 and Qwen3, gates before values as Flux.2 has them.
#[test]
fn real_feed_forwards() {
    for (name, gpu) in gpus() {
        Case::new([64, 1280, 320]).check(name, &gpu);
        Case { gate: Gate::SWIGLU, has_bias: false, ..Case::new([130, 576, 256]) }.check(name, &gpu);
        for gate in [GATES[2], Gate { activation: Activation::Silu, gate_first: false }] {
            let case = Case { gate, is_pair: true, has_bias: false, ..Case::new([77, 640, 320]) };
            Case { dtype: DType::BF16, ..case }.check(name, &gpu);
        }
    }
}

/// Halves that end within a panel or within a vector, inputs that are no vectors; every dtype, gate and pair.
#[test]
fn gated_products_of_any_shape() {
    let sizes = [1, 3, 4, 16, 20, 36, 64, 65, 100, 128, 132, 200];
    for (name, gpu) in gpus() {
        for (i, rows) in sizes.into_iter().enumerate() {
            for j in 0..3 {
                let width = sizes[(5 * i + 4 * j + 2) % sizes.len()];
                let inputs = sizes[(7 * i + 3 * j + 3) % sizes.len()];
                let dtype = [DType::F32, DType::F16, DType::BF16][(i + j) % 3];
                let (gate, half) = (GATES[(i + 2 * j) % 3], i % 4 == 1 && gpu.has_f16());
                let (is_pair, has_bias) = (i % 2 == 1, j != 1);
                let case = Case { dtype, half, gate, is_pair, has_bias, ..Case::new([rows, width, inputs]) };
                case.check(name, &gpu);
            }
        }
    }
}

/// Tall and wide enough for the large tiles, with remainders; sums long enough to be split.
#[test]
fn gated_products_in_every_tile() {
    for (name, gpu) in gpus() {
        for shape in [
            [16 * 128 + 1, 8 * 128 - 4, 20],
            [64 * 128 - 3, 96, 8],
            [32 * 64 + 7, 4 * 64 + 4, 12],
            [70, 32, 1100],
            [33, 68, 1004],
            [130, 8, 700],
            [20, 4, 4100],
        ] {
            Case::new(shape).check(name, &gpu);
        }
        Case { is_pair: true, gate: Gate::SWIGLU, ..Case::new([33, 68, 1004]) }.check(name, &gpu);
    }
}

/// Blocks are dequantized to the same panels.
#[test]
fn gated_products_of_blocks() {
    for (name, gpu) in gpus() {
        for (dtype, is_pair) in [(DType::Q8_0, false), (DType::Q4_K, true)] {
            let case = Case { dtype, is_pair, ..Case::new([50, 100, 256]) };
            case.check(name, &gpu);
            Case { half: gpu.has_f16(), ..case }.check(name, &gpu);
        }
    }
}

/// Values and gates are matrices of the same subgroup, of each size, with remainders and split sums.
#[test]
fn gated_products_by_emulated_matrices() {
    for (name, gpu) in gpus() {
        for (side, subgroup) in [(16, 32), (8, 32), (8, 8)] {
            let method = Some(Method::Matrices { side, subgroup, cooperative: false });
            for (shape, gate) in
                [([70, 36, 160], GATES[0]), ([65, 8, 32], GATES[1]), ([13, 64, 1536], GATES[0])]
            {
                Case { method, gate, ..Case::new(shape) }.check(name, &gpu);
            }
        }
        // Enough rows and columns for the large tile.
        let method = Some(Method::Matrices { side: 8, subgroup: 32, cooperative: false });
        Case { method, ..Case::new([14 * 64 + 5, 5 * 64 - 4, 32]) }.check(name, &gpu);
    }
}

/// The kernels that a case takes.
fn kernels(gpu: &Gpu, case: &Case) -> Vec<&'static str> {
    let Case { shape: [rows, width, inputs], dtype, .. } = *case;
    let x = Array::upload(gpu, DType::F32, &random(1, rows * inputs)).unwrap();
    let bytes = to_bytes(&random(2, 2 * width * inputs), dtype);
    let mut out = Array::scratch(gpu, DType::F32, rows * width).unwrap();
    let (_, times) = gpu.profile(|| case.run(&x, &bytes, &random(3, 2 * width), &mut out)).unwrap();
    times.iter().map(|kernel| kernel.name).collect()
}

/// The gate is no pass of its own, except where a row of values or of inputs is no vectors, or two layers have another dtype.
#[test]
fn a_gate_belongs_to_its_product() {
    for (_, gpu) in gpus().into_iter().filter(|(name, _)| *name == "full") {
        let pair = |shape| Case { is_pair: true, ..Case::new(shape) };
        for (case, want) in [
            (Case::new([70, 36, 40]), &["gemm"][..]),
            (pair([70, 36, 40]), &["gemm"]),
            (Case { dtype: DType::Q8_0, ..Case::new([9, 100, 64]) }, &["dequantize", "gemm"]),
            (Case::new([3, 36, 520]), &["gemm", "gemm_sum"]),
            (pair([3, 36, 520]), &["gemm", "gemm", "gemm_sum"]),
            (Case::new([9, 6, 40]), &["gemm", "gated"]),
            (pair([9, 8, 42]), &["gemm", "gemm", "multiply_activated"]),
        ] {
            assert_eq!(kernels(&gpu, &case), want, "{case:?}");
        }
    }
}

/// Products that end in an activation: in vectors and not, with split sums, in one binding and in several, where terms are added to
/// those of an earlier command before they go through it.
#[test]
fn products_that_end_in_an_activation() {
    for (name, gpu) in gpus() {
        for ([rows, outputs, inputs], kind) in [
            ([77, 256, 64], Activation::GeluTanh),
            ([35, 68, 20], Activation::LeakyRelu),
            ([9, 70, 40], Activation::Silu),
            ([9, 8, 42], Activation::Relu),
            ([3, 36, 520], Activation::Gelu),
            ([33, 66, 1004], Activation::QuickGelu),
            ([130, 12, 700], Activation::GeluTanh),
        ] {
            let (x, b) = (random(1, rows * inputs), random(3, outputs));
            let bytes = to_bytes(&random(2, outputs * inputs), DType::F16);
            let weight = WeightBytes::new(DType::F16, &bytes);
            let mut want = reference::gemm(&x, &weight.to_f32(), rows, outputs, inputs);
            for (i, v) in want.iter_mut().enumerate() {
                *v = activation::activate(kind, *v + b[i % outputs]);
            }
            let packed = PackedWeight::new(&gpu, &WeightMatrix::new(weight, outputs, inputs), false).unwrap();
            let bias = Array::upload(&gpu, DType::F32, &b).unwrap();
            let what = format!("{name} {kind:?} {rows}x{outputs}x{inputs}");
            check(&gpu, &[&x], &want, 6e-6 * (inputs as f32).sqrt(), &what, |arrays| {
                let mut out = Array::scratch(&gpu, arrays[0].dtype(), rows * outputs)?;
                let layer = GpuLayer { weight: &packed, bias: Some(&bias) };
                gpu::gemm_activated(&arrays[0], layer, kind, &mut out)?;
                Ok(out)
            });
        }
    }
}

#[test]
#[should_panic(expected = "7 outputs are not two halves")]
fn an_odd_number_of_outputs_is_refused() {
    let gpus = gpus();
    let Some((_, gpu)) = gpus.first() else { panic!("without a GPU: 7 outputs are not two halves") };
    let matrix = WeightMatrix::new(WeightBytes::new(DType::F32, &[0; 4 * 28]), 7, 4);
    let weight = &PackedWeight::new(gpu, &matrix, false).unwrap();
    let x = Array::upload(gpu, DType::F32, &[0.0; 4]).unwrap();
    let mut out = Array::scratch(gpu, DType::F32, 3).unwrap();
    let weights = GpuGatedWeights::Fused(GpuLayer { weight, bias: None }, Gate::GEGLU);
    let _ = gpu::gemm_gated(&x, weights, &mut out);
}
