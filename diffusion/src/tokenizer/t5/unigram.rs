//! The pieces of a word with the largest product of probabilities.

use super::super::unpack::{unpack_numbers, unpack_text};
use super::{SENTINELS, UNKNOWN, VOCABULARY};
use std::collections::HashMap;
use std::ops::Range;

/// How much less likely than the least likely piece an unknown character is, as a logarithm.
const UNKNOWN_PENALTY: f64 = 10.0;

/// Pieces in the order of their ids, one on each line.
const PIECES: &[u8] = include_bytes!("../vocabulary/t5_pieces.gz");
/// The bits of their scores as `f32`, each as the difference from the one before.
const SCORES: &[u8] = include_bytes!("../vocabulary/t5_scores.gz");

#[derive(Debug)]
pub(super) struct Unigram {
    ids: HashMap<Box<str>, u32>,
    /// Logarithms of the probabilities, by id.
    scores: Vec<f64>,
    unknown_score: f64,
    /// Bytes of the longest piece.
    longest: usize,
}

/// The best way to the end of a prefix of a word.
#[derive(Clone, Copy)]
struct BestPath {
    score: f64,
    /// The last piece, and where it begins.
    id: u32,
    start: usize,
}

impl Unigram {
    pub(super) fn built_in() -> Unigram {
        let mut bits = 0u32;
        let scores = unpack_numbers(SCORES).into_iter().map(|[difference]| {
            bits = bits.wrapping_add(difference);
            f64::from(f32::from_bits(bits))
        });
        let scores: Vec<f64> = scores.chain(std::iter::repeat_n(0.0, SENTINELS as usize)).collect();
        // Special tokens are pieces too, which what is normalised to their letters becomes.
        let sentinels = (0..SENTINELS).rev().map(|number| format!("<extra_id_{number}>").into());
        let pieces = unpack_text(PIECES);
        let ids: HashMap<Box<str>, u32> = pieces.lines().map(Box::from).chain(sentinels).zip(0..).collect();
        debug_assert!(ids.len() == VOCABULARY as usize && scores.len() == ids.len());
        Unigram {
            unknown_score: scores.iter().copied().fold(0.0, f64::min) - UNKNOWN_PENALTY,
            longest: ids.keys().map(|piece| piece.len()).max().unwrap_or(0),
            ids,
            scores,
        }
    }

    /// Reports the ids of a word and the bytes of each (Viterbi). Neighbouring unknown characters are one token.
    pub(super) fn encode(&self, word: &str, mut report: impl FnMut(u32, Range<usize>)) {
        let best = self.best_paths(word);
        let mut path: Vec<(u32, Range<usize>)> = Vec::new();
        let mut end = word.len();
        while let Some(BestPath { id, start, .. }) = best[end].filter(|_| end > 0) {
            match path.last_mut() {
                Some((after, range)) if id == UNKNOWN && *after == UNKNOWN => range.start = start,
                _ => path.push((id, start..end)),
            }
            end = start;
        }
        path.into_iter().rev().for_each(|(id, range)| report(id, range));
    }

    /// The best way to each end of a character; of equal ones, that whose last piece is the longest.
    fn best_paths(&self, word: &str) -> Vec<Option<BestPath>> {
        let mut best = vec![None::<BestPath>; word.len() + 1];
        for (start, character) in word.char_indices() {
            let before = best[start].map_or(0.0, |path| path.score);
            let mut reach = |end: usize, id, score| {
                let score = score + before;
                if best[end].is_none_or(|path| score > path.score) {
                    best[end] = Some(BestPath { score, id, start });
                }
            };
            let rest = &word[start..];
            let one = character.len_utf8();
            let mut is_known = false;
            let lens = rest.char_indices().map(|(at, character)| at + character.len_utf8());
            for len in lens.take_while(|len| *len <= self.longest) {
                if let Some(id) = self.ids.get(&rest[..len]) {
                    reach(start + len, *id, self.scores[*id as usize]);
                    is_known |= len == one;
                }
            }
            if !is_known {
                reach(start + one, UNKNOWN, self.unknown_score);
            }
        }
        best
    }
}
