//! The kinds of case, and how the engine computes each: one module a kind.

mod adapters;
mod addons;
mod control;
mod edit;
mod large_text;
mod pipelines;
mod prompt_weights;
mod rng;
mod schedulers;
mod text;
mod time;
mod tokenizer;
mod transformer;
mod unet;
mod vae;

use std::sync::Arc;

use latent_diffusion::families::{Model, ModelParts};
use latent_diffusion::params::Params;
use latent_diffusion::tensor::{Device, Tensor};
use latent_loader::{Checkpoint, Weights};
use serde_json::Value;

use crate::machinery::case::Case;
use crate::machinery::compare::{Comparison, Outcome};
use crate::machinery::context::Context;

/// A kind of golden case.
pub(crate) struct Kind {
    /// The first part of the group's name.
    pub(crate) name: &'static str,
    /// Whether it computes on the device.
    pub(crate) is_on_device: bool,
    /// Computes a case and compares it; `None` where the engine has no part of that kind yet.
    pub(crate) run: Option<fn(&Case, &Context) -> Outcome>,
}

/// All kinds, in the order of the table.
pub(crate) const KINDS: [Kind; 14] = [
    Kind { name: "tokenizer", is_on_device: false, run: Some(tokenizer::run) },
    Kind { name: "prompt_weights", is_on_device: false, run: Some(prompt_weights::run) },
    Kind { name: "rng", is_on_device: false, run: Some(rng::run) },
    Kind { name: "time", is_on_device: false, run: Some(time::run) },
    Kind { name: "text", is_on_device: true, run: Some(text::run) },
    Kind { name: "large_text", is_on_device: true, run: Some(large_text::run) },
    Kind { name: "unet", is_on_device: true, run: Some(unet::run) },
    Kind { name: "transformer", is_on_device: true, run: Some(transformer::run) },
    Kind { name: "vae", is_on_device: true, run: Some(vae::run) },
    Kind { name: "schedulers", is_on_device: true, run: Some(schedulers::run) },
    Kind { name: "pipelines", is_on_device: true, run: Some(pipelines::run) },
    Kind { name: "addons", is_on_device: true, run: Some(addons::run) },
    Kind { name: "adapters", is_on_device: true, run: Some(adapters::run) },
    Kind { name: "edit", is_on_device: true, run: Some(edit::run) },
];

/// Runs a computation that may fail, and closes its comparison.
fn attempt<'a>(
    case: &'a Case,
    context: &'a Context,
    compute: impl FnOnce(&mut Comparison<'a>) -> Result<(), String>,
) -> Outcome {
    let mut comparison = Comparison::new(case, context);
    if let Err(problem) = compute(&mut comparison) {
        comparison.problem(problem);
    }
    comparison.finish()
}

/// The checkpoint of a case.
fn checkpoint(case: &Case, context: &Context) -> Result<Arc<Checkpoint>, String> {
    let key = case.checkpoint()?.ok_or("the case has no checkpoint")?;
    Checkpoint::open(&context.checkpoints.path(&key)?).map(Arc::new).map_err(|e| e.to_string())
}

/// UNet and VAE of a case's checkpoint, which the engine has for every family.
fn parts(case: &Case, context: &Context) -> Result<ModelParts, String> {
    ModelParts::detect(&checkpoint(case, context)?).map_err(|e| e.to_string())
}

/// The parameters of a part of a checkpoint, on the device of the run.
fn params(weights: &Weights, scope: &str, context: &Context) -> Params<'static> {
    Params::new(weights.scope(scope), &|_| {}).on(&context.target.device)
}

/// The values of a tensor of any device.
fn values(x: &Tensor) -> Result<Vec<f32>, String> {
    let x = x.to(&Device::Cpu).map_err(|e| e.to_string())?;
    Ok(x.f32s().map_err(|e| e.to_string())?.to_vec())
}

/// The checkpoint of a case, which the engine can draw with.
struct Engine;

impl Engine {
    /// `None` if the engine says that it cannot draw with the case's checkpoint; an error if it should and fails.
    fn supporting(case: &Case, context: &Context) -> Option<Result<Engine, String>> {
        let checkpoint = match checkpoint(case, context) {
            Ok(checkpoint) => checkpoint,
            Err(problem) => return Some(Err(problem)),
        };
        match Model::detect(&checkpoint) {
            Ok(_) => Some(Ok(Engine)),
            Err(latent_diffusion::Error::Unsupported { .. }) => None,
            Err(error) => Some(Err(error.to_string())),
        }
    }
}

/// The token that the case's prompts are filled up with: its own, or the end token.
fn padding_token(case: &Case) -> u32 {
    match case.json["pad"].as_str() {
        Some("!") => 0,
        _ => latent_diffusion::tokenizer::END,
    }
}

/// Token ids in the JSON of a case.
fn ids(json: &Value) -> Vec<u32> {
    let ids = json.as_array().into_iter().flatten();
    ids.filter_map(|id| id.as_u64().and_then(|id| u32::try_from(id).ok())).collect()
}

/// A golden tensor as one of the engine's, axes as they are.
fn tensor(case: &Case, context: &Context, name: &str) -> Result<Tensor, String> {
    Tensor::from_f32(&case.tensors[name], &context.f32s(case, name)?).map_err(|e| e.to_string())
}

/// A golden image `[n, c, h, w]` as the engine's `[n, h, w, c]`.
fn nhwc(case: &Case, context: &Context, name: &str) -> Result<Tensor, String> {
    let &[n, c, h, w] = &case.tensors[name][..] else { return Err(format!("{name} is no image")) };
    let values = context.f32s(case, name)?;
    let at = |i: usize| {
        let (pixel, channel) = (i / c, i % c);
        values[(pixel / (h * w) * c + channel) * h * w + pixel % (h * w)]
    };
    let turned: Vec<f32> = (0..values.len()).map(at).collect();
    Tensor::from_f32(&[n, h, w, c], &turned).map_err(|e| e.to_string())
}

/// An image `[n, h, w, c]` of the engine in the goldens' order `[n, c, h, w]`.
fn nchw(image: &Tensor) -> Result<Vec<f32>, String> {
    let &[_, h, w, c] = image.dims() else { return Err(format!("{} is no image", image.shape())) };
    let values = values(image)?;
    let at = |i: usize| {
        let (plane, pixel) = (i / (h * w), i % (h * w));
        values[(plane / c * h * w + pixel) * c + plane % c]
    };
    Ok((0..values.len()).map(at).collect())
}
