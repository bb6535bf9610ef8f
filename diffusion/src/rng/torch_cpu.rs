//! Numbers as torch draws them on the CPU: `torch.Generator("cpu").manual_seed(seed)` with `torch.randn` and
//! `torch.rand`.
//!
//! The words come from MT19937, seeded with the low 32 bits of the seed. `randn` takes one of two ways:
//! - Fewer than 16 elements: one after the other, by Box-Muller in f64 from two 53-bit uniforms. A pair of
//!   uniforms   gives two normals; the second waits for the next call that takes this way.
//! - 16 or more: the tensor is filled with uniforms, then each block of 16 is transformed in place, element j
//!   together with element j + 8. If the size is not a multiple of 16, the last 16 elements are drawn again,
//!   over   whatever the blocks left there.

use super::Noise;
use super::mt19937::Mt19937;
use std::f64::consts::TAU;

/// Elements transformed together, and the size from which that is done.
const BLOCK: usize = 16;
const HALF: usize = BLOCK / 2;
/// Bits of a uniform f32 and f64: the digits of their significands.
const F32_BITS: u32 = 24;
const F64_BITS: u32 = 53;

/// torch's generator on the CPU.
#[derive(Debug)]
pub struct TorchCpu {
    words: Mt19937,
    /// The second number of the last pair drawn for a small tensor.
    kept: Option<f64>,
}

impl TorchCpu {
    /// The generator with that seed. Only its low 32 bits count, as in torch.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { words: Mt19937::new(seed as u32), kept: None }
    }

    /// Fills `out` with uniform numbers in [0, 1), as `torch.rand` does for f32.
    pub fn uniform(&mut self, out: &mut [f32]) {
        out.iter_mut().for_each(|value| *value = self.uniform_f32());
    }

    /// Fills `out` as `torch.randn` does for f64. The numbers are others than those of f32, not more exact
    /// ones.
    pub fn normal_f64(&mut self, out: &mut [f64]) {
        if out.len() < BLOCK {
            out.iter_mut().for_each(|value| *value = self.small());
        } else {
            fill_blocks(out, || self.uniform_f64());
        }
    }

    fn uniform_f32(&mut self) -> f32 {
        let word = self.words.next_u32() & ((1 << F32_BITS) - 1);
        word as f32 / (1_u32 << F32_BITS) as f32
    }

    fn uniform_f64(&mut self) -> f64 {
        let (high, low) = (self.words.next_u32(), self.words.next_u32());
        let word = (u64::from(high) << 32 | u64::from(low)) & ((1 << F64_BITS) - 1);
        word as f64 / (1_u64 << F64_BITS) as f64
    }

    /// One normal number for a tensor of fewer than 16.
    fn small(&mut self) -> f64 {
        if let Some(kept) = self.kept.take() {
            return kept;
        }
        let (angle, u) = (TAU * self.uniform_f64(), self.uniform_f64());
        let radius = (-2.0 * (-u).ln_1p()).sqrt();
        self.kept = Some(radius * angle.sin());
        radius * angle.cos()
    }
}

impl Noise for TorchCpu {
    fn normal(&mut self, out: &mut [f32]) {
        if out.len() < BLOCK {
            out.iter_mut().for_each(|value| *value = self.small() as f32);
            return;
        }
        let mut wide = vec![0.0; out.len()];
        fill_blocks(&mut wide, || f64::from(self.uniform_f32()));
        out.iter_mut().zip(wide).for_each(|(value, wide)| *value = wide as f32);
    }
}

/// The way of 16 or more elements, from uniforms in [0, 1).
fn fill_blocks(out: &mut [f64], mut uniform: impl FnMut() -> f64) {
    out.iter_mut().for_each(|value| *value = uniform());
    let (blocks, rest) = out.as_chunks_mut::<BLOCK>();
    blocks.iter_mut().for_each(box_muller);
    if !rest.is_empty()
        && let Some(last) = out.last_chunk_mut::<BLOCK>()
    {
        last.iter_mut().for_each(|value| *value = uniform());
        box_muller(last);
    }
}

/// Turns a block of uniforms into normals: the radius from element j, the angle from element j + 8.
fn box_muller(block: &mut [f64; BLOCK]) {
    for j in 0..HALF {
        let radius = (-2.0 * (1.0 - block[j]).ln()).sqrt();
        let angle = TAU * block[j + HALF];
        block[j] = radius * angle.cos();
        block[j + HALF] = radius * angle.sin();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normals(rng: &mut TorchCpu, n: usize) -> Vec<f32> {
        let mut out = vec![0.0; n];
        rng.normal(&mut out);
        out
    }

    #[track_caller]
    fn assert_near(got: &[f32], want: &[f32]) {
        assert_eq!(got.len(), want.len());
        assert!(got.iter().zip(want).all(|(a, b)| (a - b).abs() < 5e-5), "{got:?}, expected {want:?}");
    }

    /// `torch.manual_seed(0); torch.randn(3)`, the numbers of many a tutorial.
    #[test]
    fn small_tensor_of_seed_0() {
        assert_near(&normals(&mut TorchCpu::new(0), 3), &[1.5410, -0.2934, -2.1788]);
    }

    #[test]
    fn only_the_low_half_of_the_seed_counts() {
        assert_eq!(normals(&mut TorchCpu::new(7), 20), normals(&mut TorchCpu::new(7 | 1 << 32), 20));
    }

    #[test]
    fn second_of_a_pair_is_kept_across_large_tensors() {
        let mut rng = TorchCpu::new(42);
        let three = normals(&mut rng, 3);
        normals(&mut rng, 16);
        let next = normals(&mut rng, 1);
        let four = normals(&mut TorchCpu::new(42), 4);
        assert_eq!(three, four[..3]);
        assert_eq!(next, four[3..]);
    }

    #[test]
    fn tail_is_drawn_again() {
        let (whole, odd) = (normals(&mut TorchCpu::new(9), 32), normals(&mut TorchCpu::new(9), 33));
        assert_eq!(whole[..16], odd[..16]);
        assert!(whole[17..].iter().zip(&odd[17..]).all(|(a, b)| a != b));
    }

    #[test]
    fn uniforms_lie_in_the_unit_interval() {
        let mut out = vec![2.0; 1000];
        TorchCpu::new(5).uniform(&mut out);
        assert!(out.iter().all(|v| (0.0..1.0).contains(v)));
        assert!((out.iter().sum::<f32>() / 1000.0 - 0.5).abs() < 0.05);
    }

    #[test]
    fn f64_tensor_starts_like_f32_only_when_small() {
        let mut small = [0.0; 5];
        TorchCpu::new(3).normal_f64(&mut small);
        assert_near(&small.map(|v| v as f32), &normals(&mut TorchCpu::new(3), 5));
        let mut large = [0.0; 16];
        TorchCpu::new(3).normal_f64(&mut large);
        assert!((large[0] as f32 - normals(&mut TorchCpu::new(3), 16)[0]).abs() > 1e-3);
    }
}
