//! Flow matching in the stage of the sampling, with the built-in model seen as if it had been trained so: what it draws means
//! nothing, and all that is known of latents holds.

use super::prepare::{InitImage, InitLatents, StepRange};
use super::start::SamplingStart;
use super::{Fill, Pipeline, PreparedTask, Settings, Task};
use crate::families::{Family, FlowShift, FlowTraining};
use crate::image::Image;
use crate::latents::Latents;
use crate::mask::Mask;
use crate::rng::RngKind;
use crate::samplers;
use crate::schedule::{NoiseModel, ScheduleKind};
use crate::setting::Setting;
use crate::{Error, Event};
use latent_loader::Checkpoint;
use std::ops::ControlFlow;

const SHIFT: f64 = 3.0;
const STEPS: usize = 8;

fn flow_pipeline() -> Pipeline {
    let checkpoint = Checkpoint::from_bytes("demo", latent_demo::DEMO.unwrap()).unwrap();
    let mut pipeline = Pipeline::open(checkpoint).unwrap();
    let flow = FlowTraining {
        shift: FlowShift::Fixed(SHIFT),
        steps: 20,
        guidance: 4.0,
        few_steps: 4,
        is_usually_distilled: false,
    };
    let family = Family { flow: Some(flow), ..*pipeline.model.family };
    pipeline.model.family = Box::leak(Box::new(family));
    pipeline
}

fn settings(sampler: &str) -> Settings {
    let sampler = samplers::parse(sampler).unwrap().0;
    let settings = Settings::default().with_steps(STEPS).with_seeds(vec![3]).with_sampler(sampler);
    settings.with_schedule(ScheduleKind::Simple)
}

fn image() -> Image {
    let rgb = (0..64 * 64).flat_map(|i: usize| [(i % 64) as u8 * 4, (i / 64) as u8 * 4, 90]);
    Image { width: 64, height: 64, rgb: rgb.collect() }
}

fn unit_noise(length: usize) -> Vec<f32> {
    let mut noise = vec![0.0; length];
    RngKind::Cuda.generator(3).normal(&mut noise);
    noise
}

fn prepared(pipeline: &mut Pipeline, task: &Task<'_>) -> PreparedTask {
    pipeline.prepare(task, &settings("euler"), &mut |_| ControlFlow::Continue(())).unwrap()
}

fn start(pipeline: &Pipeline, task: &PreparedTask, settings: &Settings) -> SamplingStart {
    pipeline.sampling_start(task, settings, &mut *RngKind::Cuda.generator(3)).unwrap()
}

/// The latents of the image of a task.
fn clean(task: &PreparedTask) -> Vec<f32> {
    let Some(InitImage { latents: InitLatents::Encoded(moments), .. }) = &task.init else { panic!() };
    Latents::from_channels_last(&moments.mode().unwrap()).unwrap().values
}

/// (1 - sigma) x0 + sigma n, within the rounding of f32.
fn assert_mixed(got: &[f32], clean: &[f32], noise: &[f32], sigma: f64) {
    assert_eq!(got.len(), clean.len());
    for ((got, x0), n) in got.iter().zip(clean).zip(noise) {
        let want = (1.0 - sigma) * f64::from(*x0) + sigma * f64::from(*n);
        assert!((f64::from(*got) - want).abs() < 1e-5, "{got} {want} at {sigma}");
    }
}

