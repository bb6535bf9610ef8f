//! Scales, biases, lengths of keys, and heads that share keys, against the specification in `f64`.

use super::*;

/// What [`check`] adds to plain attention.
#[derive(Clone, Copy, Debug, Default)]
struct Extra {
    scale: Option<f32>,
    lengths: bool,
    bias: bool,
}

/// For each sequence another number of keys, down to one.
fn lengths(shape: Attention) -> Vec<usize> {
    (0..shape.batch)
        .map(|b| if b == 0 { shape.keys.div_ceil(2) } else { 1 + (shape.keys - 1) / (3 * b) })
        .collect()
}

/// Queries, keys and values.
fn inputs(shape: Attention) -> [Vec<f32>; 3] {
    let (width, kv_width) = (shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim);
    let keys = shape.batch * shape.keys * kv_width;
    [random(1, shape.batch * shape.queries * width), random(2, keys), random(3, keys)]
}

fn check(shape: Attention, extra: Extra) {
    let [q, k, v] = inputs(shape);
    let key_lengths = lengths(shape);
    let bias: Vec<f32> =
        random(4, shape.heads * shape.queries * shape.keys).iter().map(|b| 4.0 * b).collect();
    let terms = ScoreTerms {
        scale: extra.scale,
        key_lengths: extra.lengths.then_some(&key_lengths),
        bias: extra.bias.then_some(&bias[..]),
    };
    let want = reference::attention_of_scores(shape, &terms, [&q, &k, &v]);
    // Scores are sums of `head_dim` products of values below 1, by the scale.
    let sharpness = extra.scale.map_or(1.0, |scale| scale * (shape.head_dim as f32).sqrt()).max(1.0);
    for isa in Isa::available() {
        for (precision, tolerance) in
            [(Precision::F32, 2e-6 * sharpness), (Precision::Bf16, 2e-2 * sharpness)]
        {
            let mut out = vec![f32::NAN; q.len()];
            attention_of_scores_with(isa, precision, shape, &terms, [&q, &k, &v], &mut out);
            assert_close(&out, &want, tolerance, &format!("{isa} {precision:?} {shape:?} {extra:?}"));
        }
    }
}

fn shared(kv_heads: usize, shape: Attention) -> Attention {
    Attention { kv_heads, ..shape }
}

#[test]
fn what_transformers_have() {
    let (none, lengths) = (Extra::default(), Extra { lengths: true, ..Extra::default() });
    check(shape(1, 150, 700, 2, 128, false), none); // Flux, Z-Image
    check(shape(2, 100, 300, 2, 64, false), lengths); // Stable Diffusion 3 with padding
    check(shared(2, shape(2, 130, 130, 8, 128, true)), lengths); // Qwen3
    check(shape(1, 60, 300, 4, 72, false), none);
    check(shape(1, 60, 300, 2, 96, false), none);
    let t5 = Extra { scale: Some(1.0), bias: true, ..Extra::default() };
    check(shape(2, 120, 120, 3, 64, false), t5);
    check(shape(2, 120, 120, 3, 64, false), Extra { lengths: true, ..t5 });
}

/// Padding has no influence on a single bit, whatever it is.
#[test]
fn padding_changes_nothing() {
    let all = shared(1, shape(1, 40, 300, 2, 24, false));
    let [q, k, v] = inputs(all);
    let (mut other_k, mut other_v) = (k.clone(), v.clone());
    other_k[257 * 24..].fill(7e3);
    other_v[257 * 24..].fill(-1e4);
    let cut = Attention { keys: 257, ..all };
    for isa in Isa::available() {
        let run = |shape, k: &[f32], v: &[f32], key_lengths: Option<&[usize]>| {
            let mut out = vec![0.0; q.len()];
            let terms = ScoreTerms { key_lengths, ..ScoreTerms::default() };
            attention_of_scores_with(isa, Precision::F32, shape, &terms, [&q, k, v], &mut out);
            out
        };
        let want = run(all, &k, &v, Some(&[257]));
        assert!(want == run(all, &other_k, &other_v, Some(&[257])), "{isa}");
        assert!(want == run(cut, &k[..257 * 24], &v[..257 * 24], None), "{isa}: as with no such keys");
    }
}

#[test]
fn same_bytes_for_any_threads() {
    let shape = shared(2, shape(2, 200, 210, 6, 40, true));
    let ([q, k, v], key_lengths) = (inputs(shape), lengths(shape));
    let bias = random(4, 6 * 200 * 210);
    let terms = ScoreTerms { scale: Some(0.5), key_lengths: Some(&key_lengths), bias: Some(&bias[..]) };
    let run = || -> Vec<u32> {
        let mut out = vec![0.0; q.len()];
        attention_of_scores(Precision::F32, shape, &terms, [&q, &k, &v], &mut out);
        out.iter().map(|x| x.to_bits()).collect()
    };
    let want = run();
    for threads in [1, 2, 5] {
        assert_eq!(want, parallel::with_threads(threads, run).unwrap());
    }
}

