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

/// The shape of an attention. Sequences are `[batch, length, heads * head_dim]`; head `h` is columns
/// `h * head_dim..(h + 1) * head_dim`.
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
    /// Channels of a head.
    pub head_dim: usize,
    /// Whether query `i` sees only keys `0..=i` (a text model's mask).
    pub causal: bool,
}

impl Attention {
    /// Checks the lengths of the arrays, on either device.
    fn assert_lengths(&self, q: usize, k: usize, v: usize, out: usize) {
        let width = self.heads * self.head_dim;
        assert!(width > 0 && self.keys > 0, "an empty attention {self:?}");
        assert_eq!(q, self.batch * self.queries * width, "queries of {self:?}");
        assert_eq!(k, self.batch * self.keys * width, "keys of {self:?}");
        assert_eq!(v, self.batch * self.keys * width, "values of {self:?}");
        assert_eq!(out, q, "output of {self:?}");
        assert!(
            !self.causal || self.queries <= self.keys,
            "a causal mask over fewer keys than queries: {self:?}"
        );
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
    shape.assert_lengths(q.len(), k.len(), v.len(), out.len());
    match precision {
        Precision::F32 | Precision::Int8 => flash::attention::<SinglePrecision>(isa, shape, q, k, v, out),
        Precision::Bf16 => flash::attention::<Bf16>(isa, shape, q, k, v, out),
    }
}
