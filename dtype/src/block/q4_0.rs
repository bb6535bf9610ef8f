//! Q4_0: blocks of 32 values of 4 bits that share a scale of 16 bits. 4.5 bits a value.

use super::parts::{MAX_HALF, first_unless_finite, half_at, nibble, put_half, put_nibbles};
use super::{BlockFormat, search};
use crate::DType;

/// Q4_0, the layout of `block_q4_0` in ggml.
///
/// A block is 18 bytes: the scale, a little-endian IEEE half, then 16 bytes with two values each, the first sixteen values in
/// their lower four bits; `value = scale * (number - 8)`.
#[derive(Clone, Copy, Debug)]
pub struct Q4_0;

impl BlockFormat for Q4_0 {
    const DTYPE: DType = DType::Q4_0;
    const BLOCK: usize = 32;
    const BYTES: usize = 18;
    const MAX: f32 = MAX_HALF;

    fn quantize_block(values: &[f32], block: &mut [u8]) {
        let values: &[f32; Self::BLOCK] = values.try_into().expect("a block");
        let scale = put_half(block, 0, search::signed(values, -8.0, 7.0));
        let numbers = values.map(|value| (search::number(value, scale, -8.0, 7.0) + 8) as u8);
        put_nibbles(&mut block[2..], &numbers);
    }

    #[inline(always)]
    fn value(block: &[u8], i: usize) -> f32 {
        half_at(block, 0) * f32::from(nibble(&block[2..], i) as i8 - 8)
    }

    #[inline(always)]
    fn dequantize_block(block: &[u8], values: &mut [f32]) {
        let values: &mut [f32; Self::BLOCK] = values.try_into().expect("a block");
        let block: &[u8; Self::BYTES] = block.try_into().expect("a block");
        let scale = half_at(block, 0);
        for i in 0..16 {
            values[i] = scale * f32::from((block[2 + i] & 15) as i8 - 8);
            values[16 + i] = scale * f32::from((block[2 + i] >> 4) as i8 - 8);
        }
    }

    #[inline]
    fn find_non_finite(block: &[u8]) -> Option<usize> {
        first_unless_finite(block, [0])
    }
}
