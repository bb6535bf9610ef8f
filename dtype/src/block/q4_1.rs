//! Q4_1: blocks of 32 values of 4 bits that share a scale and an offset of 16 bits each. 5 bits a value.

use super::parts::{MAX_HALF, first_unless_finite, half_at, nibble, put_half, put_nibbles};
use super::{BlockFormat, search};
use crate::DType;

/// Q4_1, the layout of `block_q4_1` in ggml.
///
/// A block is 20 bytes: scale and offset, little-endian IEEE halves, then the numbers as in [`Q4_0`](super::Q4_0);
/// `value = scale * number + offset`.
#[derive(Clone, Copy, Debug)]
pub struct Q4_1;

impl BlockFormat for Q4_1 {
    const DTYPE: DType = DType::Q4_1;
    const BLOCK: usize = 32;
    const BYTES: usize = 20;
    const MAX: f32 = MAX_HALF;

    fn quantize_block(values: &[f32], block: &mut [u8]) {
        let values: &[f32; Self::BLOCK] = values.try_into().expect("a block");
        let (scale, offset) = search::affine(values, 15.0, false);
        let (scale, offset) = (put_half(block, 0, scale), put_half(block, 2, offset));
        let numbers = values.map(|value| search::number(value - offset, scale, 0.0, 15.0) as u8);
        put_nibbles(&mut block[4..], &numbers);
    }

    #[inline(always)]
    fn value(block: &[u8], i: usize) -> f32 {
        half_at(block, 0) * f32::from(nibble(&block[4..], i)) + half_at(block, 2)
    }

    #[inline(always)]
    fn dequantize_block(block: &[u8], values: &mut [f32]) {
        let values: &mut [f32; Self::BLOCK] = values.try_into().expect("a block");
        let block: &[u8; Self::BYTES] = block.try_into().expect("a block");
        let (scale, offset) = (half_at(block, 0), half_at(block, 2));
        for i in 0..16 {
            values[i] = scale * f32::from(block[4 + i] & 15) + offset;
            values[16 + i] = scale * f32::from(block[4 + i] >> 4) + offset;
        }
    }

    #[inline]
    fn find_non_finite(block: &[u8]) -> Option<usize> {
        first_unless_finite(block, [0, 2])
    }
}
