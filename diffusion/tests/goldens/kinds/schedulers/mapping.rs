//! From the description of a golden run to a sampler and a schedule.

use latent_diffusion::samplers::{
    self, Deis, DpmSolver, Extrapolated, Lms, Plms, PlmsStart, Prediction, Sampler, SlopeRule, UniPc,
    UniPcVariant,
};
use latent_diffusion::schedule::{Convention, ScheduleKind, ZERO_SNR_DIFFUSERS};
use serde_json::Value;

use crate::machinery::case::Case;

/// How a case is run.
pub(super) struct Setup {
    pub(super) sampler: &'static dyn Sampler,
    pub(super) convention: Convention,
    pub(super) kind: ScheduleKind,
    pub(super) prediction: Prediction,
    pub(super) eta: Option<f64>,
    /// The last alpha-bar, where the schedule is rescaled to zero terminal SNR.
    pub(super) zero_snr: Option<f64>,
    /// Where the last step ends, if not where the sampler's grid says.
    pub(super) end: Option<End>,
    /// Whether the golden holds variance-preserving latents: ours over `sqrt(sigma^2 + 1)`.
    pub(super) variance_preserving: bool,
}

#[derive(Clone, Copy)]
pub(super) enum End {
    Zero,
    /// At the smallest level of the training.
    Smallest,
}

/// `None` for what the engine does not have: every setting that is not known to be without effect counts.
pub(super) fn setup(case: &Case) -> Option<Setup> {
    match case.json["scheduler"].as_str() {
        Some(class) => diffusers(class, &case.json["config"], &case.json["step_args"]),
        None => k_diffusion(&case.group, &case.name),
    }
}

/// What the configuration of a scheduler class says, beside the schedule.
#[derive(Default)]
struct Switches<'a> {
    order: Option<usize>,
    solver: Option<&'a str>,
    algorithm: Option<&'a str>,
    runge_kutta: bool,
}

/// A scheduler class of diffusers with its configuration.
fn diffusers(class: &str, config: &Value, step_args: &Value) -> Option<Setup> {
    let is_ddim = class == "DDIMScheduler";
    let leads = matches!(class, "DDIMScheduler" | "DDPMScheduler" | "PNDMScheduler");
    // What the classes do when the configuration is silent.
    let (mut spacing, mut offset) = (if leads { ScheduleKind::Leading } else { ScheduleKind::Linspace }, 0);
    let (mut respaced, mut final_alpha_is_one) = (None, true);
    let (mut zero_snr, mut end) = (None, None);
    let mut switches = Switches { runge_kutta: class == "PNDMScheduler", ..Switches::default() };
    for (key, value) in config.as_object()? {
        match (key.as_str(), value) {
            ("num_train_timesteps" | "beta_start" | "beta_end" | "beta_schedule" | "prediction_type", _) => {}
            ("clip_sample", Value::Bool(false)) => {}
            // A step to 0 is Euler's anyway.
            ("euler_at_final", Value::Bool(true)) => {}
            ("algorithm_type", Value::String(name)) => switches.algorithm = Some(name),
            ("solver_type", Value::String(name)) => switches.solver = Some(name),
            ("solver_order", n) => switches.order = usize::try_from(n.as_u64()?).ok(),
            ("skip_prk_steps", b) => switches.runge_kutta = !b.as_bool()?,
            ("final_sigmas_type", Value::String(name)) if name == "sigma_min" => end = Some(End::Smallest),
            ("rescale_betas_zero_snr", Value::Bool(true)) => {
                // The other two classes count with 0.
                let floored = !matches!(class, "DDIMScheduler" | "DDPMScheduler");
                zero_snr = Some(if floored { ZERO_SNR_DIFFUSERS } else { 0.0 });
            }
            ("steps_offset", n) => offset = n.as_u64()?,
            ("set_alpha_to_one", b) => final_alpha_is_one = b.as_bool()?,
            ("timestep_spacing", name) => spacing = ScheduleKind::parse(name.as_str()?).ok()?,
            ("use_karras_sigmas", Value::Bool(true)) => respaced = Some(ScheduleKind::Karras),
            ("use_exponential_sigmas", Value::Bool(true)) => respaced = Some(ScheduleKind::Exponential),
            ("use_beta_sigmas", Value::Bool(true)) => respaced = Some(ScheduleKind::Beta),
            _ => return None,
        }
    }
    let mut kind = respaced.unwrap_or(spacing);
    if kind == ScheduleKind::Leading && offset != 1 {
        return None;
    }
    if is_ddim && final_alpha_is_one {
        end = Some(End::Zero);
    }
    if matches!(class, "LCMScheduler" | "TCDScheduler") {
        kind = ScheduleKind::Normal;
    }
    let mut eta = None;
    for (key, value) in step_args.as_object().into_iter().flatten() {
        match key.as_str() {
            "eta" => eta = value.as_f64(),
            "order" if class == "LMSDiscreteScheduler" => {
                switches.order = usize::try_from(value.as_u64()?).ok();
            }
            _ => return None,
        }
    }
    let prediction = Prediction::parse(config.get("prediction_type")?.as_str()?).ok()?;
    let (sampler, variance_preserving) = sampler(class, &switches, prediction)?;
    Some(Setup {
        sampler,
        convention: Convention::Diffusers,
        kind,
        prediction,
        eta,
        zero_snr,
        end,
        variance_preserving,
    })
}

