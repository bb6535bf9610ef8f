//! The peak of multiply-adds of this machine, which the speed of a kernel is compared with.

use crate::parallel;
use crate::simd::{Isa, Simd, SimdOp};

/// Independent sums: enough to hide the four to five cycles of a multiply-add on two units.
const CHAINS: usize = 12;
/// Rounds of one run on a thread: about 5 ms.
const ROUNDS: u32 = 1_000_000;

/// Floating-point operations of one [`run`] with the current number of threads.
#[must_use]
pub fn operations() -> u64 {
    2 * CHAINS as u64 * u64::from(ROUNDS) * Isa::best().run(Lanes) as u64 * parallel::threads() as u64
}

/// Multiply-adds on every thread, all in registers. Returns a value that depends on all of them.
pub fn run() -> f32 {
    let mut sums = vec![0.0; parallel::threads()];
    parallel::chunks_mut(&mut sums, 1, |_, sum| sum[0] = Isa::best().run(Chains));
    sums.iter().sum()
}

struct Lanes;
impl SimdOp for Lanes {
    type Output = usize;
    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> usize {
        S::LANES
    }
}

struct Chains;
impl SimdOp for Chains {
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
    #[test]
    fn the_sums_converge() {
        // x = 0.999 x + 0.999 has the fixed point 999.
        let per_lane = super::run() / (super::operations() / (2 * u64::from(super::ROUNDS))) as f32;
        assert!((per_lane - 999.0).abs() < 1.0, "{per_lane}");
    }
}
