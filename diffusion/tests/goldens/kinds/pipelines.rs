//! Whole runs: prompts and a seed to images.

use std::ops::ControlFlow;
use std::sync::Arc;

use latent_diffusion::rng::TorchCpu;
use latent_diffusion::samplers::{self, Prediction, Sampler};
use latent_diffusion::schedule::{Convention, ScheduleKind};
use latent_diffusion::{
    AestheticScores, Control, Event, Fill, Image, Latents, Mask, Pipeline, Settings, SizeConditioning,
    StepConditioning, Task,
};
use latent_loader::Checkpoint;
use serde_json::Value;

use super::Engine;
use crate::machinery::case::Case;
use crate::machinery::compare::{Comparison, Outcome};
use crate::machinery::context::Context;

/// The keys of `params` that the engine follows; a case with another one is not supported yet.
const KNOWN: [&str; 31] = [
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
    "image_seed",
    "strength",
    "image_guidance_scale",
    "controlnet_conditioning_scale",
    "guidance_rescale",
    "aesthetic_score",
    "negative_aesthetic_score",
    "distilled_guidance",
    "slg_scale",
    "slg_layers",
    "slg_start",
    "slg_end",
];
/// The kinds of pipeline that the engine has.
const PIPELINES: [&str; 6] = ["txt2img", "img2img", "inpaint", "edit", "pix2pix", "control"];

