//! AVX2 with FMA and F16C: eight lanes (x86-64 since 2013, Intel Haswell and AMD Excavator).

use super::SimdOp;
#[cfg(target_arch = "x86_64")]
use super::{FRACTION_BITS, Isa, Simd, x86};
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

/// Proof that this CPU has AVX2, FMA and F16C.
#[derive(Clone, Copy, Debug)]
pub struct Avx2 {
    _proof: (),
}

impl Avx2 {
    /// The token, where the CPU has the instructions.
    #[must_use]
    pub fn new() -> Option<Avx2> {
        #[cfg(target_arch = "x86_64")]
        {
            let has = is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("fma")
                && is_x86_feature_detected!("f16c");
            has.then_some(Avx2 { _proof: () })
        }
        #[cfg(not(target_arch = "x86_64"))]
        None
    }

    /// The token without detection, for code that runs once for each tile.
    ///
    /// # Safety
    /// - The CPU has the instructions.
    pub(crate) unsafe fn assume() -> Avx2 {
        Avx2 { _proof: () }
    }

    /// Runs `op` compiled for this instruction set.
    #[inline]
    pub(crate) fn run<O: SimdOp>(self, op: O) -> O::Output {
        #[cfg(target_arch = "x86_64")]
        {
            #[target_feature(enable = "avx2,fma,f16c")]
            fn compiled<O: SimdOp>(token: Avx2, op: O) -> O::Output {
                op.run(token)
            }
            // SAFETY: the token proves that the CPU has these features.
            unsafe { compiled(self, op) }
        }
        #[cfg(not(target_arch = "x86_64"))]
        op.run(super::Scalar)
    }
}

/// Stores eight columns of eight rows, from the row `first` of sixteen on.
///
/// # Safety
/// - The CPU has AVX2; each of `to` is valid for writes of sixteen values; `first` is at most 8.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(super) unsafe fn store_columns(columns: [__m256; 8], to: &[*mut f32; 8], first: usize) {
    for (column, to) in columns.into_iter().zip(to) {
        // SAFETY: the caller guarantees AVX2 and sixteen values at each of `to`.
        unsafe { _mm256_storeu_ps(to.add(first), column) };
    }
}

// Each intrinsic below needs only the features that the token proves; loads and stores state what they add.
#[cfg(target_arch = "x86_64")]
// SAFETY: `new` detects the features and `assume` requires them; loads and stores access eight values.
unsafe impl Simd for Avx2 {
    type F32 = __m256;
    const LANES: usize = 8;
    const ISA: Isa = Isa::Avx2;

