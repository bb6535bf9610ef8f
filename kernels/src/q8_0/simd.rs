//! Rows to blocks and back.

use super::{BLOCK, BLOCK_BYTES, Block, LARGEST_BYTE, SCALE_BYTES, scale_of};
use crate::simd::{MAX_LANES, ROUND, Simd, SimdOp};

const _: () = assert!(BLOCK.is_multiple_of(MAX_LANES));

/// Whole blocks of values that are known to fit.
pub(super) struct Quantize<'a> {
    pub(super) values: &'a [f32],
    pub(super) bytes: &'a mut [u8],
}

impl SimdOp for Quantize<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let blocks = self.bytes.as_chunks_mut::<BLOCK_BYTES>().0.iter_mut();
        for (values, block) in self.values.as_chunks::<BLOCK>().0.iter().zip(blocks) {
            let mut largest = s.splat(0.0);
            for at in (0..BLOCK).step_by(S::LANES) {
                largest = s.max(largest, s.abs(s.load(&values[at..])));
            }
            let bits = scale_of(s.reduce_max(largest));
            let scale = half::f16::from_bits(bits).to_f32();
            block.fill(0);
            block[..SCALE_BYTES].copy_from_slice(&bits.to_le_bytes());
            if scale == 0.0 {
                continue;
            }
            let (unit, limit, round) = (s.splat(scale), s.splat(LARGEST_BYTE), s.splat(ROUND));
            let mut whole = [0f32; BLOCK];
            for at in (0..BLOCK).step_by(S::LANES) {
                let nearest = s.sub(s.add(s.div(s.load(&values[at..]), unit), round), round);
                let within = s.max(s.min(nearest, limit), s.splat(-LARGEST_BYTE));
                s.store(&mut whole[at..], within);
            }
            for (byte, whole) in block[SCALE_BYTES..].iter_mut().zip(whole) {
                *byte = (whole as i8).cast_unsigned();
            }
        }
    }
}

/// Whole blocks.
pub(super) struct Dequantize<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) values: &'a mut [f32],
}

impl SimdOp for Dequantize<'_> {
    type Output = ();
    /// The compiler makes vectors of this loop, in whichever instruction set it is compiled for.
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let values = self.values.as_chunks_mut::<BLOCK>().0.iter_mut();
        for (block, values) in self.bytes.as_chunks::<BLOCK_BYTES>().0.iter().zip(values) {
            let block = Block::from_bytes(block);
            let scale = block.scale();
            for (value, byte) in values.iter_mut().zip(block.values) {
                *value = scale * f32::from(byte);
            }
        }
    }
}
