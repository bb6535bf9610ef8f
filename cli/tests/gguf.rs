//! GGUF files, as a person uses them.

use crate::common::{Room, demo, read_png};
use latent_kernels::quant;
use latent_loader::{Checkpoint, DType, NewTensor, Writer};
use std::collections::BTreeMap;

fn pixels(room: &Room, args: &[&str]) -> Vec<u8> {
    // A UNet alone does not say which size it draws.
    let size = ["-W", "64", "-H", "64"];
    let always = ["txt2img", "a red apple", "--steps", "2", "-s", "1", "-o", "out.png"];
    room.succeeds(&[&always[..], &size, args].concat());
    let (pixels, _) = read_png(&room.path("out.png"));
    std::fs::remove_file(room.path("out.png")).unwrap();
    pixels
}

/// A file of stable-diffusion.cpp's dialect draws what its values in `f32` draw, and can be converted back.
#[test]
fn a_gguf_file_draws_what_its_dequantized_values_draw() {
    let room = Room::new();
    room.file("model.safetensors", &demo());
    for (dtype, shown) in [("q8_0", "Q8_0 "), ("q4_k", "Q4_K "), ("iq4_nl", "IQ4_NL ")] {
        let told = room.succeeds(&["convert", "model.safetensors", "small.gguf", "--type", dtype, "--force"]);
        assert!(told.contains(shown), "{told}");
        room.succeeds(&["convert", "small.gguf", "exact.safetensors", "--type", "f32", "--force"]);
        let (small, exact) = (["-m", "small.gguf"], ["-m", "exact.safetensors"]);
        assert!(pixels(&room, &small) == pixels(&room, &exact), "{dtype}");
    }
    let told = room.succeeds(&["inspect", "small.gguf"]);
    assert!(told.contains("Stable Diffusion 1") && told.contains("IQ4_NL"), "{told}");
    let told = room.succeeds(&["models", "--models-dir", "."]);
    assert!(told.contains("small"), "{told}");
    // The name of a model is enough.
    let named = pixels(&room, &["-m", "small", "--models-dir", "."]);
    assert!(named == pixels(&room, &["-m", "small.gguf"]));
    assert!(named == pixels(&room, &["-m", "small.gguf", "--low-memory"]));
}

/// The parts of the file before its values: ComfyUI-GGUF's dialect, whose blocks are cut out of flattened weights.
struct ComfyFile {
    tensors: Vec<(String, u32, Vec<usize>, Vec<u8>)>,
    shapes: Vec<(String, Vec<usize>)>,
}

