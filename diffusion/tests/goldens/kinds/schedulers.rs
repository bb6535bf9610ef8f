//! Samplers on an analytic stand-in for the network, and the tables of the noise schedule.

mod flow;
mod mapping;
mod stand_in;
mod values;

use std::ops::ControlFlow;

use latent_diffusion::rng::Noise;
use latent_diffusion::samplers::{SamplerStep, SamplingRun};
use latent_diffusion::schedule::{NoiseModel, Schedule, Training};

use crate::machinery::case::Case;
use crate::machinery::compare::{Comparison, Outcome};
use crate::machinery::context::Context;
use mapping::{End, Setup};
use stand_in::StandIn;
use values::{latents, values};

/// The goldens' time steps come from tables in `f32`: what they may differ by.
const TIMESTEP_ERROR: f64 = 2e-3;

pub(crate) fn run(case: &Case, context: &Context) -> Outcome {
    match case.group.as_str() {
        "schedulers/tables" => return super::attempt(case, context, |comparison| tables(case, comparison)),
        "schedulers/add_noise" => {
            return super::attempt(case, context, |comparison| noised(case, context, comparison));
        }
        "schedulers/flow" => {
            let Some(setup) = flow::setup(case) else { return Outcome::Unsupported };
            return super::attempt(case, context, |comparison| {
                flow::trajectory(case, context, &setup, comparison)
            });
        }
        _ => {}
    }
    let Some(setup) = mapping::setup(case) else { return Outcome::Unsupported };
    super::attempt(case, context, |comparison| trajectory(case, context, &setup, comparison))
}

fn tables(case: &Case, comparison: &mut Comparison<'_>) -> Result<(), String> {
    let training = Training::scaled_linear();
    let zero_snr = training.rescale_zero_terminal_snr(0.0);
    for name in case.tensors.keys() {
        let table = if name.ends_with("zero_snr") { &zero_snr } else { &training };
        comparison.tensor_f64(name, table.alphas_cumprod());
    }
    Ok(())
}

fn noised(case: &Case, context: &Context, comparison: &mut Comparison<'_>) -> Result<(), String> {
    let (x, noise) = (context.f32s(case, "x")?, context.f32s(case, "noise")?);
    let timesteps = context.f32s(case, "t")?;
    let each = x.len() / timesteps.len();
    let mut out = Vec::new();
    for ((x, noise), t) in x.chunks_exact(each).zip(noise.chunks_exact(each)).zip(&timesteps) {
        let noise_model = NoiseModel::scaled_linear();
        let sigma = noise_model.sigma_at(f64::from(*t));
        let noised = noise_model.add_noise(x, noise, sigma);
        out.extend(if case.name.starts_with("DDIM") {
            noise_model.network_input(&noised, sigma)
        } else {
            noised
        });
    }
    comparison.tensor("out", &out);
    Ok(())
}

fn trajectory(
    case: &Case,
    context: &Context,
    setup: &Setup,
    comparison: &mut Comparison<'_>,
) -> Result<(), String> {
    let original = Training::scaled_linear();
    let training = setup.zero_snr.map(|terminal| original.rescale_zero_terminal_snr(terminal));
    let training = training.as_ref().unwrap_or(&original);
    let noise_model =
        NoiseModel::VariancePreserving { training: training.clone(), prediction: setup.prediction };
    let steps =
        case.json["steps"].as_u64().and_then(|n| usize::try_from(n).ok()).ok_or("the case has no steps")?;
    let schedule =
        Schedule::new(&noise_model, setup.convention, setup.kind, setup.sampler.discretization(), steps);
    let mut schedule = schedule.map_err(|e| e.to_string())?;
    match setup.end {
        Some(End::Zero) => schedule = schedule.ending_at(0.0),
        Some(End::Smallest) => schedule = schedule.ending_at(training.sigma_range().0),
        None => {}
    }
    let mut x = context.f32s(case, "x0")?;
    schedule.scale_noise(&mut x);
    let mut x = latents(&x, &context.target.device);
    let mean = context.f32s(case, "mu")?;
    let recorded = if case.tensors.contains_key("noise") { context.f32s(case, "noise")? } else { Vec::new() };
    let mut noise = Recorded { values: recorded, next: 0 };
    let mut model = StandIn::new(&mean, (setup.prediction, noise_model.clone()), original.alphas_cumprod());
    if case.tensors.contains_key("mu_negative") {
        model.negative = Some(context.f32s(case, "mu_negative")?);
    }
    let (mut trajectory, mut reported) = (Vec::new(), 0);
    let mut on_step = |step: SamplerStep<'_>| {
        reported += 1;
        let latents = values(step.latents);
        trajectory.extend(if setup.variance_preserving {
            noise_model.network_input(&latents, step.sigma)
        } else {
            latents
        });
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
    let timesteps = context.golden(case, "timesteps")?.to_f64();
    if case.tensors["trajectory"][0] != reported {
        // It lists the points between as well: all that the model is asked about after the first, and the end.
        let points = model.asked.iter().skip(1);
        trajectory = points
            .flat_map(|asked| if setup.variance_preserving { &asked.input } else { &asked.latents })
            .copied()
            .chain(values(&x))
            .collect();
    }
    comparison.tensor("trajectory", &trajectory);
    let asked: Vec<f64> = model.asked.iter().map(|asked| asked.timestep).collect();
    if asked.len() != timesteps.len() {
        comparison.problem(format!("timesteps: expected {timesteps:?}, got {asked:?}"));
    }
    for (expected, got) in timesteps.iter().zip(&asked) {
        if (expected - got).abs() > TIMESTEP_ERROR {
            comparison.problem(format!("timesteps: expected {expected}, got {got}"));
        }
    }
    Ok(())
}

/// The normals that the golden run drew.
struct Recorded {
    values: Vec<f32>,
    next: usize,
}

impl Noise for Recorded {
    fn normal(&mut self, out: &mut [f32]) {
        out.copy_from_slice(&self.values[self.next..][..out.len()]);
        self.next += out.len();
    }
}
