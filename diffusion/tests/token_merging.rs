//! Token merging (`token_merging`): what it saves and changes, and what it leaves.

use latent_benches::likeness::psnr;
use latent_diffusion::controlnet::{ControlNet, ControlNetConfig};
use latent_diffusion::families::published;
use latent_diffusion::loader::Checkpoint;
use latent_diffusion::params::Params;
use latent_diffusion::rng::RngKind;
use latent_diffusion::tensor::{Tensor, profile};
use latent_diffusion::unet::{Heads, UNet, UNetConfig};
use latent_diffusion::{Event, Image, Latents, Pipeline, Settings};
use latent_kernels::parallel;
use std::ops::ControlFlow;
use std::path::Path;

fn demo() -> Pipeline {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets/demo.safetensors");
    Pipeline::open(Checkpoint::open(&demo).unwrap()).unwrap()
}

fn settings(ratio: f64) -> Settings {
    Settings::default().with_steps(4).with_seeds(vec![7]).with_token_merging(ratio)
}

/// Latents, and the floating-point operations of sampling.
fn sample(settings: &Settings) -> (Vec<f32>, u64) {
    let mut go_on = |_: Event<'_>| ControlFlow::Continue(());
    let mut pipeline = demo();
    let conditioning = pipeline.encode(&["a red apple"], &[""], settings, &mut go_on).unwrap();
    let sample = || -> Latents { pipeline.sample(&conditioning, settings, &mut go_on).unwrap() };
    let (latents, profile) = profile::record(sample);
    (latents.values, profile.total().flops)
}

#[test]
fn nothing_merged_is_the_same_bytes() {
    let plain = sample(&Settings::default().with_steps(4).with_seeds(vec![7]));
    assert!(sample(&settings(0.0)) == plain);
    // Less than one token of 256.
    assert!(sample(&settings(0.001)) == plain);
}

/// The demo model has 16x16 tokens at its finest level.
#[test]
fn the_more_is_merged_the_less_is_computed_and_the_more_changes() {
    let (plain, all) = sample(&settings(0.0));
    let distance = |latents: &[f32]| -> f32 { latents.iter().zip(&plain).map(|(a, b)| (a - b).abs()).sum() };
    let (mut last_work, mut last_distance) = (all, 0.0);
    for ratio in [0.1, 0.3, 0.5] {
        let (latents, work) = sample(&settings(ratio));
        assert!(work < last_work, "{ratio}: {work} after {last_work}");
        assert!(distance(&latents) > last_distance, "{ratio}: {} after {last_distance}", distance(&latents));
        (last_work, last_distance) = (work, distance(&latents));
    }
}

#[test]
fn the_same_latents_alone_and_in_a_batch() {
    let with = |seeds: &[u64]| sample(&settings(0.4).with_seeds(seeds.to_vec())).0;
    let together = with(&[5, 6, 7]);
    for (seed, part) in [5, 6, 7].into_iter().zip(together.chunks_exact(together.len() / 3)) {
        assert!(with(&[seed]) == part, "{seed}");
    }
}

#[test]
fn the_same_latents_with_any_number_of_threads() {
    let want = sample(&settings(0.5)).0;
    for threads in [1, 2, 3] {
        assert!(parallel::with_threads(threads, || sample(&settings(0.5)).0).unwrap() == want, "{threads}");
    }
}

#[test]
fn it_goes_with_cached_levels_and_without_guidance() {
    let both = settings(0.3).with_cache_interval(2).with_guidance_end(0.5);
    let (latents, work) = sample(&both);
    assert!(latents.iter().all(|value| value.is_finite()));
    assert!(work < sample(&both.clone().with_token_merging(0.0)).1);
}

/// Unit normals.
fn normal(dims: &[usize], seed: u64) -> Tensor {
    let mut values = vec![0.0; dims.iter().product()];
    RngKind::Cpu.generator(seed).normal(&mut values);
    Tensor::from_f32(dims, &values).unwrap()
}

/// Sizes of a small UNet whose levels have that many transformer blocks.
fn config(depth: [usize; 3]) -> UNetConfig {
    let base = published().next().unwrap().sizes().unet;
    UNetConfig {
        block_out_channels: vec![32, 64, 64],
        layers_per_block: 1,
        transformer_depth: depth.to_vec(),
        mid_depth: 1,
        only_cross_attention: Vec::new(),
        cross_attention_dim: 32,
        heads: Heads::Count(4),
        ..base
    }
}

