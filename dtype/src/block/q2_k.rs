//! Q2_K: blocks of 256 values of 2 bits in sixteen groups, each with a scale and an offset of 4 bits. 2.625 bits a value.

use super::k_scales::{self, Groups};
use super::parts::{MAX_HALF, first_unless_finite, half_at};
use super::{BlockFormat, search};
use crate::DType;

/// Q2_K, the layout of `block_q2_K` in ggml.
///
/// A block is 84 bytes: scale and offset of each group, in the lower and the upper half of a byte; the numbers, those of four
/// rows of 32 side by side in 32 bytes; then scale and offset of the block, little-endian IEEE halves.
/// `value = scale * (group's scale) * number - offset * (group's offset)`.
#[derive(Clone, Copy, Debug)]
pub struct Q2K;

const ROW: usize = 32;
const GROUP: usize = 16;
const NUMBERS: usize = 16;
const SCALE: usize = 80;
const OFFSET: usize = 82;

/// The byte of a value's two bits after `NUMBERS`, and the shift in it.
#[inline(always)]
pub(super) fn place(i: usize) -> (usize, u32) {
    (ROW * (i / 128) + i % ROW, 2 * (i / ROW % 4) as u32)
}

#[inline(always)]
fn group_scales(block: &[u8], group: usize) -> [f32; 2] {
    let both = block[group];
    [half_at(block, SCALE) * f32::from(both & 15), half_at(block, OFFSET) * f32::from(both >> 4)]
}

impl BlockFormat for Q2K {
    const DTYPE: DType = DType::Q2_K;
    const BLOCK: usize = 256;
    const BYTES: usize = 84;
    const MAX: f32 = MAX_HALF;

    fn quantize_block(values: &[f32], block: &mut [u8]) {
        assert_eq!((values.len(), block.len()), (Self::BLOCK, Self::BYTES), "a block");
        block.fill(0);
        let Groups { units, scales } = k_scales::affine::<16>(values, [3.0, 15.0], block, [SCALE, OFFSET]);
        for (group, [scale, offset]) in units.into_iter().enumerate() {
            block[group] = scale | offset << 4;
        }
        for (i, value) in values.iter().enumerate() {
            let [scale, offset] = scales[i / GROUP];
            let (byte, shift) = place(i);
            block[NUMBERS + byte] |= (search::number(value + offset, scale, 0.0, 3.0) as u8) << shift;
        }
    }

    #[inline(always)]
    fn value(block: &[u8], i: usize) -> f32 {
        let ([scale, offset], (byte, shift)) = (group_scales(block, i / GROUP), place(i));
        scale * f32::from(block[NUMBERS + byte] >> shift & 3) - offset
    }

    #[inline(always)]
    fn dequantize_block(block: &[u8], values: &mut [f32]) {
        let values: &mut [f32; Self::BLOCK] = values.try_into().expect("a block");
        let block: &[u8; Self::BYTES] = block.try_into().expect("a block");
        for (group, values) in values.as_chunks_mut::<GROUP>().0.iter_mut().enumerate() {
            let ([scale, offset], (byte, shift)) = (group_scales(block, group), place(GROUP * group));
            let bytes: &[u8; GROUP] = block[NUMBERS + byte..][..GROUP].try_into().expect("a group");
            for (value, byte) in values.iter_mut().zip(bytes) {
                *value = scale * f32::from(byte >> shift & 3) - offset;
            }
        }
    }

    #[inline]
    fn find_non_finite(block: &[u8]) -> Option<usize> {
        first_unless_finite(block, [SCALE, OFFSET])
    }
}
