//! The peak of multiply-adds of this machine, which the speed of a kernel is compared with.

#[cfg(target_arch = "aarch64")]
mod arm;
#[cfg(target_arch = "x86_64")]
mod x86;

use crate::parallel;
use crate::precision::Precision;
use crate::simd::{Isa, Requires, Simd, SimdOp};

/// Independent sums: enough to hide the four to six cycles of a multiply-add on two units.
const CHAINS: usize = 12;
/// Rounds of a run on a thread: about 5 ms.
const ROUNDS: u32 = 1_000_000;

/// A loop of one instruction that multiplies and adds, all in registers, on every thread.
#[derive(Clone, Copy, Debug)]
pub struct CpuPeak {
    instruction: &'static str,
    /// Operations of a run on a thread, 2 for each multiply-add.
    operations: u64,
    /// # Safety
    /// - The CPU has the instruction.
    compute: unsafe fn() -> f32,
}

/// The loop of an instruction, and what it needs.
struct PeakLoop {
    requires: Requires,
    precision: Precision,
    peak: CpuPeak,
}

impl CpuPeak {
    /// That of the instruction that the products of a precision are computed with: multiply-adds of `f32` where the CPU has
    /// no other for it, or `LATENT_ISA` does not include it.
    #[must_use]
    pub fn of(precision: Precision) -> CpuPeak {
        let isa = Isa::best();
        let mut loops = LOOPS.iter().filter(|one| one.precision == precision && one.requires.is_met(isa));
        loops.next().map_or_else(CpuPeak::fma, |one| one.peak)
    }

    fn fma() -> CpuPeak {
        let lanes = Isa::best().run(Lanes) as u64;
        // SAFETY: `Isa::run` takes an instruction set that the CPU has.
        CpuPeak { instruction: "FMA", operations: operations(lanes), compute: || Isa::best().run(FmaChains) }
    }

    /// Name of the instruction.
    #[must_use]
    pub fn instruction(&self) -> &'static str {
        self.instruction
    }

    /// Operations of one [`run`](CpuPeak::run) with the current number of threads, 2 for each multiply-add.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.operations * parallel::threads() as u64
    }

    /// Multiply-adds on every thread. Returns a value that depends on all of them.
    #[must_use]
    pub fn run(&self) -> f32 {
        let mut sums = vec![0.0; parallel::threads()];
        // SAFETY: `of` takes an instruction that the CPU has.
        parallel::chunks_mut(&mut sums, 1, |_, sum| sum[0] = unsafe { (self.compute)() });
        sums.iter().sum()
    }
}

/// Operations of a run on a thread whose instruction has so many multiply-adds.
const fn operations(multiply_adds: u64) -> u64 {
    2 * CHAINS as u64 * ROUNDS as u64 * multiply_adds
}

/// The instructions beside FMA; of those of a precision the first that is available is used.
static LOOPS: &[PeakLoop] = &[
    #[cfg(target_arch = "x86_64")]
    x86::TDPBF16PS,
    #[cfg(target_arch = "x86_64")]
    x86::VDPBF16PS,
    #[cfg(target_arch = "x86_64")]
    x86::VPDPBUSD_512,
    #[cfg(target_arch = "x86_64")]
    x86::VPDPBUSD_256,
    #[cfg(target_arch = "aarch64")]
    arm::BFDOT,
    #[cfg(target_arch = "aarch64")]
    arm::SDOT,
];

struct Lanes;
impl SimdOp for Lanes {
    type Output = usize;
    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> usize {
        S::LANES
    }
}

struct FmaChains;
impl SimdOp for FmaChains {
    type Output = f32;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f32 {
        let factor = s.splat(std::hint::black_box(0.999));
        let mut sums = [s.splat(1.0); CHAINS];
        for _ in 0..ROUNDS {
            for sum in &mut sums {
                *sum = s.mul_add(*sum, factor, factor);
            }
        }
        sums.iter().map(|sum| s.reduce_add(*sum)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sums_converge() {
        // x = 0.999 x + 0.999 has the fixed point 999.
        let peak = CpuPeak::of(Precision::F32);
        assert_eq!(peak.instruction(), "FMA");
        let per_lane = peak.run() / (peak.operations() / (2 * u64::from(ROUNDS))) as f32;
        assert!((per_lane - 999.0).abs() < 1.0, "{per_lane}");
    }

    #[test]
    fn each_instruction_of_this_cpu_does_what_is_counted() {
        // All factors are 1, so that a sum counts the multiply-adds; in f32 it stops at 2^24.
        for one in LOOPS.iter().filter(|one| one.requires.is_met(Isa::best())) {
            // SAFETY: the CPU has the instruction.
            let sum = unsafe { (one.peak.compute)() };
            let expected = (one.peak.operations / 2) as f32;
            assert!((sum / expected - 1.0).abs() < 1e-3, "{}: {sum} of {expected}", one.peak.instruction);
        }
    }
}
