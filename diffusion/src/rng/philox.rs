//! Normal numbers as torch draws them on an NVIDIA card: Philox 4x32-10 (Salmon, Moraes, Dror and Shaw,
//! "Parallel random numbers: as easy as 1, 2, 3", SC 2011) and the Box-Muller transform.
//!
//! Philox has no state: a block of four words is a function of a counter and a key, ten rounds of
//! multiplying, exclusive or and swapping. The key is the seed; the counter holds the number of the call and
//! the index of the element, so that every element can be drawn by a thread of its own. Of the four words the
//! first two become one normal number, the sine half of a Box-Muller pair. A real card draws like this for
//! tensors of up to a few hundred thousand elements; programs that imitate it on the CPU do so for all, and
//! so does this one.

use super::Noise;
use std::f32::consts::TAU;

const ROUNDS: usize = 10;
const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
/// What is added to the two halves of the key after each round: the golden ratio and sqrt(3) - 1.
const KEY_STEPS: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];
/// 2^-32 with the digits of the original, in f32: from a word to a number between 0 and 1.
const TO_UNIT: f32 = 2.328_306_4e-10;

/// Normal numbers like those of torch's CUDA generator.
#[derive(Debug)]
pub struct Philox {
    key: [u32; 2],
    call: u32,
}

impl Philox {
    /// The generator with that seed; all 64 bits count.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { key: [low(seed), high(seed)], call: 0 }
    }
}

impl Noise for Philox {
    fn normal(&mut self, out: &mut [f32]) {
        for (i, value) in (0..).zip(out) {
            let [a, b, ..] = block([self.call, 0, i, 0], self.key);
            *value = box_muller(a, b);
        }
        self.call = self.call.wrapping_add(1);
    }
}

/// The low 32 bits.
fn low(word: u64) -> u32 {
    word as u32
}

/// The high 32 bits.
fn high(word: u64) -> u32 {
    low(word >> 32)
}

/// Philox 4x32-10 of a counter and a key.
fn block(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..ROUNDS {
        let [c0, c1, c2, c3] = counter;
        let p0 = u64::from(c0) * u64::from(MULTIPLIERS[0]);
        let p1 = u64::from(c2) * u64::from(MULTIPLIERS[1]);
        counter = [high(p1) ^ c1 ^ key[0], low(p1), high(p0) ^ c3 ^ key[1], low(p0)];
        key = [key[0].wrapping_add(KEY_STEPS[0]), key[1].wrapping_add(KEY_STEPS[1])];
    }
    counter
}

/// The sine half of a Box-Muller pair. Half a unit is added to each word: the logarithm never sees 0.
fn box_muller(a: u32, b: u32) -> f32 {
    let to_angle = f64::from(TO_UNIT * TAU);
    let to_unit = f64::from(TO_UNIT);
    let u = f64::from(a) * to_unit + to_unit / 2.0;
    let angle = f64::from(b) * to_angle + to_angle / 2.0;
    ((-2.0 * u.ln()).sqrt() * angle.sin()) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known answers of the authors' library (Random123, `kat_vectors`).
    #[test]
    fn known_blocks() {
        assert_eq!(block([0; 4], [0; 2]), [0x6627_E8D5, 0xE169_C58D, 0xBC57_AC4C, 0x9B00_DBD8]);
        assert_eq!(block([u32::MAX; 4], [u32::MAX; 2]), [0x408F_276D, 0x41C8_3B0E, 0xA20B_C7C6, 0x6D54_51FD]);
    }

    #[test]
    fn each_call_draws_new_numbers() {
        let mut philox = Philox::new(1);
        let (mut first, mut second) = ([0.0; 5], [0.0; 5]);
        philox.normal(&mut first);
        philox.normal(&mut second);
        assert!(first.iter().zip(&second).all(|(a, b)| a != b));
    }

    #[test]
    fn the_high_half_of_the_seed_counts() {
        let (mut a, mut b) = ([0.0; 5], [0.0; 5]);
        Philox::new(1).normal(&mut a);
        Philox::new(1 | 1 << 40).normal(&mut b);
        assert_ne!(a, b);
    }

    #[test]
    fn mean_and_variance() {
        let mut values = vec![0.0; 1 << 16];
        Philox::new(3).normal(&mut values);
        let n = 65536.0;
        let mean = values.iter().copied().map(f64::from).sum::<f64>() / n;
        let square = values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / n;
        assert!(mean.abs() < 0.02 && (square - 1.0).abs() < 0.03, "{mean} {square}");
    }
}
