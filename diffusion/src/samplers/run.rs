//! What all samplers share: the state of one run, and its calls of the model and the caller.

use crate::latents::LatentShape;
use crate::rng::Noise;
use crate::schedule::{NoiseLevel, Schedule};
use latent_tensor::ops::{self, FiniteCheck};
use latent_tensor::{Device, Tensor, TensorError};
use std::cell::Cell;
use std::error::Error;
use std::fmt;
use std::ops::ControlFlow;

/// The model, seen as an estimate of the clean latents behind the noise.
pub trait Denoiser {
    /// The estimate of x0 for noisy latents `x` of a level, in the same shape and on the same device.
    ///
    /// # Errors
    /// [`SampleError::Model`] for the model's own errors, or [`SampleError::Cancelled`].
    fn denoise(&mut self, x: &Tensor, level: NoiseLevel) -> Result<Tensor, SampleError>;

    /// The same, and beside it the estimate with the negative prompt alone, for samplers that
    /// [need it](super::Sampler::needs_negative). Of a model without guidance both are the same.
    ///
    /// # Errors
    /// As [`Denoiser::denoise`].
    fn denoise_apart(&mut self, x: &Tensor, level: NoiseLevel) -> Result<GuidedEstimate, SampleError> {
        let denoised = self.denoise(x, level)?;
        Ok(GuidedEstimate { negative: denoised.clone(), denoised })
    }
}

/// Estimates of the clean latents with and without guidance.
#[derive(Clone, Debug)]
pub struct GuidedEstimate {
    /// Under guidance.
    pub denoised: Tensor,
    /// With the negative prompt alone.
    pub negative: Tensor,
}

/// What the caller sees after each step.
#[derive(Debug)]
pub struct SamplerStep<'a> {
    /// The step just taken, from 0.
    pub index: usize,
    /// The number of steps.
    pub total: usize,
    /// The noise level of `latents`: that at which the next step begins, 0 after the last.
    pub sigma: f64,
    /// The noisy latents. They may be changed, to keep part of a given image (inpainting); after
    /// the last step they are the result.
    pub latents: &'a mut Tensor,
    /// The model's latest estimate of x0, for previews.
    pub denoised: &'a Tensor,
}

/// One run of a sampler.
pub struct SamplingRun<'a> {
    /// The latents, `[images, height, width, channels]` of `f32`, on the device where the steps are computed. At first noise times
    /// [`Schedule::initial_scale`], or [`Schedule::add_noise`]; in the end the result.
    pub x: &'a mut Tensor,
    /// The noise levels.
    pub schedule: &'a Schedule,
    /// The model.
    pub model: &'a mut dyn Denoiser,
    /// Where samplers that add noise take it from, in the order of [`Latents::values`](crate::Latents::values); for a batch,
    /// [`crate::rng::PerImage`].
    pub noise: &'a mut dyn Noise,
    /// How much noise samplers that add noise do add, from 0 to 1: 0 none, 1 as much as the forward process. `None` is the
    /// sampler's usual: 0 for DDIM, 0.3 for TCD, 1 for Euler a and the others. Samplers without noise ignore it.
    pub eta: Option<f64>,
    /// Called after each step; `Break` cancels the run.
    pub on_step: &'a mut dyn FnMut(SamplerStep<'_>) -> ControlFlow<()>,
}

impl fmt::Debug for SamplingRun<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SamplingRun")
            .field("x", &self.x)
            .field("schedule", &self.schedule)
            .field("eta", &self.eta)
            .finish_non_exhaustive()
    }
}

