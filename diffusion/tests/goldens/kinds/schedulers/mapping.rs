//! From the description of a golden run to a sampler and a schedule.

use latent_diffusion::samplers::{self, Prediction, Sampler};
use latent_diffusion::schedule::{Form, Kind};
use serde_json::Value;

use crate::machinery::case::Case;

/// How a case is run.
pub(super) struct Setup {
    pub(super) sampler: &'static dyn Sampler,
    pub(super) form: Form,
    pub(super) kind: Kind,
    pub(super) prediction: Prediction,
    pub(super) eta: Option<f64>,
    /// Whether the golden holds variance-preserving latents: ours over `sqrt(sigma^2 + 1)`.
    pub(super) variance_preserving: bool,
}

/// `None` for what the engine does not have: every setting that is not known to be without effect counts.
pub(super) fn setup(case: &Case) -> Option<Setup> {
    match case.json["scheduler"].as_str() {
        Some(class) => diffusers(class, &case.json["config"], &case.json["step_args"]),
        None => k_diffusion(&case.group, &case.name),
    }
}

/// A scheduler class of diffusers with its configuration.
fn diffusers(class: &str, config: &Value, step_args: &Value) -> Option<Setup> {
    let (name, variance_preserving) = match class {
        "DDIMScheduler" => ("ddim", true),
        "EulerDiscreteScheduler" => ("euler", false),
        "EulerAncestralDiscreteScheduler" => ("euler_a", false),
        "DPMSolverMultistepScheduler" => ("dpm++2m", true),
        _ => return None,
    };
    let is_ddim = class == "DDIMScheduler";
    // What the classes do when the configuration is silent.
    let (mut spacing, mut offset) = (if is_ddim { Kind::Leading } else { Kind::Linspace }, 0);
    let (mut respaced, mut final_alpha_is_one) = (None, true);
    for (key, value) in config.as_object()? {
        match (key.as_str(), value) {
            ("num_train_timesteps" | "beta_start" | "beta_end" | "beta_schedule" | "prediction_type", _) => {}
            ("clip_sample", Value::Bool(false)) => {}
            ("algorithm_type", Value::String(name)) if name == "dpmsolver++" => {}
            ("steps_offset", n) => offset = n.as_u64()?,
            ("set_alpha_to_one", b) => final_alpha_is_one = b.as_bool()?,
            ("timestep_spacing", name) => spacing = Kind::parse(name.as_str()?).ok()?,
            ("use_karras_sigmas", Value::Bool(true)) => respaced = Some(Kind::Karras),
            ("use_exponential_sigmas", Value::Bool(true)) => respaced = Some(Kind::Exponential),
            _ => return None,
        }
    }
    let kind = respaced.unwrap_or(spacing);
    if kind == Kind::Leading && offset != 1 || is_ddim && final_alpha_is_one {
        return None;
    }
    if step_args.as_object().is_some_and(|args| args.keys().any(|key| key != "eta")) {
        return None;
    }
    Some(Setup {
        sampler: samplers::parse(name).ok()?.0,
        form: Form::Diffusers,
        kind,
        prediction: Prediction::parse(config.get("prediction_type")?.as_str()?).ok()?,
        eta: step_args.get("eta").and_then(Value::as_f64),
        variance_preserving,
    })
}

/// A run of k-diffusion, by its name: `dpmpp_2m-karras`.
fn k_diffusion(group: &str, name: &str) -> Option<Setup> {
    let (sampler, kind) = name.rsplit_once('-')?;
    Some(Setup {
        sampler: samplers::parse(sampler).ok()?.0,
        form: Form::KDiffusion,
        kind: Kind::parse(kind).ok()?,
        prediction: Prediction::parse(group.strip_prefix("schedulers/k-")?).ok()?,
        eta: None,
        variance_preserving: false,
    })
}
