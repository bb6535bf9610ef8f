//! A GPU that fails in the middle of an image, and the next image.
#![cfg(feature = "gpu")]

use latent_diffusion::tensor::gpu::{Adapter, Gpu, GpuOptions, adapters};
use latent_diffusion::tensor::{DType, Device};
use latent_diffusion::{Error, Event, Image, Latents, Pipeline, Settings, loader::Checkpoint};
use std::ops::ControlFlow;
use std::path::Path;

/// The best GPU. That there is none is told, and is a failure where `LATENT_GPU_REQUIRED` is set.
pub(crate) fn adapter() -> Option<Adapter> {
    let adapter = adapters().into_iter().max_by_key(Adapter::rank);
    if adapter.is_none() {
        assert!(std::env::var_os("LATENT_GPU_REQUIRED").is_none(), "no GPU, and LATENT_GPU_REQUIRED is set");
        eprintln!("SKIPPED: no GPU; Mesa's llvmpipe is one (Debian: mesa-vulkan-drivers)");
    }
    adapter
}

pub(crate) fn pipeline() -> Pipeline {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets/demo.safetensors");
    Pipeline::open(Checkpoint::open(&demo).unwrap()).unwrap()
}

pub(crate) fn open(adapter: &Adapter, options: &GpuOptions) -> (Gpu, Device) {
    let gpu = Gpu::open(adapter, options).unwrap();
    let device = Device::gpu(&gpu, DType::F32).unwrap();
    (gpu, device)
}

/// Two steps of a small image.
pub(crate) fn settings() -> Settings {
    Settings::default().with_steps(2).with_seeds(vec![7]).with_width(Some(64)).with_height(Some(64))
}

/// Draws; `on_step` hears of each step.
pub(crate) fn draw(pipeline: &mut Pipeline, mut on_step: impl FnMut(usize)) -> Result<Vec<Image>, Error> {
    let settings = settings();
    pipeline.text_to_image("a red apple", "", &settings, &mut |event| {
        if let Event::Step { step, .. } = event {
            on_step(step);
        }
        ControlFlow::Continue(())
    })
}

fn largest_difference(a: &[Image], b: &[Image]) -> Option<u8> {
    a[0].rgb.iter().zip(&b[0].rgb).map(|(a, b)| a.abs_diff(*b)).max()
}

#[test]
fn a_lost_gpu_is_a_clean_error_and_the_next_image_succeeds() {
    let Some(adapter) = adapter() else { return };
    let mut pipeline = pipeline();
    let want = draw(&mut pipeline, |_| ()).unwrap();
    let (gpu, device) = open(&adapter, &GpuOptions::default());
    pipeline.set_device(device);
    let lose = |step| {
        if step == 1 {
            gpu.lose();
        }
    };
    let error = draw(&mut pipeline, lose).unwrap_err();
    assert!(error.is_gpu_fault() && !error.is_bad_input(), "{error:?}");
    assert!(error.to_string().contains("the GPU was lost"), "{error}");
    // It stays lost.
    assert!(draw(&mut pipeline, |_| ()).unwrap_err().is_gpu_fault());
    pipeline.set_device(open(&adapter, &GpuOptions::default()).1);
    assert!(largest_difference(&draw(&mut pipeline, |_| ()).unwrap(), &want) <= Some(2));
    pipeline.set_device(Device::Cpu);
    assert_eq!(draw(&mut pipeline, |_| ()).unwrap(), want);
}

/// With some limits the image ends, while weights are read or while it is decoded; with others there is room for one block at a time.
#[test]
fn no_memory_is_a_clean_error_and_the_next_image_succeeds() {
    let Some(adapter) = adapter() else { return };
    let mut pipeline = pipeline();
    let want = draw(&mut pipeline, |_| ()).unwrap();
    let (gpu, device) = open(&adapter, &GpuOptions::default());
    pipeline.set_device(device);
    draw(&mut pipeline, |_| ()).unwrap();
    let peak = gpu.memory().peak;
    for share in [5, 50, 90] {
        let options = GpuOptions { memory_limit: Some(peak / 100 * share), ..GpuOptions::default() };
        pipeline.set_device(open(&adapter, &options).1);
        match draw(&mut pipeline, |_| ()) {
            Ok(image) => {
                assert!(share > 5 && largest_difference(&image, &want) <= Some(2), "{share} %");
            }
            Err(error) => {
                assert!(error.is_gpu_fault(), "{share} %: {error:?}");
                assert!(error.to_string().contains("the GPU is out of memory"), "{share} %: {error}");
            }
        }
        pipeline.set_device(Device::Cpu);
        assert_eq!(draw(&mut pipeline, |_| ()).unwrap(), want, "{share} %");
    }
    pipeline.set_device(open(&adapter, &GpuOptions::default()).1);
    assert!(largest_difference(&draw(&mut pipeline, |_| ()).unwrap(), &want) <= Some(2));
}