impl ComfyFile {
    fn bytes(&self) -> Vec<u8> {
        let text = |text: &str| [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat();
        let mut out = b"GGUF\x03\0\0\0".to_vec();
        out.extend((self.tensors.len() as u64).to_le_bytes());
        out.extend((self.shapes.len() as u64 + 1).to_le_bytes());
        out.extend([text("general.architecture"), vec![8, 0, 0, 0], text("sd1")].concat());
        for (name, shape) in &self.shapes {
            out.extend(
                [text(&format!("comfy.gguf.orig_shape.{name}")), vec![9, 0, 0, 0, 5, 0, 0, 0]].concat(),
            );
            out.extend((shape.len() as u64).to_le_bytes());
            out.extend(shape.iter().flat_map(|dim| (*dim as u32).to_le_bytes()));
        }
        let mut values = Vec::new();
        for (name, kind, shape, data) in &self.tensors {
            out.extend(text(name));
            out.extend((shape.len() as u32).to_le_bytes());
            out.extend(shape.iter().rev().flat_map(|dim| (*dim as u64).to_le_bytes()));
            out.extend(kind.to_le_bytes());
            out.extend((values.len() as u64).to_le_bytes());
            values.extend(data);
            values.resize(values.len().next_multiple_of(32), 0);
        }
        out.resize(out.len().next_multiple_of(32), 0);
        out.extend(values);
        out
    }
}

/// A UNet alone, without a prefix, and the same with the values of its blocks, with all other parts of the demo model.
#[test]
fn a_unet_of_comfy_draws_with_the_parts_of_another_model() {
    const PREFIX: &str = "model.diffusion_model.";
    let room = Room::new();
    room.file("model.safetensors", &demo());
    let model = Checkpoint::open(&room.path("model.safetensors")).unwrap();
    let mut comfy = ComfyFile { tensors: Vec::new(), shapes: Vec::new() };
    let (mut plain, mut plain_values) = (Vec::new(), Vec::new());
    for info in model.tensors() {
        let raw = model.read(&info.name).unwrap();
        let name = info.name.strip_prefix(PREFIX).unwrap_or(&info.name).to_owned();
        let mut data = raw.data.to_vec();
        let mut dtype = raw.dtype;
        if info.name.starts_with(PREFIX) {
            let whole = info.elements() % 32 == 0 && info.shape.len() > 1;
            // Rows of 36 values, among others.
            let format = if info.elements() % 256 == 0 { (DType::Q6_K, 14) } else { (DType::Q8_0, 8) };
            if whole {
                let block = format.0.block_len();
                let blocks = quant::quantize(format.0, &raw.to_f32().unwrap(), block).unwrap();
                let values = quant::dequantize(format.0, &blocks);
                let rows = vec![info.elements() / block, block];
                comfy.tensors.push((name.clone(), format.1, rows, blocks));
                comfy.shapes.push((name, info.shape.clone()));
                (dtype, data) = (DType::F32, values.iter().flat_map(|value| value.to_le_bytes()).collect());
            } else {
                comfy.tensors.push((name, 1, info.shape.clone(), data.clone()));
            }
        }
        plain.push(NewTensor { name: info.name.clone(), dtype, shape: info.shape.clone() });
        plain_values.push((info.name.clone(), data));
    }
    let mut writer = Writer::begin(Vec::new(), model.metadata(), &mut plain).unwrap();
    let plain_values: BTreeMap<_, _> = plain_values.into_iter().collect();
    plain.iter().for_each(|tensor| writer.write(&plain_values[&tensor.name]).unwrap());
    room.file("exact.safetensors", &writer.end().unwrap());
    room.file("unet.gguf", &comfy.bytes());
    let told = room.succeeds(&["inspect", "unet.gguf"]);
    assert!(told.contains("Stable Diffusion 1"), "{told}");
    let want = pixels(&room, &["-m", "exact.safetensors"]);
    assert!(want == pixels(&room, &["-m", "model.safetensors", "--unet", "unet.gguf"]));
    assert!(want == pixels(&room, &["-m", "unet.gguf", "--parts-from", "model.safetensors"]));
    room.refuses(&["txt2img", "a", "-m", "unet.gguf"], &["unet.gguf", "text encoder"]);
    // In blocks that go on from row to row it can be converted as well.
    let parts = ["--parts-from", "model.safetensors"];
    room.succeeds(&[&["convert", "unet.gguf", "back.safetensors", "--type", "f32"][..], &parts].concat());
    assert!(want == pixels(&room, &["-m", "back.safetensors"]));
    room.succeeds(&[&["convert", "unet.gguf", "small.gguf", "--type", "q8_0"][..], &parts].concat());
    pixels(&room, &["-m", "small.gguf"]);
}

#[test]
fn loras_change_blocks_as_they_change_their_values() {
    let room = Room::new();
    room.file("model.safetensors", &crate::common::synthetic("sd15"));
    room.file("lora.safetensors", &crate::common::synthetic("lora-sd15-kohya"));
    room.succeeds(&["convert", "model.safetensors", "small.gguf", "--type", "q4_0"]);
    room.succeeds(&["convert", "small.gguf", "exact.safetensors", "--type", "f32"]);
    let draw = |model: &str| pixels(&room, &["-m", model, "--lora", "lora.safetensors:0.5"]);
    assert!(draw("small.gguf") == draw("exact.safetensors"));
}
