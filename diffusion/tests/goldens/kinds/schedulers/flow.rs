//! Runs with flow matching models: `flow_samplers.py` has the stand-in for the network.

use std::ops::ControlFlow;

use latent_diffusion::samplers::{
    self, Deis, Denoiser, DpmSolver, GuidedEstimate, SampleError, Sampler, SamplerStep, SamplingRun, UniPc,
};
use latent_diffusion::schedule::{FlowMatching, NoiseLevel, NoiseModel, Schedule};
use latent_diffusion::tensor::Tensor;

use super::Recorded;
use super::mapping::kept;
use super::values::{guided, latents, like, values};
use crate::machinery::case::Case;
use crate::machinery::compare::Comparison;
use crate::machinery::context::Context;

/// Guidance scale, where there is a negative prompt.
const GUIDANCE: f32 = 1.5;
/// What the levels that the model is asked about may differ by: those of a golden are in `f32`.
const LEVEL_ERROR: f64 = 1e-4;

/// How a case is run.
pub(super) struct Setup {
    sampler: &'static dyn Sampler,
    shift: f64,
    eta: Option<f64>,
}

/// `None` for a sampler that the engine does not have.
pub(super) fn setup(case: &Case) -> Option<Setup> {
    let order = case.json["order"].as_u64().and_then(|order| usize::try_from(order).ok());
    let sampler: &'static dyn Sampler = match (case.json["sampler"].as_str()?, order) {
        ("unipc", Some(order)) => kept(UniPc { order, ..UniPc::USUAL }),
        ("deis", Some(order)) => kept(Deis { order }),
        ("dpm++2m", Some(order)) => kept(DpmSolver { order, ..DpmSolver::PLUS_PLUS_2M }),
        (name, None) => samplers::parse(name).ok()?.0,
        _ => return None,
    };
    Some(Setup { sampler, shift: case.json["shift"].as_f64()?, eta: case.json["eta"].as_f64() })
}

pub(super) fn trajectory(
    case: &Case,
    context: &Context,
    setup: &Setup,
    comparison: &mut Comparison<'_>,
) -> Result<(), String> {
    let noise_model = NoiseModel::FlowMatching(FlowMatching::new(setup.shift).map_err(|e| e.to_string())?);
    let sigmas = context.golden(case, "sigmas")?.to_f64();
    let schedule = Schedule::from_sigmas(&noise_model, &sigmas).map_err(|e| e.to_string())?;
    let optional = |name: &str| -> Result<Option<Vec<f32>>, String> {
        if case.tensors.contains_key(name) { Ok(Some(context.f32s(case, name)?)) } else { Ok(None) }
    };
    let mut x = context.f32s(case, "x0")?;
    schedule.scale_noise(&mut x);
    let mut x = latents(&x, &context.target.device);
    let mut noise = Recorded { values: optional("noise")?.unwrap_or_default(), next: 0 };
    let (mean, negative) = (context.f32s(case, "mu")?, optional("mu_negative")?);
    let mut model = StandIn { mean, negative, noise_model: noise_model.clone(), asked: Vec::new() };
    let mut trajectory = Vec::new();
    let mut on_step = |step: SamplerStep<'_>| {
        trajectory.extend(values(step.latents));
        ControlFlow::Continue(())
    };
    let mut run = SamplingRun {
        x: &mut x,
        schedule: &schedule,
        model: &mut model,
        noise: &mut noise,
        eta: setup.eta,
        on_step: &mut on_step,
    };
    setup.sampler.sample(&mut run).map_err(|e| e.to_string())?;
    // A class that does not end at 0 has no last step in the golden.
    trajectory.truncate(case.tensors["trajectory"].iter().product());
    comparison.tensor("trajectory", &trajectory);
    let asked = context.golden(case, "asked")?.to_f64();
    let is_near = |(golden, got): (&f64, &f64)| (golden - got).abs() < LEVEL_ERROR;
    if asked.len() != model.asked.len() || !asked.iter().zip(&model.asked).all(is_near) {
        comparison.problem(format!("levels: expected {asked:?}, got {:?}", model.asked));
    }
    Ok(())
}

/// The ideal velocity for data around a mean, and a ripple.
struct StandIn {
    mean: Vec<f32>,
    negative: Option<Vec<f32>>,
    noise_model: NoiseModel,
    /// The levels that it was asked about.
    asked: Vec<f64>,
}

impl StandIn {
    fn estimate(&self, x: &[f32], sigma: f64, mean: &[f32]) -> Vec<f32> {
        let signal = 1.0 - sigma;
        let total = signal * signal / 4.0 + sigma * sigma;
        let velocity = |(x, mean): (&f32, &f32)| {
            let (x, mean) = (f64::from(*x), f64::from(*mean));
            let slope = (sigma - signal / 4.0) / total;
            (slope * (x - signal * mean) - mean + 0.05 * (2.0 * x).sin()) as f32
        };
        let mut out: Vec<f32> = x.iter().zip(mean).map(velocity).collect();
        self.noise_model.to_denoised(x, &mut out, sigma);
        out
    }
}

impl Denoiser for StandIn {
    fn denoise(&mut self, x: &Tensor, level: NoiseLevel) -> Result<Tensor, SampleError> {
        self.asked.push(level.sigma);
        Ok(like(x, &self.estimate(&values(x), level.sigma, &self.mean)))
    }

    fn denoise_apart(&mut self, x: &Tensor, level: NoiseLevel) -> Result<GuidedEstimate, SampleError> {
        let denoised = self.denoise(x, level)?;
        let negative = match &self.negative {
            Some(mean) => self.estimate(&values(x), level.sigma, mean),
            None => values(&denoised),
        };
        Ok(GuidedEstimate { denoised: guided(&denoised, &negative, GUIDANCE), negative: like(x, &negative) })
    }
}
