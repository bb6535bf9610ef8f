//! Q5_0: blocks of 32 values of 5 bits that share a scale of 16 bits. 5.5 bits a value.

use super::parts::{MAX_HALF, first_unless_finite, half_at, nibble, put_half, put_nibbles};
use super::{BlockFormat, search};
use crate::DType;

/// Q5_0, the layout of `block_q5_0` in ggml.
///
/// A block is 22 bytes: the scale, a little-endian IEEE half, then the fifth bits of all numbers, a little-endian integer of
/// 32 bits, then their lower four bits as in [`Q4_0`](super::Q4_0); `value = scale * (number - 16)`.
#[derive(Clone, Copy, Debug)]
pub struct Q5_0;

/// The fifth bits of 32 numbers.
pub(super) fn fifth_bits(numbers: &[u8; 32]) -> [u8; 4] {
    let bits =
        numbers.iter().enumerate().fold(0u32, |bits, (i, number)| bits | u32::from(number >> 4 & 1) << i);
    bits.to_le_bytes()
}

/// The fifth bit of number `i`, in its place.
#[inline(always)]
pub(super) fn fifth_bit(bytes: &[u8], i: usize) -> u8 {
    (bytes[i / 8] >> (i % 8) & 1) << 4
}

/// The 32 numbers of a block whose fifth bits and lower four bits these are.
#[inline(always)]
pub(super) fn numbers(high: &[u8; 4], low: &[u8; 16]) -> [u8; 32] {
    let (high, mut numbers) = (u32::from_le_bytes(*high), [0; 32]);
    for i in 0..16 {
        numbers[i] = low[i] & 15 | ((high >> i & 1) << 4) as u8;
        numbers[16 + i] = low[i] >> 4 | ((high >> (16 + i) & 1) << 4) as u8;
    }
    numbers
}

impl BlockFormat for Q5_0 {
    const DTYPE: DType = DType::Q5_0;
    const BLOCK: usize = 32;
    const BYTES: usize = 22;
    const MAX: f32 = MAX_HALF;

    fn quantize_block(values: &[f32], block: &mut [u8]) {
        let values: &[f32; Self::BLOCK] = values.try_into().expect("a block");
        let scale = put_half(block, 0, search::signed(values, -16.0, 15.0));
        let numbers = values.map(|value| (search::number(value, scale, -16.0, 15.0) + 16) as u8);
        block[2..6].copy_from_slice(&fifth_bits(&numbers));
        put_nibbles(&mut block[6..], &numbers);
    }

    #[inline(always)]
    fn value(block: &[u8], i: usize) -> f32 {
        let number = nibble(&block[6..], i) | fifth_bit(&block[2..], i);
        half_at(block, 0) * f32::from(number as i8 - 16)
    }

    #[inline(always)]
    fn dequantize_block(block: &[u8], values: &mut [f32]) {
        let values: &mut [f32; Self::BLOCK] = values.try_into().expect("a block");
        let (high, low) = (block[2..6].try_into(), block[6..Self::BYTES].try_into());
        let (scale, numbers) = (half_at(block, 0), numbers(high.expect("four"), low.expect("sixteen")));
        for (value, number) in values.iter_mut().zip(numbers) {
            *value = scale * f32::from(number as i8 - 16);
        }
    }

    #[inline]
    fn find_non_finite(block: &[u8]) -> Option<usize> {
        first_unless_finite(block, [0])
    }
}
