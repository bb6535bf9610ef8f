//! A GPU with less memory than the weights of a network: they are read block by block, and the image is the same.
#![cfg(feature = "gpu")]

use latent_benches::{Manifest, synth};
use latent_diffusion::loader::{Checkpoint, DType as FileDType};
use latent_diffusion::tensor::gpu::{Adapter, Gpu, GpuOptions, adapters};
use latent_diffusion::tensor::{DType, Device};
use latent_diffusion::{Image, Pipeline, Settings};
use serde_json::{Value, json};
use std::ops::ControlFlow;
use std::path::PathBuf;

/// A model of the references with more blocks of one kind.
struct TallModel {
    manifest: &'static str,
    /// What is in the names of the block that is repeated, with its number at the end.
    block: &'static str,
    /// Its number.
    number: usize,
    /// Blocks of the kind in all.
    blocks: usize,
}

/// A Flux.1 schnell, so tall that sampling takes more than encoding the text.
const TRANSFORMER: TallModel = TallModel {
    manifest: "flux-schnell-pipeline-tiny-single",
    block: "single_transformer_blocks.",
    number: 1,
    blocks: 210,
};

/// A Stable Diffusion 1.5.
const UNET: TallModel = TallModel {
    manifest: "sd15-tiny-single",
    block: "middle_block.1.transformer_blocks.",
    number: 0,
    blocks: 80,
};

impl TallModel {
    fn file(&self) -> Vec<u8> {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/reference/manifests");
        let text = std::fs::read_to_string(path.join(self.manifest).with_extension("json")).unwrap();
        let mut manifest: Value = serde_json::from_str(&text).unwrap();
        let files = manifest["files"].as_object_mut().unwrap();
        let entries = files.values_mut().next().unwrap().as_array_mut().unwrap();
        let place = |number: usize| format!("{}{number}.", self.block);
        let of_block = |entry: &Value| entry["name"].as_str().unwrap().contains(&place(self.number));
        let block: Vec<Value> = entries.iter().filter(|entry| of_block(entry)).cloned().collect();
        assert!(!block.is_empty());
        for number in self.number + 1..self.blocks {
            entries.extend(block.iter().map(|entry| {
                let name = entry["name"].as_str().unwrap();
                let mut entry = entry.clone();
                entry["name"] = json!(name.replace(&place(self.number), &place(number)));
                entry
            }));
        }
        let manifest = Manifest::parse(&manifest.to_string()).unwrap();
        synth::bytes(manifest.files().values().next().unwrap(), 1, FileDType::F16)
    }
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

/// Draws without a limit and with some, which are parts of what the first image takes: every image is the same.
fn check(model: &TallModel, parts: &[u64]) {
    let Some(adapter) = adapters().into_iter().max_by_key(Adapter::rank) else {
        assert!(std::env::var_os("LATENT_GPU_REQUIRED").is_none(), "no GPU, and LATENT_GPU_REQUIRED is set");
        eprintln!("SKIPPED: no GPU; Mesa's llvmpipe is one (Debian: mesa-vulkan-drivers)");
        return;
    };
    let bytes = model.file();
    let open = || Pipeline::open(Checkpoint::from_bytes("model", bytes.clone()).unwrap()).unwrap();
    let (want, peak) = draw(&mut open(), &adapter, None);
    for part in parts {
        let limit = peak * part / 100;
        let (image, used) = draw(&mut open(), &adapter, Some(limit));
        assert!(image == want, "another image with {limit} of {peak} bytes");
        assert!(used <= limit, "{used} of {limit}");
    }
}

// With 90 of 100 bytes there is room for the weights, but not for what they work on as well: they leave again, and one block at a time
// comes back. With 25 there is no room for the weights from the start.

#[test]
fn a_transformer_of_four_times_the_memory_is_read_block_by_block() {
    check(&TRANSFORMER, &[25]);
}

#[test]
fn a_unet_of_four_times_the_memory_is_read_block_by_block() {
    check(&UNET, &[90, 25]);
}