#[test]
fn a_flow_starts_with_noise_or_with_an_image_in_it() {
    let mut pipeline = flow_pipeline();
    let mut text = prepared(&mut pipeline, &Task::TextToImage);
    let plain = start(&pipeline, &text, &settings("euler"));
    assert!(matches!(plain.schedule.noise_model(), NoiseModel::FlowMatching(flow) if flow.shift() == SHIFT));
    let noise = unit_noise(plain.latents.values.len());
    assert_eq!((plain.schedule.levels()[0].sigma, &plain.latents.values), (1.0, &noise));
    // A variation seed changes the noise, and its strength stays.
    let varied = Settings { variation_strength: 0.3, variation_seeds: vec![9], ..settings("euler") };
    let varied = start(&pipeline, &text, &varied).latents.values;
    let power = |x: &[f32]| x.iter().map(|x| f64::from(x * x)).sum::<f64>();
    assert!(varied != noise && (power(&varied) / power(&noise) - 1.0).abs() < 0.25);
    let image = image();
    for strength in [0.1, 0.5, 0.8] {
        let task = prepared(&mut pipeline, &Task::ImageToImage { image: &image, strength });
        let begun = start(&pipeline, &task, &settings("euler"));
        let sigma = begun.schedule.levels()[0].sigma;
        assert!(sigma < 1.0 && begun.schedule.steps() == (STEPS as f64 * strength) as usize + 1);
        assert_mixed(&begun.latents.values, &clean(&task), &noise, sigma);
    }
    // A second pass starts from the latents of the first.
    let first = Latents { values: noise.iter().map(|n| 2.0 - n).collect(), ..plain.latents.clone() };
    let init = InitImage { latents: InitLatents::FirstPass(first.clone()), steps: StepRange::Last(3) };
    text.init = Some(init);
    let second = start(&pipeline, &text, &settings("euler"));
    assert_eq!(second.schedule.steps(), 3);
    assert_mixed(&second.latents.values, &first.values, &noise, second.schedule.levels()[0].sigma);
}

/// After each step what is kept has the noise of the next level, and in the end none.
#[test]
fn what_an_inpainting_keeps_follows_the_flow() {
    let mut pipeline = flow_pipeline();
    let image = image();
    let values = (0..64 * 64).map(|i: usize| if i % 64 < 32 { 255 } else { 0 }).collect();
    let mask = Mask { width: 64, height: 64, values };
    let go_on = &mut |_: Event<'_>| ControlFlow::Continue(());
    for name in ["euler", "euler_a", "dpm++2m", "dpm++2m_sde", "er_sde", "unipc", "lcm", "restart"] {
        let settings = settings(name);
        let (fill, feather) = (Fill::Original, 0.0);
        let task = Task::Inpaint { image: &image, mask: &mask, strength: 0.7, fill, feather };
        let task = pipeline.prepare(&task, &settings, go_on).unwrap();
        let (clean, kept) = (clean(&task), task.mask.clone().unwrap());
        let noise = unit_noise(clean.len());
        let of_kept = |values: &[f32]| -> Vec<f32> {
            values
                .iter()
                .zip(kept.iter().cycle())
                .filter(|(_, mask)| **mask == 0.0)
                .map(|(x, _)| *x)
                .collect()
        };
        let conditioning = pipeline.encode(&["a red apple"], &[""], &settings, go_on).unwrap();
        let mut seen = 0;
        let mut listener = |event: Event<'_>| {
            if let Event::Step { latents, sigma, .. } = event {
                let latents = Latents::from_channels_last(latents).unwrap().values;
                assert_mixed(&of_kept(&latents), &of_kept(&clean), &of_kept(&noise), sigma);
                seen += 1;
            }
            ControlFlow::Continue(())
        };
        let drawn = pipeline.sample_prepared(&task, &conditioning, &settings, &mut listener).unwrap();
        assert_eq!((seen, of_kept(&drawn.values)), (7, of_kept(&clean)), "{name}");
        assert_ne!(drawn.values, clean, "{name}");
    }
}

#[test]
fn samplers_that_do_not_fit_a_flow_are_refused_by_name() {
    let pipeline = flow_pipeline();
    let check = |settings: &Settings| settings.check(&pipeline.model);
    for name in ["ddpm", "plms", "tcd", "ddim", "dpm_fast", "dpm_adaptive"] {
        let with_noise = settings(name).with_eta(Some(0.5));
        let Err(Error::Setting { setting, problem }) = check(&with_noise) else { panic!("{name}") };
        let text = problem.to_string();
        assert!(setting == Setting::Sampler && text.contains(name) && text.contains("euler"), "{text}");
        let without = check(&settings(name).with_eta(Some(0.0)));
        assert_eq!(without.is_ok(), ["ddim", "dpm_fast", "dpm_adaptive"].contains(&name), "{name}");
    }
    for sampler in
        samplers::ALL.iter().filter(|own| own.flow_matching() == samplers::FlowMatchingSupport::Full)
    {
        check(&settings(sampler.name()).with_eta(Some(1.0))).unwrap();
    }
    // Another model takes them all.
    let demo = Pipeline::open(Checkpoint::from_bytes("demo", latent_demo::DEMO.unwrap()).unwrap()).unwrap();
    settings("ddpm").check(&demo.model).unwrap();
}
