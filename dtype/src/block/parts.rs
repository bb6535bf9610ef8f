//! Parts that several formats have in common.

use half::f16;

/// The largest magnitude that the formats of less than eight bits are made for: that of a half, which is their scale.
pub(super) const MAX_HALF: f32 = 65504.0;

/// The half at a place of a block.
///
/// # Panics
/// If the block ends before it.
#[inline(always)]
pub(super) fn half_at(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

/// Writes a number as a half and returns what it has become.
pub(super) fn put_half(block: &mut [u8], at: usize, value: f32) -> f32 {
    let half = f16::from_f32(value);
    block[at..at + 2].copy_from_slice(&half.to_le_bytes());
    half.to_f32()
}

/// The index of the first value that is NaN or infinite of a block that has its scales at these places: each of them is a
/// factor or an offset of the first value, so it is the first or none.
#[inline(always)]
pub(super) fn first_unless_finite<const N: usize>(block: &[u8], at: [usize; N]) -> Option<usize> {
    (!at.iter().all(|at| half_at(block, *at).is_finite())).then_some(0)
}

/// Packs 32 numbers of four bits: the first sixteen in the lower halves of the bytes.
pub(super) fn put_nibbles(bytes: &mut [u8], numbers: &[u8]) {
    let (low, high) = numbers.split_at(numbers.len() / 2);
    for (byte, (low, high)) in bytes.iter_mut().zip(low.iter().zip(high)) {
        *byte = low & 15 | (high & 15) << 4;
    }
}

/// Number `i` of 32 that [`put_nibbles`] has packed.
#[inline(always)]
pub(super) fn nibble(bytes: &[u8], i: usize) -> u8 {
    bytes[i % 16] >> (4 * (i / 16)) & 15
}
