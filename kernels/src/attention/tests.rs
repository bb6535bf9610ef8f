//! Every instruction set against the specification in `f64`.

mod terms;

use super::*;
use crate::parallel;
use crate::testing::{assert_close, random};
use proptest::prelude::*;

fn check(shape: Attention, sharpness: f32) {
    let width = shape.heads * shape.head_dim;
    let q: Vec<f32> = random(1, shape.batch * shape.queries * width).iter().map(|x| x * sharpness).collect();
    let k = random(2, shape.batch * shape.keys * width);
    let v = random(3, k.len());
    let want = reference::attention(shape, &q, &k, &v);
    for isa in Isa::available() {
        let mut out = vec![f32::NAN; q.len()];
        attention_with(isa, Precision::F32, shape, &q, &k, &v, &mut out);
        assert_close(&out, &want, 2e-6 * sharpness.max(1.0), &format!("{isa} {shape:?}"));
        let mut unchanged = vec![f32::NAN; q.len()];
        attention_with(isa, Precision::Int8, shape, &q, &k, &v, &mut unchanged);
        assert!(out == unchanged, "{isa} {shape:?}: int8 leaves attention in f32");
        // Queries and keys are off by 1/512 each, which moves a weight by at most as many times the largest score; weights
        // and values by as much again.
        attention_with(isa, Precision::Bf16, shape, &q, &k, &v, &mut out);
        let largest = sharpness * (shape.head_dim as f32).sqrt() / 2.0;
        let tolerance = (largest.min(4.0) + 1.5) / 256.0 * sharpness.max(1.0);
        assert_close(&out, &want, tolerance, &format!("bf16 {isa} {shape:?}"));
    }
}

fn shape(
    batch: usize,
    queries: usize,
    keys: usize,
    heads: usize,
    head_dim: usize,
    causal: bool,
) -> Attention {
    Attention { batch, queries, keys, heads, kv_heads: heads, head_dim, causal }
}

#[test]
fn real_shapes() {
    check(shape(2, 256, 256, 8, 40, false), 1.0); // UNet, self
    check(shape(2, 256, 77, 8, 40, false), 1.0); // UNet, cross
    check(shape(1, 64, 64, 8, 160, false), 1.0); // UNet, deepest
    check(shape(2, 77, 77, 12, 64, true), 1.0); // text encoder
    check(shape(1, 100, 100, 1, 512, false), 1.0); // VAE
    check(shape(1, 1, 1, 8, 16, false), 1.0); // one pixel
}

#[test]
fn sharp_scores_over_many_steps() {
    // Scores up to 100 apart: the running maximum moves, the sums shrink, exponentials underflow.
    check(shape(1, 100, 700, 2, 40, false), 50.0);
    check(shape(1, 300, 300, 1, 64, true), 50.0);
}

#[test]
fn same_bytes_for_any_threads_and_alone_or_in_a_batch() {
    let shape = shape(2, 200, 150, 2, 24, false);
    let (q, k, v) = (random(1, 2 * 200 * 48), random(2, 2 * 150 * 48), random(3, 2 * 150 * 48));
    let run = |(isa, precision), shape, q: &[f32], k: &[f32], v: &[f32]| -> Vec<u32> {
        let mut out = vec![0.0; q.len()];
        attention_with(isa, precision, shape, q, k, v, &mut out);
        out.iter().map(|x| x.to_bits()).collect()
    };
    let ways = Isa::available().flat_map(|isa| [(isa, Precision::F32), (isa, Precision::Bf16)]);
    for way in ways {
        let all = run(way, shape, &q, &k, &v);
        for threads in [1, 2, 5] {
            let again = parallel::with_threads(threads, || run(way, shape, &q, &k, &v)).unwrap();
            assert_eq!(all, again, "{way:?}, {threads} threads");
        }
        let half = 150 * 48;
        let alone = run(way, Attention { batch: 1, ..shape }, &q[200 * 48..], &k[half..], &v[half..]);
        assert_eq!(all[200 * 48..], alone, "{way:?}");
    }
}

/// The usual error, as opposed to the bound: a few parts in a thousand of the result.
#[test]
fn attention_in_bf16_is_off_by_a_few_thousandths() {
    for shape in [shape(1, 200, 300, 2, 40, false), shape(1, 100, 700, 1, 64, false)] {
        let width = shape.heads * shape.head_dim;
        let (q, k) = (random(1, shape.queries * width), random(2, shape.keys * width));
        let v = random(3, k.len());
        let want = reference::attention(shape, &q, &k, &v);
        for isa in Isa::available() {
            let mut out = vec![f32::NAN; q.len()];
            attention_with(isa, Precision::Bf16, shape, &q, &k, &v, &mut out);
            let square = |v: f32| f64::from(v).powi(2);
            let error: f64 = out.iter().zip(&want).map(|(got, want)| square(got - want)).sum();
            let relative = (error / want.iter().map(|v| square(*v)).sum::<f64>()).sqrt();
            println!("{isa} {shape:?}: {relative:.1e}");
            assert!((1e-4..5e-3).contains(&relative), "{isa} {shape:?}: {relative}");
        }
    }
}

