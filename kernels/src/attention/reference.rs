//! The specification: scores, softmax and sum in `f64`, one query at a time.

use super::Attention;

/// `softmax(q kᵀ / sqrt(head_dim)) v` for each head.
#[must_use]
pub fn attention(shape: Attention, q: &[f32], k: &[f32], v: &[f32]) -> Vec<f32> {
    let Attention { batch, queries, keys, heads, head_dim, causal } = shape;
    let width = heads * head_dim;
    let mut out = vec![0.0; q.len()];
    for b in 0..batch {
        for h in 0..heads {
            let key = |j: usize| (b * keys + j) * width + h * head_dim;
            for i in 0..queries {
                let query = (b * queries + i) * width + h * head_dim;
                let seen = if causal { i + 1 } else { keys };
                let dot = |j: usize| -> f64 {
                    (0..head_dim).map(|d| f64::from(q[query + d]) * f64::from(k[key(j) + d])).sum()
                };
                let scores: Vec<f64> = (0..seen).map(|j| dot(j) / (head_dim as f64).sqrt()).collect();
                let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let weights: Vec<f64> = scores.iter().map(|s| (s - max).exp()).collect();
                let total: f64 = weights.iter().sum();
                for d in 0..head_dim {
                    let sum: f64 =
                        weights.iter().enumerate().map(|(j, w)| w * f64::from(v[key(j) + d])).sum();
                    out[query + d] = (sum / total) as f32;
                }
            }
        }
    }
    out
}
