//! IQ4_XS: blocks of 256 values in eight groups; those of a group share a scale of 6 bits, all a scale of 16 bits. 4.25 bits
//! a value.

use super::iq4_nl::{self, TABLE};
use super::parts::{MAX_HALF, first_unless_finite, half_at, nibble, put_half, put_nibbles};
use super::{BlockFormat, search};
use crate::DType;

/// IQ4_XS, the layout of `block_iq4_xs` in ggml.
///
/// A block is 136 bytes: the scale, a little-endian IEEE half; the upper two bits of the groups' scales, a little-endian
/// integer of 16 bits; their lower four bits, two in a byte; then the numbers of the groups, each 16 bytes as in
/// [`Iq4Nl`](super::Iq4Nl). `value = scale * (group's scale - 32) * TABLE[number]`.
#[derive(Clone, Copy, Debug)]
pub struct Iq4Xs;

const GROUP: usize = 32;
const NUMBERS: usize = 8;

/// The scale of a group.
#[inline(always)]
fn group_scale(block: &[u8], group: usize) -> f32 {
    let high = u16::from_le_bytes([block[2], block[3]]) >> (2 * group) & 3;
    let low = block[4 + group / 2] >> (4 * (group % 2)) & 15;
    half_at(block, 0) * f32::from((low | (high as u8) << 4) as i8 - 32)
}

impl BlockFormat for Iq4Xs {
    const DTYPE: DType = DType::IQ4_XS;
    const BLOCK: usize = 256;
    const BYTES: usize = 136;
    const MAX: f32 = MAX_HALF;

    fn quantize_block(values: &[f32], block: &mut [u8]) {
        assert_eq!((values.len(), block.len()), (Self::BLOCK, Self::BYTES), "a block");
        block.fill(0);
        let groups = values.as_chunks::<GROUP>().0;
        let scales: Vec<f32> = groups.iter().map(|group| iq4_nl::scale_of(group)).collect();
        let scale = put_half(block, 0, search::largest_magnitude(&scales) / -32.0);
        let mut high = 0u16;
        for (index, (group, wanted)) in groups.iter().zip(scales).enumerate() {
            let near = if scale == 0.0 { 0.0 } else { wanted / scale };
            let units = search::best_near(near, [-32.0, 31.0], |units| iq4_nl::error(group, scale * units));
            let stored = (units + 32.0) as u8;
            high |= u16::from(stored >> 4) << (2 * index);
            block[4 + index / 2] |= (stored & 15) << (4 * (index % 2));
            put_nibbles(&mut block[NUMBERS + 16 * index..][..16], &iq4_nl::numbers(group, scale * units));
        }
        block[2..4].copy_from_slice(&high.to_le_bytes());
    }

    #[inline(always)]
    fn value(block: &[u8], i: usize) -> f32 {
        let group = i / GROUP;
        let number = nibble(&block[NUMBERS + 16 * group..], i % GROUP);
        group_scale(block, group) * f32::from(TABLE[usize::from(number)])
    }

    #[inline(always)]
    fn dequantize_block(block: &[u8], values: &mut [f32]) {
        let values: &mut [f32; Self::BLOCK] = values.try_into().expect("a block");
        let block: &[u8; Self::BYTES] = block.try_into().expect("a block");
        for (group, values) in values.as_chunks_mut::<GROUP>().0.iter_mut().enumerate() {
            let scale = group_scale(block, group);
            for i in 0..16 {
                let byte = block[NUMBERS + 16 * group + i];
                values[i] = scale * f32::from(TABLE[usize::from(byte & 15)]);
                values[16 + i] = scale * f32::from(TABLE[usize::from(byte >> 4)]);
            }
        }
    }

    #[inline]
    fn find_non_finite(block: &[u8]) -> Option<usize> {
        first_unless_finite(block, [0])
    }
}
