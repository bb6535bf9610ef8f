//! The random numbers that images start from.
//!
//! A seed means the same image in two programs only if both draw the same numbers from it. Two generators
//! cover what people have seeds for: [`TorchCpu`], torch's generator on the CPU (diffusers' documentation,
//! ComfyUI), and [`Philox`], torch's generator on an NVIDIA card (the web UI, stable-diffusion.cpp). Both are
//! computed on the CPU here.

mod mt19937;
mod philox;
mod torch_cpu;

pub use philox::Philox;
pub use torch_cpu::TorchCpu;

use crate::names::{self, Named, UnknownName};

/// A source of normally distributed numbers, mean 0, variance 1.
pub trait Noise {
    /// Fills `out`. How many numbers one call asks for is part of the stream: two calls of 8 need not give
    /// what one call of 16 gives.
    fn normal(&mut self, out: &mut [f32]);
}

/// The generators that can be chosen by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RngKind {
    /// [`Philox`].
    Cuda,
    /// [`TorchCpu`].
    Cpu,
}

impl RngKind {
    /// All kinds.
    pub const ALL: &[Self] = &[Self::Cuda, Self::Cpu];

    /// The kind of that name.
    ///
    /// # Errors
    /// [`UnknownName`], with the nearest known one.
    pub fn parse(name: &str) -> Result<Self, UnknownName> {
        names::find("random number generator", name, Self::ALL).copied()
    }

    /// A new generator of this kind.
    #[must_use]
    pub fn generator(self, seed: u64) -> Box<dyn Noise + Send> {
        match self {
            Self::Cuda => Box::new(Philox::new(seed)),
            Self::Cpu => Box::new(TorchCpu::new(seed)),
        }
    }
}

impl Named for RngKind {
    fn name(&self) -> &'static str {
        match self {
            Self::Cuda => "cuda",
            Self::Cpu => "cpu",
        }
    }

    fn aliases(&self) -> &'static [&'static str] {
        match self {
            Self::Cuda => &["philox", "nv"],
            Self::Cpu => &["torch"],
        }
    }
}

/// The noise of a batch: every image draws from a generator of its own, so that image i of a batch is,
/// bit for bit, the image that its seed gives alone.
pub struct PerImage {
    generators: Vec<Box<dyn Noise + Send>>,
}

impl std::fmt::Debug for PerImage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PerImage").field("images", &self.generators.len()).finish_non_exhaustive()
    }
}

impl PerImage {
    /// One generator for each image, in the order in which the images lie in the batch.
    #[must_use]
    pub fn new(generators: Vec<Box<dyn Noise + Send>>) -> Self {
        Self { generators }
    }

    /// Generators of one kind for the given seeds.
    #[must_use]
    pub fn seeded(kind: RngKind, seeds: impl IntoIterator<Item = u64>) -> Self {
        Self::new(seeds.into_iter().map(|seed| kind.generator(seed)).collect())
    }
}

impl Noise for PerImage {
    /// Fills one equal part of `out` from each generator.
    ///
    /// # Panics
    /// If `out` does not divide into as many equal parts as there are generators.
    fn normal(&mut self, out: &mut [f32]) {
        if out.is_empty() {
            return;
        }
        let images = self.generators.len();
        assert!(images > 0 && out.len().is_multiple_of(images), "{} numbers for {images} images", out.len());
        let each = out.len() / images;
        for (generator, part) in self.generators.iter_mut().zip(out.chunks_exact_mut(each)) {
            generator.normal(part);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_by_name() {
        assert_eq!(RngKind::parse("CPU"), Ok(RngKind::Cpu));
        assert_eq!(RngKind::parse("cuda"), Ok(RngKind::Cuda));
        assert_eq!(RngKind::parse("NV"), Ok(RngKind::Cuda));
        assert_eq!(RngKind::parse("cudo").unwrap_err().nearest, Some("cuda"));
    }

    #[test]
    fn image_of_a_batch_has_the_numbers_of_its_seed() {
        for kind in RngKind::ALL {
            let mut batch = PerImage::seeded(*kind, [5, 6, 7]);
            let mut alone = kind.generator(6);
            for size in [4, 40] {
                let (mut three, mut one) = (vec![0.0; 3 * size], vec![0.0; size]);
                batch.normal(&mut three);
                alone.normal(&mut one);
                assert_eq!(three[size..2 * size], one, "{kind:?}, {size} numbers");
            }
        }
    }

    #[test]
    #[should_panic(expected = "7 numbers for 2 images")]
    fn a_batch_that_does_not_divide_is_a_mistake_of_the_caller() {
        PerImage::seeded(RngKind::Cpu, [1, 2]).normal(&mut [0.0; 7]);
    }
}
