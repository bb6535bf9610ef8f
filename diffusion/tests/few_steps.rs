//! Steps without guidance (`guidance_end`) and steps that take over the coarse levels (`cache_interval`).

use latent_benches::likeness::psnr;
use latent_benches::{DType, Manifest, synth};
use latent_diffusion::controlnet::ControlNetResiduals;
use latent_diffusion::families::Model;
use latent_diffusion::loader::Checkpoint;
use latent_diffusion::params::Params;
use latent_diffusion::rng::RngKind;
use latent_diffusion::samplers::{self, Sampler};
use latent_diffusion::tensor::{Tensor, profile};
use latent_diffusion::unet::{DeepCache, UNet};
use latent_diffusion::{Event, Image, Latents, Pipeline, Settings};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

const STEPS: usize = 6;

fn demo() -> Pipeline {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets/demo.safetensors");
    Pipeline::open(Checkpoint::open(&demo).unwrap()).unwrap()
}

fn sampler(name: &str) -> &'static dyn Sampler {
    samplers::parse(name).unwrap().0
}

fn settings(guidance_end: f64, cache_interval: usize) -> Settings {
    Settings::default()
        .with_steps(STEPS)
        .with_seeds(vec![7])
        .with_guidance_end(guidance_end)
        .with_cache_interval(cache_interval)
}

/// The latents after each step.
fn steps(settings: &Settings) -> Vec<Vec<f32>> {
    let mut steps = Vec::new();
    let mut listener = |event: Event<'_>| {
        if let Event::Step { step: 1.., latents, .. } = event {
            steps.push(Latents::from_channels_last(latents).unwrap().values);
        }
        ControlFlow::Continue(())
    };
    let mut pipeline = demo();
    let conditioning = pipeline.encode(&["a red apple"], &[""], settings, &mut listener).unwrap();
    pipeline.sample(&conditioning, settings, &mut listener).unwrap();
    steps
}

/// Floating-point operations of sampling.
fn operations(settings: &Settings) -> u64 {
    let mut go_on = |_: Event<'_>| ControlFlow::Continue(());
    let mut pipeline = demo();
    let conditioning = pipeline.encode(&["a red apple"], &[""], settings, &mut go_on).unwrap();
    let sample = || -> Latents { pipeline.sample(&conditioning, settings, &mut go_on).unwrap() };
    let (latents, profile) = profile::record(sample);
    assert!(latents.values.iter().all(|value| value.is_finite()));
    profile::OpClass::ALL.iter().map(|class| profile.work(*class).flops).sum()
}

#[test]
fn guidance_ends_where_it_is_told_to() {
    let whole = steps(&settings(1.0, 1));
    let half = steps(&settings(0.5, 1));
    assert!(half[..3] == whole[..3] && half[3..].iter().zip(&whole[3..]).all(|(a, b)| a != b));
    // The next step begins beyond 0.51 of them.
    assert!(steps(&settings(0.51, 1))[..4] == whole[..4]);
    // Without any step of it, it is as if the scale were 1.
    let never = steps(&settings(0.0, 1));
    assert!(never == steps(&settings(1.0, 1).with_guidance(1.0)) && never != whole);
}

/// With guidance a step takes two evaluations, without it one.
#[test]
fn a_step_without_guidance_is_half_the_work() {
    let parts = [1.0 / 3.0, 0.5, 2.0 / 3.0, 1.0];
    let [third, half, most, all] = parts.map(|end| operations(&settings(end, 1)));
    let evaluation = (half - third) as f64;
    assert_eq!(most - half, half - third);
    // Beside the evaluations, only the text is prepared: once more where guidance ends.
    assert!((all as f64 / (12.0 * evaluation) - 1.0).abs() < 0.03, "{all} for {evaluation}");
    assert!((half as f64 / (9.0 * evaluation) - 1.0).abs() < 0.03, "{half} for {evaluation}");
}

