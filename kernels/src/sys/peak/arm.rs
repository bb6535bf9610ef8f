//! The instructions of Arm that multiply bf16 and 8-bit integers, written as assembly because their intrinsics are not stable.

use super::{CHAINS, CpuPeak, PeakLoop, ROUNDS, operations};
use crate::precision::Precision;
use crate::simd::{Feature, Isa, Requires};
use std::arch::aarch64::*;
use std::arch::asm;
use std::hint::black_box;

pub(super) const BFDOT: PeakLoop = PeakLoop {
    requires: Requires { isa: Isa::Neon, features: &[Feature::NeonBf16] },
    precision: Precision::Bf16,
    peak: CpuPeak { instruction: "BFDOT", operations: operations(8), compute: bfdot },
};

pub(super) const SDOT: PeakLoop = PeakLoop {
    requires: Requires { isa: Isa::Neon, features: &[Feature::NeonDotProd] },
    precision: Precision::Int8,
    peak: CpuPeak { instruction: "SDOT", operations: operations(16), compute: sdot },
};

/// # Safety
/// - The CPU has `FEAT_BF16`.
#[target_feature(enable = "neon,bf16")]
unsafe fn bfdot() -> f32 {
    let ones = vdupq_n_u16(black_box(0x3f80));
    let mut sums = [vdupq_n_f32(0.0); CHAINS];
    for _ in 0..ROUNDS {
        for sum in &mut sums {
            // SAFETY: the instruction is one of the features, and changes only `sum`.
            unsafe {
                asm!("bfdot {sum:v}.4s, {a:v}.8h, {a:v}.8h", sum = inout(vreg) *sum, a = in(vreg) ones,
                    options(pure, nomem, nostack, preserves_flags));
            }
        }
    }
    sums.iter().map(|sum| vaddvq_f32(*sum)).sum()
}

/// # Safety
/// - The CPU has `FEAT_DotProd`.
#[target_feature(enable = "neon,dotprod")]
unsafe fn sdot() -> f32 {
    let ones = vdupq_n_s8(black_box(1));
    let mut sums = [vdupq_n_s32(0); CHAINS];
    for _ in 0..ROUNDS {
        for sum in &mut sums {
            // SAFETY: the instruction is one of the features, and changes only `sum`.
            unsafe {
                asm!("sdot {sum:v}.4s, {a:v}.16b, {a:v}.16b", sum = inout(vreg) *sum, a = in(vreg) ones,
                    options(pure, nomem, nostack, preserves_flags));
            }
        }
    }
    sums.iter().map(|sum| vaddvq_f32(vcvtq_f32_s32(*sum))).sum()
}
