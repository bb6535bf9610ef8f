//! The ops of diffusion transformers and language models on the shapes of Flux, Qwen3 and T5, every instruction set side by
//! side. Throughput counts the bytes read and written, or the operations of an attention (read "Gelem/s" as GFLOP/s).
//!
//!     cargo bench -p latent-benches --bench transformers
//!     cargo bench -p latent-benches --bench transformers -- --test      each of it once

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use latent_kernels::Precision;
use latent_kernels::activation::{Activation, Gate, activate_with, gated_with};
use latent_kernels::attention::{Attention, ScoreTerms, attention_of_scores_with};
use latent_kernels::layer_norm::layer_norm_modulated_with;
use latent_kernels::modulation::add_gated_with;
use latent_kernels::rms_norm::rms_norm_with;
use latent_kernels::rotary::{Rotary, RotaryPairing, rotary_with, table};
use latent_kernels::simd::Isa;

/// Tokens of an image of 1024x1024 pixels and 512 of its text.
const TOKENS: usize = 4096 + 512;
/// Channels of Flux, in 24 heads.
const WIDTH: usize = 3072;
const HEADS: usize = 24;

fn values(n: usize) -> Vec<f32> {
    (0..n).map(|i| (i % 1013) as f32 * 1e-3 - 0.5).collect()
}

/// The instruction sets that a program would run on.
fn isas() -> impl Iterator<Item = Isa> {
    Isa::available().filter(|isa| *isa != Isa::Scalar)
}

/// Ops that memory bounds: how often each reads or writes the tokens.
fn bench_tokens(c: &mut Criterion) {
    let mut group = c.benchmark_group("tokens of a transformer");
    group.sample_size(10);
    let (x, y, vector) = (values(TOKENS * WIDTH), values(TOKENS * WIDTH), values(WIDTH));
    let (mut out, bytes) = (vec![0.0; x.len()], size_of_val(&x[..]) as u64);
    let shape = |pairing| Rotary { batch: 1, tokens: TOKENS, heads: HEADS, width: WIDTH / HEADS, pairing };
    let positions: Vec<[f64; 1]> = (0..TOKENS).map(|i| [i as f64]).collect();
    let angles = table([WIDTH / HEADS], 10000.0, &positions);
    for isa in isas() {
        let id = |name: &str| BenchmarkId::new(name, isa);
        group.throughput(Throughput::Bytes(2 * bytes));
        group.bench_function(id("RMS norm of heads"), |b| {
            b.iter(|| rms_norm_with(isa, &x, &vector[..WIDTH / HEADS], 1e-6, &mut out));
        });
        group.bench_function(id("RMS norm"), |b| b.iter(|| rms_norm_with(isa, &x, &vector, 1e-6, &mut out)));
        group.bench_function(id("modulated layer norm"), |b| {
            b.iter(|| layer_norm_modulated_with(isa, &x, &vector, &vector, 1, 1e-6, &mut out));
        });
        for pairing in [RotaryPairing::Interleaved, RotaryPairing::Halves] {
            group.bench_function(id(&format!("rotary, {pairing:?}")), |b| {
                b.iter(|| rotary_with(isa, shape(pairing), &mut out, &angles));
            });
        }
        group.bench_function(id("tanh GELU"), |b| {
            out.copy_from_slice(&x);
            b.iter(|| activate_with(isa, Activation::GeluTanh, &mut out));
        });
        group.throughput(Throughput::Bytes(3 * bytes));
        group.bench_function(id("gated sum"), |b| {
            out.copy_from_slice(&x);
            b.iter(|| add_gated_with(isa, &mut out, &y, &vector, 1));
        });
        group.throughput(Throughput::Bytes(3 * bytes / 2));
        group.bench_function(id("SwiGLU"), |b| {
            b.iter(|| gated_with(isa, Gate::SWIGLU, &x, WIDTH / 2, &mut out[..x.len() / 2]));
        });
    }
    group.finish();
}

fn bench_attention(c: &mut Criterion) {
    let mut group = c.benchmark_group("attention of a transformer");
    group.sample_size(10);
    // (tokens, heads, heads of keys, head width, causal, biased): Flux, Stable Diffusion 3, Qwen3, T5.
    let shapes = [
        (TOKENS, 4, 4, 128, false, false),
        (TOKENS, 4, 4, 64, false, false),
        (512, 32, 8, 128, true, false),
        (512, 64, 64, 64, false, true),
    ];
    for (tokens, heads, kv_heads, head_dim, causal, biased) in shapes {
        let shape = Attention { batch: 1, queries: tokens, keys: tokens, heads, kv_heads, head_dim, causal };
        let (q, k) = (values(tokens * heads * head_dim), values(tokens * kv_heads * head_dim));
        let bias = values(if biased { heads * tokens * tokens } else { 0 });
        let terms = ScoreTerms { bias: biased.then_some(&bias[..]), ..ScoreTerms::default() };
        let mut out = vec![0.0; q.len()];
        group.throughput(Throughput::Elements((4 * tokens * tokens * heads * head_dim) as u64));
        let size = format!("{tokens}, {heads}/{kv_heads} of {head_dim}");
        for isa in isas() {
            group.bench_function(BenchmarkId::new(isa.name(), &size), |b| {
                b.iter(|| {
                    attention_of_scores_with(isa, Precision::F32, shape, &terms, [&q, &k, &k], &mut out);
                });
            });
        }
    }
    group.finish();
}

criterion_group!(transformers, bench_tokens, bench_attention);
criterion_main!(transformers);
