//! IQ4_NL: blocks of 32 values of 4 bits, each the place of a value in a table, that share a scale of 16 bits. 4.5 bits a
//! value.

use super::parts::{MAX_HALF, first_unless_finite, half_at, nibble, put_half, put_nibbles};
use super::{BlockFormat, search};
use crate::DType;

/// IQ4_NL, the layout of `block_iq4_nl` in ggml.
///
/// A block is 18 bytes, as one of [`Q4_0`](super::Q4_0); `value = scale * TABLE[number]`. The numbers of the table lie
/// closer together near zero, where most weights are.
#[derive(Clone, Copy, Debug)]
pub struct Iq4Nl;

/// What the sixteen numbers mean.
pub(super) const TABLE: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

/// The number whose meaning is nearest to a value.
pub(super) fn nearest(value: f32) -> u8 {
    let is_above = |pair: &[i8]| value > 0.5 * (f32::from(pair[0]) + f32::from(pair[1]));
    TABLE.windows(2).map(|pair| u8::from(is_above(pair))).sum()
}

/// The sum of the squared errors of values with a scale.
pub(super) fn error(values: &[f32], scale: f32) -> f32 {
    let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
    let off = |value: &f32| scale * f32::from(TABLE[usize::from(nearest(value * inverse))]) - value;
    values.iter().map(|value| off(value).powi(2)).sum()
}

/// The scale with which the values come back with the least error.
pub(super) fn scale_of(values: &[f32]) -> f32 {
    let extreme = search::largest_magnitude(values);
    let (mut best, mut most) = (0.0, 0.0);
    for step in -7i8..=7 {
        let ends = [f32::from(TABLE[0]), f32::from(TABLE[15])];
        for inverse in ends.map(|end| (end + f32::from(step)) / extreme) {
            let (mut products, mut squares) = (0.0, 0.0);
            for value in values {
                let number = f32::from(TABLE[usize::from(nearest(value * inverse))]);
                products += value * number;
                squares += number * number;
            }
            let gain = products * products / squares;
            if gain > most {
                (best, most) = (products / squares, gain);
            }
        }
    }
    if f32::is_finite(best) { best } else { 0.0 }
}

/// The number of each value in units of a scale.
pub(super) fn numbers(values: &[f32; 32], scale: f32) -> [u8; 32] {
    values.map(|value| if scale == 0.0 { 0 } else { nearest(value / scale) })
}

impl BlockFormat for Iq4Nl {
    const DTYPE: DType = DType::IQ4_NL;
    const BLOCK: usize = 32;
    const BYTES: usize = 18;
    const MAX: f32 = MAX_HALF;

    fn quantize_block(values: &[f32], block: &mut [u8]) {
        let values: &[f32; Self::BLOCK] = values.try_into().expect("a block");
        let scale = put_half(block, 0, scale_of(values));
        put_nibbles(&mut block[2..], &numbers(values, scale));
    }

    #[inline(always)]
    fn value(block: &[u8], i: usize) -> f32 {
        half_at(block, 0) * f32::from(TABLE[usize::from(nibble(&block[2..], i))])
    }

    #[inline(always)]
    fn dequantize_block(block: &[u8], values: &mut [f32]) {
        let values: &mut [f32; Self::BLOCK] = values.try_into().expect("a block");
        let block: &[u8; Self::BYTES] = block.try_into().expect("a block");
        let scale = half_at(block, 0);
        for i in 0..16 {
            values[i] = scale * f32::from(TABLE[usize::from(block[2 + i] & 15)]);
            values[16 + i] = scale * f32::from(TABLE[usize::from(block[2 + i] >> 4)]);
        }
    }

    #[inline]
    fn find_non_finite(block: &[u8]) -> Option<usize> {
        first_unless_finite(block, [0])
    }
}
