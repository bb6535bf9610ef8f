//! The ops of diffusion transformers and language models.

use super::*;
use crate::{Activation, Gate, RotaryPairing};

#[test]
fn what_feed_forwards_of_transformers_compute_with() {
    shows(gelu_tanh(tensor(&[2], &[1., -2.])), &[2], &[0.841_192, -0.045_402_3]);
    let rows = tensor(&[1, 4], &[1., 0., 2., 3.]);
    shows(gated(&rows, Gate::SWIGLU), &[1, 2], &[1.462_117_2, 0.]);
    let product = multiply_activated(tensor(&[2], &[2., 3.]), &tensor(&[2], &[1., 0.]), Activation::Silu);
    shows(product, &[2], &[1.462_117_2, 0.]);
    refuses(
        multiply_activated(zeros(&[2]), &zeros(&[3]), Activation::Silu),
        "multiply_activated: expected [2], got [3]",
    );
    let layer = |values: &[f32], outputs| {
        let bytes = weight(values);
        Linear::new(WeightBytes::new(DType::F32, &bytes), [outputs, 1], None).unwrap()
    };
    let x = tensor(&[1, 1], &[2.]);
    shows(
        linear_activated(&x, &layer(&[0.5, -1.], 2), Activation::GeluTanh),
        &[1, 2],
        &[0.841_192, -0.045_402_3],
    );
    shows(linear_gated(&x, &layer(&[0.5, 0., 1., 1.5], 4), Gate::SWIGLU), &[1, 2], &[1.462_117_2, 0.]);
    let (up, gate) = (layer(&[1., 1.5], 2), layer(&[0.5, 0.], 2));
    shows(linear_gated_by(&x, &up, &gate, Activation::Silu), &[1, 2], &[1.462_117_2, 0.]);
    refuses(
        linear_gated_by(&x, &up, &layer(&[1.], 1), Activation::Silu),
        "linear: expected gates of [2, 1], got [1, 1]",
    );
}

#[test]
fn what_blocks_of_transformers_compute_with() {
    let norm = RmsNorm::new(vec![1., 2.], 0.0).unwrap();
    shows(rms_norm(&tensor(&[1, 2], &[3., 3.]), &norm), &[1, 2], &[1., 2.]);
    shows(rms_norm(&tensor(&[1, 4], &[3., 3., -2., 2.]), &norm), &[1, 4], &[1., 2., -1., 2.]);
    refuses(rms_norm(&zeros(&[1, 3]), &norm), "rms_norm: expected 2 channels, got [1, 3]");
    refuses(RmsNorm::new(vec![], 0.0), "rms_norm: expected a weight, got none");
    let x = tensor(&[2, 1, 2], &[1., 3., 2., 2.]);
    let (scale, shift) = (tensor(&[2, 2], &[0., 1., -1., 2.]), tensor(&[2, 2], &[0., 5., 7., 0.]));
    shows(layer_norm_modulated(&x, &scale, &shift, 0.5), &[2, 1, 2], &[-0.816_496_6, 6.632_993, 7., 0.]);
    shows(rms_norm_modulated(&x, &norm, &scale), &[2, 1, 2], &[0.447_213_6, 5.366_563, 0., 6.]);
    shows(modulate(x.clone(), &scale, &shift), &[2, 1, 2], &[1., 11., 7., 6.]);
    shows(add_gated(x.clone(), &x, &scale), &[2, 1, 2], &[1., 6., 0., 6.]);
    refuses(
        layer_norm_modulated(&x, &scale, &zeros(&[1, 2]), 0.5),
        "layer_norm_modulated: expected a vector [2, 2], got [1, 2]",
    );
    refuses(add_gated(x.clone(), &zeros(&[2, 2, 2]), &scale), "add_gated: expected [2, 1, 2], got [2, 2, 2]");
    shows(slice_channels(&tensor(&[2, 3], &[1., 2., 3., 4., 5., 6.]), 1..3), &[2, 2], &[2., 3., 5., 6.]);
    #[expect(clippy::reversed_empty_ranges, reason = "a mistake of the caller")]
    let empty = 2..1;
    refuses(slice_channels(&x, empty), "slice_channels: expected channels 2..1, got [2, 1, 2]");
}

#[test]
fn rotations_of_heads() {
    let turn = std::f64::consts::FRAC_PI_2;
    let x = || tensor(&[1, 2, 4], &[1., 2., 3., 4., 1., 2., 3., 4.]);
    // The second pair turns by half a right angle.
    let table = |pairing| RotaryTable::new([4], 4.0, &[[0.], [turn]], pairing).unwrap();
    let half = std::f32::consts::FRAC_1_SQRT_2;
    let turned = [1., 2., 3., 4., -2., 1., -half, 7. * half];
    shows(rotary(x(), &table(RotaryPairing::Interleaved)), &[1, 2, 4], &turned);
    let turned = [1., 2., 3., 4., -3., -2. * half, 1., 6. * half];
    shows(rotary(x(), &table(RotaryPairing::Halves)), &[1, 2, 4], &turned);
    refuses(
        rotary(zeros(&[1, 3, 4]), &table(RotaryPairing::Halves)),
        "rotary: expected 2 tokens of heads of 4, got [1, 3, 4]",
    );
    refuses(
        RotaryTable::new([4, 3], 4.0, &[[0.; 2]], RotaryPairing::Halves),
        "rotary: expected axes of an even number of channels, got [4, 3]",
    );
}

#[test]
fn attention_of_shared_keys() {
    // Two heads of queries and one of two keys, of which the first has all of the weight.
    let q = tensor(&[1, 1, 4], &[1., 0., 0., 1.]);
    let (k, v) = (tensor(&[1, 2, 2], &[9., 9., 0., 0.]), tensor(&[1, 2, 2], &[1., 2., 3., 4.]));
    let options = AttentionOptions { kv_heads: 1, scale: Some(10.), ..AttentionOptions::new(2) };
    shows(attention_with(&q, &k, &v, &options), &[1, 1, 4], &[1., 2., 1., 2.]);
    let bias = tensor(&[2, 1, 2], &[0., 180., 0., 0.]);
    let biased = AttentionOptions { bias: Some(&bias), ..options };
    shows(attention_with(&q, &k, &v, &biased), &[1, 1, 4], &[3., 4., 1., 2.]);
    let padded = AttentionOptions { key_lengths: Some(&[1]), ..biased };
    shows(attention_with(&q, &k, &v, &padded), &[1, 1, 4], &[1., 2., 1., 2.]);
    refuses(
        attention_with(&q, &k, &v, &AttentionOptions { kv_heads: 3, ..options }),
        "attention: expected heads of keys that divide 2, got 3",
    );
    refuses(
        attention_with(&q, &k, &v, &AttentionOptions { key_lengths: Some(&[3]), ..options }),
        "attention: expected 1 lengths from 1 to 2, got [3]",
    );
    refuses(
        attention_with(&q, &k, &v, &AttentionOptions { bias: Some(&zeros(&[2, 2, 2])), ..options }),
        "attention: expected a bias [2, 1, 2], got [2, 2, 2]",
    );
}