/// The sampler of a class, and whether the class holds variance-preserving latents.
fn sampler(
    class: &str,
    switches: &Switches<'_>,
    prediction: Prediction,
) -> Option<(&'static dyn Sampler, bool)> {
    let order = switches.order.unwrap_or(2);
    Some(match class {
        "LMSDiscreteScheduler" => (kept(Lms { order: switches.order.unwrap_or(4) }), false),
        "DPMSolverMultistepScheduler" => (kept(multistep(switches, order)?), true),
        "DEISMultistepScheduler" => (kept(Deis { order }), true),
        "UniPCMultistepScheduler" => {
            let variant = match switches.solver.unwrap_or("bh2") {
                "bh1" => UniPcVariant::Bh1,
                "bh2" => UniPcVariant::Bh2,
                _ => return None,
            };
            (kept(UniPc { order, variant }), true)
        }
        "PNDMScheduler" => {
            let start = if switches.runge_kutta { PlmsStart::RungeKutta } else { PlmsStart::Twice };
            (kept(Plms { start, extrapolated: prediction }), true)
        }
        _ => {
            let (name, variance_preserving) = match class {
                "DDIMScheduler" => ("ddim", true),
                "DDPMScheduler" => ("ddpm", true),
                "LCMScheduler" => ("lcm", true),
                "TCDScheduler" => ("tcd", true),
                "DPMSolverSinglestepScheduler" => ("dpm++2s", true),
                "EulerDiscreteScheduler" => ("euler", false),
                "EulerAncestralDiscreteScheduler" => ("euler_a", false),
                "HeunDiscreteScheduler" => ("heun", false),
                "KDPM2DiscreteScheduler" => ("dpm2", false),
                "KDPM2AncestralDiscreteScheduler" => ("dpm2_a", false),
                "DPMSolverSDEScheduler" => ("dpm++_sde", false),
                _ => return None,
            };
            if switches.order.or(switches.solver.map(str::len)).or(switches.algorithm.map(str::len)).is_some()
            {
                return None;
            }
            (samplers::parse(name).ok()?.0, variance_preserving)
        }
    })
}

/// A sampler with switches of its own, for the rest of the tests.
pub(super) fn kept(sampler: impl Sampler + 'static) -> &'static dyn Sampler {
    Box::leak(Box::new(sampler))
}

fn multistep(switches: &Switches<'_>, order: usize) -> Option<DpmSolver> {
    let (stochastic, extrapolated) = match switches.algorithm.unwrap_or("dpmsolver++") {
        "dpmsolver++" => (false, Extrapolated::Image),
        "sde-dpmsolver++" => (true, Extrapolated::Image),
        "dpmsolver" => (false, Extrapolated::Noise),
        _ => return None,
    };
    let rule = match switches.solver.unwrap_or("midpoint") {
        "midpoint" => SlopeRule::Midpoint,
        "heun" => SlopeRule::Integral,
        _ => return None,
    };
    Some(DpmSolver { order, rule, stochastic, extrapolated, lower_at_end: true })
}

/// A run of k-diffusion, by its name: `dpmpp_2m-karras`, or with its number of steps, `restart/20-karras`.
fn k_diffusion(group: &str, name: &str) -> Option<Setup> {
    let (sampler, kind) = name.rsplit_once('-')?;
    let sampler = sampler.split('/').next()?;
    Some(Setup {
        sampler: samplers::parse(sampler).ok()?.0,
        convention: Convention::KDiffusion,
        kind: ScheduleKind::parse(kind).ok()?,
        prediction: Prediction::parse(group.strip_prefix("schedulers/k-")?).ok()?,
        eta: None,
        zero_snr: None,
        end: None,
        variance_preserving: false,
    })
}