#[test]
fn shallow_steps_save_what_they_take_over() {
    let [one, two, three, six] = [1, 2, 3, 6].map(|interval| operations(&settings(1.0, interval)));
    // Of six steps, six, three, two and one go all the way.
    let saved = [two, three, six].map(|operations| one - operations);
    assert_eq!((saved[0] * 4, saved[0] * 5), (saved[1] * 3, saved[2] * 3));
    let share = 1.0 - (saved[2] as f64 / 5.0) / (one as f64 / 6.0);
    // 0.645 of this narrow model, about 0.4 of Stable Diffusion 1.5.
    assert!((0.5..0.7).contains(&share), "a shallow step is {share:.3} of a deep one");
    // Both together: two deep steps of two evaluations, one of one where the guidance ends, and shallow ones between.
    let both = operations(&settings(0.5, 2));
    assert!(both < two && both < operations(&settings(0.5, 1)));
}

#[test]
fn an_interval_of_one_is_none() {
    for name in ["dpm++2m", "heun"] {
        let with = |cache_interval| settings(1.0, cache_interval).with_sampler(sampler(name));
        let plain =
            steps(&Settings::default().with_sampler(sampler(name)).with_steps(STEPS).with_seeds(vec![7]));
        assert!(steps(&with(1)) == plain, "{name}");
        let cached = steps(&with(3));
        assert!(cached[0] == plain[0] && cached[1] != plain[1], "{name}");
    }
}

/// A synthetic model of a family.
fn model(family: &str) -> Model {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/manifests");
    let text = std::fs::read_to_string(folder.join(format!("{family}-tiny-single.json"))).unwrap();
    let manifest = Manifest::parse(&text).unwrap();
    let bytes = synth::bytes(manifest.files().values().next().unwrap(), 1, DType::F16);
    Model::detect(&Arc::new(Checkpoint::from_bytes(family, bytes).unwrap())).unwrap()
}

fn normal(dims: &[usize], seed: u64) -> Tensor {
    let mut values = vec![0.0; dims.iter().product()];
    RngKind::Cpu.generator(seed).normal(&mut values);
    Tensor::from_f32(dims, &values).unwrap()
}

/// Where nothing has changed since the deep step, the shallow one computes the same bits.
#[test]
fn a_shallow_step_after_nothing_changed_is_the_deep_one() {
    for family in ["sd15", "sd15-inpaint", "sd21", "sdxl", "sdxl-refiner"] {
        let model = model(family);
        let config = model.network.unet().unwrap();
        let unet = UNet::load(&Params::new(model.weights.scope("unet"), &|_| ()), config).unwrap();
        let (x, timesteps) = (normal(&[2, 8, 12, config.in_channels], 1), [400.0, 400.0]);
        let text = normal(&[2, 77, config.cross_attention_dim], 2);
        let added = config.added_dim.map(|dim| normal(&[2, dim], 3));
        let condition = unet.condition(&text, added.as_ref()).unwrap();
        let plain = unet.forward(&x, &timesteps, &condition).unwrap();
        let mut deep = None;
        let output = unet.forward_with(&x, &timesteps, &condition, None, DeepCache::Keep(&mut deep)).unwrap();
        let deep = deep.unwrap();
        let shallow = unet.forward_with(&x, &timesteps, &condition, None, DeepCache::Reuse(&deep)).unwrap();
        assert!(output.f32s().unwrap() == plain.f32s().unwrap(), "{family}: deep");
        assert!(shallow.f32s().unwrap() == plain.f32s().unwrap(), "{family}: shallow");
        // And another where something has.
        let later = unet
            .forward_with(&normal(x.dims(), 4), &[300.0; 2], &condition, None, DeepCache::Reuse(&deep))
            .unwrap();
        assert!(later.f32s().unwrap() != plain.f32s().unwrap(), "{family}: later");
        // What ControlNets add is taken over as well.
        let mut states = Vec::new();
        let (mut height, mut width) = (8usize, 12usize);
        for (level, channels) in config.block_out_channels.iter().enumerate() {
            if level > 0 {
                (height, width) = (height.div_ceil(2), width.div_ceil(2));
            }
            for index in 0..=config.layers_per_block {
                // The first of a level comes from the one before it.
                let channels =
                    if index == 0 { config.block_out_channels[level.saturating_sub(1)] } else { *channels };
                states.push(normal(&[2, height, width, channels], 10 + states.len() as u64));
            }
        }
        let middle = normal(&[2, height, width, *config.block_out_channels.last().unwrap()], 5);
        let residuals = ControlNetResiduals { down_blocks: states, mid_block: middle };
        let steered =
            unet.forward_with(&x, &timesteps, &condition, Some(residuals.clone()), DeepCache::Off).unwrap();
        let mut deep = None;
        let output = unet
            .forward_with(&x, &timesteps, &condition, Some(residuals), DeepCache::Keep(&mut deep))
            .unwrap();
        let deep = deep.unwrap();
        let shallow = unet.forward_with(&x, &timesteps, &condition, None, DeepCache::Reuse(&deep)).unwrap();
        assert!(output.f32s().unwrap() == steered.f32s().unwrap(), "{family}: steered");
        assert!(shallow.f32s().unwrap() == steered.f32s().unwrap(), "{family}: shallow and steered");
        assert!(steered.f32s().unwrap() != plain.f32s().unwrap(), "{family}");
    }
}

