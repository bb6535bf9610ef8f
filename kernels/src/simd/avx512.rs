//! AVX-512 (F, BW, DQ and VL): sixteen lanes (x86-64 servers since Intel Skylake-SP, 2017, and AMD Zen 4, 2022).

use super::SimdOp;
#[cfg(target_arch = "x86_64")]
use super::{FRACTION_BITS, Isa, Simd, avx2::store_columns, x86};
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

/// Proof that this CPU has AVX-512 F, BW, DQ and VL, which every CPU with AVX-512 but Knights Landing has.
#[derive(Clone, Copy, Debug)]
pub struct Avx512 {
    _proof: (),
}

impl Avx512 {
    /// The token, where the CPU has the instructions and the operating system keeps their registers.
    #[must_use]
    pub fn new() -> Option<Avx512> {
        #[cfg(target_arch = "x86_64")]
        {
            let has = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl");
            has.then_some(Avx512 { _proof: () })
        }
        #[cfg(not(target_arch = "x86_64"))]
        None
    }

    /// The token without detection, for code that runs once for each tile.
    ///
    /// # Safety
    /// - The CPU has the instructions.
    pub(crate) unsafe fn assume() -> Avx512 {
        Avx512 { _proof: () }
    }

    /// Runs `op` compiled for this instruction set.
    #[inline]
    pub(crate) fn run<O: SimdOp>(self, op: O) -> O::Output {
        #[cfg(target_arch = "x86_64")]
        {
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
            fn compiled<O: SimdOp>(token: Avx512, op: O) -> O::Output {
                op.run(token)
            }
            // SAFETY: the token proves that the CPU has these features.
            unsafe { compiled(self, op) }
        }
        #[cfg(not(target_arch = "x86_64"))]
        op.run(super::Scalar)
    }
}

/// The mask of the first `n` lanes, `n` at most 16.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn first_lanes(n: usize) -> __mmask16 {
    ((1u32 << n) - 1) as __mmask16
}

// Each intrinsic below needs only AVX-512F, which the token proves; loads and stores state what they add.
#[cfg(target_arch = "x86_64")]
// SAFETY: `new` detects the features and `assume` requires them; loads and stores access sixteen values.
unsafe impl Simd for Avx512 {
    type F32 = __m512;
    const LANES: usize = 16;
    const ISA: Isa = Isa::Avx512;

