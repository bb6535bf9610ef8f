//! NEON, the vectors that every 64-bit Arm CPU has: four lanes, thirty-two registers.

use super::SimdOp;
#[cfg(target_arch = "aarch64")]
use super::{Isa, Simd};
#[cfg(target_arch = "aarch64")]
use std::arch::aarch64::*;

/// Proof that this CPU is a 64-bit Arm, and so has NEON.
#[derive(Clone, Copy, Debug)]
pub struct Neon {
    _proof: (),
}

impl Neon {
    /// The token, on a 64-bit Arm CPU.
    #[must_use]
    pub fn new() -> Option<Neon> {
        #[cfg(target_arch = "aarch64")]
        {
            std::arch::is_aarch64_feature_detected!("neon").then_some(Neon { _proof: () })
        }
        #[cfg(not(target_arch = "aarch64"))]
        None
    }

    /// Runs `op` compiled for this instruction set.
    #[inline]
    pub(crate) fn run<O: SimdOp>(self, op: O) -> O::Output {
        #[cfg(target_arch = "aarch64")]
        {
            #[target_feature(enable = "neon")]
            fn compiled<O: SimdOp>(token: Neon, op: O) -> O::Output {
                op.run(token)
            }
            // SAFETY: the token proves that the CPU has NEON.
            unsafe { compiled(self, op) }
        }
        #[cfg(not(target_arch = "aarch64"))]
        op.run(super::Scalar)
    }
}

// Each intrinsic below needs only NEON, which the token proves; loads and stores state what they add.
#[cfg(target_arch = "aarch64")]
impl Simd for Neon {
    type F32 = float32x4_t;
    const LANES: usize = 4;
    const ISA: Isa = Isa::Neon;

    #[inline(always)]
    fn splat(self, x: f32) -> float32x4_t {
        // SAFETY: the token proves NEON.
        unsafe { vdupq_n_f32(x) }
    }
    #[inline(always)]
    unsafe fn load_ptr(self, p: *const f32) -> float32x4_t {
        // SAFETY: the caller vouches for four readable values; the load needs the alignment of one.
        unsafe { vld1q_f32(p) }
    }
    #[inline(always)]
    unsafe fn store_ptr(self, p: *mut f32, v: float32x4_t) {
        // SAFETY: the caller vouches for four writable values; the store needs the alignment of one.
        unsafe { vst1q_f32(p, v) }
    }
    /// The instruction is written out: its intrinsic, `vcvt_f32_f16`, is younger than the Rust that this crate asks for.
    #[inline(always)]
    unsafe fn load_f16_ptr(self, p: *const u16) -> float32x4_t {
        // SAFETY: the caller vouches for four readable 16-bit values; the instruction is part of NEON and touches
        // nothing but its registers.
        unsafe {
            let half = vld1_u16(p);
            let wide: float32x4_t;
            std::arch::asm!(
                "fcvtl {wide:v}.4s, {half:v}.4h",
                wide = lateout(vreg) wide,
                half = in(vreg) half,
                options(pure, nomem, nostack, preserves_flags),
            );
            wide
        }
    }
    #[inline(always)]
    unsafe fn load_bf16_ptr(self, p: *const u16) -> float32x4_t {
        // SAFETY: the caller vouches for four readable 16-bit values.
        unsafe { vreinterpretq_f32_u32(vshll_n_u16::<16>(vld1_u16(p))) }
    }
    #[inline(always)]
    fn add(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: the token proves NEON.
        unsafe { vaddq_f32(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: the token proves NEON.
        unsafe { vsubq_f32(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: the token proves NEON.
        unsafe { vmulq_f32(a, b) }
    }
    #[inline(always)]
    fn div(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: the token proves NEON.
        unsafe { vdivq_f32(a, b) }
    }
    #[inline(always)]
    fn mul_add(self, a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
        // SAFETY: the token proves NEON.
        unsafe { vfmaq_f32(c, a, b) }
    }
    /// A comparison and a choice: `vminq_f32` would return NaN for a NaN on either side.
    #[inline(always)]
    fn min(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: the token proves NEON.
        unsafe { vbslq_f32(vcltq_f32(a, b), a, b) }
    }
    /// As [`Simd::min`] here.
    #[inline(always)]
    fn max(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: the token proves NEON.
        unsafe { vbslq_f32(vcgtq_f32(a, b), a, b) }
    }
    #[inline(always)]
    fn abs(self, a: float32x4_t) -> float32x4_t {
        // SAFETY: the token proves NEON.
        unsafe { vabsq_f32(a) }
    }
    #[inline(always)]
    fn copysign(self, a: float32x4_t, sign: float32x4_t) -> float32x4_t {
        // SAFETY: the token proves NEON.
        unsafe { vbslq_f32(vdupq_n_u32(1 << 31), sign, a) }
    }
    #[inline(always)]
    fn round(self, a: float32x4_t) -> float32x4_t {
        // SAFETY: the token proves NEON.
        unsafe { vrndnq_f32(a) }
    }
    #[inline(always)]
    fn exp2_whole(self, n: float32x4_t) -> float32x4_t {
        // SAFETY: the token proves NEON.
        unsafe {
            let biased = vaddq_s32(vcvtq_s32_f32(n), vdupq_n_s32(127));
            vreinterpretq_f32_s32(vshlq_n_s32::<23>(biased))
        }
    }
    /// `(a0 + a1) + (a2 + a3)`
    #[inline(always)]
    fn reduce_add(self, a: float32x4_t) -> f32 {
        // SAFETY: the token proves NEON.
        unsafe { vaddvq_f32(a) }
    }
    #[inline(always)]
    fn reduce_max(self, a: float32x4_t) -> f32 {
        // SAFETY: the token proves NEON.
        unsafe { vmaxvq_f32(a) }
    }
}
