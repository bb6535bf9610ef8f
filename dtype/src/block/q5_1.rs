//! Q5_1: blocks of 32 values of 5 bits that share a scale and an offset of 16 bits each. 6 bits a value.

use super::parts::{MAX_HALF, first_unless_finite, half_at, nibble, put_half, put_nibbles};
use super::q5_0::{fifth_bit, fifth_bits, numbers};
use super::{BlockFormat, search};
use crate::DType;

/// Q5_1, the layout of `block_q5_1` in ggml.
///
/// A block is 24 bytes: scale and offset, little-endian IEEE halves, then the numbers as in [`Q5_0`](super::Q5_0);
/// `value = scale * number + offset`.
#[derive(Clone, Copy, Debug)]
pub struct Q5_1;

impl BlockFormat for Q5_1 {
    const DTYPE: DType = DType::Q5_1;
    const BLOCK: usize = 32;
    const BYTES: usize = 24;
    const MAX: f32 = MAX_HALF;

    fn quantize_block(values: &[f32], block: &mut [u8]) {
        let values: &[f32; Self::BLOCK] = values.try_into().expect("a block");
        let (scale, offset) = search::affine(values, 31.0, false);
        let (scale, offset) = (put_half(block, 0, scale), put_half(block, 2, offset));
        let numbers = values.map(|value| search::number(value - offset, scale, 0.0, 31.0) as u8);
        block[4..8].copy_from_slice(&fifth_bits(&numbers));
        put_nibbles(&mut block[8..], &numbers);
    }

    #[inline(always)]
    fn value(block: &[u8], i: usize) -> f32 {
        let number = nibble(&block[8..], i) | fifth_bit(&block[4..], i);
        half_at(block, 0) * f32::from(number) + half_at(block, 2)
    }

    #[inline(always)]
    fn dequantize_block(block: &[u8], values: &mut [f32]) {
        let values: &mut [f32; Self::BLOCK] = values.try_into().expect("a block");
        let (high, low) = (block[4..8].try_into(), block[8..Self::BYTES].try_into());
        let numbers = numbers(high.expect("four"), low.expect("sixteen"));
        let (scale, offset) = (half_at(block, 0), half_at(block, 2));
        for (value, number) in values.iter_mut().zip(numbers) {
            *value = scale * f32::from(number) + offset;
        }
    }

    #[inline]
    fn find_non_finite(block: &[u8]) -> Option<usize> {
        first_unless_finite(block, [0, 2])
    }
}
