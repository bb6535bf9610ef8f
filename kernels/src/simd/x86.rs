//! Transposes that AVX2 and AVX-512 share.

use std::arch::x86_64::*;

/// Eight rows of eight 16-bit values as eight columns.
///
/// # Safety
/// - The CPU has SSE2, as every x86-64 has; each row is valid for reads of 16 bytes.
#[inline(always)]
pub(super) unsafe fn transpose_16bit(rows: [*const u8; 8]) -> [__m128i; 8] {
    // SAFETY: the caller guarantees the rows; the loads are unaligned.
    unsafe {
        let [r0, r1, r2, r3, r4, r5, r6, r7] = rows.map(|row| _mm_loadu_si128(row.cast()));
        // Pairs of rows, then fours, then all eight.
        let (a0, a1) = (_mm_unpacklo_epi16(r0, r1), _mm_unpackhi_epi16(r0, r1));
        let (a2, a3) = (_mm_unpacklo_epi16(r2, r3), _mm_unpackhi_epi16(r2, r3));
        let (a4, a5) = (_mm_unpacklo_epi16(r4, r5), _mm_unpackhi_epi16(r4, r5));
        let (a6, a7) = (_mm_unpacklo_epi16(r6, r7), _mm_unpackhi_epi16(r6, r7));
        let (b0, b1) = (_mm_unpacklo_epi32(a0, a2), _mm_unpackhi_epi32(a0, a2));
        let (b2, b3) = (_mm_unpacklo_epi32(a1, a3), _mm_unpackhi_epi32(a1, a3));
        let (b4, b5) = (_mm_unpacklo_epi32(a4, a6), _mm_unpackhi_epi32(a4, a6));
        let (b6, b7) = (_mm_unpacklo_epi32(a5, a7), _mm_unpackhi_epi32(a5, a7));
        [
            _mm_unpacklo_epi64(b0, b4),
            _mm_unpackhi_epi64(b0, b4),
            _mm_unpacklo_epi64(b1, b5),
            _mm_unpackhi_epi64(b1, b5),
            _mm_unpacklo_epi64(b2, b6),
            _mm_unpackhi_epi64(b2, b6),
            _mm_unpacklo_epi64(b3, b7),
            _mm_unpackhi_epi64(b3, b7),
        ]
    }
}

/// Eight rows of eight bytes as eight columns, two in each vector.
///
/// # Safety
/// - The CPU has SSE2, as every x86-64 has; each row is valid for reads of 8 bytes.
#[inline(always)]
pub(super) unsafe fn transpose_bytes(rows: [*const u8; 8]) -> [__m128i; 4] {
    // SAFETY: the caller vouches for the rows; the loads are unaligned.
    unsafe {
        let [r0, r1, r2, r3, r4, r5, r6, r7] = rows.map(|row| _mm_loadl_epi64(row.cast()));
        // Pairs of rows, then fours, then all eight.
        let (a0, a1) = (_mm_unpacklo_epi8(r0, r1), _mm_unpacklo_epi8(r2, r3));
        let (a2, a3) = (_mm_unpacklo_epi8(r4, r5), _mm_unpacklo_epi8(r6, r7));
        let (b0, b1) = (_mm_unpacklo_epi16(a0, a1), _mm_unpackhi_epi16(a0, a1));
        let (b2, b3) = (_mm_unpacklo_epi16(a2, a3), _mm_unpackhi_epi16(a2, a3));
        [
            _mm_unpacklo_epi32(b0, b2),
            _mm_unpackhi_epi32(b0, b2),
            _mm_unpacklo_epi32(b1, b3),
            _mm_unpackhi_epi32(b1, b3),
        ]
    }
}

/// Eight rows of eight `f32` as eight columns.
///
/// # Safety
/// - The CPU has AVX; each row is valid for reads of 32 bytes.
#[inline(always)]
pub(super) unsafe fn transpose_f32(rows: [*const u8; 8]) -> [__m256; 8] {
    // SAFETY: the caller guarantees AVX and the rows; the loads are unaligned.
    unsafe {
        let [r0, r1, r2, r3, r4, r5, r6, r7] = rows.map(|row| _mm256_loadu_ps(row.cast()));
        // Within each half of a vector: pairs of rows, then fours. Then the halves.
        let (a0, a1) = (_mm256_unpacklo_ps(r0, r1), _mm256_unpackhi_ps(r0, r1));
        let (a2, a3) = (_mm256_unpacklo_ps(r2, r3), _mm256_unpackhi_ps(r2, r3));
        let (a4, a5) = (_mm256_unpacklo_ps(r4, r5), _mm256_unpackhi_ps(r4, r5));
        let (a6, a7) = (_mm256_unpacklo_ps(r6, r7), _mm256_unpackhi_ps(r6, r7));
        let low = |a, b| _mm256_shuffle_ps::<0b01_00_01_00>(a, b);
        let high = |a, b| _mm256_shuffle_ps::<0b11_10_11_10>(a, b);
        let top = [low(a0, a2), high(a0, a2), low(a1, a3), high(a1, a3)];
        let bottom = [low(a4, a6), high(a4, a6), low(a5, a7), high(a5, a7)];
        let mut columns = [_mm256_setzero_ps(); 8];
        for i in 0..4 {
            columns[i] = _mm256_permute2f128_ps::<0x20>(top[i], bottom[i]);
            columns[i + 4] = _mm256_permute2f128_ps::<0x31>(top[i], bottom[i]);
        }
        columns
    }
}
