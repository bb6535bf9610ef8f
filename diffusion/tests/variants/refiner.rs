//! SDXL's refiner, alone and after the base model.

use super::{bytes, entries, quiet};
use latent_diffusion::loader::Checkpoint;
use latent_diffusion::params::Params;
use latent_diffusion::samplers;
use latent_diffusion::schedule::ScheduleKind;
use latent_diffusion::unet::{UNet, added_vector};
use latent_diffusion::{AestheticScores, Conditioning, Event, Latents, Pipeline, Settings};
use std::ops::ControlFlow;

fn open(family: &str) -> Pipeline {
    Pipeline::open(Checkpoint::from_bytes(family, bytes(entries(family))).unwrap()).unwrap()
}

fn settings() -> Settings {
    let (sampler, _) = samplers::parse("euler").unwrap();
    let schedule = ScheduleKind::Normal;
    Settings::default()
        .with_width(Some(64))
        .with_height(Some(64))
        .with_steps(4)
        .with_sampler(sampler)
        .with_schedule(schedule)
        .with_guidance(1.0)
}

/// The latents after each step, of which the first are the noise.
fn steps(pipeline: &mut Pipeline, settings: &Settings) -> (Conditioning, Vec<Vec<f32>>) {
    let conditioning = pipeline.encode(&["a desert"], &["sea"], settings, &mut *quiet()).unwrap();
    let mut steps = Vec::new();
    let mut listener = |event: Event<'_>| {
        if let Event::Step { latents, .. } = event {
            steps.push(Latents::from_channels_last(latents).unwrap().values);
        }
        ControlFlow::Continue(())
    };
    pipeline.sample(&conditioning, settings, &mut listener).unwrap();
    (conditioning, steps)
}

#[test]
fn the_refiner_is_told_a_score() {
    let mut refiner = open("sdxl-refiner");
    assert!(refiner.model().takes_score && !refiner.model().zero_negative);
    let (_, usual) = steps(&mut refiner, &settings());
    let scored = |positive| {
        settings().with_aesthetic_scores(AestheticScores { positive, ..AestheticScores::default() })
    };
    let (_, same) = steps(&mut refiner, &scored(6.0));
    assert!(usual == same, "6 is the usual score");
    let (_, ugly) = steps(&mut refiner, &scored(1.0));
    assert!(usual != ugly, "the score does not count");
    let images = refiner.text_to_image("a desert", "sea", &settings(), &mut *quiet()).unwrap();
    assert_eq!(images[0].rgb.len(), 64 * 64 * 3);
}

#[test]
fn a_refiner_that_is_the_same_model_changes_nothing() {
    // Without memory, with random numbers, and with what it keeps of the step before.
    for name in ["ddim", "euler_a", "dpm++2m"] {
        let (sampler, _) = samplers::parse(name).unwrap();
        let settings = settings().with_sampler(sampler).with_guidance(5.0);
        let (_, alone) = steps(&mut open("sdxl"), &settings);
        let mut pipeline = open("sdxl");
        pipeline.set_refiner(Some((open("sdxl"), 0.5))).unwrap();
        let (_, refined) = steps(&mut pipeline, &settings);
        assert!(alone == refined, "{name}");
        // The next image begins with the base model again.
        assert!(steps(&mut pipeline, &settings).1 == refined, "{name}");
    }
}

#[test]
fn the_refiner_takes_over_where_the_time_step_falls_below() {
    let settings = settings();
    let (_, alone) = steps(&mut open("sdxl"), &settings);
    let mut pipeline = open("sdxl");
    // Time steps are 999, 666, 333 and 0: the last is below 200.
    pipeline.set_refiner(Some((open("sdxl-refiner"), 0.8))).unwrap();
    let (conditioning, refined) = steps(&mut pipeline, &settings);
    assert!(alone[..4] == refined[..4], "the base model draws three steps");
    assert!(alone[4] != refined[4], "the refiner draws the last");

    // The last step by hand: Euler's method to 0 is what the network takes for the image.
    let refiner = open("sdxl-refiner");
    let model = refiner.model();
    let unet = UNet::load(&Params::new(model.weights.scope("unet"), &|_| ()), model.network.unet().unwrap())
        .unwrap();
    let own = conditioning.refiner.unwrap();
    let (prompt, _) = own.at_step(0, 3).unwrap();
    let added = added_vector(prompt[0].pooled.as_ref().unwrap(), &[64.0, 64.0, 0.0, 0.0, 6.0]).unwrap();
    let condition = unet.condition(&prompt[0].hidden_states, Some(&added)).unwrap();
    let sigma = model.training.sigma_range().0;
    let input = model.noise_model().network_input(&refined[3], sigma);
    let input = Latents { values: input, ..Latents::zeros(1, 4, 8, 8) };
    let noise = unet.forward(&input.channels_last(0..1).unwrap(), &[0.0], &condition).unwrap();
    for pixel in 0..64 {
        for channel in 0..4 {
            let at = channel * 64 + pixel;
            let expected =
                f64::from(refined[3][at]) - sigma * f64::from(noise.f32s().unwrap()[pixel * 4 + channel]);
            assert!((f64::from(refined[4][at]) - expected).abs() < 1e-4, "{expected}");
        }
    }
}

#[test]
fn refiners_that_cannot_follow_are_refused() {
    let mut pipeline = open("sdxl");
    for start in [0.0, 1.0, -1.0, f64::NAN] {
        let error = pipeline.set_refiner(Some((open("sdxl-refiner"), start))).unwrap_err();
        assert!(error.is_bad_input() && error.to_string().contains("0.8 is usual"), "{error}");
    }
    let error = pipeline.set_refiner(Some((open("sd15"), 0.8))).unwrap_err().to_string();
    assert!(error.contains("Stable Diffusion 1.x") && error.contains("latents"), "{error}");
    let mut refined = open("sdxl");
    refined.set_refiner(Some((open("sdxl-refiner"), 0.8))).unwrap();
    assert!(pipeline.set_refiner(Some((refined, 0.8))).is_err());
    // Nothing has changed, and nothing is encoded for a refiner.
    let conditioning = pipeline.encode(&["a"], &[], &settings(), &mut *quiet()).unwrap();
    assert!(conditioning.refiner.is_none());
    // What was encoded before there was a refiner is drawn without it.
    pipeline.set_refiner(Some((open("sdxl-refiner"), 0.8))).unwrap();
    let latents = pipeline.sample(&conditioning, &settings(), &mut *quiet()).unwrap();
    pipeline.set_refiner(None).unwrap();
    assert!(latents == pipeline.sample(&conditioning, &settings(), &mut *quiet()).unwrap());
}
