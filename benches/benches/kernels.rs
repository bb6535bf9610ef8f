//! Each op on the shapes of SD 1.5 at 512x512 (UNet with both halves of CFG, and VAE), every instruction set and every
//! algorithm side by side, with the multiply-add peak of the machine measured in the same run. Throughput counts the
//! floating-point operations of the direct algorithm (read "Gelem/s" as GFLOP/s), or the bytes read and written where
//! memory is the limit.
//!
//!     cargo bench -p latent-benches --bench kernels                         all of it, a few minutes
//!     cargo bench -p latent-benches --bench kernels -- 'conv2d.*winograd'   a part of it
//!     cargo bench -p latent-benches --bench kernels -- --test               each of it once

use criterion::measurement::WallTime;
use criterion::{
    BatchSize, BenchmarkGroup, BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group,
    criterion_main,
};
use latent_kernels::activation::{Activation, activate_with, geglu_with};
use latent_kernels::attention::{Attention, attention_with};
use latent_kernels::conv2d::{Algorithm, ConvWeight, Convolution, Padding, conv2d_fused_with};
use latent_kernels::gemm::{Product, WeightMatrix, gemm_many_with, gemm_with};
use latent_kernels::group_norm::{GroupNormParams, Statistics, apply_with};
use latent_kernels::layer_norm::layer_norm_with;
use latent_kernels::simd::Isa;
use latent_kernels::sys::peak::CpuPeak;
use latent_kernels::{DType, Precision, WeightBytes, quant};
use std::hint::black_box;
use std::time::Duration;

/// Maximum operations of a run on the scalar instruction set: about half a second.
const MAX_SCALAR_OPERATIONS: usize = 500_000_000;
/// Operations per value of a normalisation or an activation, for that limit.
const PER_VALUE: usize = 32;

/// The instruction sets to run a number of operations on.
fn isas(operations: usize) -> impl Iterator<Item = Isa> {
    Isa::available().filter(move |isa| *isa != Isa::Scalar || operations <= MAX_SCALAR_OPERATIONS)
}

/// f16 weights of small values: zeros would change the clock of some CPUs.
fn weights(n: usize) -> Vec<u8> {
    (0..n).flat_map(|i| (0x2c00u16 + (i % 977) as u16).to_le_bytes()).collect()
}

fn matrix(n: usize, k: usize) -> WeightMatrix {
    WeightMatrix::new(WeightBytes::new(DType::F16, &weights(n * k)), n, k)
}

/// The weight of a 3x3 convolution.
fn convolution(outputs: usize, inputs: usize, stride: usize) -> ConvWeight {
    let bytes = weights(outputs * inputs * 9);
    ConvWeight::new(WeightBytes::new(DType::F16, &bytes), outputs, inputs, 3, stride, Padding::all(1))
}

fn values(n: usize) -> Vec<f32> {
    (0..n).map(|i| (i % 1013) as f32 * 1e-3 - 0.5).collect()
}

/// A group with few and short samples: there are many benches, and each run takes milliseconds.
fn group<'a>(c: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = c.benchmark_group(name);
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    group.warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_secs(1));
    group
}

fn bench_peak(c: &mut Criterion) {
    let mut group = c.benchmark_group("peak");
    for precision in Precision::ALL {
        let peak = CpuPeak::of(*precision);
        group.throughput(Throughput::Elements(peak.operations()));
        let name = format!("{precision}: {}, all threads, {}", peak.instruction(), Isa::best());
        group.bench_function(name, |b| b.iter(|| black_box(peak.run())));
    }
    group.finish();
}

fn bench_gemm(c: &mut Criterion) {
    let mut group = group(c, "gemm");
    // (rows, outputs, inputs): the time embedding, then linears at 64x64, 32x32 and 16x16.
    let shapes = [
        (2, 1280, 1280),
        (8192, 320, 320),
        (8192, 2560, 320),
        (8192, 320, 1280),
        (2048, 640, 640),
        (2048, 5120, 640),
        (512, 10240, 1280),
        (512, 1280, 5120),
    ];
    for (m, n, k) in shapes {
        let operations = 2 * m * n * k;
        let packed = matrix(n, k);
        let (x, mut out) = (values(m * k), vec![0.0; m * n]);
        group.throughput(Throughput::Elements(operations as u64));
        for isa in isas(operations) {
            group.bench_function(BenchmarkId::new(isa.name(), format!("{m}x{n}x{k}")), |b| {
                b.iter(|| gemm_with(isa, &x, &packed, None, None, &mut out));
            });
        }
    }
    group.finish();
}

