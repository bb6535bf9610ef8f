//! Merging of similar tokens before a self-attention, and their return after it (Bolya and Hoffman, Token Merging for Fast
//! Stable Diffusion, 2023; Bolya et al., Token Merging: Your ViT But Faster, 2023, section 3).
//!
//! The tokens are the pixels of an image. The top left one of each whole block of 2x2 is a *destination*, all others are
//! *sources*. A source belongs to the destination whose cosine similarity to it is the largest, and the `merged` sources
//! with the largest similarities are merged with theirs: a row of the shorter sequence is the mean of a destination and all
//! sources that were merged with it, or a token that was not merged. Rows are in the order of the tokens that stay. After
//! the attention every token takes the row that it is a part of.
//!
//! Among equal similarities the destination, and then the source, of the lower index comes first. A token of zeros has a
//! similarity of 0 to all. The result depends on the image's own tokens alone.

pub mod reference;
#[cfg(test)]
mod tests;

use crate::dtype::DType;
use crate::gemm::{Weight, WeightMatrix, gemm_with};
use crate::parallel;
use crate::simd::Isa;
use std::sync::Arc;

/// Side of the blocks of tokens, each of which has one destination.
const BLOCK: usize = 2;
/// About how many similarities are held at a time: 4 MB, a part of the last-level cache.
const SIMILARITIES: usize = 1 << 20;
/// Minimum number of sources whose similarities are computed at a time, so that a panel of destinations is used often.
const MIN_SOURCES: usize = 64;

/// Which tokens of one image are merged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenMatching {
    /// For each token the row of the shorter sequence that it is a part of.
    rows: Vec<u32>,
    /// The tokens of all rows, row after row, each in ascending order.
    members: Vec<u32>,
    /// Where in `members` each row begins, and where the last one ends.
    starts: Vec<u32>,
}

impl TokenMatching {
    /// From the destination that each token is merged with, `None` for those that stay.
    fn new(destinations: &[Option<u32>]) -> TokenMatching {
        let mut rows = vec![0; destinations.len()];
        let mut kept = 0;
        for (row, destination) in rows.iter_mut().zip(destinations) {
            if destination.is_none() {
                *row = kept;
                kept += 1;
            }
        }
        for (token, destination) in destinations.iter().enumerate() {
            if let Some(destination) = destination {
                rows[token] = rows[*destination as usize];
            }
        }
        let mut starts = vec![0; kept as usize + 1];
        rows.iter().for_each(|row| starts[*row as usize + 1] += 1);
        for row in 1..starts.len() {
            starts[row] += starts[row - 1];
        }
        let (mut next, mut members) = (starts.clone(), vec![0; rows.len()]);
        for (token, row) in rows.iter().enumerate() {
            let at = &mut next[*row as usize];
            members[*at as usize] = token as u32;
            *at += 1;
        }
        TokenMatching { rows, members, starts }
    }

    /// Number of tokens.
    #[must_use]
    pub fn tokens(&self) -> usize {
        self.rows.len()
    }

    /// Number of rows of the shorter sequence.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.starts.len() - 1
    }

    /// The tokens that a row is the mean of, in ascending order.
    fn members(&self, row: usize) -> &[u32] {
        &self.members[self.starts[row] as usize..self.starts[row + 1] as usize]
    }
}

/// Number of destinations among the tokens of an image `[height, width]`.
#[must_use]
pub fn destination_count([height, width]: [usize; 2]) -> usize {
    (height / BLOCK) * (width / BLOCK)
}

/// Whether a token is a destination.
fn is_destination(token: usize, [height, width]: [usize; 2]) -> bool {
    let (y, x) = (token / width, token % width);
    let begins = |at: usize, side: usize| at.is_multiple_of(BLOCK) && at + BLOCK <= side;
    begins(y, height) && begins(x, width)
}

/// Chooses the `merged` tokens of an image `[height, width, channels]` that are merged with others; all sources, if there
/// are fewer, and none in an image without a whole block.
///
/// # Panics
/// If the length of `x` disagrees.
#[must_use]
pub fn match_tokens(x: &[f32], grid: [usize; 2], channels: usize, merged: usize) -> TokenMatching {
    match_tokens_with(Isa::best(), x, grid, channels, merged)
}

/// As [`match_tokens`], on a given instruction set.
///
/// # Panics
/// As [`match_tokens`], and if the CPU lacks the instruction set.
#[must_use]
pub fn match_tokens_with(
    isa: Isa,
    x: &[f32],
    grid: [usize; 2],
    channels: usize,
    merged: usize,
) -> TokenMatching {
    let tokens = grid[0] * grid[1];
    assert_tokens(x.len(), tokens, channels);
    let (destinations, sources): (Vec<usize>, Vec<usize>) =
        (0..tokens).partition(|token| is_destination(*token, grid));
    let mut matches = vec![None; tokens];
    let merged = merged.min(sources.len());
    if merged > 0 && !destinations.is_empty() {
        let mut nearest = nearest_destinations(isa, x, channels, &destinations, &sources);
        // Sources are in ascending order, and stay so where similarities are equal.
        nearest.sort_by(|a, b| b.similarity.total_cmp(&a.similarity));
        for Nearest { source, destination, .. } in &nearest[..merged] {
            matches[*source as usize] = Some(*destination);
        }
    }
    TokenMatching::new(&matches)
}