    #[inline(always)]
    fn splat(self, x: f32) -> __m512 {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_set1_ps(x) }
    }
    #[inline(always)]
    unsafe fn load_ptr(self, p: *const f32) -> __m512 {
        // SAFETY: the caller guarantees sixteen readable values; the load is unaligned.
        unsafe { _mm512_loadu_ps(p) }
    }
    #[inline(always)]
    unsafe fn store_ptr(self, p: *mut f32, v: __m512) {
        // SAFETY: the caller guarantees sixteen writable values; the store is unaligned.
        unsafe { _mm512_storeu_ps(p, v) }
    }
    #[inline(always)]
    unsafe fn transpose_f32(self, rows: &[*const u8; 16], to: &[*mut f32; 8]) {
        for (half, first) in rows.as_chunks::<8>().0.iter().zip([0, 8]) {
            // SAFETY: the caller guarantees the rows and sixteen values at each of `to`; the token proves AVX-512F and,
            // with it, AVX2.
            unsafe { store_columns(x86::transpose_f32(*half), to, first) };
        }
    }
    #[inline(always)]
    unsafe fn transpose_f16(self, rows: &[*const u8; 16], to: &[*mut f32; 8]) {
        let halves = rows.as_chunks::<8>().0;
        // SAFETY: the caller guarantees the rows and sixteen values at each of `to`; the token proves AVX-512F.
        unsafe {
            let columns = x86::transpose_16bit(halves[0]).into_iter().zip(x86::transpose_16bit(halves[1]));
            for ((top, bottom), to) in columns.zip(to) {
                _mm512_storeu_ps(*to, _mm512_cvtph_ps(_mm256_set_m128i(bottom, top)));
            }
        }
    }
    #[inline(always)]
    unsafe fn transpose_bf16(self, rows: &[*const u8; 16], to: &[*mut f32; 8]) {
        let halves = rows.as_chunks::<8>().0;
        // SAFETY: the caller guarantees the rows and sixteen values at each of `to`; the token proves AVX-512F.
        unsafe {
            let columns = x86::transpose_16bit(halves[0]).into_iter().zip(x86::transpose_16bit(halves[1]));
            for ((top, bottom), to) in columns.zip(to) {
                let wide = _mm512_cvtepu16_epi32(_mm256_set_m128i(bottom, top));
                _mm512_storeu_ps(*to, _mm512_castsi512_ps(_mm512_slli_epi32::<16>(wide)));
            }
        }
    }
    #[inline(always)]
    unsafe fn transpose_i8(self, rows: &[*const u8; 16], factors: &[f32; 16], to: &[*mut f32; 8]) {
        let halves = rows.as_chunks::<8>().0;
        // SAFETY: the caller guarantees eight bytes of each row and sixteen values at each of `to`; the token proves
        // AVX-512F.
        unsafe {
            let factors = _mm512_loadu_ps(factors.as_ptr());
            let pairs = x86::transpose_bytes(halves[0]).into_iter().zip(x86::transpose_bytes(halves[1]));
            for ((top, bottom), to) in pairs.zip(to.as_chunks::<2>().0) {
                let columns = [_mm_unpacklo_epi64(top, bottom), _mm_unpackhi_epi64(top, bottom)];
                for (column, to) in columns.into_iter().zip(to) {
                    let wide = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(column));
                    _mm512_storeu_ps(*to, _mm512_mul_ps(factors, wide));
                }
            }
        }
    }
    #[inline(always)]
    fn widen_f16(self, bits: [u16; 16]) -> [f32; 16] {
        let mut wide = [0.0; 16];
        // SAFETY: sixteen values are read and sixteen written; the token proves AVX-512F.
        unsafe {
            let halves = _mm256_loadu_si256(bits.as_ptr().cast());
            _mm512_storeu_ps(wide.as_mut_ptr(), _mm512_cvtph_ps(halves));
        }
        wide
    }
    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_add_ps(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_sub_ps(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_mul_ps(a, b) }
    }
    #[inline(always)]
    fn div(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_div_ps(a, b) }
    }
    #[inline(always)]
    fn mul_add(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn min(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_min_ps(a, b) }
    }
    #[inline(always)]
    fn max(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_max_ps(a, b) }
    }
    #[inline(always)]
    fn abs(self, a: __m512) -> __m512 {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_abs_ps(a) }
    }
    #[inline(always)]
    fn copysign(self, a: __m512, sign: __m512) -> __m512 {
        /// The truth table of "where the first is set, the second, else the third".
        const CHOOSE: i32 = 0xCA;
        // SAFETY: the token proves AVX-512F.
        unsafe {
            let (a, sign) = (_mm512_castps_si512(a), _mm512_castps_si512(sign));
            _mm512_castsi512_ps(_mm512_ternarylogic_epi32::<CHOOSE>(_mm512_set1_epi32(i32::MIN), sign, a))
        }
    }
    #[inline(always)]
    fn scale_exp2(self, p: __m512, shifted: __m512) -> __m512 {
        // SAFETY: the token proves AVX-512F.
        unsafe {
            let exponent = _mm512_slli_epi32::<{ FRACTION_BITS as u32 }>(_mm512_castps_si512(shifted));
            _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(p), exponent))
        }
    }
    #[inline(always)]
    fn reduce_add(self, a: __m512) -> f32 {
        // SAFETY: the token proves AVX-512F and, with it, AVX.
        unsafe {
            let high = _mm256_castpd_ps(_mm512_extractf64x4_pd::<1>(_mm512_castps_pd(a)));
            let half = _mm256_add_ps(_mm512_castps512_ps256(a), high);
            let quarter = _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps::<1>(half));
            let pair = _mm_add_ps(quarter, _mm_movehl_ps(quarter, quarter));
            _mm_cvtss_f32(_mm_add_ss(pair, _mm_shuffle_ps::<1>(pair, pair)))
        }
    }
    #[inline(always)]
    fn reduce_max(self, a: __m512) -> f32 {
        // SAFETY: the token proves AVX-512F and, with it, AVX.
        unsafe {
            let high = _mm256_castpd_ps(_mm512_extractf64x4_pd::<1>(_mm512_castps_pd(a)));
            let half = _mm256_max_ps(_mm512_castps512_ps256(a), high);
            let quarter = _mm_max_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps::<1>(half));
            let pair = _mm_max_ps(quarter, _mm_movehl_ps(quarter, quarter));
            _mm_cvtss_f32(_mm_max_ss(pair, _mm_shuffle_ps::<1>(pair, pair)))
        }
    }
    #[inline(always)]
    fn load_partial(self, x: &[f32], fill: f32) -> __m512 {
        // SAFETY: lanes past the slice are masked, and a masked load reads no memory there.
        unsafe {
            let mask = first_lanes(x.len().min(Self::LANES));
            _mm512_mask_loadu_ps(_mm512_set1_ps(fill), mask, x.as_ptr())
        }
    }
    #[inline(always)]
    fn store_partial(self, x: &mut [f32], v: __m512) {
        // SAFETY: lanes past the slice are masked, and a masked store writes no memory there.
        unsafe { _mm512_mask_storeu_ps(x.as_mut_ptr(), first_lanes(x.len().min(Self::LANES)), v) }
    }
}