pub(crate) fn run(case: &Case, context: &Context) -> Outcome {
    let params = &case.json["params"];
    let known = params.as_object().is_some_and(|p| p.keys().all(|key| KNOWN.contains(&key.as_str())));
    let scheduler = params["scheduler"].as_str().and_then(scheduler);
    let known = known && PIPELINES.iter().any(|kind| params["kind"] == **kind);
    let Some((sampler, schedule)) = scheduler.filter(|_| known) else {
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
fn scheduler(name: &str) -> Option<(&'static dyn Sampler, ScheduleKind)> {
    let (name, kind) = match name {
        "ddim" => ("ddim", ScheduleKind::Leading),
        "ddim-trailing" => ("ddim", ScheduleKind::Trailing),
        "euler" => ("euler", ScheduleKind::Leading),
        "euler-trailing" => ("euler", ScheduleKind::Trailing),
        "euler-a" => ("euler_a", ScheduleKind::Leading),
        "euler-a-trailing" => ("euler_a", ScheduleKind::Trailing),
        "dpmpp-2m-karras" => ("dpm++2m", ScheduleKind::Karras),
        "pndm" => ("plms", ScheduleKind::Leading),
        "unipc" => ("unipc", ScheduleKind::Linspace),
        "heun" => ("heun", ScheduleKind::Linspace),
        "lcm" => ("lcm", ScheduleKind::Normal),
        "edm-euler" => ("euler", ScheduleKind::Karras),
        "flow-euler" => ("euler", ScheduleKind::Normal),
        "flow-simple" => ("euler", ScheduleKind::Simple),
        "edm-dpmpp-2m" => ("dpm++2m", ScheduleKind::Karras),
        _ => return None,
    };
    Some((samplers::parse(name).ok()?.0, kind))
}

fn draw(
    case: &Case,
    context: &Context,
    path: &std::path::Path,
    sampler: &'static dyn Sampler,
    schedule: ScheduleKind,
    comparison: &mut Comparison<'_>,
) -> Result<(), String> {
    let params = &case.json["params"];
    let number = |value: &Value| value.as_u64().and_then(|v| usize::try_from(v).ok());
    let prompts: Vec<&str> =
        params["prompts"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let negative = params["negative"].as_str();
    let seed = params["seed"].as_u64().ok_or("the case has no seed")?;
    // diffusers counts the layers left out, the webui adds one.
    let settings = Settings::default()
        .with_height(number(&params["size"][0]))
        .with_width(number(&params["size"][1]))
        .with_steps(number(&params["steps"]).ok_or("the case has no steps")?)
        .with_guidance(params["guidance"].as_f64().ok_or("the case has no guidance")?)
        .with_sampler(sampler)
        .with_schedule(schedule)
        .with_convention(Some(Convention::Diffusers))
        .with_eta(params["eta"].as_f64())
        .with_seeds(vec![seed; prompts.len()])
        .with_clip_skip(number(&params["clip_skip"]).unwrap_or(0) + 1)
        .with_sizes(sizes(params, "").unwrap_or_default())
        .with_negative_sizes(sizes(params, "negative_"))
        .with_guidance_rescale(params["guidance_rescale"].as_f64().unwrap_or(0.0))
        .with_aesthetic_scores(scores(params))
        .with_distilled_guidance(params["distilled_guidance"].as_f64());
    let settings = with_skipped_layers(settings, params);
    let text = |e: latent_diffusion::Error| e.to_string();
    let mut pipeline = Pipeline::open(Checkpoint::open(path).map_err(|e| e.to_string())?).map_err(text)?;
    // Random weights do not show what they predict.
    let is_velocity = params["family"] == "sd21-v" || params["family"] == "cosxl";
    let prediction = if is_velocity { Prediction::V } else { Prediction::Epsilon };
    pipeline = pipeline.with_prediction(prediction);
    pipeline.set_device(context.target.device.clone());
    let mut go_on = |_: Event<'_>| ControlFlow::Continue(());
    let mut conditioning =
        pipeline.encode(&prompts, negative.as_slice(), &settings, &mut go_on).map_err(text)?;
    if settings.clip_skip > 1 {
        // diffusers leaves out layers for the prompt alone; the webui, and so the engine, for both.
        let all_layers = settings.clone().with_clip_skip(1);
        let plain = pipeline.encode(&prompts, negative.as_slice(), &all_layers, &mut go_on).map_err(text)?;
        conditioning = conditioning.with_negative_of(&plain).map_err(text)?;
    }
    let (mut positive, mut negative) = (Vec::new(), Vec::new());
    for image in 0..prompts.len() {
        let (prompt, not) = conditioning.at_step(image, 0).map_err(text)?;
        positive.extend(prompt);
        negative.push(not);
    }
    let states = |all: &[StepConditioning]| -> Result<Vec<f32>, String> {
        Ok(all.iter().map(|text| super::values(&text.hidden_states)).collect::<Result<Vec<_>, _>>()?.concat())
    };
    if case.tensors.contains_key("unet_context") {
        // The first call of pix2pix has the prompt first, and the negative one with the image and without it.
        let halves = if params["kind"] == "pix2pix" {
            vec![&positive, &negative, &negative]
        } else {
            vec![&negative, &positive]
        };
        let halves: Result<Vec<_>, _> = halves.into_iter().map(|all| states(all)).collect();
        comparison.tensor("unet_context", &halves?.concat());
    }
    if case.tensors.contains_key("unet_pooled") {
        let pooled = negative.iter().chain(&positive).filter_map(|text| text.pooled.as_ref());
        comparison.tensor("unet_pooled", &pooled.map(super::values).collect::<Result<Vec<_>, _>>()?.concat());
    }
    let mut noise = TorchCpu::new(seed);
    let images = Images::of(case, context)?;
    if params["kind"] == "control" {
        let net = Arc::new(super::control::open(case, context)?);
        let strength = params["controlnet_conditioning_scale"].as_f64().unwrap_or(1.0);
        let control = Control { strength, ..Control::new(net, images.image.clone()) };
        pipeline.set_controls(vec![control]).map_err(text)?;
    }
    let task = images.task(params)?;
    let settings = task.sized(settings, pipeline.model());
    let source = pipeline.prepare(&task, &settings, &mut go_on).map_err(text)?;
    let is_edm = pipeline.model().edm.is_some();
    let variance_preserving =
        matches!(sampler.name(), "ddim" | "dpm++2m" | "plms" | "unipc" | "lcm") && !is_edm;
    let mut steps = Vec::new();
    if sampler.name() == "plms" {
        // diffusers counts the first try of the first step as a step. It is compared among the samplers' goldens.
        let golden = context.f32s(case, "steps")?;
        let values = settings.check(pipeline.model()).map_err(text)?.values();
        steps.extend_from_slice(&golden[..values]);
    }
    let noise_model = pipeline.model().noise_model();
    let mut record = |event: Event<'_>| {
        if let Event::Step { step: 1.., latents, sigma, .. } = event {
            let values = Latents::from_channels_last(latents).expect("latents can be read").values;
            steps.extend(if variance_preserving {
                noise_model.network_input(&values, sigma)
            } else {
                values
            });
        }
        ControlFlow::Continue(())
    };
    let latents = if case.tensors.contains_key("init_latents") {
        let shape = settings.check(pipeline.model()).map_err(text)?;
        let start = shape.with_values(context.f32s(case, "init_latents")?);
        pipeline.sample_from(start, &conditioning, &settings, &mut noise, &mut record)
    } else {
        // All images of a batch in one call, as diffusers draws them.
        pipeline.sample_prepared_from(&source, &conditioning, &settings, &mut noise, &mut record)
    };
    let latents = latents.map_err(text)?;
    comparison.tensor("steps", &steps);
    comparison.tensor("latents", &latents.values);
    let images = pipeline.decode(&latents, &mut go_on).map_err(text)?;
    let bytes: Vec<u8> = images.into_iter().flat_map(|image| image.rgb).collect();
    comparison.image("output_u8", &bytes);
    Ok(())
}

/// The settings with a case's skip-layer guidance.
fn with_skipped_layers(settings: Settings, params: &Value) -> Settings {
    let number = |name: &str, usual: f64| params[name].as_f64().unwrap_or(usual);
    let layers = params["slg_layers"].as_array().into_iter().flatten();
    let layers = layers.filter_map(|layer| usize::try_from(layer.as_u64()?).ok());
    let (start, end) = (settings.slg_start, settings.slg_end);
    settings
        .with_slg_layers(layers.collect())
        .with_slg_scale(number("slg_scale", 0.0))
        .with_slg_start(number("slg_start", start))
        .with_slg_end(number("slg_end", end))
}

/// The sizes that an SDXL case names, all or none.
fn sizes(params: &Value, prefix: &str) -> Option<SizeConditioning> {
    let pair = |name: &str| -> Option<[usize; 2]> {
        let number = |i: usize| usize::try_from(params[format!("{prefix}{name}")][i].as_u64()?).ok();
        Some([number(0)?, number(1)?])
    };
    Some(SizeConditioning {
        original: Some(pair("original_size")?),
        crop: pair("crops_coords_top_left")?,
        target: Some(pair("target_size")?),
    })
}

/// The image and the mask of a case, empty where there are none.
struct Images {
    image: Image,
    mask: Mask,
}

impl Images {
    fn of(case: &Case, context: &Context) -> Result<Images, String> {
        let bytes = |name: &str| -> Result<([usize; 2], Vec<u8>), String> {
            match case.tensors.get(name).map(Vec::as_slice) {
                Some(&[height, width, ..]) => Ok(([width, height], context.u8s(case, name)?)),
                _ => Ok(([0, 0], Vec::new())),
            }
        };
        let ([width, height], rgb) = bytes("image_u8")?;
        let image = Image { width, height, rgb };
        let ([width, height], values) = bytes("mask_u8")?;
        Ok(Images { image, mask: Mask { width, height, values } })
    }

    fn task(&self, params: &Value) -> Result<Task<'_>, String> {
        let Images { image, mask } = self;
        let number = |name: &str| params[name].as_f64().ok_or_else(|| format!("the case has no {name}"));
        Ok(match params["kind"].as_str() {
            Some("img2img") => Task::ImageToImage { image, strength: number("strength")? },
            Some("inpaint") => {
                let (strength, fill, feather) = (number("strength")?, Fill::Original, 0.0);
                Task::Inpaint { image, mask, strength, fill, feather }
            }
            Some("pix2pix") => Task::Edit { image, guidance: number("image_guidance_scale")? },
            // The network sees the image as further tokens, with no scale for it.
            Some("edit") => Task::Edit { image, guidance: 1.0 },
            _ => Task::TextToImage,
        })
    }
}

/// The scores that a case of the refiner names, or those of its training.
fn scores(params: &Value) -> AestheticScores {
    let usual = AestheticScores::default();
    AestheticScores {
        positive: params["aesthetic_score"].as_f64().unwrap_or(usual.positive),
        negative: params["negative_aesthetic_score"].as_f64().unwrap_or(usual.negative),
    }
}
