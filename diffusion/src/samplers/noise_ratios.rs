//! Flow matching as a model to whose latents noise is simply added, for solvers that count in signal and noise.
//!
//! Latents of a flow are x = (1 - sigma) x0 + sigma n. Divided by 1 - sigma they are x0 + s n, with the ratio of noise to signal
//! s = sigma / (1 - sigma): the form for which the formulas in lambda = -log s are written (DPM-Solver++, UniPC, DEIS, ER-SDE,
//! CFG++), and those of noise that is added on the way. So a run is taken over to these latents as a whole, and the model and
//! whoever looks on see it as it was. This is what diffusers does for `prediction_type="flow_prediction"` (alpha = 1 - sigma) and
//! ComfyUI by its half-log-SNR.
//!
//! Euler's method gives the same in both, as its steps are straight lines through the estimate. So methods of slopes in sigma
//! (Heun, DPM2, LMS, iPNDM, RES as ComfyUI has it) stay in the latents of the flow, as diffusers' `FlowMatch` classes do.
//!
//! At sigma 1, where most runs begin, s has no end. As in ComfyUI the step from there counts as one from just below it; only
//! the network is given the level as it is. diffusers' schedules begin below 1.

use super::run::sum;
use super::{Denoiser, GuidedEstimate, SampleError, SamplerStep, SamplingRun};
use crate::schedule::{FlowMatching, NoiseLevel, NoiseModel, Schedule};
use latent_tensor::Tensor;
use std::ops::ControlFlow;

/// What counts as sigma 1, before the shift: ComfyUI's `offset_first_sigma_for_snr`.
const FIRST: f64 = 1.0 - 1e-4;

/// Runs a solver on latents to which noise is simply added.
pub(super) fn in_noise_ratios(
    run: &mut SamplingRun<'_>,
    solve: impl FnOnce(&mut SamplingRun<'_>) -> Result<(), SampleError>,
) -> Result<(), SampleError> {
    let NoiseModel::FlowMatching(flow) = run.schedule.noise_model() else { return solve(run) };
    let ratios = NoiseRatios::new(run.schedule, flow);
    scale(run.x, 1.0 + ratios.schedule.levels()[0].sigma)?;
    let mut model = RatioDenoiser { model: &mut *run.model, ratios: &ratios };
    let mut failed = Ok(());
    let listener = &mut *run.on_step;
    let mut on_step = |step: SamplerStep<'_>| {
        let SamplerStep { index, total, sigma: ratio, latents, denoised } = step;
        let sigma = ratios.level(ratio).sigma;
        let mut flow = ControlFlow::Break(());
        failed = scale(latents, (1.0 + ratio).recip());
        if failed.is_ok() {
            flow = listener(SamplerStep { index, total, sigma, latents: &mut *latents, denoised });
        }
        if flow.is_continue() {
            failed = scale(latents, 1.0 + ratio);
        }
        if failed.is_ok() { flow } else { ControlFlow::Break(()) }
    };
    let result = solve(&mut SamplingRun {
        x: &mut *run.x,
        schedule: &ratios.schedule,
        model: &mut model,
        noise: &mut *run.noise,
        eta: run.eta,
        on_step: &mut on_step,
    });
    failed.and(result)
}

fn scale(values: &mut Tensor, factor: f64) -> Result<(), SampleError> {
    *values = sum(&[(factor, values)])?;
    Ok(())
}

/// A schedule of ratios, and the levels of the flow that they stand for.
struct NoiseRatios<'a> {
    schedule: Schedule,
    original: &'a Schedule,
}

impl NoiseRatios<'_> {
    fn new<'a>(original: &'a Schedule, flow: &FlowMatching) -> NoiseRatios<'a> {
        let noise_model = original.noise_model();
        // Between it and the next, should someone have given a level that is nearer.
        let mut levels = original.levels().iter().map(|level| level.sigma);
        let highest = levels.next().unwrap_or(0.0);
        let next = levels.find(|sigma| *sigma < highest).unwrap_or(0.0);
        let first = flow.shifted(FIRST).max((1.0 + next) / 2.0);
        let ratio = |sigma: f64| noise_model.noise_ratio(sigma.min(first));
        // Its latents are x0 + s n; time steps come from the flow.
        NoiseRatios { schedule: original.mapped(NoiseModel::scaled_linear(), ratio), original }
    }

    /// The level of the flow for a ratio: where it is one of the schedule's, that of the original.
    fn level(&self, ratio: f64) -> NoiseLevel {
        let levels = self.schedule.levels();
        let index = levels.partition_point(|level| level.sigma > ratio);
        if levels.get(index).is_some_and(|level| level.sigma == ratio) {
            return self.original.levels()[index];
        }
        let noise_model = self.original.noise_model();
        noise_model.level_at(noise_model.sigma_of_ratio(ratio))
    }
}

/// The model of a flow, for latents that are x0 + s n.
struct RatioDenoiser<'a> {
    model: &'a mut dyn Denoiser,
    ratios: &'a NoiseRatios<'a>,
}

impl RatioDenoiser<'_> {
    /// The latents of the flow, and their level.
    fn enter(&self, x: &Tensor, ratio: f64) -> Result<(Tensor, NoiseLevel), SampleError> {
        Ok((sum(&[((1.0 + ratio).recip(), x)])?, self.ratios.level(ratio)))
    }
}

impl Denoiser for RatioDenoiser<'_> {
    fn denoise(&mut self, x: &Tensor, level: NoiseLevel) -> Result<Tensor, SampleError> {
        let (latents, level) = self.enter(x, level.sigma)?;
        self.model.denoise(&latents, level)
    }

    fn denoise_apart(&mut self, x: &Tensor, level: NoiseLevel) -> Result<GuidedEstimate, SampleError> {
        let (latents, level) = self.enter(x, level.sigma)?;
        self.model.denoise_apart(&latents, level)
    }
}