impl SamplingRun<'_> {
    /// Runs the steps of a sampler, and checks what the model says on the way.
    pub(super) fn checked(
        &mut self,
        steps: impl FnOnce(&mut SamplingRun<'_>) -> Result<(), SampleError>,
    ) -> Result<(), SampleError> {
        let step = Cell::new(1);
        let mut model = CheckedDenoiser {
            model: &mut *self.model,
            step: &step,
            steps: self.schedule.steps(),
            unfinished: None,
        };
        let listener = &mut *self.on_step;
        let mut on_step = |report: SamplerStep<'_>| {
            step.set(report.index + 2);
            listener(report)
        };
        steps(&mut SamplingRun {
            x: &mut *self.x,
            schedule: self.schedule,
            model: &mut model,
            noise: &mut *self.noise,
            eta: self.eta,
            on_step: &mut on_step,
        })?;
        model.finish()
    }

    /// The model's estimate at the beginning of step `index`.
    pub(super) fn denoise(&mut self, index: usize) -> Result<Tensor, SampleError> {
        self.denoise_level(self.schedule.levels()[index])
    }

    /// The model's estimates at the beginning of step `index`, with guidance and with the negative prompt alone.
    pub(super) fn denoise_apart(&mut self, index: usize) -> Result<GuidedEstimate, SampleError> {
        self.model.denoise_apart(self.x, self.schedule.levels()[index])
    }

    /// The model's estimate for the latents as they are, at a level of the sampler's own.
    pub(super) fn denoise_level(&mut self, level: NoiseLevel) -> Result<Tensor, SampleError> {
        self.model.denoise(self.x, level)
    }

    /// The sigmas at which step `index` begins and ends.
    pub(super) fn span(&self, index: usize) -> (f64, f64) {
        (self.schedule.levels()[index].sigma, self.schedule.targets()[index])
    }

    /// The level at which step `index` ends: with the time step of the next level, where there is one.
    pub(super) fn end(&self, index: usize) -> NoiseLevel {
        let sigma = self.schedule.targets()[index];
        match self.schedule.levels().get(index + 1) {
            Some(next) => NoiseLevel { sigma, timestep: next.timestep },
            None => self.schedule.noise_model().level_at(sigma),
        }
    }

    /// x = `a` x + `b` `other`.
    pub(super) fn blend(&mut self, a: f64, b: f64, other: &Tensor) -> Result<(), SampleError> {
        self.advance(a, &[(b, other)])
    }

    /// x = the sum of the terms, each a factor and a tensor of the shape of x.
    pub(super) fn set(&mut self, terms: &[(f64, &Tensor)]) -> Result<(), SampleError> {
        *self.x = sum(terms)?;
        Ok(())
    }

    /// x = `a` x + the sum of the terms.
    pub(super) fn advance(&mut self, a: f64, terms: &[(f64, &Tensor)]) -> Result<(), SampleError> {
        let all: Vec<(f64, &Tensor)> = std::iter::once((a, &*self.x)).chain(terms.iter().copied()).collect();
        *self.x = sum(&all)?;
        Ok(())
    }

    /// Normals in the shape of x.
    pub(super) fn draw(&mut self) -> Result<Tensor, SampleError> {
        let mut noise = LatentShape::of(self.x)?.zeros();
        self.noise.normal(&mut noise.values);
        Ok(noise.to_tensor(&self.x.device())?)
    }

    /// Passes the latents on to the next step, after the caller has seen them.
    ///
    /// A step need not end at the sigma where the next begins ([`crate::schedule::Discretization::Ddim`]). What stays
    /// the same then is the network's input
    /// ([`NoiseModel::handover_scale`](crate::schedule::NoiseModel::handover_scale)): the variance-preserving latents
    /// that diffusers' DDIM holds. In the same way a last step that ends above 0 leaves variance-preserving latents for
    /// the VAE.
    pub(super) fn end_step(&mut self, index: usize, denoised: &Tensor) -> Result<(), SampleError> {
        let target = self.schedule.targets()[index];
        let sigma = self.schedule.levels().get(index + 1).map_or(0.0, |level| level.sigma);
        if sigma != target {
            let factor = self.schedule.noise_model().handover_scale(target, sigma);
            self.advance(factor, &[])?;
        }
        self.report(index, sigma, denoised)
    }

    /// Shows the latents, which have that much noise, to the caller, who may change them.
    pub(super) fn report(&mut self, index: usize, sigma: f64, denoised: &Tensor) -> Result<(), SampleError> {
        let total = self.schedule.steps();
        match (self.on_step)(SamplerStep { index, total, sigma, latents: self.x, denoised }) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(SampleError::Cancelled),
        }
    }
}