/// A source with the destination that is most similar to it.
#[derive(Clone, Copy, Default)]
struct Nearest {
    source: u32,
    destination: u32,
    similarity: f32,
}

/// The destination of each source.
fn nearest_destinations(
    isa: Isa,
    x: &[f32],
    channels: usize,
    destinations: &[usize],
    sources: &[usize],
) -> Vec<Nearest> {
    let count = destinations.len();
    let directions = FloatBytes(unit_rows(x, channels, destinations));
    let weight = WeightMatrix::new(Weight::new(DType::F32, Arc::new(directions)), count, channels);
    let at_once = (SIMILARITIES / count).max(MIN_SOURCES).min(sources.len());
    let mut similarities = vec![0.0; at_once * count];
    let mut nearest = vec![Nearest::default(); sources.len()];
    for (some, nearest) in sources.chunks(at_once).zip(nearest.chunks_mut(at_once)) {
        let similarities = &mut similarities[..some.len() * count];
        gemm_with(isa, &unit_rows(x, channels, some), &weight, None, None, similarities);
        let (similarities, rows) = (&*similarities, parallel::grain(count) / count);
        parallel::chunks_mut(nearest, rows, |piece, nearest| {
            let all = similarities.chunks_exact(count).zip(some).skip(piece * rows);
            for (nearest, (similarities, source)) in nearest.iter_mut().zip(all) {
                let (at, similarity) = first_maximum(similarities);
                *nearest =
                    Nearest { source: *source as u32, destination: destinations[at] as u32, similarity };
            }
        });
    }
    nearest
}

/// The first of the largest values.
fn first_maximum(values: &[f32]) -> (usize, f32) {
    let (mut at, mut max) = (0, f32::NEG_INFINITY);
    for (i, value) in values.iter().enumerate() {
        if *value > max {
            (at, max) = (i, *value);
        }
    }
    (at, max)
}

/// Some rows of `x`, each divided by its length.
fn unit_rows(x: &[f32], channels: usize, rows: &[usize]) -> Vec<f32> {
    let mut units = vec![0.0; rows.len() * channels];
    let piece = parallel::grain(channels);
    parallel::chunks_mut(&mut units, piece, |i, units| {
        let rows = &rows[i * piece / channels..];
        for (unit, row) in units.chunks_exact_mut(channels).zip(rows) {
            let row = &x[row * channels..][..channels];
            let length = row.iter().map(|v| v * v).sum::<f32>().sqrt();
            let inverse = if length > 0.0 { 1.0 / length } else { 0.0 };
            unit.iter_mut().zip(row).for_each(|(unit, v)| *unit = v * inverse);
        }
    });
    units
}

/// Values as the bytes of a weight.
struct FloatBytes(Vec<f32>);

impl AsRef<[u8]> for FloatBytes {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(&self.0)
    }
}

/// The shorter sequence: for each row the mean of its tokens, summed in their order. `x` is `[tokens, channels]`, `out`
/// `[kept, channels]`.
///
/// # Panics
/// If the length of a slice disagrees.
pub fn merge(x: &[f32], matching: &TokenMatching, channels: usize, out: &mut [f32]) {
    assert_tokens(x.len(), matching.tokens(), channels);
    assert_tokens(out.len(), matching.kept(), channels);
    let piece = parallel::grain(channels);
    parallel::chunks_mut(out, piece, |i, out| {
        for (row, out) in out.chunks_exact_mut(channels).enumerate() {
            let members = matching.members(i * piece / channels + row);
            let token = |token: u32| &x[token as usize * channels..][..channels];
            out.copy_from_slice(token(members[0]));
            for member in &members[1..] {
                out.iter_mut().zip(token(*member)).for_each(|(sum, v)| *sum += v);
            }
            if members.len() > 1 {
                let count = members.len() as f32;
                out.iter_mut().for_each(|sum| *sum /= count);
            }
        }
    });
}

/// Adds to each token of `tokens` `[tokens, channels]` the row of `x` `[kept, channels]` that it is a part of.
///
/// # Panics
/// If the length of a slice disagrees.
pub fn unmerge_add(x: &[f32], matching: &TokenMatching, channels: usize, tokens: &mut [f32]) {
    assert_tokens(tokens.len(), matching.tokens(), channels);
    assert_tokens(x.len(), matching.kept(), channels);
    let piece = parallel::grain(channels);
    parallel::chunks_mut(tokens, piece, |i, tokens| {
        let rows = &matching.rows[i * piece / channels..];
        for (token, row) in tokens.chunks_exact_mut(channels).zip(rows) {
            let row = &x[*row as usize * channels..][..channels];
            token.iter_mut().zip(row).for_each(|(token, v)| *token += v);
        }
    });
}

/// Checks the length of a sequence.
fn assert_tokens(values: usize, tokens: usize, channels: usize) {
    assert!(channels > 0, "tokens without channels");
    assert_eq!(values, tokens * channels, "{tokens} tokens of {channels} channels");
}
