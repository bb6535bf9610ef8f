//! The bias of attention scores by the distance of two tokens, which the first layer holds for all.

use crate::Error;
use crate::params::Params;
use latent_tensor::{Device, Tensor};

/// Kinds of distances, half of them for keys after the query.
pub(super) const BUCKETS: usize = 32;
/// The distance from which on all are of one kind.
const MAX_DISTANCE: f32 = 128.0;
/// The first distance that shares its kind with others.
const FIRST_SHARED: usize = BUCKETS / 4;

pub(super) struct PositionBias {
    /// `[BUCKETS, heads]`
    values: Vec<f32>,
    heads: usize,
}

impl PositionBias {
    pub(super) fn load(params: &Params<'_>, heads: usize) -> Result<PositionBias, Error> {
        let values = params.values("relative_attention_bias.weight", &[BUCKETS, heads])?;
        Ok(PositionBias { values, heads })
    }

    /// What is added to the scores of texts of so many tokens: `[heads, tokens, tokens]`.
    pub(super) fn of(&self, tokens: usize, device: &Device) -> Result<Tensor, Error> {
        let mut bias = Tensor::zeros(&[self.heads, tokens, tokens])?;
        let after: Vec<usize> = (0..tokens).map(bucket_of_distance).collect();
        for (row, out) in bias.f32s_mut()?.chunks_exact_mut(tokens.max(1)).enumerate() {
            let (head, query) = (row / tokens, row % tokens);
            for (key, out) in out.iter_mut().enumerate() {
                let half = if key > query { BUCKETS / 2 } else { 0 };
                *out = self.values[(half + after[key.abs_diff(query)]) * self.heads + head];
            }
        }
        Ok(bias.to(device)?)
    }
}

/// The kind of a distance: small ones have their own, larger ones share one with those of about the same logarithm. In `f32`, as
/// transformers computes it.
fn bucket_of_distance(distance: usize) -> usize {
    if distance < FIRST_SHARED {
        return distance;
    }
    let first = FIRST_SHARED as f32;
    let share = (distance as f32 / first).ln() / (f64::from(MAX_DISTANCE / first)).ln() as f32;
    (FIRST_SHARED + (share * first) as usize).min(BUCKETS / 2 - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first distance of each kind, as transformers' `_relative_position_bucket` has them.
    #[test]
    fn distances_share_kinds_as_in_transformers() {
        let firsts = [0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 23, 32, 46, 64, 91];
        for (bucket, first) in firsts.into_iter().enumerate() {
            assert_eq!(bucket_of_distance(first), bucket, "{first}");
            assert!(first == 0 || bucket_of_distance(first - 1) == bucket - 1, "{first}");
        }
        assert_eq!(bucket_of_distance(100_000), 15);
    }
}