/// Products in each precision, with weights in f16 and in Q8_0. A forced lower instruction set shows the portable kernels.
fn bench_gemm_in_each_precision(c: &mut Criterion) {
    let mut group = group(c, "gemm in each precision");
    for (m, n, k) in [(8192, 320, 320), (2048, 640, 640), (512, 1280, 5120)] {
        let operations = 2 * m * n * k;
        let (half, x) = (matrix(n, k), values(m * k));
        let blocks = quant::quantize(DType::Q8_0, &values(n * k), k).expect("small values");
        let blocks = WeightMatrix::new(WeightBytes::new(DType::Q8_0, &blocks), n, k);
        let mut out = vec![0.0; m * n];
        group.throughput(Throughput::Elements(operations as u64));
        for &precision in Precision::ALL {
            for weight in [&half, &blocks] {
                let how = format!("{precision}, {}, {}", weight.dtype(), Isa::best());
                group.bench_function(BenchmarkId::new(how, format!("{m}x{n}x{k}")), |b| {
                    b.iter(|| {
                        let (bias, residual, accumulate, out) = (None, None, false, &mut out[..]);
                        let product = Product { weight, bias, residual, accumulate, precision, out };
                        gemm_many_with(Isa::best(), &x, &mut [product]);
                    });
                });
            }
        }
    }
    group.finish();
}

/// A convolution's shape: batch, side of the input, channels in and out.
type ConvShape = (usize, usize, usize, usize);

/// 3x3 convolutions of one stride by some algorithms, of the input as it is or enlarged twice by nearest neighbour.
fn bench_conv2d(
    c: &mut Criterion,
    name: &str,
    algorithms: &[Algorithm],
    stride: usize,
    scale: usize,
    shapes: &[ConvShape],
) {
    let mut group = group(c, name);
    for &(n, side, inputs, outputs) in shapes {
        let packed = convolution(outputs, inputs, stride);
        let x = values(n * side * side * inputs);
        let size = side * scale;
        let mut out = vec![0.0; n * (size / stride).pow(2) * outputs];
        let operations = 2 * out.len() * inputs * 9;
        group.throughput(Throughput::Elements(operations as u64));
        let resize = (scale > 1).then_some([size, size]);
        let conv = Convolution { resize, ..Convolution::plain(&x, [n, side, side]) };
        for &algorithm in algorithms {
            for isa in isas(operations) {
                let how = match algorithm {
                    Algorithm::Winograd => "winograd",
                    Algorithm::ImplicitGemm => "implicit gemm",
                };
                let id = BenchmarkId::new(
                    format!("{how}, {isa}"),
                    format!("{n}x{side}x{side}x{inputs}->{outputs}"),
                );
                group.bench_function(id, |b| {
                    b.iter(|| conv2d_fused_with(isa, algorithm, &conv, &packed, &mut out));
                });
            }
        }
    }
    group.finish();
}

fn bench_conv2d_stride_1(c: &mut Criterion) {
    // Six of the UNet, then three of the VAE.
    let shapes = [
        (2, 64, 4, 320),
        (2, 64, 320, 320),
        (2, 64, 960, 320),
        (2, 32, 1280, 640),
        (2, 16, 2560, 1280),
        (2, 8, 1280, 1280),
        (1, 64, 512, 512),
        (1, 256, 256, 256),
        (1, 512, 128, 128),
    ];
    let algorithms = [Algorithm::Winograd, Algorithm::ImplicitGemm];
    bench_conv2d(c, "conv2d 3x3 stride 1", &algorithms, 1, 1, &shapes);
}

fn bench_conv2d_stride_2(c: &mut Criterion) {
    let shapes = [(2, 64, 320, 320), (2, 32, 640, 640), (2, 16, 1280, 1280)];
    bench_conv2d(c, "conv2d 3x3 stride 2", &[Algorithm::ImplicitGemm], 2, 1, &shapes);
}

fn bench_upsample(c: &mut Criterion) {
    // Two of the UNet, two of the VAE; the operations are those on the enlarged input.
    let shapes = [(2, 16, 1280, 1280), (2, 32, 640, 640), (1, 64, 512, 512), (1, 256, 256, 256)];
    let algorithms = [Algorithm::Winograd, Algorithm::ImplicitGemm];
    bench_conv2d(c, "upsample, conv2d 3x3", &algorithms, 1, 2, &shapes);
}

