//! Weights of q8_0: how far they are off, and that everything that can be done with a model can be done with one of these.

use super::models::{self, model};
use super::{Room, assert_same, contents, draw};
use half::f16;
use latent_benches::likeness::psnr;
use latent_diffusion::convert::{ConvertOptions, OutputLayout};
use latent_diffusion::loader::{Checkpoint, DType, block_storage};
use latent_diffusion::lora::{Lora, Strength};
use latent_diffusion::{Image, Pipeline, Settings};
use std::ops::ControlFlow;
use std::sync::Arc;

fn to(dtype: DType) -> ConvertOptions {
    ConvertOptions { dtype: Some(dtype), ..ConvertOptions::to(OutputLayout::Single) }
}

/// A tiny model of a family with weights in blocks, `blocks.safetensors`.
fn blocks(room: &Room, family: &str) -> Checkpoint {
    room.convert(model(room, family), &to(DType::Q8_0), "blocks.safetensors")
}

/// Whether a weight is written in blocks.
fn has_blocks(name: &str, shape: &[usize]) -> bool {
    shape.len() > 1
        && block_storage::stored_shape(DType::Q8_0, shape).is_some()
        && !name.contains("text_projection")
}

#[test]
fn values_are_off_by_half_a_step_at_most() {
    let room = Room::new();
    let original = || models::write(&room, "f32.safetensors", models::entries("sdxl"), DType::F32);
    let (before, after) = (original(), room.convert(original(), &to(DType::Q8_0), "blocks.safetensors"));
    let (mut in_blocks, mut as_they_were) = (0, 0);
    for info in after.tensors() {
        let (old, new) = (before.read(&info.name).unwrap(), after.read(&info.name).unwrap());
        if !has_blocks(&info.name, &info.shape) {
            assert_eq!(old, new, "{}", info.name);
            as_they_were += 1;
            continue;
        }
        in_blocks += 1;
        assert_eq!((new.dtype, &new.shape), (DType::Q8_0, &old.shape), "{}", info.name);
        let (old, new) = (old.to_f32().unwrap(), new.to_f32().unwrap());
        for (old, new) in old.chunks(DType::Q8_0.block_len()).zip(new.chunks(DType::Q8_0.block_len())) {
            // The scale is a half, rounded to 11 bits, or to a multiple of the smallest one.
            let largest = old.iter().fold(0f32, |largest, value| largest.max(value.abs()));
            let step = largest / 127.0 * (1.0 + 2f32.powi(-10)) + 2f32.powi(-24);
            let off = old.iter().zip(new).map(|(old, new)| (old - new).abs()).fold(0.0, f32::max);
            assert!(off <= step / 2.0, "{}: {off} of {step}", info.name);
        }
    }
    assert!(in_blocks > 300 && as_they_were > 300, "{in_blocks} {as_they_were}");
}

/// Through the other layout and back, and into `f32`, which holds each value exactly.
fn there_and_back(family: &str) {
    let room = Room::new();
    let original = blocks(&room, family);
    let bytes = |checkpoint: &Checkpoint| checkpoint.tensors().map(|info| info.bytes()).sum::<usize>();
    let (before, after) = (bytes(&room.open(&format!("{family}.safetensors"))), bytes(&original));
    assert!(after * 10 < before * 7, "{family}: {after} bytes of {before}");
    let expected = contents(&original);
    let again = room.single(original, "again.safetensors");
    assert_same(&contents(&again), &expected);
    let folder = room.folder(again, "folder");
    let back = room.single(room.open("folder"), "back.safetensors");
    let exact = room.convert(room.open("folder"), &to(DType::F32), "exact.safetensors");
    let found = contents(&back);
    for (name, tensor) in expected.iter().filter(|(_, (dtype, ..))| dtype == "Q8_0") {
        // What a folder has no place for comes back from no folder.
        if !name.contains("resblocks.23.") {
            assert!(found.get(name) == Some(tensor), "{family}: {name} came back otherwise");
        }
    }
    let image = draw(room.open("blocks.safetensors"));
    assert!(draw(folder) == image, "{family}: the folder draws another image");
    assert!(draw(back) == image, "{family}: the file draws another image");
    assert!(draw(exact) == image, "{family}: the same values in f32 draw another image");
}

macro_rules! families {
    ($($test:ident: $family:literal,)*) => {
        $(#[test]
        fn $test() {
            there_and_back($family);
        })*
    };
}

families! {
    sd1: "sd15",
    sd1_inpainting: "sd15-inpaint",
    sd1_pix2pix: "sd15-pix2pix",
    sd2: "sd21",
    sdxl: "sdxl",
    sdxl_refiner: "sdxl-refiner",
}