#[test]
#[should_panic(expected = "fewer keys than queries")]
fn a_causal_mask_needs_its_keys() {
    attention(shape(1, 2, 1, 1, 4, true), &[0.0; 8], &[0.0; 4], &[0.0; 4], &mut [0.0; 8]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn any_shape(
        batch in 1usize..3, queries in 1usize..130, more in 0usize..200, heads in 1usize..4, head_dim in 1usize..70,
        causal: bool,
    ) {
        check(shape(batch, queries, queries + more, heads, head_dim, causal), 3.0);
    }
}

#[cfg(feature = "gpu")]
mod gpus {
    use super::*;
    use crate::gemm::gpu::tile::Method;
    use crate::gpu::testing::gpus;
    use crate::gpu::{Adapter, Array, Gpu, GpuOptions, adapters};
    use half::f16;

    fn check(name: &str, gpu: &Gpu, shape: Attention, sharpness: f32) {
        check_by(Method::best(gpu), name, gpu, shape, sharpness);
    }

    fn check_by(method: Method, name: &str, gpu: &Gpu, shape: Attention, sharpness: f32) {
        let width = shape.heads * shape.head_dim;
        // Values that `f16` holds.
        let values = |seed, len, factor: f32| -> Vec<f32> {
            random(seed, len * width).iter().map(|x| f16::from_f32(x * factor).to_f32()).collect()
        };
        let q = values(1, shape.batch * shape.queries, sharpness);
        let k = values(2, shape.batch * shape.keys, 1.0);
        let v = values(3, shape.batch * shape.keys, 1.0);
        let want = reference::attention(shape, &q, &k, &v);
        let tolerance = 2e-6 * sharpness.max(1.0);
        crate::gpu::testing::check(
            gpu,
            &[&q, &k, &v],
            &want,
            tolerance,
            &format!("{name} {shape:?}"),
            |arrays| {
                let mut out = Array::scratch(gpu, arrays[0].dtype(), q.len())?;
                let qkv = [&arrays[0], &arrays[1], &arrays[2]];
                gpu::by(method, shape, &ScoreTerms::default(), qkv, &mut out)?;
                Ok(out)
            },
        );
    }

    #[test]
    fn real_heads() {
        for (name, gpu) in gpus() {
            check(name, &gpu, shape(2, 100, 90, 2, 40, false), 1.0); // UNet of 1.5, self
            check(name, &gpu, shape(1, 130, 77, 8, 40, false), 1.0); // cross
            check(name, &gpu, shape(1, 64, 64, 2, 80, false), 1.0);
            check(name, &gpu, shape(1, 64, 64, 2, 160, false), 1.0);
            check(name, &gpu, shape(2, 80, 77, 2, 64, false), 1.0); // UNet of 2 and XL
            check(name, &gpu, shape(2, 77, 77, 3, 64, true), 1.0); // text encoder
            check(name, &gpu, shape(1, 70, 70, 1, 512, false), 1.0); // VAE
            check(name, &gpu, shape(1, 1, 1, 8, 16, false), 1.0); // one pixel
        }
    }

    #[test]
    fn heads_of_any_width() {
        for (name, gpu) in gpus() {
            for head_dim in [1, 3, 8, 20, 31, 37, 96, 120, 127, 128, 130] {
                check(name, &gpu, shape(2, 33, 41, 2, head_dim, false), 2.0);
                check(name, &gpu, shape(1, 5, 7, 3, head_dim, true), 2.0);
            }
            // The last ones have more columns than a command computes.
            for head_dim in [200, 511, 513, 1028] {
                check(name, &gpu, shape(1, 5, 7, 1, head_dim, true), 2.0);
                check(name, &gpu, shape(2, 3, 7, 1, head_dim, false), 2.0);
            }
        }
    }

    #[test]
    fn lengths_around_those_of_tiles() {
        for (name, gpu) in gpus() {
            for (queries, keys) in [(1, 1), (63, 31), (64, 32), (65, 33), (129, 1), (1, 129), (128, 128)] {
                for head_dim in [8, 40] {
                    check(name, &gpu, shape(1, queries, keys, 2, head_dim, false), 1.0);
                    check(name, &gpu, shape(2, queries, queries + keys, 1, head_dim, true), 1.0);
                }
            }
        }
    }

    /// Each size, number of rows and of columns, with remainders, without cooperative matrices: on adapters that
    /// lack them, only their loads, products and stores remain untested.
    #[test]
    fn emulated_matrices() {
        for (name, gpu) in gpus() {
            for (side, subgroup) in [(16, 32), (8, 32), (8, 8)] {
                let method = Method::Matrices { side, subgroup, cooperative: false };
                check_by(method, name, &gpu, shape(2, 67, 77, 2, 40, false), 3.0);
                check_by(method, name, &gpu, shape(1, 70, 75, 1, 92, true), 3.0);
            }
        }
    }

    /// Also in `f16`, which the GPU with small bindings among [`gpus`] lacks.
    #[test]
    fn keys_in_parts() {
        let Some(adapter) = adapters().into_iter().max_by_key(Adapter::rank) else { return };
        let options = GpuOptions { binding_limit: Some(16 << 10), ..GpuOptions::default() };
        let gpu = Gpu::open(&adapter, &options).unwrap();
        for head_dim in [20, 40, 63] {
            check("small bindings", &gpu, shape(2, 21, 250, 2, head_dim, false), 3.0);
            check("small bindings", &gpu, shape(1, 100, 300, 1, head_dim, true), 3.0);
        }
        for head_dim in [160, 600] {
            check("small bindings", &gpu, shape(2, 20, 60, 1, head_dim, false), 3.0);
        }
    }

    #[test]
    fn nothing_of_nothing() {
        for (name, gpu) in gpus() {
            check(name, &gpu, shape(0, 5, 7, 2, 8, false), 1.0);
            check(name, &gpu, shape(2, 0, 7, 2, 8, false), 1.0);
        }
    }

    #[test]
    fn sharp_scores_over_many_steps() {
        for (name, gpu) in gpus() {
            check(name, &gpu, shape(1, 70, 500, 2, 40, false), 50.0);
            check(name, &gpu, shape(1, 200, 200, 1, 64, true), 50.0);
        }
    }
}
