//! Values of weights that stand alone, and how eight columns of sixteen rows of them are transposed and widened.

use crate::dtype::DType;
use crate::simd::{Simd, TRANSPOSE_COLUMNS, TRANSPOSE_ROWS};
use std::marker::PhantomData;

/// A value that stands alone in a row.
pub(super) trait PlainValue {
    const DTYPE: DType;
    const BYTES: usize;

    /// Eight columns of sixteen rows, as [`Simd::transpose_f32`].
    ///
    /// # Safety
    /// - As there, with values of this type, and no two of `to` are the same place.
    unsafe fn transpose<S: Simd>(
        s: S,
        rows: &[*const u8; TRANSPOSE_ROWS],
        to: &[*mut f32; TRANSPOSE_COLUMNS],
    );
}

impl PlainValue for f32 {
    const DTYPE: DType = DType::F32;
    const BYTES: usize = 4;
    #[inline(always)]
    unsafe fn transpose<S: Simd>(
        s: S,
        rows: &[*const u8; TRANSPOSE_ROWS],
        to: &[*mut f32; TRANSPOSE_COLUMNS],
    ) {
        // SAFETY: the caller's.
        unsafe { s.transpose_f32(rows, to) }
    }
}

impl PlainValue for half::f16 {
    const DTYPE: DType = DType::F16;
    const BYTES: usize = 2;
    #[inline(always)]
    unsafe fn transpose<S: Simd>(
        s: S,
        rows: &[*const u8; TRANSPOSE_ROWS],
        to: &[*mut f32; TRANSPOSE_COLUMNS],
    ) {
        // SAFETY: the caller's.
        unsafe { s.transpose_f16(rows, to) }
    }
}

impl PlainValue for half::bf16 {
    const DTYPE: DType = DType::BF16;
    const BYTES: usize = 2;
    #[inline(always)]
    unsafe fn transpose<S: Simd>(
        s: S,
        rows: &[*const u8; TRANSPOSE_ROWS],
        to: &[*mut f32; TRANSPOSE_COLUMNS],
    ) {
        // SAFETY: the caller's.
        unsafe { s.transpose_bf16(rows, to) }
    }
}

/// The values of weights that a scale belongs to.
impl PlainValue for i8 {
    const DTYPE: DType = DType::I8;
    const BYTES: usize = 1;
    #[inline(always)]
    unsafe fn transpose<S: Simd>(
        s: S,
        rows: &[*const u8; TRANSPOSE_ROWS],
        to: &[*mut f32; TRANSPOSE_COLUMNS],
    ) {
        // SAFETY: the caller's.
        unsafe { s.transpose_i8(rows, &[1.0; TRANSPOSE_ROWS], to) }
    }
}

/// The bits of an 8-bit float as those of a half, up to a factor.
pub(super) trait HalfBits {
    const DTYPE: DType;
    /// What the half is multiplied by. A power of two, so that the product is exact.
    const FACTOR: f32;
    fn bits(byte: u8) -> u16;
}

/// E4M3: the exponent's bias is 8 less than that of a half, in subnormal values too. NaN, which no weight is, becomes 480.
pub(super) struct E4M3;

impl HalfBits for E4M3 {
    const DTYPE: DType = DType::F8E4M3;
    const FACTOR: f32 = 256.0;
    #[inline(always)]
    fn bits(byte: u8) -> u16 {
        u16::from(byte & 0x80) << 8 | u16::from(byte & 0x7f) << 7
    }
}

/// E5M2: the upper half of a half.
pub(super) struct E5M2;

impl HalfBits for E5M2 {
    const DTYPE: DType = DType::F8E5M2;
    const FACTOR: f32 = 1.0;
    #[inline(always)]
    fn bits(byte: u8) -> u16 {
        u16::from(byte) << 8
    }
}

/// An 8-bit float.
pub(super) struct Byte<H>(PhantomData<H>);

impl<H: HalfBits> PlainValue for Byte<H> {
    const DTYPE: DType = H::DTYPE;
    const BYTES: usize = 1;
    #[inline(always)]
    unsafe fn transpose<S: Simd>(
        s: S,
        rows: &[*const u8; TRANSPOSE_ROWS],
        to: &[*mut f32; TRANSPOSE_COLUMNS],
    ) {
        let mut halves = [[0u16; TRANSPOSE_COLUMNS]; TRANSPOSE_ROWS];
        for (halves, row) in halves.iter_mut().zip(rows) {
            // SAFETY: eight values of one byte, by the caller's promise.
            let bytes = unsafe { row.cast::<[u8; TRANSPOSE_COLUMNS]>().read_unaligned() };
            // The compiler vectorizes this loop.
            for (half, byte) in halves.iter_mut().zip(bytes) {
                *half = H::bits(byte).to_le();
            }
        }
        let rows = std::array::from_fn(|row| halves[row].as_ptr().cast());
        // SAFETY: eight halves of each row; places by the caller's promise.
        unsafe { s.transpose_f16(&rows, to) };
        if H::FACTOR != 1.0 {
            let factor = s.splat(H::FACTOR);
            for to in to {
                for lane in (0..TRANSPOSE_ROWS).step_by(S::LANES) {
                    // SAFETY: lanes of the sixteen values at this place, which were just written.
                    unsafe {
                        let place = to.add(lane);
                        s.store_ptr(place, s.mul(s.load_ptr(place), factor));
                    }
                }
            }
        }
    }
}