fn bench_attention(c: &mut Criterion) {
    let mut group = group(c, "attention");
    // (batch, queries, keys, heads, head width): self and cross at 64x64, self at 32x32, 16x16 and 8x8; the VAE's; then
    // the widths of other families: SD 2 and SDXL have 64, and 128 is Flux's.
    let shapes = [
        (2, 4096, 4096, 8, 40),
        (2, 4096, 77, 8, 40),
        (2, 1024, 1024, 8, 80),
        (2, 256, 256, 8, 160),
        (2, 64, 64, 8, 160),
        (1, 4096, 4096, 1, 512),
        (2, 1024, 1024, 20, 64),
        (1, 1024, 1024, 24, 128),
    ];
    for (batch, queries, keys, heads, head_dim) in shapes {
        let shape = Attention { batch, queries, keys, heads, kv_heads: heads, head_dim, causal: false };
        let operations = 4 * batch * queries * keys * heads * head_dim;
        let (q, k) = (values(batch * queries * heads * head_dim), values(batch * keys * heads * head_dim));
        let mut out = vec![0.0; q.len()];
        group.throughput(Throughput::Elements(operations as u64));
        let size = format!("{batch}x{queries}x{keys}, {heads} of {head_dim}");
        let f32s = isas(operations).map(|isa| (isa, Precision::F32));
        for (isa, precision) in f32s.chain([(Isa::best(), Precision::Bf16)]) {
            let how =
                if precision == Precision::F32 { isa.to_string() } else { format!("{precision}, {isa}") };
            group.bench_function(BenchmarkId::new(how, &size), |b| {
                b.iter(|| attention_with(isa, precision, shape, &q, &k, &k, &mut out));
            });
        }
    }
    group.finish();
}

fn bench_group_norm(c: &mut Criterion) {
    let mut group = group(c, "group norm");
    // (batch, positions, channels): three of the UNet, two of the VAE.
    let shapes = [(2, 4096, 320), (2, 4096, 960), (2, 256, 2560), (1, 65536, 256), (1, 262_144, 128)];
    for (batch, positions, channels) in shapes {
        let shape = GroupNormParams { batch, positions, channels, groups: 32, eps: 1e-5, silu: true };
        let (x, weight) = (values(batch * positions * channels), values(channels));
        let mut out = vec![0.0; x.len()];
        for isa in isas(PER_VALUE * x.len()) {
            let id =
                |part| BenchmarkId::new(format!("{part}, {isa}"), format!("{batch}x{positions}x{channels}"));
            group.throughput(Throughput::Bytes(size_of_val(&x[..]) as u64));
            group.bench_function(id("statistics"), |b| b.iter(|| Statistics::with(isa, shape, &x, &weight)));
            let statistics = Statistics::with(isa, shape, &x, &weight);
            let norm = statistics.norm(&weight, shape.silu);
            group.throughput(Throughput::Bytes(2 * size_of_val(&x[..]) as u64));
            group.bench_function(id("apply, SiLU"), |b| b.iter(|| apply_with(isa, &x, &norm, &mut out)));
        }
    }
    group.finish();
}

fn bench_layer_norm(c: &mut Criterion) {
    let mut group = group(c, "layer norm");
    for (rows, width) in [(8192, 320), (2048, 640), (512, 1280), (154, 768)] {
        let (x, weight) = (values(rows * width), values(width));
        let mut out = vec![0.0; x.len()];
        group.throughput(Throughput::Bytes(2 * size_of_val(&x[..]) as u64));
        for isa in isas(PER_VALUE * x.len()) {
            group.bench_function(BenchmarkId::new(isa.name(), format!("{rows}x{width}")), |b| {
                b.iter(|| layer_norm_with(isa, &x, &weight, &weight, 1e-5, &mut out));
            });
        }
    }
    group.finish();
}

fn bench_activation(c: &mut Criterion) {
    let mut group = group(c, "activation");
    for (rows, width) in [(8192, 1280), (2048, 2560), (512, 5120)] {
        let x = values(rows * 2 * width);
        let mut out = vec![0.0; x.len() / 2];
        group.throughput(Throughput::Bytes((size_of_val(&x[..]) + size_of_val(&out[..])) as u64));
        for isa in isas(PER_VALUE * out.len()) {
            group.bench_function(BenchmarkId::new(format!("GEGLU, {isa}"), format!("{rows}x{width}")), |b| {
                b.iter(|| geglu_with(isa, &x, width, &mut out));
            });
        }
    }
    let x = values(154 * 3072);
    group.throughput(Throughput::Bytes(2 * size_of_val(&x[..]) as u64));
    for kind in [Activation::Silu, Activation::Gelu, Activation::QuickGelu] {
        for isa in isas(PER_VALUE * x.len()) {
            group.bench_function(BenchmarkId::new(format!("{kind:?}, {isa}"), "154x3072"), |b| {
                // In place: after many runs the values would become denormal, so each run has a copy.
                b.iter_batched_ref(|| x.clone(), |x| activate_with(isa, kind, x), BatchSize::LargeInput);
            });
        }
    }
    group.finish();
}

criterion_group!(
    kernels,
    bench_peak,
    bench_gemm,
    bench_gemm_in_each_precision,
    bench_conv2d_stride_1,
    bench_conv2d_stride_2,
    bench_upsample,
    bench_attention,
    bench_group_norm,
    bench_layer_norm,
    bench_activation
);
criterion_main!(kernels);
