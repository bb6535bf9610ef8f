//! Q5_K: blocks of 256 values of 5 bits in eight groups, each with a scale and an offset of 6 bits. 5.5 bits a value.

use super::k_scales::{self, Groups, put_pairs};
use super::parts::{MAX_HALF, first_unless_finite};
use super::q4_k::group_scales;
use super::{BlockFormat, search};
use crate::DType;

/// Q5_K, the layout of `block_q5_K` in ggml.
///
/// A block is 176 bytes: scales and offsets as in [`Q4K`](super::Q4K); 32 bytes with the fifth bits, that of group `g` in bit
/// `g`; then the lower four bits as there.
#[derive(Clone, Copy, Debug)]
pub struct Q5K;

const GROUP: usize = 32;
const SCALES: usize = 4;
const HIGH: usize = SCALES + k_scales::PACKED;
const LOW: usize = HIGH + GROUP;

impl BlockFormat for Q5K {
    const DTYPE: DType = DType::Q5_K;
    const BLOCK: usize = 256;
    const BYTES: usize = 176;
    const MAX: f32 = MAX_HALF;

    fn quantize_block(values: &[f32], block: &mut [u8]) {
        assert_eq!((values.len(), block.len()), (Self::BLOCK, Self::BYTES), "a block");
        block.fill(0);
        let Groups { units, scales } = k_scales::affine::<8>(values, [31.0, 63.0], block, [0, 2]);
        put_pairs(&mut block[SCALES..HIGH], &units);
        for (i, value) in values.iter().enumerate() {
            let (group, place) = (i / GROUP, i % GROUP);
            let [scale, offset] = scales[group];
            let number = search::number(value + offset, scale, 0.0, 31.0) as u8;
            block[HIGH + place] |= (number >> 4) << group;
            block[LOW + GROUP * (group / 2) + place] |= (number & 15) << (4 * (group % 2));
        }
    }

    #[inline(always)]
    fn value(block: &[u8], i: usize) -> f32 {
        let (group, place) = (i / GROUP, i % GROUP);
        let [scale, offset] = group_scales(block, group);
        let low = block[LOW + GROUP * (group / 2) + place] >> (4 * (group % 2)) & 15;
        scale * f32::from(low | (block[HIGH + place] >> group & 1) << 4) - offset
    }

    #[inline(always)]
    fn dequantize_block(block: &[u8], values: &mut [f32]) {
        let values: &mut [f32; Self::BLOCK] = values.try_into().expect("a block");
        let block: &[u8; Self::BYTES] = block.try_into().expect("a block");
        for (two, values) in values.as_chunks_mut::<{ 2 * GROUP }>().0.iter_mut().enumerate() {
            let [low, low_offset] = group_scales(block, 2 * two);
            let [high, high_offset] = group_scales(block, 2 * two + 1);
            for i in 0..GROUP {
                let (byte, fifth) = (block[LOW + GROUP * two + i], block[HIGH + i] >> (2 * two));
                values[i] = low * f32::from(byte & 15 | (fifth & 1) << 4) - low_offset;
                values[GROUP + i] = high * f32::from(byte >> 4 | (fifth & 2) << 3) - high_offset;
            }
        }
    }

    #[inline]
    fn find_non_finite(block: &[u8]) -> Option<usize> {
        first_unless_finite(block, [0, 2])
    }
}
