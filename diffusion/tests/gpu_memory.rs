//! A GPU with less memory than the weights of a transformer: they are read block by block, and the image is the same.
#![cfg(feature = "gpu")]

use latent_benches::{Manifest, synth};
use latent_diffusion::loader::{Checkpoint, DType as FileDType};
use latent_diffusion::tensor::gpu::{Adapter, Gpu, GpuOptions, adapters};
use latent_diffusion::tensor::{DType, Device};
use latent_diffusion::{Image, Pipeline, Settings};
use serde_json::{Value, json};
use std::ops::ControlFlow;
use std::path::PathBuf;

/// Single blocks of the model, so many that sampling takes more than encoding the text.
const BLOCKS: usize = 90;

/// The tiny Flux.1 schnell with more blocks.
fn model() -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/reference/manifests/flux-schnell-pipeline-tiny-single.json");
    let mut manifest: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let files = manifest["files"].as_object_mut().unwrap();
    let entries = files.values_mut().next().unwrap().as_array_mut().unwrap();
    let of_block = |entry: &Value| entry["name"].as_str().unwrap().contains("single_transformer_blocks.1.");
    let block: Vec<Value> = entries.iter().filter(|entry| of_block(entry)).cloned().collect();
    for number in 2..BLOCKS {
        entries.extend(block.iter().map(|entry| {
            let name = entry["name"].as_str().unwrap();
            let mut entry = entry.clone();
            entry["name"] = json!(name.replace("blocks.1.", &format!("blocks.{number}.")));
            entry
        }));
    }
    let manifest = Manifest::parse(&manifest.to_string()).unwrap();
    synth::bytes(manifest.files().values().next().unwrap(), 1, FileDType::F16)
}

/// Draws on a GPU with a limit: the image, and the maximum of bytes in use.
fn draw(pipeline: &mut Pipeline, adapter: &Adapter, memory_limit: Option<u64>) -> (Image, u64) {
    let gpu = Gpu::open(adapter, &GpuOptions { memory_limit, ..GpuOptions::default() }).unwrap();
    pipeline.set_device(Device::gpu(&gpu, DType::F32).unwrap());
    let settings = Settings::of(pipeline.model()).with_steps(1).with_width(Some(32)).with_height(Some(48));
    let images =
        pipeline.text_to_image("a red fox", "", &settings, &mut |_| ControlFlow::Continue(())).unwrap();
    pipeline.set_device(Device::Cpu);
    (images.into_iter().next().unwrap(), gpu.memory().peak)
}

#[test]
fn weights_beyond_a_gpus_memory_are_read_block_by_block() {
    let Some(adapter) = adapters().into_iter().max_by_key(Adapter::rank) else {
        assert!(std::env::var_os("LATENT_GPU_REQUIRED").is_none(), "no GPU, and LATENT_GPU_REQUIRED is set");
        eprintln!("SKIPPED: no GPU; Mesa's llvmpipe is one (Debian: mesa-vulkan-drivers)");
        return;
    };
    let bytes = model();
    let open = || Pipeline::open(Checkpoint::from_bytes("flux", bytes.clone()).unwrap()).unwrap();
    let (want, peak) = draw(&mut open(), &adapter, None);
    // Room for the weights, but not for what they work on as well: they leave again, and one block at a time comes back.
    let limit = peak / 10 * 9;
    let (image, used) = draw(&mut open(), &adapter, Some(limit));
    assert!(image == want, "another image with {limit} of {peak} bytes");
    assert!(used <= limit, "{used} of {limit}");
}
