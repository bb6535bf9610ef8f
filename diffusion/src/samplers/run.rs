//! What all samplers share: the state of one run, and its calls of the model and the caller.

use crate::rng::Noise;
use crate::schedule::{NoiseLevel, Schedule};
use std::error::Error;
use std::fmt;
use std::ops::ControlFlow;

/// The model, seen as an estimate of the clean latents behind the noise.
pub trait Denoiser {
    /// The estimate of x0 for noisy latents `x` of a level, of the same length.
    ///
    /// # Errors
    /// [`SampleError::Model`] for the model's own errors, or [`SampleError::Cancelled`].
    fn denoise(&mut self, x: &[f32], level: NoiseLevel) -> Result<Vec<f32>, SampleError>;

    /// The same, and beside it the estimate with the negative prompt alone, for samplers that
    /// [need it](super::Sampler::needs_negative). Of a model without guidance both are the same.
    ///
    /// # Errors
    /// As [`Denoiser::denoise`].
    fn denoise_apart(&mut self, x: &[f32], level: NoiseLevel) -> Result<GuidedEstimate, SampleError> {
        let denoised = self.denoise(x, level)?;
        Ok(GuidedEstimate { negative: denoised.clone(), denoised })
    }
}

/// Estimates of the clean latents with and without guidance.
#[derive(Clone, Debug, PartialEq)]
pub struct GuidedEstimate {
    /// Under guidance.
    pub denoised: Vec<f32>,
    /// With the negative prompt alone.
    pub negative: Vec<f32>,
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
    pub latents: &'a mut [f32],
    /// The model's latest estimate of x0, for previews.
    pub denoised: &'a [f32],
}

/// One run of a sampler.
pub struct SamplingRun<'a> {
    /// The latents, all images of the batch one after the other. At first noise times
    /// [`Schedule::initial_scale`], or [`Schedule::add_noise`]; in the end the result.
    pub x: &'a mut [f32],
    /// The noise levels.
    pub schedule: &'a Schedule,
    /// The model.
    pub model: &'a mut dyn Denoiser,
    /// Where samplers that add noise take it from; for a batch, [`crate::rng::PerImage`].
    pub noise: &'a mut dyn Noise,
    /// How much noise samplers that add noise do add, from 0 to 1: 0 none, 1 as much as the forward process. `None` is the
    /// sampler's usual: 0 for DDIM, 0.3 for TCD, 1 for Euler a and the others. Samplers without noise ignore it.
    pub eta: Option<f64>,
    /// Called after each step; `Break` cancels the run.
    pub on_step: &'a mut dyn FnMut(SamplerStep<'_>) -> ControlFlow<()>,
}

impl fmt::Debug for SamplingRun<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values = self.x.len();
        let schedule = &self.schedule;
        f.debug_struct("SamplingRun")
            .field("values", &values)
            .field("schedule", schedule)
            .field("eta", &self.eta)
            .finish_non_exhaustive()
    }
}

