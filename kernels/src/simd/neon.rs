//! NEON, the vectors that every 64-bit Arm CPU has: four lanes, thirty-two registers.

use super::SimdOp;
#[cfg(target_arch = "aarch64")]
use super::{FRACTION_BITS, Isa, Simd};
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

    /// The token without detection, for code that runs once for each tile.
    ///
    /// # Safety
    /// - The CPU is a 64-bit Arm with NEON.
    pub(crate) unsafe fn assume() -> Neon {
        Neon { _proof: () }
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

/// The bits of eight 16-bit values.
///
/// # Safety
/// - The CPU has NEON; `row` is valid for reads of 16 bytes.
#[cfg(target_arch = "aarch64")]
#[inline(always)]
unsafe fn load_16bit(row: *const u8) -> [uint16x4_t; 2] {
    // SAFETY: the caller guarantees the row; loads of bytes need no alignment.
    unsafe {
        let bits = vreinterpretq_u16_u8(vld1q_u8(row));
        [vget_low_u16(bits), vget_high_u16(bits)]
    }
}

/// The instruction is written out: its intrinsic, `vcvt_f32_f16`, is younger than the Rust that this crate asks for.
///
/// # Safety
/// - The CPU has NEON.
#[cfg(target_arch = "aarch64")]
#[inline(always)]
unsafe fn widen_f16(half: uint16x4_t) -> float32x4_t {
    let wide: float32x4_t;
    // SAFETY: the instruction is part of NEON and touches nothing but its registers.
    unsafe {
        std::arch::asm!(
            "fcvtl {wide:v}.4s, {half:v}.4h",
            wide = lateout(vreg) wide,
            half = in(vreg) half,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    wide
}

/// Eight signed bytes times a factor.
///
/// # Safety
/// - The CPU has NEON; `row` is valid for reads of eight bytes.
#[cfg(target_arch = "aarch64")]
#[inline(always)]
unsafe fn scaled_bytes(factor: f32, row: *const u8) -> [float32x4_t; 2] {
    // SAFETY: the caller guarantees the row; loads of bytes need no alignment.
    unsafe {
        let wide = vmovl_s8(vld1_s8(row.cast()));
        let halves = [vget_low_s16(wide), vget_high_s16(wide)];
        halves.map(|half| vmulq_n_f32(vcvtq_f32_s32(vmovl_s16(half)), factor))
    }
}

/// Four rows as four columns.
///
/// # Safety
/// - The CPU has NEON.
#[cfg(target_arch = "aarch64")]
#[inline(always)]
unsafe fn transpose([r0, r1, r2, r3]: [float32x4_t; 4]) -> [float32x4_t; 4] {
    // SAFETY: the caller guarantees NEON.
    unsafe {
        let (a, b) = (vtrn1q_f32(r0, r1), vtrn2q_f32(r0, r1));
        let (c, d) = (vtrn1q_f32(r2, r3), vtrn2q_f32(r2, r3));
        let pairs = [a, b, c, d].map(|v| vreinterpretq_f64_f32(v));
        [
            vtrn1q_f64(pairs[0], pairs[2]),
            vtrn1q_f64(pairs[1], pairs[3]),
            vtrn2q_f64(pairs[0], pairs[2]),
            vtrn2q_f64(pairs[1], pairs[3]),
        ]
        .map(|v| vreinterpretq_f32_f64(v))
    }
}

/// Stores four rows of eight values as eight columns, from the row `first` of sixteen on.
///
/// # Safety
/// - The CPU has NEON; each of `to` is valid for writes of sixteen values; `first` is at most 12.
#[cfg(target_arch = "aarch64")]
#[inline(always)]
unsafe fn store_columns(four: [[float32x4_t; 2]; 4], to: &[*mut f32; 8], first: usize) {
    for half in 0..2 {
        // SAFETY: the caller guarantees NEON and sixteen values at each of `to`; the store needs the alignment of one.
        unsafe {
            let columns = transpose([four[0][half], four[1][half], four[2][half], four[3][half]]);
            for (column, to) in columns.into_iter().zip(&to[4 * half..]) {
                vst1q_f32(to.add(first), column);
            }
        }
    }
}

// Each intrinsic below needs only NEON, which the token proves; loads and stores state what they add.
#[cfg(target_arch = "aarch64")]
// SAFETY: `new` detects NEON and `assume` requires it; loads and stores access four values.
unsafe impl Simd for Neon {
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
        // SAFETY: the caller guarantees four readable values; the load needs the alignment of one.
        unsafe { vld1q_f32(p) }
    }
    #[inline(always)]
    unsafe fn store_ptr(self, p: *mut f32, v: float32x4_t) {
        // SAFETY: the caller guarantees four writable values; the store needs the alignment of one.
        unsafe { vst1q_f32(p, v) }
    }
    #[inline(always)]
    unsafe fn transpose_f32(self, rows: &[*const u8; 16], to: &[*mut f32; 8]) {
        for first in (0..16).step_by(4) {
            // SAFETY: the caller guarantees eight values in each row and sixteen at each of `to`; the token proves NEON.
            unsafe {
                let four = std::array::from_fn(|row| {
                    [0, 16].map(|at| vreinterpretq_f32_u8(vld1q_u8(rows[first + row].add(at))))
                });
                store_columns(four, to, first);
            }
        }
    }
    #[inline(always)]
    unsafe fn transpose_f16(self, rows: &[*const u8; 16], to: &[*mut f32; 8]) {
        for first in (0..16).step_by(4) {
            // SAFETY: the caller guarantees eight values in each row and sixteen at each of `to`; the token proves NEON.
            unsafe {
                let four =
                    std::array::from_fn(|row| load_16bit(rows[first + row]).map(|half| widen_f16(half)));
                store_columns(four, to, first);
            }
        }
    }
    #[inline(always)]
    unsafe fn transpose_bf16(self, rows: &[*const u8; 16], to: &[*mut f32; 8]) {
        for first in (0..16).step_by(4) {
            // SAFETY: the caller guarantees eight values in each row and sixteen at each of `to`; the token proves NEON.
            unsafe {
                let four = std::array::from_fn(|row| {
                    let wide = |half| vreinterpretq_f32_u32(vshll_n_u16::<16>(half));
                    load_16bit(rows[first + row]).map(wide)
                });
                store_columns(four, to, first);
            }
        }
    }
    #[inline(always)]
    unsafe fn transpose_i8(self, rows: &[*const u8; 16], factors: &[f32; 16], to: &[*mut f32; 8]) {
        for first in (0..16).step_by(4) {
            // SAFETY: the caller guarantees eight values in each row and sixteen at each of `to`; the token proves NEON.
            unsafe {
                let four = std::array::from_fn(|row| scaled_bytes(factors[first + row], rows[first + row]));
                store_columns(four, to, first);
            }
        }
    }
    #[inline(always)]
    fn widen_f16(self, bits: [u16; 16]) -> [f32; 16] {
        let mut wide = [0.0; 16];
        for (bits, wide) in bits.as_chunks::<4>().0.iter().zip(wide.as_chunks_mut::<4>().0) {
            // SAFETY: four values are read and four written; the token proves NEON.
            unsafe { vst1q_f32(wide.as_mut_ptr(), widen_f16(vld1_u16(bits.as_ptr()))) };
        }
        wide
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
    fn scale_exp2(self, p: float32x4_t, shifted: float32x4_t) -> float32x4_t {
        // SAFETY: the token proves NEON.
        unsafe {
            let exponent = vshlq_n_u32::<FRACTION_BITS>(vreinterpretq_u32_f32(shifted));
            vreinterpretq_f32_u32(vaddq_u32(vreinterpretq_u32_f32(p), exponent))
        }
    }
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
