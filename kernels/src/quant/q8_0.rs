//! Q8_0: signed bytes, and a half as the scale of 32 of them ([`Q8_0`]).

use super::{BlockKernels, WideBlocks};
use crate::simd::{MAX_LANES, ROUND, Simd, TRANSPOSE_COLUMNS, TRANSPOSE_ROWS};
use latent_dtype::block::{BlockFormat, Q8_0};

const BLOCK: usize = Q8_0::BLOCK;
const BYTES: usize = Q8_0::BYTES;
const SCALE_BYTES: usize = Q8_0::SCALE_BYTES;
const MAX_BYTE: f32 = Q8_0::MAX_BYTE;

const _: () = assert!(BLOCK.is_multiple_of(MAX_LANES) && BLOCK.is_multiple_of(TRANSPOSE_COLUMNS));

impl BlockKernels for Q8_0 {
    #[inline(always)]
    fn quantize_blocks<S: Simd>(s: S, values: &[f32], bytes: &mut [u8]) {
        let blocks = bytes.as_chunks_mut::<BYTES>().0.iter_mut();
        for (values, block) in values.as_chunks::<BLOCK>().0.iter().zip(blocks) {
            let mut largest = s.splat(0.0);
            for at in (0..BLOCK).step_by(S::LANES) {
                largest = s.max(largest, s.abs(s.load(&values[at..])));
            }
            let half = Q8_0::scale_of(s.reduce_max(largest));
            let scale = half.to_f32();
            block.fill(0);
            block[..SCALE_BYTES].copy_from_slice(&half.to_le_bytes());
            if scale == 0.0 {
                continue;
            }
            let (unit, limit, round) = (s.splat(scale), s.splat(MAX_BYTE), s.splat(ROUND));
            let mut whole = [0f32; BLOCK];
            for at in (0..BLOCK).step_by(S::LANES) {
                let nearest = s.sub(s.add(s.div(s.load(&values[at..]), unit), round), round);
                let within = s.max(s.min(nearest, limit), s.splat(-MAX_BYTE));
                s.store(&mut whole[at..], within);
            }
            for (byte, whole) in block[SCALE_BYTES..].iter_mut().zip(whole) {
                *byte = (whole as i8).cast_unsigned();
            }
        }
    }

    /// The compiler vectorizes this loop, in whichever instruction set it is compiled for.
    #[inline(always)]
    fn dequantize_blocks<S: Simd>(_: S, bytes: &[u8], values: &mut [f32]) {
        let values = values.as_chunks_mut::<BLOCK>().0.iter_mut();
        for (block, values) in bytes.as_chunks::<BYTES>().0.iter().zip(values) {
            let scale = Q8_0::scale(block).to_f32();
            for (value, byte) in values.iter_mut().zip(&block[SCALE_BYTES..]) {
                *value = scale * f32::from(byte.cast_signed());
            }
        }
    }

    #[inline(always)]
    unsafe fn dequantize_columns<S: Simd>(
        s: S,
        rows: &[*const u8; TRANSPOSE_ROWS],
        to: &[*mut f32],
        _: &mut WideBlocks,
    ) {
        // SAFETY: the caller guarantees a block of each row, whose first two bytes are the scale.
        let scales = s.widen_f16(rows.map(|row| u16::from_le(unsafe { row.cast::<u16>().read_unaligned() })));
        for (eight, to) in to.as_chunks::<TRANSPOSE_COLUMNS>().0.iter().enumerate() {
            // SAFETY: the caller guarantees a block of each row, of which these are eight values, and sixteen values at
            // each of `to`.
            unsafe {
                let rows = rows.map(|row| row.add(SCALE_BYTES + TRANSPOSE_COLUMNS * eight));
                s.transpose_i8(&rows, &scales, to);
            }
        }
    }
}