    #[inline(always)]
    fn splat(self, x: f32) -> __m256 {
        // SAFETY: the token proves AVX2.
        unsafe { _mm256_set1_ps(x) }
    }
    #[inline(always)]
    unsafe fn load_ptr(self, p: *const f32) -> __m256 {
        // SAFETY: the caller guarantees eight readable values; the load is unaligned.
        unsafe { _mm256_loadu_ps(p) }
    }
    #[inline(always)]
    unsafe fn store_ptr(self, p: *mut f32, v: __m256) {
        // SAFETY: the caller guarantees eight writable values; the store is unaligned.
        unsafe { _mm256_storeu_ps(p, v) }
    }
    #[inline(always)]
    unsafe fn transpose_f32(self, rows: &[*const u8; 16], to: &[*mut f32; 8]) {
        for first in [0, 8] {
            let half = std::array::from_fn(|row| rows[first + row]);
            // SAFETY: the caller guarantees the rows and sixteen values at each of `to`; the token proves AVX2.
            unsafe { store_columns(x86::transpose_f32(half), to, first) };
        }
    }
    #[inline(always)]
    unsafe fn transpose_f16(self, rows: &[*const u8; 16], to: &[*mut f32; 8]) {
        for first in [0, 8] {
            let half = std::array::from_fn(|row| rows[first + row]);
            // SAFETY: the caller guarantees the rows and sixteen values at each of `to`; the token proves AVX2 and F16C.
            unsafe {
                let columns = x86::transpose_16bit(half).map(|bits| _mm256_cvtph_ps(bits));
                store_columns(columns, to, first);
            }
        }
    }
    #[inline(always)]
    unsafe fn transpose_bf16(self, rows: &[*const u8; 16], to: &[*mut f32; 8]) {
        for first in [0, 8] {
            let half = std::array::from_fn(|row| rows[first + row]);
            // SAFETY: the caller guarantees the rows and sixteen values at each of `to`; the token proves AVX2.
            unsafe {
                let columns = x86::transpose_16bit(half).map(|bits| {
                    let wide = _mm256_cvtepu16_epi32(bits);
                    _mm256_castsi256_ps(_mm256_slli_epi32::<16>(wide))
                });
                store_columns(columns, to, first);
            }
        }
    }
    #[inline(always)]
    unsafe fn transpose_i8(self, rows: &[*const u8; 16], factors: &[f32; 16], to: &[*mut f32; 8]) {
        for first in [0, 8] {
            let half = std::array::from_fn(|row| rows[first + row]);
            // SAFETY: the caller guarantees eight bytes of each row and sixteen values at each of `to`; the token proves
            // AVX2.
            unsafe {
                let factors = _mm256_loadu_ps(factors.as_ptr().add(first));
                let pairs = x86::transpose_bytes(half);
                for (pair, to) in pairs.into_iter().zip(to.as_chunks::<2>().0) {
                    for (column, to) in [pair, _mm_unpackhi_epi64(pair, pair)].into_iter().zip(to) {
                        let wide = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(column));
                        _mm256_storeu_ps(to.add(first), _mm256_mul_ps(factors, wide));
                    }
                }
            }
        }
    }
    #[inline(always)]
    fn widen_f16(self, bits: [u16; 16]) -> [f32; 16] {
        let mut wide = [0.0; 16];
        for (bits, wide) in bits.as_chunks::<8>().0.iter().zip(wide.as_chunks_mut::<8>().0) {
            // SAFETY: eight values are read and eight written; the token proves F16C.
            unsafe {
                _mm256_storeu_ps(wide.as_mut_ptr(), _mm256_cvtph_ps(_mm_loadu_si128(bits.as_ptr().cast())));
            }
        }
        wide
    }
    #[inline(always)]
    fn add(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: the token proves AVX2.
        unsafe { _mm256_add_ps(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: the token proves AVX2.
        unsafe { _mm256_sub_ps(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: the token proves AVX2.
        unsafe { _mm256_mul_ps(a, b) }
    }
    #[inline(always)]
    fn div(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: the token proves AVX2.
        unsafe { _mm256_div_ps(a, b) }
    }
    #[inline(always)]
    fn mul_add(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        // SAFETY: the token proves FMA.
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn min(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: the token proves AVX2.
        unsafe { _mm256_min_ps(a, b) }
    }
    #[inline(always)]
    fn max(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: the token proves AVX2.
        unsafe { _mm256_max_ps(a, b) }
    }
    #[inline(always)]
    fn abs(self, a: __m256) -> __m256 {
        // SAFETY: the token proves AVX2.
        unsafe { _mm256_andnot_ps(_mm256_set1_ps(-0.0), a) }
    }
    #[inline(always)]
    fn copysign(self, a: __m256, sign: __m256) -> __m256 {
        // SAFETY: the token proves AVX2.
        unsafe {
            let mask = _mm256_set1_ps(-0.0);
            _mm256_or_ps(_mm256_andnot_ps(mask, a), _mm256_and_ps(mask, sign))
        }
    }
    #[inline(always)]
    fn scale_exp2(self, p: __m256, shifted: __m256) -> __m256 {
        // SAFETY: the token proves AVX2.
        unsafe {
            let exponent = _mm256_slli_epi32::<FRACTION_BITS>(_mm256_castps_si256(shifted));
            _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(p), exponent))
        }
    }
    #[inline(always)]
    fn reduce_add(self, a: __m256) -> f32 {
        // SAFETY: the token proves AVX2.
        unsafe {
            let half = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
            let pair = _mm_add_ps(half, _mm_movehl_ps(half, half));
            _mm_cvtss_f32(_mm_add_ss(pair, _mm_shuffle_ps::<1>(pair, pair)))
        }
    }
    #[inline(always)]
    fn reduce_max(self, a: __m256) -> f32 {
        // SAFETY: the token proves AVX2.
        unsafe {
            let half = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
            let pair = _mm_max_ps(half, _mm_movehl_ps(half, half));
            _mm_cvtss_f32(_mm_max_ss(pair, _mm_shuffle_ps::<1>(pair, pair)))
        }
    }
}