/// A model whose estimates are checked. What a GPU computes is known to be finite an evaluation later, so that nobody waits for it
/// while there is nothing for the GPU to do.
struct CheckedDenoiser<'a> {
    model: &'a mut dyn Denoiser,
    /// The step of the run, from 1.
    step: &'a Cell<usize>,
    steps: usize,
    /// The check of the last estimates, and the error if they fail it.
    unfinished: Option<(Vec<FiniteCheck>, SampleError)>,
}

impl CheckedDenoiser<'_> {
    fn check(&mut self, x: &Tensor, level: NoiseLevel, estimates: &[&Tensor]) -> Result<(), SampleError> {
        let mut checks = Vec::new();
        for estimate in estimates {
            let [expected, got] = [x, estimate].map(|tensor| tensor.shape().elements());
            if expected != got {
                return Err(SampleError::Length { expected, got });
            }
            checks.push(ops::all_finite(estimate)?);
        }
        let error = SampleError::NotFinite { step: self.step.get(), steps: self.steps, level };
        self.finish()?;
        self.unfinished = Some((checks, error));
        if x.device() == Device::Cpu { self.finish() } else { Ok(()) }
    }

    /// Waits for the last estimates.
    fn finish(&mut self) -> Result<(), SampleError> {
        let Some((checks, error)) = self.unfinished.take() else { return Ok(()) };
        for check in checks {
            if !check.finish()? {
                return Err(error);
            }
        }
        Ok(())
    }
}

impl Denoiser for CheckedDenoiser<'_> {
    fn denoise(&mut self, x: &Tensor, level: NoiseLevel) -> Result<Tensor, SampleError> {
        let denoised = self.model.denoise(x, level)?;
        self.check(x, level, &[&denoised])?;
        Ok(denoised)
    }

    fn denoise_apart(&mut self, x: &Tensor, level: NoiseLevel) -> Result<GuidedEstimate, SampleError> {
        let estimate = self.model.denoise_apart(x, level)?;
        self.check(x, level, &[&estimate.denoised, &estimate.negative])?;
        Ok(estimate)
    }
}

/// The sum of the terms, each a factor and a tensor of one shape.
pub(super) fn sum(terms: &[(f64, &Tensor)]) -> Result<Tensor, SampleError> {
    Ok(ops::linear_combination(terms)?)
}

/// Why a run ended before its end.
#[derive(Debug)]
pub enum SampleError {
    /// The caller asked for it.
    Cancelled,
    /// The model failed.
    Model(Box<dyn Error + Send + Sync>),
    /// The model gave infinities or NaN.
    NotFinite {
        /// The step in which it did, from 1.
        step: usize,
        /// The number of steps.
        steps: usize,
        /// The level it was given.
        level: NoiseLevel,
    },
    /// The model gave another number of values than it was given.
    Length {
        /// The number it was given.
        expected: usize,
        /// The number it gave.
        got: usize,
    },
}

impl SampleError {
    /// The model's own error.
    pub fn model(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Model(error.into())
    }
}

impl From<TensorError> for SampleError {
    fn from(error: TensorError) -> Self {
        crate::Error::from(error).into()
    }
}

impl From<crate::Error> for SampleError {
    /// A run that was cancelled, or else the model's error.
    fn from(error: crate::Error) -> Self {
        match error {
            crate::Error::Cancelled => Self::Cancelled,
            error => Self::model(error),
        }
    }
}

impl fmt::Display for SampleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cancelled => f.write_str("cancelled"),
            Self::Model(error) => write!(f, "the model failed: {error}"),
            Self::NotFinite { step, steps, level } => write!(
                f,
                "the model gave NaN or infinite values in step {step} of {steps} (time step {:.1}, sigma {:.4}): \
                 check the checkpoint for damage, and the strength of its LoRAs",
                level.timestep, level.sigma
            ),
            Self::Length { expected, got } => {
                write!(f, "the model gave {got} values for {expected} latents: the same number is expected")
            }
        }
    }
}

impl Error for SampleError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Model(error) => Some(error.as_ref()),
            _ => None,
        }
    }
}
