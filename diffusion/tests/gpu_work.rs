//! What a GPU does beside the commands of an image: weights that are uploaded for a while, and pipelines.
#![cfg(feature = "gpu")]

use crate::gpu_faults::{adapter, draw, open, pipeline, settings};
use latent_diffusion::tensor::gpu::{Gpu, GpuOptions, PipelineUse};
use latent_diffusion::{Event, Fill, Image, Latents, Mask, Pipeline, Task, samplers};
use std::ops::ControlFlow;

/// Blocks that are read when it is their turn give the bytes of those that stay in memory, and each is ready before the one before it was
/// waited for. Two are in memory at once, as the estimate says.
#[test]
fn streamed_blocks_are_uploaded_while_others_compute() {
    let Some(adapter) = adapter() else { return };
    // The image, and the memory in use after the first step.
    let drawn = |pipeline: &mut Pipeline, gpu: &Gpu| {
        let mut used = 0;
        let images = draw(pipeline, |step| {
            if step == 1 {
                used = gpu.memory().now;
            }
        });
        (images.unwrap(), used)
    };
    let (kept_gpu, kept) = open(&adapter, &GpuOptions::default());
    let mut pipeline = pipeline();
    pipeline.set_device(kept.clone());
    let (want, whole_used) = drawn(&mut pipeline, &kept_gpu);
    assert_eq!(kept_gpu.stream_use().blocks, 0);
    let whole = pipeline.sampling_weights(&kept);

    let (gpu, device) = open(&adapter, &GpuOptions::default());
    let mut streamed = pipeline.with_streamed_weights(true);
    streamed.set_device(device.clone());
    let (images, used) = drawn(&mut streamed, &gpu);
    assert!(images == want);
    let count = gpu.stream_use();
    assert!(count.blocks > 0 && count.overlapped == count.blocks, "{count:?}");
    let two_blocks = streamed.sampling_weights(&device);
    assert!(2 * two_blocks < whole, "{two_blocks} of {whole}");
    assert!(used + whole - two_blocks <= whole_used, "{used} and {whole_used}; {two_blocks} of {whole}");
}

/// The pipelines of an image are compiled before a submission needs the first of them, and in a later process before anything is
/// read.
#[test]
fn a_prepared_model_compiles_no_pipeline_while_it_draws() {
    let Some(adapter) = adapter() else { return };
    let folder = std::env::temp_dir().join(format!("latent-prepared-{}", std::process::id()));
    let options = GpuOptions { cache: Some(folder.clone()), ..GpuOptions::default() };
    let mut pipeline = pipeline();
    let (first, device) = open(&adapter, &options);
    pipeline.set_device(device);
    assert_eq!(first.pipeline_use(), PipelineUse::default());
    let want = draw(&mut pipeline, |_| ()).unwrap();
    let PipelineUse { compiled, rounds } = first.pipeline_use();
    assert!(2 * rounds < compiled, "{compiled} in {rounds} rounds");
    first.save_pipelines().unwrap();

    let (second, device) = open(&adapter, &options);
    pipeline.set_device(device);
    let prepared = PipelineUse { compiled, rounds: 1 };
    assert_eq!(second.pipeline_use(), prepared);
    assert!(draw(&mut pipeline, |_| ()).unwrap() == want);
    assert_eq!(second.pipeline_use(), prepared);
    std::fs::remove_dir_all(&folder).unwrap();
}

/// Latents stay where the network is: between the steps of a sampler nothing waits for all that the GPU was given. Only what reads the
/// latents does.
#[test]
fn steps_do_not_wait_for_the_gpu() {
    let Some(adapter) = adapter() else { return };
    let (gpu, device) = open(&adapter, &GpuOptions::default());
    let mut pipeline = pipeline();
    pipeline.set_device(device);
    let image = Image { width: 64, height: 64, rgb: (0..64 * 64 * 3).map(|i| (i % 251) as u8).collect() };
    let mask = (0..64 * 64).map(|i| if i % 64 < 32 { 255 } else { 0 }).collect();
    let mask = Mask { width: 64, height: 64, values: mask };
    let text = Task::TextToImage;
    let inpaint =
        Task::Inpaint { image: &image, mask: &mask, strength: 1.0, fill: Fill::Noise, feather: 0.0 };
    let runs = [("dpm++2m", &inpaint, 0), ("euler_a_cfg_pp", &text, 0), ("euler", &text, 1)];
    for (name, task, reads) in runs {
        let sampler = samplers::parse(name).unwrap().0;
        let settings = settings().with_steps(3).with_sampler(sampler);
        let mut waits = Vec::new();
        let mut listener = |event: Event<'_>| {
            if let Event::Step { step: 1.., latents, .. } = event {
                (0..reads).for_each(|_| drop(Latents::from_channels_last(latents).unwrap()));
                waits.push(gpu.waits());
            }
            ControlFlow::Continue(())
        };
        pipeline.draw(task, "a red apple", "", &settings, &mut listener).unwrap();
        let expected: Vec<u64> = (0..3).map(|step| waits[0] + step * reads).collect();
        assert_eq!(waits, expected, "{name}");
    }
}
