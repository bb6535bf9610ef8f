//! Whole runs: prompts and a seed to pictures.

use std::ops::ControlFlow;

use latent_diffusion::rng::{Noise, TorchCpu};
use latent_diffusion::samplers::{self, Prediction, Sampler};
use latent_diffusion::schedule::{Form, Kind};
use latent_diffusion::{Event, Latents, PictureSizes, Pipeline, Settings};
use latent_loader::Checkpoint;
use serde_json::Value;

use super::Engine;
use crate::machinery::case::Case;
use crate::machinery::compare::{Comparison, Outcome};
use crate::machinery::context::Context;

/// The keys of `params` that the engine follows; a case with another one is not supported yet.
const KNOWN: [&str; 19] = [
    "kind",
    "family",
    "scheduler",
    "steps",
    "guidance",
    "prompts",
    "negative",
    "seed",
    "latents_seed",
    "size",
    "first_unet",
    "clip_skip",
    "eta",
    "original_size",
    "crops_coords_top_left",
    "target_size",
    "negative_original_size",
    "negative_crops_coords_top_left",
    "negative_target_size",
];

pub(crate) fn run(case: &Case, context: &Context) -> Outcome {
    let params = &case.json["params"];
    let known = params.as_object().is_some_and(|p| p.keys().all(|key| KNOWN.contains(&key.as_str())));
    let scheduler = params["scheduler"].as_str().and_then(scheduler);
    let Some((sampler, schedule)) = scheduler.filter(|_| known && params["kind"] == "txt2img") else {
        return Outcome::Unsupported;
    };
    let Some(engine) = Engine::supporting(case, context) else { return Outcome::Unsupported };
    super::attempt(case, context, |comparison| {
        engine?;
        let path = context.checkpoints.path(&case.checkpoint()?.ok_or("the case has no checkpoint")?)?;
        draw(case, context, &path, sampler, schedule, comparison)
    })
}

/// The scheduler classes of the pipelines, in the settings that the goldens were made with.
fn scheduler(name: &str) -> Option<(&'static dyn Sampler, Kind)> {
    let (name, kind) = match name {
        "ddim" => ("ddim", Kind::Leading),
        "ddim-trailing" => ("ddim", Kind::Trailing),
        "euler" => ("euler", Kind::Leading),
        "euler-trailing" => ("euler", Kind::Trailing),
        "euler-a" => ("euler_a", Kind::Leading),
        "euler-a-trailing" => ("euler_a", Kind::Trailing),
        "dpmpp-2m-karras" => ("dpm++2m", Kind::Karras),
        _ => return None,
    };
    Some((samplers::parse(name).ok()?.0, kind))
}

fn draw(
    case: &Case,
    context: &Context,
    path: &std::path::Path,
    sampler: &'static dyn Sampler,
    schedule: Kind,
    comparison: &mut Comparison<'_>,
) -> Result<(), String> {
    let params = &case.json["params"];
    let number = |value: &Value| value.as_u64().and_then(|v| usize::try_from(v).ok());
    let prompts: Vec<&str> =
        params["prompts"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let negative = params["negative"].as_str();
    let seed = params["seed"].as_u64().ok_or("the case has no seed")?;
    let settings = Settings {
        height: number(&params["size"][0]),
        width: number(&params["size"][1]),
        steps: number(&params["steps"]).ok_or("the case has no steps")?,
        guidance: params["guidance"].as_f64().ok_or("the case has no guidance")?,
        sampler,
        schedule,
        form: Some(Form::Diffusers),
        eta: params["eta"].as_f64(),
        seeds: vec![seed; prompts.len()],
        // diffusers counts the layers left out, the webui adds one.
        clip_skip: number(&params["clip_skip"]).unwrap_or(0) + 1,
        sizes: sizes(params, "").unwrap_or_default(),
        negative_sizes: sizes(params, "negative_"),
        ..Settings::default()
    };
    let text = |e: latent_diffusion::Error| e.to_string();
    let mut pipeline = Pipeline::open(Checkpoint::open(path).map_err(|e| e.to_string())?).map_err(text)?;
    // Random weights do not show what they predict.
    let prediction = if params["family"] == "sd21-v" { Prediction::V } else { Prediction::Epsilon };
    pipeline = pipeline.with_prediction(prediction);
    pipeline.set_device(context.target.device.clone());
    let mut go_on = |_: Event<'_>| ControlFlow::Continue(());
    let conditioning =
        pipeline.encode(&prompts, negative.as_slice(), settings.clip_skip, &mut go_on).map_err(text)?;
    if case.tensors.contains_key("unet_context") {
        let (negative, positive) = (&conditioning.negative, &conditioning.positive);
        let both = [negative.f32s(), positive.f32s()].map(|half| half.map(<[f32]>::to_vec));
        let both: Result<Vec<_>, _> = both.into_iter().collect();
        comparison.tensor("unet_context", &both.map_err(|e| e.to_string())?.concat());
    }
    if let Some(pooled) = conditioning.pooled.as_ref().filter(|_| case.tensors.contains_key("unet_pooled")) {
        let both = [&pooled.negative, &pooled.positive].map(super::values);
        comparison.tensor("unet_pooled", &both.into_iter().collect::<Result<Vec<_>, _>>()?.concat());
    }
    let mut noise = TorchCpu::new(seed);
    let start = start(case, context, &settings, &pipeline, &mut noise)?;
    let variance_preserving = matches!(sampler.name(), "ddim" | "dpm++2m");
    let mut steps = Vec::new();
    let mut record = |event: Event<'_>| {
        if let Event::Step { step: 1.., latents, sigma, .. } = event {
            steps.extend(if variance_preserving {
                Prediction::network_input(latents, sigma)
            } else {
                latents.to_vec()
            });
        }
        ControlFlow::Continue(())
    };
    let latents =
        pipeline.sample_from(start, &conditioning, &settings, &mut noise, &mut record).map_err(text)?;
    comparison.tensor("steps", &steps);
    comparison.tensor("latents", &latents.values);
    let pictures = pipeline.decode(&latents, &mut go_on).map_err(text)?;
    let bytes: Vec<u8> = pictures.into_iter().flat_map(|picture| picture.rgb).collect();
    comparison.picture("output_u8", &bytes);
    Ok(())
}

/// The sizes that an SDXL case names, all or none.
fn sizes(params: &Value, prefix: &str) -> Option<PictureSizes> {
    let pair = |name: &str| -> Option<[usize; 2]> {
        let number = |i: usize| usize::try_from(params[format!("{prefix}{name}")][i].as_u64()?).ok();
        Some([number(0)?, number(1)?])
    };
    Some(PictureSizes {
        original: Some(pair("original_size")?),
        crop: pair("crops_coords_top_left")?,
        target: Some(pair("target_size")?),
    })
}

/// Unit noise: given, or the first that the seed draws, for all pictures of the batch in one call as diffusers does.
fn start(
    case: &Case,
    context: &Context,
    settings: &Settings,
    pipeline: &Pipeline,
    noise: &mut TorchCpu,
) -> Result<Latents, String> {
    let mut latents = settings.check(pipeline.model()).map_err(|e| e.to_string())?;
    if case.tensors.contains_key("init_latents") {
        latents.values = context.f32s(case, "init_latents")?;
    } else {
        noise.normal(&mut latents.values);
    }
    Ok(latents)
}
