//! Q6_K: blocks of 256 values of 6 bits in sixteen groups, each with a scale of 8 bits. 6.5625 bits a value.

use super::parts::{MAX_HALF, first_unless_finite, half_at};
use super::{BlockFormat, k_scales, search};
use crate::DType;

/// Q6_K, the layout of `block_q6_K` in ggml.
///
/// A block is 210 bytes: the lower four bits of the numbers, their upper two bits, the groups' scales, signed bytes, and the
/// scale of the block, a little-endian IEEE half. Of each 128 values, which are four rows of 32, the lower bits of the first
/// two rows are in the lower halves of 64 bytes, and those of the others in the upper halves; the upper bits of the four rows
/// are side by side in 32 bytes. `value = scale * (group's scale) * (number - 32)`.
#[derive(Clone, Copy, Debug)]
pub struct Q6K;

const ROW: usize = 32;
const GROUP: usize = 16;
const HIGH: usize = 128;
const SCALES: usize = 192;
const SCALE: usize = 208;

/// The byte of the lower bits of a value and the shift in it, the byte of its upper bits and the shift in that.
#[inline(always)]
fn place(i: usize) -> (usize, u32, usize, u32) {
    let (half, row, column) = (i / 128, i / ROW % 4, i % ROW);
    let low = 64 * half + ROW * (row % 2) + column;
    (low, 4 * (row as u32 / 2), HIGH + ROW * half + column, 2 * row as u32)
}

#[inline(always)]
fn group_scale(block: &[u8], group: usize) -> f32 {
    half_at(block, SCALE) * f32::from(block[SCALES + group].cast_signed())
}

impl BlockFormat for Q6K {
    const DTYPE: DType = DType::Q6_K;
    const BLOCK: usize = 256;
    const BYTES: usize = 210;
    const MAX: f32 = MAX_HALF;

    fn quantize_block(values: &[f32], block: &mut [u8]) {
        assert_eq!((values.len(), block.len()), (Self::BLOCK, Self::BYTES), "a block");
        block.fill(0);
        let scales = k_scales::signed(values, 32.0, 128.0, block, SCALE);
        for (group, (units, _)) in scales.iter().enumerate() {
            block[SCALES + group] = units.cast_unsigned();
        }
        for (i, value) in values.iter().enumerate() {
            let number = (search::number(*value, scales[i / GROUP].1, -32.0, 31.0) + 32) as u8;
            let (low, low_shift, high, high_shift) = place(i);
            block[low] |= (number & 15) << low_shift;
            block[high] |= (number >> 4) << high_shift;
        }
    }

    #[inline(always)]
    fn value(block: &[u8], i: usize) -> f32 {
        let (low, low_shift, high, high_shift) = place(i);
        let number = block[low] >> low_shift & 15 | (block[high] >> high_shift & 3) << 4;
        group_scale(block, i / GROUP) * f32::from(number as i8 - 32)
    }

    #[inline(always)]
    fn dequantize_block(block: &[u8], values: &mut [f32]) {
        let values: &mut [f32; Self::BLOCK] = values.try_into().expect("a block");
        let block: &[u8; Self::BYTES] = block.try_into().expect("a block");
        for (row, values) in values.as_chunks_mut::<ROW>().0.iter_mut().enumerate() {
            let (low, low_shift, high, high_shift) = place(ROW * row);
            let (low, high): (&[u8; ROW], &[u8; ROW]) = (
                block[low..low + ROW].try_into().expect("a row"),
                block[high..high + ROW].try_into().expect("a row"),
            );
            for (group, values) in values.as_chunks_mut::<GROUP>().0.iter_mut().enumerate() {
                let scale = group_scale(block, 2 * row + group);
                for (i, value) in values.iter_mut().enumerate() {
                    let i = GROUP * group + i;
                    let number = low[i] >> low_shift & 15 | (high[i] >> high_shift & 3) << 4;
                    *value = scale * f32::from(number as i8 - 32);
                }
            }
        }
    }

    #[inline]
    fn find_non_finite(block: &[u8]) -> Option<usize> {
        first_unless_finite(block, [SCALE])
    }
}
