//! DPM-Solver-12/23 with steps of its own length: Lu et al., "DPM-Solver", 2022. k-diffusion's `sample_dpm_adaptive`,
//! the webui's `DPM adaptive`.
//!
//! Each step is taken with the second and with the third order. Where both differ by too much it is taken again, shorter; where they
//! agree the next one is longer. So the number of steps does not count, and of the schedule only the first and the last level do.
//! The error is one of the whole image, so images are drawn one by one.

use super::exponential_steps::{ExponentialStep, PART_OF_THIRD, jump, sigma, time};
use super::{FlowMatchingSupport, SampleError, Sampler, SamplingRun};
use crate::latents::Latents;
use crate::names::Named;
use crate::schedule::Discretization;
use latent_tensor::Tensor;

/// Errors that are allowed: relative to the latents, and absolute.
const RELATIVE: f64 = 0.05;
const ABSOLUTE: f64 = 0.0078;
/// Length of the first step, in log sigma.
const FIRST_LENGTH: f64 = 0.05;
/// A step whose successor would be shorter by more than this factor is taken again.
const ACCEPTED: f64 = 0.81;
/// What remains to the end when it counts as reached, in log sigma.
const END: f64 = 1e-5;
/// Keeps the inverse of an error finite.
const MIN_ERROR: f64 = 1e-8;
/// The order by which lengths follow from errors: without noise, and with it.
const ORDER: f64 = 3.0;
const NOISY_ORDER: f64 = 1.5;

/// DPM-Solver with adaptive steps. Third order, three evaluations a try. Noise only if it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DpmAdaptive;

impl Named for DpmAdaptive {
    fn name(&self) -> &'static str {
        "dpm_adaptive"
    }
}

impl Sampler for DpmAdaptive {
    fn label(&self) -> &'static str {
        "DPM adaptive"
    }

    fn about(&self) -> &'static str {
        "chooses its own steps, some 40 to 100 evaluations; one image at a time"
    }

    fn flow_matching(&self) -> FlowMatchingSupport {
        FlowMatchingSupport::WithoutEta
    }

    fn discretization(&self) -> Discretization {
        Discretization::Euler
    }

    fn evaluations(&self) -> usize {
        3
    }

    fn draws_alone(&self) -> bool {
        true
    }

    fn take_steps(&self, run: &mut SamplingRun<'_>) -> Result<(), SampleError> {
        let (levels, total) = (run.schedule.levels(), run.schedule.steps());
        let (start, end) = (time(levels[0].sigma), time(levels[total - 1].sigma));
        if end - start <= END {
            return jump(run);
        }
        let eta = run.eta.unwrap_or(0.0);
        let order = if eta > 0.0 { NOISY_ORDER } else { ORDER };
        let (mut length, mut at, mut index) = (FIRST_LENGTH, start, 0);
        let mut before = run.x.clone();
        while at < end - END {
            let to = end.min(at + length);
            let whole = ExponentialStep { from: at, to };
            let (step, noise) = whole.ancestral(eta, end);
            let begin = step.begin(run)?;
            let within = step.within(run, &begin.noise, PART_OF_THIRD)?;
            let low = step.second(run, &begin.noise, (&within, PART_OF_THIRD))?;
            let high = step.third(run, &begin.noise, &within)?;
            let error = error([&low, &high, &before])?;
            if !error.is_finite() {
                let level = run.schedule.noise_model().level_at(sigma(at));
                return Err(SampleError::NotFinite { step: index + 1, steps: total, level });
            }
            let factor = 1.0 + ((error + MIN_ERROR).powf(-order.recip()) - 1.0).atan();
            length *= factor;
            if factor < ACCEPTED {
                continue;
            }
            before = low;
            *run.x = high;
            run.add_noise(noise)?;
            at = to;
            let is_end = at >= end - END;
            let done = if is_end { total } else { ((at - start) / (end - start) * total as f64) as usize };
            index = done.clamp(index + 1, total) - 1;
            // What is left of the noise after the last step is too little to see.
            run.report(index, if is_end { 0.0 } else { sigma(at) }, &begin.denoised)?;
        }
        Ok(())
    }
}

/// The root mean square of what a result of low order and one of high order differ by, as a part of what is allowed.
fn error(latents: [&Tensor; 3]) -> Result<f64, SampleError> {
    let part = |((low, high), before): ((&f32, &f32), &f32)| {
        let [low, high, before] = [*low, *high, *before].map(f64::from);
        let allowed = ABSOLUTE.max(RELATIVE * low.abs().max(before.abs()));
        ((low - high) / allowed).powi(2)
    };
    let [low, high, before] =
        latents.map(|x| -> Result<_, SampleError> { Ok(Latents::from_channels_last(x)?.values) });
    let (low, high, before) = (low?, high?, before?);
    let sum: f64 = low.iter().zip(&high).zip(&before).map(part).sum();
    Ok((sum / low.len() as f64).sqrt())
}
