//! Q3_K: blocks of 256 values of 3 bits in sixteen groups, each with a scale of 6 bits. 3.4375 bits a value.

use super::parts::{MAX_HALF, first_unless_finite, half_at};
use super::q2_k::place;
use super::{BlockFormat, k_scales, search};
use crate::DType;

/// Q3_K, the layout of `block_q3_K` in ggml.
///
/// A block is 110 bytes: 32 bytes with the third bits, that of row `r` of 32 values in bit `r`; the lower two bits as in
/// [`Q2K`](super::Q2K); the groups' scales in 12 bytes; and the scale of the block, a little-endian IEEE half.
/// `value = scale * (group's scale - 32) * (number - 4)`.
#[derive(Clone, Copy, Debug)]
pub struct Q3K;

const ROW: usize = 32;
const GROUP: usize = 16;
const NUMBERS: usize = 32;
const SCALES: usize = 96;
const SCALE: usize = 108;

/// Eight bytes have the lower four bits of two scales, that of group `g` and of `g + 8`; four bytes the upper two of four.
#[inline(always)]
fn group_scale(block: &[u8], group: usize) -> f32 {
    let low = block[SCALES + group % 8] >> (4 * (group / 8)) & 15;
    let high = block[SCALES + 8 + group % 4] >> (2 * (group / 4)) & 3;
    half_at(block, SCALE) * f32::from((low | high << 4) as i8 - 32)
}

impl BlockFormat for Q3K {
    const DTYPE: DType = DType::Q3_K;
    const BLOCK: usize = 256;
    const BYTES: usize = 110;
    const MAX: f32 = MAX_HALF;

    fn quantize_block(values: &[f32], block: &mut [u8]) {
        assert_eq!((values.len(), block.len()), (Self::BLOCK, Self::BYTES), "a block");
        block.fill(0);
        let scales = k_scales::signed(values, 4.0, 32.0, block, SCALE);
        for (group, (units, _)) in scales.iter().enumerate() {
            let stored = (units + 32).cast_unsigned();
            block[SCALES + group % 8] |= (stored & 15) << (4 * (group / 8));
            block[SCALES + 8 + group % 4] |= (stored >> 4) << (2 * (group / 4));
        }
        for (i, value) in values.iter().enumerate() {
            let number = (search::number(*value, scales[i / GROUP].1, -4.0, 3.0) + 4) as u8;
            let (byte, shift) = place(i);
            block[NUMBERS + byte] |= (number & 3) << shift;
            block[i % ROW] |= (number >> 2) << (i / ROW);
        }
    }

    #[inline(always)]
    fn value(block: &[u8], i: usize) -> f32 {
        let (byte, shift) = place(i);
        let number = block[NUMBERS + byte] >> shift & 3 | (block[i % ROW] >> (i / ROW) & 1) << 2;
        group_scale(block, i / GROUP) * f32::from(number as i8 - 4)
    }

    #[inline(always)]
    fn dequantize_block(block: &[u8], values: &mut [f32]) {
        let values: &mut [f32; Self::BLOCK] = values.try_into().expect("a block");
        let block: &[u8; Self::BYTES] = block.try_into().expect("a block");
        for (group, values) in values.as_chunks_mut::<GROUP>().0.iter_mut().enumerate() {
            let (scale, (byte, shift)) = (group_scale(block, group), place(GROUP * group));
            let (row, third) = (group / 2, GROUP * (group % 2));
            let low: &[u8; GROUP] = block[NUMBERS + byte..][..GROUP].try_into().expect("a group");
            let high: &[u8; GROUP] = block[third..][..GROUP].try_into().expect("a group");
            for (value, (low, high)) in values.iter_mut().zip(low.iter().zip(high)) {
                *value = scale * f32::from((low >> shift & 3 | (high >> row & 1) << 2) as i8 - 4);
            }
        }
    }

    #[inline]
    fn find_non_finite(block: &[u8]) -> Option<usize> {
        first_unless_finite(block, [SCALE])
    }
}
