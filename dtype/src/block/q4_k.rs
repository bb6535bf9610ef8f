//! Q4_K: blocks of 256 values of 4 bits in eight groups, each with a scale and an offset of 6 bits. 4.5 bits a value.

use super::k_scales::{self, Groups, pair, put_pairs};
use super::parts::{MAX_HALF, first_unless_finite, half_at};
use super::{BlockFormat, search};
use crate::DType;

/// Q4_K, the layout of `block_q4_K` in ggml.
///
/// A block is 144 bytes: scale and offset of the block, little-endian IEEE halves; scales and offsets of the groups in 12
/// bytes; then the numbers, 32 bytes for two groups, the first of which has the lower four bits.
/// `value = scale * (group's scale) * number - offset * (group's offset)`.
#[derive(Clone, Copy, Debug)]
pub struct Q4K;

const GROUP: usize = 32;
const SCALES: usize = 4;
const NUMBERS: usize = SCALES + k_scales::PACKED;

/// Scale and offset of a group.
#[inline(always)]
pub(super) fn group_scales(block: &[u8], group: usize) -> [f32; 2] {
    let [scale, offset] = pair(&block[SCALES..], group);
    [half_at(block, 0) * scale, half_at(block, 2) * offset]
}

impl BlockFormat for Q4K {
    const DTYPE: DType = DType::Q4_K;
    const BLOCK: usize = 256;
    const BYTES: usize = 144;
    const MAX: f32 = MAX_HALF;

    fn quantize_block(values: &[f32], block: &mut [u8]) {
        assert_eq!((values.len(), block.len()), (Self::BLOCK, Self::BYTES), "a block");
        block.fill(0);
        let Groups { units, scales } = k_scales::affine::<8>(values, [15.0, 63.0], block, [0, 2]);
        put_pairs(&mut block[SCALES..NUMBERS], &units);
        for (i, value) in values.iter().enumerate() {
            let (group, place) = (i / GROUP, i % GROUP);
            let [scale, offset] = scales[group];
            let number = search::number(value + offset, scale, 0.0, 15.0) as u8;
            block[NUMBERS + GROUP * (group / 2) + place] |= number << (4 * (group % 2));
        }
    }

    #[inline(always)]
    fn value(block: &[u8], i: usize) -> f32 {
        let group = i / GROUP;
        let [scale, offset] = group_scales(block, group);
        let number = block[NUMBERS + GROUP * (group / 2) + i % GROUP] >> (4 * (group % 2)) & 15;
        scale * f32::from(number) - offset
    }

    #[inline(always)]
    fn dequantize_block(block: &[u8], values: &mut [f32]) {
        let values: &mut [f32; Self::BLOCK] = values.try_into().expect("a block");
        let block: &[u8; Self::BYTES] = block.try_into().expect("a block");
        for (two, values) in values.as_chunks_mut::<{ 2 * GROUP }>().0.iter_mut().enumerate() {
            let [low, low_offset] = group_scales(block, 2 * two);
            let [high, high_offset] = group_scales(block, 2 * two + 1);
            for i in 0..GROUP {
                let byte = block[NUMBERS + GROUP * two + i];
                values[i] = low * f32::from(byte & 15) - low_offset;
                values[GROUP + i] = high * f32::from(byte >> 4) - high_offset;
            }
        }
    }

    #[inline]
    fn find_non_finite(block: &[u8]) -> Option<usize> {
        first_unless_finite(block, [0, 2])
    }
}
