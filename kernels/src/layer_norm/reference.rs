//! The specification: two passes in `f64`.

/// `(x - mean) / sqrt(variance + eps) * weight + bias` for each row.
#[must_use]
pub fn layer_norm(x: &[f32], weight: &[f32], bias: &[f32], eps: f32) -> Vec<f32> {
    let width = weight.len();
    let mut out = Vec::with_capacity(x.len());
    for row in x.chunks_exact(width) {
        let mean = row.iter().map(|v| f64::from(*v)).sum::<f64>() / width as f64;
        let variance = row.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / width as f64;
        for (c, v) in row.iter().enumerate() {
            let y = (f64::from(*v) - mean) / (variance + f64::from(eps)).sqrt();
            out.push((y * f64::from(weight[c]) + f64::from(bias[c])) as f32);
        }
    }
    out
}

/// `(x - mean) / sqrt(variance + eps) * (1 + scale) + shift` for each row, with the vectors of its sequence.
#[must_use]
pub fn layer_norm_modulated(x: &[f32], scale: &[f32], shift: &[f32], batch: usize, eps: f32) -> Vec<f32> {
    let width = scale.len() / batch;
    let sequences = x.chunks(if x.is_empty() { 1 } else { x.len() / batch });
    let vectors = scale.chunks_exact(width).zip(shift.chunks_exact(width));
    let normalised = |(x, (scale, shift)): (&[f32], (&[f32], &[f32]))| {
        let weight: Vec<f32> = scale.iter().map(|scale| 1.0 + scale).collect();
        layer_norm(x, &weight, shift, eps)
    };
    sequences.zip(vectors).flat_map(normalised).collect()
}