/// Which level is merged shows in the operations: a level without attention leaves it to the next, and no other is merged.
#[test]
fn the_finest_level_with_attention_is_merged() {
    let params = Params::synthetic(1, &|_| ());
    let saved = |depth| {
        let unet = UNet::load(&params, &config(depth)).unwrap();
        let mut condition = unet.condition(&normal(&[1, 77, 32], 2), None).unwrap();
        let mut work = |ratio| {
            condition.set_token_merging(ratio);
            // Sides that halve to 8x6 and 4x3.
            let run = || unet.forward(&normal(&[1, 16, 12, 4], 3), &[500.0], &condition).unwrap();
            profile::record(run).1.work(profile::OpClass::Attention).flops
        };
        work(0.0) - work(0.5)
    };
    // Three transformers, whose self-attentions have (n^2 - (n / 2)^2) products less of 2 c channels.
    let products = |tokens: u64, channels: u64| 3 * 2 * 2 * channels * (tokens * tokens * 3 / 4);
    assert_eq!(saved([1, 1, 1]), products(16 * 12, 32));
    assert_eq!(saved([0, 1, 1]), products(8 * 6, 64));
    assert_eq!(saved([0, 0, 1]), products(4 * 3, 64));
    assert_eq!(saved([0, 0, 0]), 0);
}

#[test]
fn odd_sides_are_merged_too() {
    let unet = UNet::load(&Params::synthetic(1, &|_| ()), &config([1, 1, 1])).unwrap();
    let mut condition = unet.condition(&normal(&[2, 77, 32], 2), None).unwrap();
    for (height, width) in [(7, 9), (1, 5), (2, 2)] {
        let mut forward = |ratio| {
            condition.set_token_merging(ratio);
            let out = unet.forward(&normal(&[2, height, width, 4], 3), &[500.0; 2], &condition).unwrap();
            out.f32s().unwrap().to_vec()
        };
        let (plain, merged) = (forward(0.0), forward(0.5));
        assert!(merged.iter().all(|v| v.is_finite()) && merged.len() == plain.len());
        // One row of tokens has no whole block.
        assert_eq!(merged == plain, height == 1, "{height}x{width}");
    }
}

#[test]
fn a_control_net_merges_as_well() {
    let control = ControlNetConfig {
        unet: config([1, 1, 1]),
        hint_channels: vec![3, 16, 16, 32, 32, 96, 96, 256],
        union: None,
    };
    let net = ControlNet::load(&Params::synthetic(1, &|_| ()), &control).unwrap();
    let hint = net.embed(&Tensor::zeros(&[1, 64, 64, 3]).unwrap()).unwrap();
    let mut condition = net.condition(&normal(&[1, 77, 32], 2), None).unwrap();
    let mut forward = |ratio| {
        condition.set_token_merging(ratio);
        let run = || net.forward(&normal(&[1, 8, 8, 4], 3), &[500.0], &hint, &condition, 1.0).unwrap();
        profile::record(run).1.total().flops
    };
    assert!(forward(0.5) < forward(0.0));
}

#[test]
fn parts_that_cannot_be_merged_are_refused() {
    let mut pipeline = demo();
    let go_on = &mut |_: Event<'_>| ControlFlow::Continue(());
    for ratio in [-0.1, 0.51, 1.0, f64::NAN, f64::INFINITY] {
        let error = pipeline.text_to_image("a", "", &settings(ratio), go_on).unwrap_err();
        assert!(error.is_bad_input(), "{error}");
        assert!(error.to_string().starts_with("token merging: "), "{error}");
        assert!(error.to_string().contains("0 to 0.5"), "{error}");
    }
}

fn image(prompt: &str, ratio: f64) -> Image {
    let go_on = &mut |_: Event<'_>| ControlFlow::Continue(());
    let settings = settings(ratio).with_steps(20);
    demo().text_to_image(prompt, "", &settings, go_on).unwrap().remove(0)
}

/// docs/speed.md has the figures over more images.
#[test]
fn images_stay_near() {
    const PROMPTS: [&str; 3] = ["a red apple", "a yellow star", "a blue book"];
    let exact = PROMPTS.map(|prompt| image(prompt, 0.0));
    let other = psnr(&exact[0].rgb, &exact[1].rgb);
    for ratio in [0.2, 0.5] {
        let near =
            PROMPTS.iter().zip(&exact).map(|(prompt, exact)| psnr(&exact.rgb, &image(prompt, ratio).rgb));
        let mean = near.sum::<f64>() / PROMPTS.len() as f64;
        eprintln!("{ratio}: {mean:.1} dB, another image {other:.1}");
        assert!(mean > other + 5.0, "{ratio}: {mean}, another image: {other}");
    }
}
