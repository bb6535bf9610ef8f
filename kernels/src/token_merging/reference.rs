//! The specification, in the steps of the authors' own program (`tomesd`): destinations and sources are split, merged and
//! joined as separate sequences. Sums are in `f64`.

use std::cmp::Ordering;

/// A merged sequence, in the order of the authors: sources that stay, then destinations.
#[derive(Clone, Debug)]
pub struct ReferenceMerging {
    /// Indices of the destinations among the tokens.
    pub destinations: Vec<usize>,
    /// Indices of the sources that stay.
    pub unmerged: Vec<usize>,
    /// Of each merged source its index and that of its destination among the destinations.
    pub merged: Vec<(usize, usize)>,
    /// Of each source its index and its similarities to all destinations.
    pub similarities: Vec<(usize, Vec<f64>)>,
}

/// As [`super::match_tokens`].
#[must_use]
pub fn match_tokens(
    x: &[f32],
    [height, width]: [usize; 2],
    channels: usize,
    merged: usize,
) -> ReferenceMerging {
    let mut destinations = Vec::new();
    for y in 0..height / 2 {
        for x in 0..width / 2 {
            destinations.push(2 * y * width + 2 * x);
        }
    }
    let sources = (0..height * width).filter(|token| !destinations.contains(token));
    let similarity = |source: usize| {
        let all = destinations.iter().map(|destination| cosine(x, channels, source, *destination));
        (source, all.collect::<Vec<_>>())
    };
    let similarities: Vec<_> = sources.map(similarity).collect();
    let mut order: Vec<(f64, usize, usize)> = Vec::new();
    for (source, similarities) in &similarities {
        let mut best: Option<usize> = None;
        for (at, value) in similarities.iter().enumerate() {
            if best.is_none_or(|best| *value > similarities[best]) {
                best = Some(at);
            }
        }
        if let Some(at) = best {
            order.push((similarities[at], *source, at));
        }
    }
    order.sort_by(|a, b| b.0.partial_cmp(&a.0).unwrap_or(Ordering::Equal).then(a.1.cmp(&b.1)));
    let merged: Vec<_> = order.iter().take(merged).map(|(_, source, at)| (*source, *at)).collect();
    let stays = |source: &usize| merged.iter().all(|(merged, _)| merged != source);
    let unmerged = similarities.iter().map(|(source, _)| *source).filter(stays).collect();
    ReferenceMerging { destinations, unmerged, merged, similarities }
}

/// Cosine similarity of two tokens; 0 where one has only zeros.
fn cosine(x: &[f32], channels: usize, a: usize, b: usize) -> f64 {
    let row = |token: usize| x[token * channels..][..channels].iter().map(|v| f64::from(*v));
    let length = |token: usize| row(token).map(|v| v * v).sum::<f64>().sqrt();
    let product: f64 = row(a).zip(row(b)).map(|(a, b)| a * b).sum();
    let lengths = length(a) * length(b);
    if lengths > 0.0 { product / lengths } else { 0.0 }
}

impl ReferenceMerging {
    /// The merged sequence: the sources that stay, then the destinations, each the mean with what was merged with it.
    #[must_use]
    pub fn merge(&self, x: &[f32], channels: usize) -> Vec<f32> {
        let row = |token: usize| x[token * channels..][..channels].iter().map(|v| f64::from(*v));
        let mut out: Vec<f32> =
            self.unmerged.iter().flat_map(|token| row(*token).map(|v| v as f32)).collect();
        for (at, destination) in self.destinations.iter().enumerate() {
            let mut sum: Vec<f64> = row(*destination).collect();
            let mut count = 1.0;
            for (source, _) in self.merged.iter().filter(|(_, to)| *to == at) {
                sum.iter_mut().zip(row(*source)).for_each(|(sum, v)| *sum += v);
                count += 1.0;
            }
            out.extend(sum.iter().map(|sum| (sum / count) as f32));
        }
        out
    }

    /// A sequence of all tokens, from a merged one.
    #[must_use]
    pub fn unmerge(&self, merged: &[f32], channels: usize) -> Vec<f32> {
        let tokens = self.unmerged.len() + self.destinations.len() + self.merged.len();
        let mut out = vec![0.0; tokens * channels];
        let mut place = |token: usize, row: usize| {
            out[token * channels..][..channels].copy_from_slice(&merged[row * channels..][..channels]);
        };
        let first = self.unmerged.len();
        self.unmerged.iter().enumerate().for_each(|(row, token)| place(*token, row));
        self.destinations.iter().enumerate().for_each(|(at, token)| place(*token, first + at));
        self.merged.iter().for_each(|(source, at)| place(*source, first + at));
        out
    }
}
