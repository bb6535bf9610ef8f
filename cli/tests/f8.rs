//! Weights of 8 bits: `f8_e4m3`, `f8_e5m2`, and those with scales.

use crate::common::{Room, demo, read_png, synthetic};
use latent_loader::{Checkpoint, DType, F8, NewTensor, Writer};
use std::collections::BTreeMap;

fn pixels(room: &Room, model: &str, args: &[&str]) -> Vec<u8> {
    let always = ["txt2img", "a red apple", "-m", model, "-W", "64", "-H", "64", "--steps", "2", "-s", "3"];
    room.succeeds(&[&always[..], &["-o", "out.png"], args].concat());
    let (pixels, _) = read_png(&room.path("out.png"));
    std::fs::remove_file(room.path("out.png")).unwrap();
    pixels
}

/// A file of tensors in any order.
fn file(mut tensors: Vec<(NewTensor, Vec<u8>)>) -> Vec<u8> {
    let mut list: Vec<NewTensor> = tensors.iter().map(|(tensor, _)| tensor.clone()).collect();
    let mut writer = Writer::begin(Vec::new(), &BTreeMap::new(), &mut list).unwrap();
    for tensor in &list {
        let index = tensors.iter().position(|(own, _)| own.name == tensor.name).unwrap();
        writer.write(&tensors.swap_remove(index).1).unwrap();
    }
    writer.end().unwrap()
}

fn tensor(name: &str, dtype: DType, shape: &[usize], data: Vec<u8>) -> (NewTensor, Vec<u8>) {
    (NewTensor { name: name.to_owned(), dtype, shape: shape.to_vec() }, data)
}

/// Widened, weights of 8 bits are exact: so is every image.
#[test]
fn a_model_of_8_bit_floats_draws_what_its_widened_form_draws() {
    let room = Room::new();
    room.file("model.safetensors", &demo());
    for dtype in ["f8_e4m3", "f8_e5m2"] {
        let told =
            room.succeeds(&["convert", "model.safetensors", "small.safetensors", "--type", dtype, "-f"]);
        assert!(told.contains(&format!("{} ", dtype.to_uppercase())), "{told}");
        room.succeeds(&["convert", "small.safetensors", "wide.safetensors", "--type", "f32", "-f"]);
        let small = pixels(&room, "small.safetensors", &[]);
        assert!(
            small == pixels(&room, "wide.safetensors", &[])
                && small != pixels(&room, "model.safetensors", &[])
        );
        let size = |name: &str| std::fs::metadata(room.path(name)).unwrap().len();
        assert!(size("small.safetensors") * 19 < size("model.safetensors") * 10);
    }
    let text = room.succeeds(&["inspect", "small.safetensors"]);
    assert!(text.contains("F8_E5M2"), "{text}");
}

/// The demo model with the matrices of its UNet in 8 bits with scales, and the same widened in `f32`.
fn scaled(kind: DType, rows: bool) -> [Vec<u8>; 2] {
    let plain = Checkpoint::from_bytes("demo", demo()).unwrap();
    let (mut small, mut wide) = (Vec::new(), Vec::new());
    for info in plain.tensors() {
        let raw = plain.read(&info.name).unwrap();
        let layer = info
            .name
            .strip_suffix(".weight")
            .filter(|_| info.name.starts_with("model.diffusion_model.") && info.shape.len() > 1);
        let Some(layer) = layer else {
            let same = tensor(&info.name, info.dtype, &info.shape, raw.data.to_vec());
            small.push(same.clone());
            wide.push(same);
            continue;
        };
        let values = raw.to_f32().unwrap();
        let row = if rows { values.len() / info.shape[0] } else { values.len() };
        let (mut bytes, mut scales, mut exact) = (Vec::new(), Vec::new(), Vec::new());
        for row in values.chunks(row) {
            let largest = row.iter().fold(1e-9f32, |largest, value| largest.max(value.abs()));
            let scale = largest / F8::of(kind).map_or(127.0, F8::max);
            for value in row {
                let (byte, back) = match F8::of(kind) {
                    Some(f8) => (f8.from_f32(value / scale), f8.to_f32(f8.from_f32(value / scale))),
                    None => {
                        let byte = (value / scale).round() as i8;
                        (byte.cast_unsigned(), f32::from(byte))
                    }
                };
                bytes.push(byte);
                exact.extend((back * scale).to_le_bytes());
            }
            scales.extend(scale.to_le_bytes());
        }
        let count = scales.len() / 4;
        let shape = if rows { vec![count, 1] } else { vec![] };
        if kind == DType::I8 {
            let format = br#"{"format": "int8_tensorwise"}"#;
            small.push(tensor(&format!("{layer}.comfy_quant"), DType::U8, &[format.len()], format.to_vec()));
            small.push(tensor(&format!("{layer}.weight_scale"), DType::F32, &shape, scales));
        } else {
            small.push(tensor(&format!("{layer}.scale_weight"), DType::F32, &shape, scales));
            small.push(tensor(&format!("{layer}.scale_input"), DType::F32, &[], 1f32.to_le_bytes().to_vec()));
        }
        small.push(tensor(&info.name, kind, &info.shape, bytes));
        wide.push(tensor(&info.name, DType::F32, &info.shape, exact));
    }
    if kind != DType::I8 {
        small.push(tensor("model.diffusion_model.scaled_fp8", kind, &[2], vec![0; 2]));
    }
    [file(small), file(wide)]
}

#[test]
fn scaled_weights_draw_what_their_products_draw() {
    let room = Room::new();
    for (kind, rows) in [(DType::F8E4M3, false), (DType::F8E5M2, true), (DType::I8, true)] {
        let [small, wide] = scaled(kind, rows);
        assert!(small.len() * 3 < wide.len() * 2);
        room.file("small.safetensors", &small);
        room.file("wide.safetensors", &wide);
        let drawn = pixels(&room, "wide.safetensors", &[]);
        assert!(pixels(&room, "small.safetensors", &[]) == drawn, "{kind}");
        room.succeeds(&["convert", "small.safetensors", "kept.safetensors", "-f"]);
        assert!(pixels(&room, "kept.safetensors", &["--low-memory"]) == drawn, "{kind}");
        let report = room.succeeds(&["inspect", "small.safetensors"]);
        assert!(report.contains(kind.header_name()) && !report.contains("scale_weight"), "{report}");
    }
}

#[test]
fn a_lora_of_8_bit_floats_is_applied() {
    let room = Room::new();
    room.file("model.safetensors", &synthetic("sd15"));
    let lora = Checkpoint::from_bytes("lora", synthetic("lora-sd15-kohya")).unwrap();
    let (mut small, mut wide) = (Vec::new(), Vec::new());
    for info in lora.tensors() {
        let raw = lora.read(&info.name).unwrap();
        let f8 = F8::of(DType::F8E4M3).unwrap();
        let bytes: Vec<u8> = raw.to_f32().unwrap().iter().map(|value| f8.from_f32(*value)).collect();
        let exact = bytes.iter().flat_map(|byte| f8.to_f32(*byte).to_le_bytes()).collect();
        small.push(tensor(&info.name, DType::F8E4M3, &info.shape, bytes));
        wide.push(tensor(&info.name, DType::F32, &info.shape, exact));
    }
    room.file("small.safetensors", &file(small));
    room.file("wide.safetensors", &file(wide));
    let draw = |lora: &str| pixels(&room, "model.safetensors", &["--lora", lora]);
    assert!(draw("small.safetensors") == draw("wide.safetensors"));
    assert!(draw("small.safetensors") != pixels(&room, "model.safetensors", &[]));
}
