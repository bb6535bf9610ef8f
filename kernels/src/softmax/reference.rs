//! The specification, in `f64`.

/// `e^(x - max) / sum` for each row.
#[must_use]
pub fn softmax(x: &[f32], width: usize) -> Vec<f32> {
    let mut out = Vec::with_capacity(x.len());
    for row in x.chunks_exact(width) {
        let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let weights: Vec<f64> = row.iter().map(|v| (f64::from(*v) - f64::from(max)).exp()).collect();
        let total: f64 = weights.iter().sum();
        out.extend(weights.iter().map(|w| (w / total) as f32));
    }
    out
}