#[test]
#[should_panic(expected = "heads that share keys unevenly")]
fn groups_of_heads_are_even() {
    attention(shared(2, shape(1, 1, 1, 3, 4, false)), &[0.0; 12], &[0.0; 8], &[0.0; 8], &mut [0.0; 12]);
}

#[test]
#[should_panic(expected = "key lengths Some([2])")]
fn there_are_no_more_keys_than_keys() {
    let terms = ScoreTerms { key_lengths: Some(&[2]), ..ScoreTerms::default() };
    let shape = shape(1, 1, 1, 1, 4, false);
    attention_of_scores(Precision::F32, shape, &terms, [&[0.0; 4]; 3], &mut [0.0; 4]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(30))]
    #[test]
    fn any_terms(
        batch in 1usize..4, queries in 1usize..120, more in 0usize..300, kv_heads in 1usize..3, group in 1usize..4,
        head_dim in 1usize..70, causal: bool, bias: bool, lengths: bool, scaled: bool,
    ) {
        let shape = shared(kv_heads, shape(batch, queries, queries + more, kv_heads * group, head_dim, causal));
        check(shape, Extra { scale: scaled.then_some(0.3), lengths, bias });
    }
}

#[cfg(feature = "gpu")]
mod gpus {
    use super::*;
    use crate::gemm::gpu::tile::Method;
    use crate::gpu::testing::gpus;
    use crate::gpu::{Array, Gpu};
    use half::f16;

    fn check(method: Method, name: &str, gpu: &Gpu, shape: Attention, extra: Extra) {
        // Values that `f16` holds.
        let round = |x: Vec<f32>| -> Vec<f32> { x.iter().map(|x| f16::from_f32(*x).to_f32()).collect() };
        let [q, k, v] = inputs(shape).map(round);
        let bias = round(random(4, shape.heads * shape.queries * shape.keys));
        let own = lengths(shape);
        let (scale, key_lengths) = (extra.scale, extra.lengths.then_some(&own[..]));
        let terms = ScoreTerms { scale, key_lengths, bias: extra.bias.then_some(&bias[..]) };
        let want = reference::attention_of_scores(shape, &terms, [&q, &k, &v]);
        let what = format!("{name} {shape:?} {extra:?}");
        crate::gpu::testing::check(gpu, &[&q, &k, &v, &bias], &want, 4e-6, &what, |arrays| {
            let mut out = Array::scratch(gpu, arrays[0].dtype(), q.len())?;
            let terms = ScoreTerms { scale, key_lengths, bias: extra.bias.then_some(&arrays[3]) };
            gpu::by(method, shape, &terms, [&arrays[0], &arrays[1], &arrays[2]], &mut out)?;
            Ok(out)
        });
    }

    #[test]
    fn what_transformers_have() {
        let (none, lengths) = (Extra::default(), Extra { lengths: true, ..Extra::default() });
        let t5 = Extra { scale: Some(1.0), bias: true, ..Extra::default() };
        for (name, gpu) in gpus() {
            let method = Method::best(&gpu);
            check(method, name, &gpu, shape(1, 70, 100, 2, 128, false), none);
            check(method, name, &gpu, shape(2, 40, 70, 2, 64, false), lengths);
            check(method, name, &gpu, shared(2, shape(2, 70, 75, 4, 64, true)), lengths);
            check(method, name, &gpu, shared(1, shape(1, 33, 40, 3, 37, true)), none);
            check(method, name, &gpu, shape(2, 40, 40, 3, 64, false), t5);
            check(
                method,
                name,
                &gpu,
                shared(1, shape(2, 33, 41, 2, 13, true)),
                Extra { lengths: true, ..t5 },
            );
        }
    }

    /// More keys than the small bindings of the second GPU hold, and a row of the bias that is longer than one.
    #[test]
    fn keys_in_parts() {
        let t5 = Extra { scale: Some(0.5), bias: true, ..Extra::default() };
        for (name, gpu) in gpus() {
            let method = Method::best(&gpu);
            check(method, name, &gpu, shape(2, 10, 250, 2, 40, false), t5);
            check(
                method,
                name,
                &gpu,
                shared(1, shape(2, 5, 4500, 2, 4, false)),
                Extra { lengths: true, ..t5 },
            );
            check(method, name, &gpu, shared(2, shape(1, 70, 300, 4, 20, true)), Extra::default());
        }
    }

    #[test]
    fn emulated_matrices_of_shared_keys() {
        for (name, gpu) in gpus() {
            let method = Method::Matrices { side: 16, subgroup: 32, cooperative: false };
            let lengths = Extra { lengths: true, ..Extra::default() };
            check(method, name, &gpu, shared(2, shape(2, 67, 77, 4, 40, false)), lengths);
        }
    }
}