#[test]
fn features_of_another_batch_are_refused() {
    let model = model("sd15");
    let unet = UNet::load(&Params::new(model.weights.scope("unet"), &|_| ()), model.network.unet().unwrap())
        .unwrap();
    let condition = |batch| {
        unet.condition(&normal(&[batch, 77, model.network.unet().unwrap().cross_attention_dim], 2), None)
            .unwrap()
    };
    let mut deep = None;
    unet.forward_with(
        &normal(&[2, 8, 8, 4], 1),
        &[400.0; 2],
        &condition(2),
        None,
        DeepCache::Keep(&mut deep),
    )
    .unwrap();
    let deep = deep.unwrap();
    assert!(
        unet.forward_with(&normal(&[1, 8, 8, 4], 1), &[400.0], &condition(1), None, DeepCache::Reuse(&deep))
            .is_err()
    );
    assert!(
        unet.forward_with(
            &normal(&[2, 8, 16, 4], 1),
            &[400.0; 2],
            &condition(2),
            None,
            DeepCache::Reuse(&deep)
        )
        .is_err()
    );
}

#[test]
fn the_same_latents_alone_and_in_a_batch() {
    let with = |seeds: &[u64]| steps(&settings(0.5, 2).with_seeds(seeds.to_vec())).pop().unwrap();
    let together = with(&[5, 6]);
    let (first, second) = together.split_at(together.len() / 2);
    assert!(with(&[5]) == first && with(&[6]) == second);
}

fn image(prompt: &str, settings: &Settings) -> Image {
    let go_on = &mut |_: Event<'_>| ControlFlow::Continue(());
    demo().text_to_image(prompt, "", settings, go_on).unwrap().remove(0)
}

/// docs/performance.md has the figures over more images.
#[test]
fn images_stay_near() {
    const PROMPTS: [&str; 3] = ["a red apple", "a yellow star", "a blue book"];
    let of = |prompt, end, interval| image(prompt, &settings(end, interval).with_steps(20));
    let exact = PROMPTS.map(|prompt| of(prompt, 1.0, 1));
    // What another image has in common: most of it is background.
    let other = psnr(&exact[0].rgb, &exact[1].rgb);
    for (end, interval, least) in [(1.0, 2, 24.0), (1.0, 3, 20.0), (0.7, 1, 20.0)] {
        let all: Vec<f64> = PROMPTS
            .iter()
            .zip(&exact)
            .map(|(prompt, exact)| psnr(&exact.rgb, &of(prompt, end, interval).rgb))
            .collect();
        let mean = all.iter().sum::<f64>() / all.len() as f64;
        assert!(mean > least && mean > other + 5.0, "{end} {interval}: {all:?}, another image: {other}");
    }
}

#[test]
fn settings_that_cannot_be_are_named() {
    let mut pipeline = demo();
    let go_on = &mut |_: Event<'_>| ControlFlow::Continue(());
    for (settings, name) in [
        (settings(1.5, 1), "cfg end"),
        (settings(-0.1, 1), "cfg end"),
        (settings(f64::NAN, 1), "cfg end"),
        (settings(1.0, 0), "cache"),
        (settings(1.0, 1001), "cache"),
    ] {
        let error = pipeline.text_to_image("a", "", &settings, go_on).unwrap_err();
        assert!(error.is_bad_input() && error.to_string().contains(name), "{error}");
    }
}
