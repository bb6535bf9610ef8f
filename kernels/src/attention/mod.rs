//! Scaled dot-product attention with several heads (Vaswani et al., Attention Is All You Need, 2017, section 3.2),
//! without the score matrix.

mod flash;
#[cfg(feature = "gpu")]
pub mod gpu;
pub mod reference;
#[cfg(test)]
mod tests;

use crate::Precision;
use crate::gemm::bf16::Bf16;
use crate::gemm::single_precision::SinglePrecision;
use crate::simd::Isa;
use std::f64::consts::LOG2_E;

/// The shape of an attention. Sequences of queries are `[batch, length, heads * head_dim]`; head `h` is columns
/// `h * head_dim..(h + 1) * head_dim`. Those of keys and values have `kv_heads` heads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attention {
    /// Sequences.
    pub batch: usize,
    /// Length of the query sequence.
    pub queries: usize,
    /// Length of the key and value sequence.
    pub keys: usize,
    /// Number of heads.
    pub heads: usize,
    /// Heads of keys and values, a divisor of `heads`: each serves as many neighbouring heads of queries (Ainslie et al., GQA:
    /// Training Generalized Multi-Query Transformer Models, 2023).
    pub kv_heads: usize,
    /// Channels of a head.
    pub head_dim: usize,
    /// Whether query `i` sees only keys `0..=i` (a text model's mask).
    pub causal: bool,
}

/// What scores are multiplied by, which of them count, and what is added: by default that of [`attention`].
#[derive(Debug)]
pub struct ScoreTerms<'a, T: ?Sized = [f32]> {
    /// What products of queries and keys are multiplied by; `1 / sqrt(head_dim)` if there is none.
    pub scale: Option<f32>,
    /// For each sequence, how many of its keys count, at least one: the others are padding.
    pub key_lengths: Option<&'a [usize]>,
    /// `[heads, queries, keys]`, added to the scores of every sequence (T5's relative positions; Raffel et al., Exploring the
    /// Limits of Transfer Learning, 2019). Finite.
    pub bias: Option<&'a T>,
}

impl<T: ?Sized> Default for ScoreTerms<'_, T> {
    fn default() -> Self {
        ScoreTerms { scale: None, key_lengths: None, bias: None }
    }
}

impl<T: ?Sized> ScoreTerms<'_, T> {
    /// The factor of scores that are powers of two.
    fn scale_of_powers(&self, shape: &Attention) -> f32 {
        let scale = match self.scale {
            Some(scale) => f64::from(scale) * LOG2_E,
            None => LOG2_E / (shape.head_dim as f64).sqrt(),
        };
        scale as f32
    }

    /// How many keys of a sequence count.
    fn keys(&self, shape: &Attention, sequence: usize) -> usize {
        self.key_lengths.map_or(shape.keys, |lengths| lengths[sequence])
    }
}

impl Attention {
    /// Checks the lengths of the arrays, on either device.
    fn assert_lengths(&self, q: usize, k: usize, v: usize, out: usize) {
        let (width, kv_width) = (self.heads * self.head_dim, self.kv_heads * self.head_dim);
        assert!(width > 0 && kv_width > 0 && self.keys > 0, "an empty attention {self:?}");
        assert!(self.heads.is_multiple_of(self.kv_heads), "heads that share keys unevenly: {self:?}");
        assert_eq!(q, self.batch * self.queries * width, "queries of {self:?}");
        assert_eq!(k, self.batch * self.keys * kv_width, "keys of {self:?}");
        assert_eq!(v, self.batch * self.keys * kv_width, "values of {self:?}");
        assert_eq!(out, q, "output of {self:?}");
        assert!(
            !self.causal || self.queries <= self.keys,
            "a causal mask over fewer keys than queries: {self:?}"
        );
    }

    /// Checks the terms of scores, of which the bias has so many values, on either device.
    fn assert_terms(&self, key_lengths: Option<&[usize]>, bias: Option<usize>) {
        let fits = |lengths: &[usize]| {
            lengths.len() == self.batch && lengths.iter().all(|length| (1..=self.keys).contains(length))
        };
        assert!(key_lengths.is_none_or(fits), "key lengths {key_lengths:?} of {self:?}");
        let values = self.heads * self.queries * self.keys;
        assert!(bias.is_none_or(|bias| bias == values), "a bias of {bias:?} values for {self:?}");
    }
}

/// `out = softmax(q kᵀ / sqrt(head_dim)) v` for each head, on the fastest instruction set, in `f32`.
///
/// # Panics
/// If the length of a slice disagrees with `shape`, there is no key, or the mask is causal and there are fewer keys
/// than queries.
pub fn attention(shape: Attention, q: &[f32], k: &[f32], v: &[f32], out: &mut [f32]) {
    attention_with(Isa::best(), Precision::F32, shape, q, k, v, out);
}

/// As [`attention`], on a given instruction set and in a given precision. The softmax is in `f32` whatever it is. In
/// [`Precision::Int8`] the products are, too.
///
/// # Panics
/// As [`attention`], and if the CPU lacks the instruction set.
pub fn attention_with(
    isa: Isa,
    precision: Precision,
    shape: Attention,
    q: &[f32],
    k: &[f32],
    v: &[f32],
    out: &mut [f32],
) {
    attention_of_scores_with(isa, precision, shape, &ScoreTerms::default(), [q, k, v], out);
}

/// `softmax(scale q kᵀ + bias) v` for each head, over the keys that count, on the fastest instruction set.
///
/// # Panics
/// As [`attention`], and if the length of a bias disagrees with `shape`, or a sequence has no key or more than `shape.keys`.
pub fn attention_of_scores(
    precision: Precision,
    shape: Attention,
    terms: &ScoreTerms<'_>,
    qkv: [&[f32]; 3],
    out: &mut [f32],
) {
    attention_of_scores_with(Isa::best(), precision, shape, terms, qkv, out);
}

/// As [`attention_of_scores`], on a given instruction set.
///
/// # Panics
/// As [`attention_of_scores`], and if the CPU lacks the instruction set.
pub fn attention_of_scores_with(
    isa: Isa,
    precision: Precision,
    shape: Attention,
    terms: &ScoreTerms<'_>,
    [q, k, v]: [&[f32]; 3],
    out: &mut [f32],
) {
    shape.assert_lengths(q.len(), k.len(), v.len(), out.len());
    shape.assert_terms(terms.key_lengths, terms.bias.map(<[f32]>::len));
    match precision {
        Precision::F32 | Precision::Int8 => {
            flash::attention::<SinglePrecision>(isa, shape, terms, [q, k, v], out);
        }
        Precision::Bf16 => flash::attention::<Bf16>(isa, shape, terms, [q, k, v], out),
    }
}
