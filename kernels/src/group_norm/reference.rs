//! The specification: two passes in `f64`.

use super::GroupNormParams;

/// `(x - mean) / sqrt(variance + eps) * weight + bias`, then SiLU if asked for.
#[must_use]
pub fn group_norm(shape: GroupNormParams, x: &[f32], weight: &[f32], bias: &[f32]) -> Vec<f32> {
    let GroupNormParams { batch, positions, channels, groups, eps, silu } = shape;
    let width = channels / groups;
    let mut out = vec![0.0; x.len()];
    for n in 0..batch {
        for g in 0..groups {
            let indices = || {
                let channel = g * width..(g + 1) * width;
                (0..positions)
                    .flat_map(move |p| channel.clone().map(move |c| (n * positions + p) * channels + c))
            };
            let count = (positions * width) as f64;
            let mean = indices().map(|i| f64::from(x[i])).sum::<f64>() / count;
            let variance = indices().map(|i| (f64::from(x[i]) - mean).powi(2)).sum::<f64>() / count;
            for i in indices() {
                let c = i % channels;
                let y = (f64::from(x[i]) - mean) / (variance + f64::from(eps)).sqrt() * f64::from(weight[c])
                    + f64::from(bias[c]);
                out[i] = if silu { y / (1.0 + (-y).exp()) } else { y } as f32;
            }
        }
    }
    out
}
