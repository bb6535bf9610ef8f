//! Latent consistency models: Luo et al., "Latent consistency models: synthesizing high-resolution images with few-step inference",
//! 2023, algorithm 1, and Song et al., "Consistency models", 2023. diffusers' `LCMScheduler`.
//!
//! Such a model goes to the image in one step. Each step after that adds fresh noise to the image and goes again from a lower level.
//! The model's function is c_skip z + c_out D, with z the variance-preserving latents; both factors follow from the time step t (appendix
//! B): c_skip is 1 at t = 0, where nothing is left to do, and next to nothing everywhere else.
//!
//! For flow matching the function is D alone, as in diffusers' `FlowMatchLCMScheduler`, and as its `FlowMatchEulerDiscreteScheduler`
//! with `stochastic_sampling` has it.

use super::{SampleError, Sampler, SamplingRun};
use crate::names::Named;
use crate::schedule::{Convention, Discretization, NoiseModel};

/// What time steps are multiplied by in the boundary condition.
const TIMESTEP_SCALING: f64 = 10.0;
/// The first time step of the distillation, of 50. Levels of k-diffusion's convention go below it; the webui counts those as
/// this one, or a step from time step 0 would change nothing.
const MIN_TIMESTEP: f64 = 19.0;
/// sigma_data^2 in the boundary condition.
const DATA_VARIANCE: f64 = 0.25;

/// The sampler of latent consistency models. One evaluation a step, noise between steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lcm;

impl Named for Lcm {
    fn name(&self) -> &'static str {
        "lcm"
    }
}

impl Sampler for Lcm {
    fn label(&self) -> &'static str {
        "LCM"
    }

    fn about(&self) -> &'static str {
        "only for LCM models and LCM LoRAs: 4 to 8 steps, cfg scale 1 to 2"
    }

    fn discretization(&self) -> Discretization {
        Discretization::Lcm
    }

    fn default_convention(&self) -> Convention {
        Convention::Diffusers
    }

    fn take_steps(&self, run: &mut SamplingRun<'_>) -> Result<(), SampleError> {
        for i in 0..run.schedule.steps() {
            let (level, to) = (run.schedule.levels()[i], run.span(i).1);
            let denoised = run.denoise(i)?;
            if matches!(run.schedule.noise_model(), NoiseModel::FlowMatching(_)) {
                // Of a flow it is the estimate: nothing of the latents is left at any level.
                run.set(&[(1.0, &denoised)])?;
                run.add_noise_up(0.0, to)?;
                run.end_step(i, &denoised)?;
                continue;
            }
            let time = TIMESTEP_SCALING * level.timestep.max(MIN_TIMESTEP);
            let skip = DATA_VARIANCE / (time * time + DATA_VARIANCE);
            let out = time / (time * time + DATA_VARIANCE).sqrt();
            run.blend(skip / run.schedule.noise_model().input_divisor(level.sigma), out, &denoised)?;
            run.add_noise(to)?;
            run.end_step(i, &denoised)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Noise;
    use crate::samplers::Denoiser;
    use crate::samplers::tests::{latents, mapped};
    use crate::schedule::{NoiseLevel, Schedule, ScheduleKind};
    use latent_tensor::Tensor;
    use std::ops::ControlFlow;

    /// The estimate of a model of normal values with mean 0.3 and deviation 1.5.
    fn estimate(x: f64, sigma: f64) -> f64 {
        (2.25 * x + sigma * sigma * 0.3) / (2.25 + sigma * sigma)
    }

    struct Normal;
    impl Denoiser for Normal {
        fn denoise(&mut self, x: &Tensor, level: NoiseLevel) -> Result<Tensor, SampleError> {
            Ok(mapped(x, |x| estimate(x, level.sigma)))
        }
    }

    struct Recorded(Vec<Vec<f32>>);
    impl Noise for Recorded {
        fn normal(&mut self, out: &mut [f32]) {
            let at = 7 * self.0.len();
            out.iter_mut().enumerate().for_each(|(i, value)| *value = ((i + at) % 13) as f32 / 6.0 - 1.0);
            self.0.push(out.to_vec());
        }
    }

    /// k-diffusion's `sample_lcm`: each step ends at the estimate with noise of the next level.
    fn sample_lcm(sigmas: &[f64], start: &[f32], noise: &[Vec<f32>]) -> Vec<f64> {
        let mut x: Vec<f64> = start.iter().map(|x| f64::from(*x) * sigmas[0]).collect();
        let mut noise = noise.iter();
        for (i, sigma) in sigmas.iter().enumerate() {
            x.iter_mut().for_each(|x| *x = estimate(*x, *sigma));
            if let Some(next) = sigmas.get(i + 1) {
                let fresh = noise.next().unwrap();
                x.iter_mut().zip(fresh).for_each(|(x, noise)| *x += next * f64::from(*noise));
            }
        }
        assert!(noise.next().is_none());
        x
    }

    #[test]
    fn it_follows_the_levels_that_it_is_given_as_k_diffusion_does() {
        use ScheduleKind::{Beta, Karras, Normal as Even, SgmUniform, Simple};
        let model = NoiseModel::scaled_linear();
        for kind in [SgmUniform, Karras, Even, Simple, Beta] {
            for steps in [1, 4, 8] {
                let schedule =
                    Schedule::new(&model, Convention::KDiffusion, kind, Discretization::Lcm, steps).unwrap();
                let start: Vec<f32> = (0..64).map(|i| (i % 11) as f32 / 5.0 - 1.0).collect();
                let (mut x, mut noise) = (start.clone(), Recorded(Vec::new()));
                schedule.scale_noise(&mut x);
                let mut x = latents(1, &x);
                let on_step = &mut |_: crate::samplers::SamplerStep<'_>| ControlFlow::Continue(());
                Lcm.sample(&mut SamplingRun {
                    x: &mut x,
                    schedule: &schedule,
                    model: &mut Normal,
                    noise: &mut noise,
                    eta: None,
                    on_step,
                })
                .unwrap();
                let sigmas: Vec<f64> = schedule.levels().iter().map(|level| level.sigma).collect();
                let wanted = sample_lcm(&sigmas, &start, &noise.0);
                let got = x.f32s().unwrap();
                let off = wanted.iter().zip(got).map(|(a, b)| (a - f64::from(*b)).abs()).fold(0.0, f64::max);
                assert!(off < 1e-4, "{kind:?} {steps} {off}");
            }
        }
    }
}