impl SamplingRun<'_> {
    /// The model's estimate at the beginning of step `index`.
    pub(super) fn denoise(&mut self, index: usize) -> Result<Vec<f32>, SampleError> {
        let level = self.schedule.levels()[index];
        let denoised = self.model.denoise(self.x, level);
        self.checked(index, level, denoised)
    }

    /// The model's estimates at the beginning of step `index`, with guidance and with the negative prompt alone.
    pub(super) fn denoise_apart(&mut self, index: usize) -> Result<GuidedEstimate, SampleError> {
        let level = self.schedule.levels()[index];
        let GuidedEstimate { denoised, negative } = self.model.denoise_apart(self.x, level)?;
        let denoised = self.checked(index, level, Ok(denoised))?;
        Ok(GuidedEstimate { denoised, negative: self.checked(index, level, Ok(negative))? })
    }

    /// The model's estimate for the latents as they are within step `index`, at a level of the sampler's own.
    pub(super) fn denoise_level(&mut self, index: usize, level: NoiseLevel) -> Result<Vec<f32>, SampleError> {
        let denoised = self.model.denoise(self.x, level);
        self.checked(index, level, denoised)
    }

    /// The model's estimate within step `index`, for latents and a level other than those at its beginning.
    pub(super) fn denoise_at(
        &mut self,
        index: usize,
        x: &[f32],
        level: NoiseLevel,
    ) -> Result<Vec<f32>, SampleError> {
        let denoised = self.model.denoise(x, level);
        self.checked(index, level, denoised)
    }

    pub(super) fn checked(
        &self,
        index: usize,
        level: NoiseLevel,
        denoised: Result<Vec<f32>, SampleError>,
    ) -> Result<Vec<f32>, SampleError> {
        let denoised = denoised?;
        if denoised.len() != self.x.len() {
            return Err(SampleError::Length { expected: self.x.len(), got: denoised.len() });
        }
        if !denoised.iter().all(|value| value.is_finite()) {
            return Err(SampleError::NotFinite { step: index + 1, steps: self.schedule.steps(), level });
        }
        Ok(denoised)
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
    pub(super) fn blend(&mut self, a: f64, b: f64, other: &[f32]) {
        for (x, other) in self.x.iter_mut().zip(other) {
            *x = (a * f64::from(*x) + b * f64::from(*other)) as f32;
        }
    }

    /// x = the sum of the terms, each a factor and as many values as x has.
    pub(super) fn set(&mut self, terms: &[(f64, &[f32])]) {
        let sum = sum(terms);
        self.x.copy_from_slice(&sum);
    }

    /// x = `a` x + the sum of the terms.
    pub(super) fn advance(&mut self, a: f64, terms: &[(f64, &[f32])]) {
        let all: Vec<(f64, &[f32])> = std::iter::once((a, &*self.x)).chain(terms.iter().copied()).collect();
        let sum = sum(&all);
        self.x.copy_from_slice(&sum);
    }

    /// As many normals as x has values.
    pub(super) fn draw(&mut self) -> Vec<f32> {
        let mut noise = vec![0.0; self.x.len()];
        self.noise.normal(&mut noise);
        noise
    }

    /// Passes the latents on to the next step, after the caller has seen them.
    ///
    /// A step need not end at the sigma where the next begins ([`crate::schedule::Discretization::Ddim`]). What stays
    /// the same then is the network's input
    /// ([`NoiseModel::handover_scale`](crate::schedule::NoiseModel::handover_scale)): the variance-preserving latents
    /// that diffusers' DDIM holds. In the same way a last step that ends above 0 leaves variance-preserving latents for
    /// the VAE.
    pub(super) fn end_step(&mut self, index: usize, denoised: &[f32]) -> Result<(), SampleError> {
        let target = self.schedule.targets()[index];
        let sigma = self.schedule.levels().get(index + 1).map_or(0.0, |level| level.sigma);
        if sigma != target {
            let factor = self.schedule.noise_model().handover_scale(target, sigma);
            self.x.iter_mut().for_each(|x| *x = (factor * f64::from(*x)) as f32);
        }
        self.report(index, sigma, denoised)
    }

    /// Shows the latents, which have that much noise, to the caller, who may change them.
    pub(super) fn report(&mut self, index: usize, sigma: f64, denoised: &[f32]) -> Result<(), SampleError> {
        let total = self.schedule.steps();
        match (self.on_step)(SamplerStep { index, total, sigma, latents: self.x, denoised }) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(SampleError::Cancelled),
        }
    }
}

/// The sum of the terms, each a factor and as many values as the first has.
pub(super) fn sum(terms: &[(f64, &[f32])]) -> Vec<f32> {
    let length = terms.first().map_or(0, |(_, values)| values.len());
    let value =
        |i: usize| terms.iter().map(|(factor, values)| factor * f64::from(values[i])).sum::<f64>() as f32;
    (0..length).map(value).collect()
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