/// Latents so large that the values on the way exceed 65504.
#[test]
fn a_decoder_that_passes_the_largest_f16_decodes_in_f32() {
    let Some(adapter) = adapter() else { return };
    let gpu = Gpu::open(&adapter, &GpuOptions::default()).unwrap();
    let Ok(half) = Device::gpu(&gpu, DType::F16) else { return };
    let mut pipeline = pipeline();
    let mut latents = Latents::zeros(2, 4, 2, 2);
    latents.values.iter_mut().enumerate().for_each(|(i, v)| *v = [1.0, -1.0, 0.5][i % 3]);
    latents.values[..16].iter_mut().for_each(|v| *v *= 30_000.0);
    let mut go_on = |_: Event<'_>| ControlFlow::Continue(());
    let want = pipeline.decode(&latents, &mut go_on).unwrap();
    pipeline.set_device(half);
    // What was read so far grows, until reading begins anew.
    let (mut before, mut begun) = (u64::MAX, 0);
    let mut count = |event: Event<'_>| {
        if let Event::Loading { read, .. } = event {
            begun += usize::from(read < before);
            before = read;
        }
        ControlFlow::Continue(())
    };
    let got = pipeline.decode(&latents, &mut count).unwrap();
    assert_eq!(begun, 2, "once in f16, once in f32");
    for (got, want) in got.iter().zip(&want) {
        let largest = got.rgb.iter().zip(&want.rgb).map(|(a, b)| a.abs_diff(*b)).max();
        assert!(largest <= Some(2), "{largest:?}");
    }
}

/// The demo model with the first layer of a part so much larger that half precision cannot hold what it gives. The norms behind
/// it take that back, so that `f32` draws an image.
fn too_large_for_f16(weight: &str) -> Pipeline {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets/demo.safetensors");
    let mut bytes = std::fs::read(demo).unwrap();
    let start = 8 + u64::from_le_bytes(*bytes.first_chunk().unwrap()) as usize;
    let header: serde_json::Value = serde_json::from_slice(&bytes[8..start]).unwrap();
    for name in [weight.to_owned(), weight.replace("weight", "bias")] {
        assert_eq!(header[&name]["dtype"], "F16", "{name}");
        let offset = |i: usize| start + header[&name]["data_offsets"][i].as_u64().unwrap() as usize;
        for value in bytes[offset(0)..offset(1)].chunks_exact_mut(2) {
            // Times 65536, by the exponent; at most the largest, and nothing of what is less than normal.
            let bits = u16::from_le_bytes([value[0], value[1]]);
            let large = match bits >> 10 & 31 {
                0 => bits & 0x8000,
                1..15 => bits + (16 << 10),
                _ => bits & 0x8000 | 0x7bff,
            };
            value.copy_from_slice(&large.to_le_bytes());
        }
    }
    Pipeline::open(Checkpoint::from_bytes("large", bytes).unwrap()).unwrap()
}

#[test]
fn a_unet_that_passes_the_largest_f16_draws_once_more_in_f32() {
    let Some(adapter) = adapter() else { return };
    let gpu = Gpu::open(&adapter, &GpuOptions::default()).unwrap();
    let Ok(half) = Device::gpu(&gpu, DType::F16) else { return };
    let mut pipeline = too_large_for_f16("model.diffusion_model.input_blocks.0.0.weight");
    let want = draw(&mut pipeline, |_| ()).unwrap();
    pipeline.set_device(half);
    let (mut reasons, settings) = (Vec::new(), Settings::default().with_steps(2).with_seeds(vec![7]));
    let got = pipeline
        .text_to_image("a red apple", "", &settings, &mut |event| {
            if let Event::InF32 { reason } = event {
                reasons.push(reason.to_string());
            }
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(reasons.len(), 1, "{reasons:?}");
    assert!(reasons[0].contains("step 1 of 2"), "{reasons:?}");
    assert!(largest_difference(&got, &want) <= Some(2));
    assert_eq!(pipeline.device().more_exact(), None, "it goes on in f32");
}
