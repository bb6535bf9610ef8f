//! The specification: scores, softmax and sum in `f64`, one query at a time.

use super::{Attention, ScoreTerms};

/// `softmax(q kᵀ / sqrt(head_dim)) v` for each head.
#[must_use]
pub fn attention(shape: Attention, q: &[f32], k: &[f32], v: &[f32]) -> Vec<f32> {
    attention_of_scores(shape, &ScoreTerms::default(), [q, k, v])
}

/// `softmax(scale q kᵀ + bias) v` for each head, over the keys that count.
#[must_use]
pub fn attention_of_scores(shape: Attention, terms: &ScoreTerms<'_>, [q, k, v]: [&[f32]; 3]) -> Vec<f32> {
    let Attention { batch, queries, keys, heads, kv_heads, head_dim, causal } = shape;
    let scale = terms.scale.map_or(1.0 / (head_dim as f64).sqrt(), f64::from);
    let mut out = vec![0.0; q.len()];
    for b in 0..batch {
        for h in 0..heads {
            let own = h / (heads / kv_heads);
            let key = |j: usize| ((b * keys + j) * kv_heads + own) * head_dim;
            for i in 0..queries {
                let query = ((b * queries + i) * heads + h) * head_dim;
                let limit = terms.key_lengths.map_or(keys, |lengths| lengths[b]);
                let seen = if causal { limit.min(i + 1) } else { limit };
                let score = |j: usize| -> f64 {
                    let products = (0..head_dim).map(|d| f64::from(q[query + d]) * f64::from(k[key(j) + d]));
                    let bias = terms.bias.map_or(0.0, |bias| f64::from(bias[(h * queries + i) * keys + j]));
                    products.sum::<f64>() * scale + bias
                };
                let scores: Vec<f64> = (0..seen).map(score).collect();
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
