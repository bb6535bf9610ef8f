//! The kernels on the shapes of SD 1.5 at 512x512, beside the multiply-add peak of the machine measured in the same
//! run. Throughput counts the floating-point operations of the direct algorithm: "Gelem/s" reads as GFLOP/s.
//!
//!     cargo bench -p latent-benches --bench kernels

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use latent_kernels::attention::{Attention, attention};
use latent_kernels::conv2d::{ConvWeight, Padding, conv2d};
use latent_kernels::gemm::{WeightMatrix, gemm};
use latent_kernels::{DType, WeightBytes, peak};
use std::hint::black_box;

/// f16 weights of small values: zeros would let a CPU clock differently.
fn weights(n: usize) -> Vec<u8> {
    (0..n).flat_map(|i| (0x2c00u16 + (i % 977) as u16).to_le_bytes()).collect()
}

fn values(n: usize) -> Vec<f32> {
    (0..n).map(|i| (i % 1013) as f32 * 1e-3 - 0.5).collect()
}

fn bench_peak(c: &mut Criterion) {
    let mut group = c.benchmark_group("peak");
    group.throughput(Throughput::Elements(peak::flops()));
    group.bench_function("fma, all threads", |b| b.iter(|| black_box(peak::run())));
    group.finish();
}

fn bench_gemm(c: &mut Criterion) {
    let mut group = c.benchmark_group("gemm");
    group.sample_size(10);
    let shapes = [
        (8192, 320, 320),
        (8192, 2560, 320),
        (8192, 320, 1280),
        (2048, 5120, 640),
        (512, 10240, 1280),
        (512, 1280, 5120),
    ];
    for (m, n, k) in shapes {
        let bytes = weights(n * k);
        let packed = WeightMatrix::new(WeightBytes::new(DType::F16, &bytes), n, k);
        let (x, mut out) = (values(m * k), vec![0.0; m * n]);
        group.throughput(Throughput::Elements(2 * (m * n * k) as u64));
        group.bench_function(BenchmarkId::from_parameter(format!("{m}x{n}x{k}")), |b| {
            b.iter(|| gemm(&x, &packed, None, None, &mut out));
        });
    }
    group.finish();
}

fn bench_conv2d(c: &mut Criterion) {
    let mut group = c.benchmark_group("conv2d 3x3");
    group.sample_size(10);
    // (batch, side, channels in, channels out, stride): five of the UNet, three of the VAE.
    let shapes = [
        (2, 64, 320, 320, 1),
        (2, 64, 960, 320, 1),
        (2, 32, 1280, 640, 1),
        (2, 16, 2560, 1280, 1),
        (2, 64, 320, 320, 2),
        (1, 128, 512, 512, 1),
        (1, 256, 256, 256, 1),
        (1, 512, 128, 128, 1),
    ];
    for (n, side, inputs, outputs, stride) in shapes {
        let bytes = weights(outputs * inputs * 9);
        let weight = WeightBytes::new(DType::F16, &bytes);
        let packed = ConvWeight::new(weight, outputs, inputs, 3, stride, Padding::all(1));
        let (x, out_side) = (values(n * side * side * inputs), side / stride);
        let mut out = vec![0.0; n * out_side * out_side * outputs];
        group.throughput(Throughput::Elements(2 * (out.len() * inputs * 9) as u64));
        group.bench_function(
            BenchmarkId::from_parameter(format!("{n}x{side}x{side}x{inputs}->{outputs} /{stride}")),
            |b| {
                b.iter(|| conv2d(&x, [n, side, side], &packed, None, None, &mut out));
            },
        );
    }
    group.finish();
}

fn bench_attention(c: &mut Criterion) {
    let mut group = c.benchmark_group("attention");
    group.sample_size(10);
    // (batch, queries, keys, heads, head width): self and cross at 64x64, self at 32x32 and 16x16, the VAE's.
    let shapes = [
        (2, 4096, 4096, 8, 40),
        (2, 4096, 77, 8, 40),
        (2, 1024, 1024, 8, 80),
        (2, 256, 256, 8, 160),
        (1, 4096, 4096, 1, 512),
    ];
    for (batch, queries, keys, heads, head_dim) in shapes {
        let shape = Attention { batch, queries, keys, heads, head_dim, causal: false };
        let (q, k) = (values(batch * queries * heads * head_dim), values(batch * keys * heads * head_dim));
        let mut out = vec![0.0; q.len()];
        group.throughput(Throughput::Elements(4 * (batch * queries * keys * heads * head_dim) as u64));
        group.bench_function(
            BenchmarkId::from_parameter(format!("{batch}x{queries}x{keys}, {heads} of {head_dim}")),
            |b| {
                b.iter(|| attention(shape, &q, &k, &k, &mut out));
            },
        );
    }
    group.finish();
}

criterion_group!(kernels, bench_peak, bench_gemm, bench_conv2d, bench_attention);
criterion_main!(kernels);
