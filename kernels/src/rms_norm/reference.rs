//! The specification, in `f64`.

/// `x / sqrt(mean(x²) + eps) * weight` for each row.
#[must_use]
pub fn rms_norm(x: &[f32], weight: &[f32], eps: f32) -> Vec<f32> {
    rms_norm_modulated(x, weight, &vec![0.0; weight.len()], 1, eps)
}

/// `x / sqrt(mean(x²) + eps) * weight * (1 + scale)` for each row, with the scales of its sequence.
#[must_use]
pub fn rms_norm_modulated(x: &[f32], weight: &[f32], scale: &[f32], batch: usize, eps: f32) -> Vec<f32> {
    let width = weight.len();
    let tokens = x.len() / width / batch;
    let mut out = Vec::with_capacity(x.len());
    for (i, row) in x.chunks_exact(width).enumerate() {
        let scale = &scale[i / tokens * width..][..width];
        let square = row.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / width as f64;
        let inverse = 1.0 / (square + f64::from(eps)).sqrt();
        for (c, v) in row.iter().enumerate() {
            out.push((f64::from(*v) * inverse * f64::from(weight[c]) * (1.0 + f64::from(scale[c]))) as f32);
        }
    }
    out
}