#[test]
fn halves_are_the_nearest_to_what_blocks_hold() {
    let room = Room::new();
    blocks(&room, "sd15");
    let halves = room.convert(room.open("blocks.safetensors"), &to(DType::F16), "halves.safetensors");
    let before = room.open("blocks.safetensors");
    let mut changed = 0;
    for info in before.tensors().filter(|info| info.dtype == DType::Q8_0) {
        let (old, new) = (before.read(&info.name).unwrap(), halves.read(&info.name).unwrap());
        assert_eq!((new.dtype, &new.shape), (DType::F16, &info.shape), "{}", info.name);
        let nearest: Vec<_> =
            old.to_f32().unwrap().iter().map(|value| f16::from_f32(*value).to_f32()).collect();
        assert!(new.to_f32().unwrap() == nearest, "{}", info.name);
        changed += 1;
    }
    assert!(changed > 300, "{changed}");
}

#[test]
fn a_lora_is_merged_onto_blocks() {
    for (family, lora) in [("sd15", "lora-sd15-kohya"), ("sdxl", "lora-sdxl-kohya")] {
        let room = Room::new();
        blocks(&room, family);
        let open = || {
            let file = models::write(&room, "lora.safetensors", models::entries(lora), DType::F16);
            vec![(Arc::new(Lora::open(file).unwrap()), Strength::from(0.75))]
        };
        let image = |checkpoint: Checkpoint, loras: &[(Arc<Lora>, Strength)]| -> Image {
            let mut pipeline = Pipeline::open(checkpoint).unwrap();
            pipeline.set_loras(loras).unwrap();
            let (own, side) = (Settings::of(pipeline.model()), Some(64));
            let settings = own.with_width(side).with_height(side).with_steps(2).with_seeds(vec![3]);
            let go_on = &mut |_: latent_diffusion::Event<'_>| ControlFlow::Continue(());
            pipeline.text_to_image("a fox", "", &settings, go_on).unwrap().remove(0)
        };
        // Exactly where the sum is kept in f32, and in blocks again where nothing else is asked for.
        let exact = ConvertOptions { loras: open(), ..to(DType::F32) };
        let merged = room.convert(room.open("blocks.safetensors"), &exact, "merged.safetensors");
        let while_drawing = image(room.open("blocks.safetensors"), &open());
        assert!(image(merged, &[]) == while_drawing, "{family}");
        assert!(while_drawing != image(room.open("blocks.safetensors"), &[]), "{family}");
        let again = ConvertOptions { loras: open(), ..ConvertOptions::to(OutputLayout::Single) };
        let again = room.convert(room.open("blocks.safetensors"), &again, "again.safetensors");
        let (before, exact) = (room.open("blocks.safetensors"), room.open("merged.safetensors"));
        let mut changed = 0;
        for info in again.tensors() {
            let old = before.read(&info.name).unwrap();
            assert_eq!((info.dtype, &info.shape), (old.dtype, &old.shape), "{}", info.name);
            let new = again.read(&info.name).unwrap();
            if info.dtype == DType::Q8_0 && old != new {
                changed += 1;
                let (new, sum) = (new.to_f32().unwrap(), exact.read(&info.name).unwrap().to_f32().unwrap());
                let largest = sum.iter().fold(0f32, |largest, value| largest.max(value.abs()));
                let off = sum.iter().zip(new).map(|(sum, new)| (sum - new).abs()).fold(0.0, f32::max);
                assert!(off <= largest / 250.0, "{family} {}: {off} of {largest}", info.name);
            }
        }
        assert!(changed > 100, "{family}: {changed}");
    }
}

#[test]
fn the_demo_models_images_are_hardly_others() {
    let room = Room::new();
    let demo = || {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets/demo.safetensors");
        Checkpoint::open(&path).unwrap()
    };
    let file = room.convert(demo(), &to(DType::Q8_0), "blocks.safetensors");
    let image = |checkpoint: Checkpoint, prompt: &str| {
        let mut pipeline = Pipeline::open(checkpoint).unwrap();
        let settings = Settings::default().with_steps(12).with_seeds(vec![5]);
        let go_on = &mut |_: latent_diffusion::Event<'_>| ControlFlow::Continue(());
        pipeline.text_to_image(prompt, "", &settings, go_on).unwrap().remove(0)
    };
    drop(file);
    for prompt in ["a red apple", "a yellow star", "a blue book"] {
        let like = psnr(&image(demo(), prompt).rgb, &image(room.open("blocks.safetensors"), prompt).rgb);
        // 40 to 57 dB over 32 images of 20 steps: docs/convert.md.
        assert!(like > 36.0 && like.is_finite(), "{prompt}: {like:.1} dB");
    }
}
