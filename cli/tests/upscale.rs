//! Larger images: `latent upscale`, and the second pass of `latent txt2img`.

use crate::common::{self, Room, read_png};
use latent_loader::{DType, NewTensor, Writer};
use std::collections::BTreeMap;

/// An ESRGAN of so many blocks, four times as large, that only repeats pixels: its blocks add nothing.
pub(crate) fn esrgan(blocks: usize) -> Vec<u8> {
    let (features, growth) = (8, 4);
    let mut layers =
        vec![("conv_first".to_owned(), features, 3), ("conv_body".to_owned(), features, features)];
    for block in 0..blocks {
        for dense in 1..4 {
            let name = |i: usize| format!("body.{block}.rdb{dense}.conv{i}");
            layers.extend((1..5).map(|i| (name(i), growth, features + (i - 1) * growth)));
            layers.push((name(5), features, features + 4 * growth));
        }
    }
    layers.extend(["conv_up1", "conv_up2", "conv_hr"].map(|name| (name.to_owned(), features, features)));
    layers.push(("conv_last".to_owned(), 3, features));
    let mut tensors = Vec::new();
    for (name, outputs, inputs) in &layers {
        let new = |end: &str, shape| NewTensor { name: format!("{name}.{end}"), dtype: DType::F32, shape };
        tensors.push(new("weight", vec![*outputs, *inputs, 3, 3]));
        tensors.push(new("bias", vec![*outputs]));
    }
    let mut writer = Writer::begin(Vec::new(), &BTreeMap::new(), &mut tensors).unwrap();
    for tensor in &tensors {
        let passes = !tensor.name.starts_with("body.") && !tensor.name.starts_with("conv_body");
        let inputs = tensor.shape.get(1).copied().unwrap_or(1);
        for i in 0..tensor.shape.iter().product::<usize>() {
            // The middle of a kernel from a channel to itself.
            let is_one = tensor.shape.len() == 4 && i % 9 == 4 && i / 9 % inputs == i / 9 / inputs;
            let value = if passes && is_one { 1f32 } else { 0.0 };
            writer.write(&value.to_le_bytes()).unwrap();
        }
    }
    writer.end().unwrap()
}

fn size(room: &Room, name: &str) -> (usize, usize) {
    let file = std::io::BufReader::new(std::fs::File::open(room.path(name)).unwrap());
    let reader = png::Decoder::new(file).read_info().unwrap();
    (reader.info().width as usize, reader.info().height as usize)
}

fn parameters(room: &Room, name: &str) -> String {
    let (_, texts) = read_png(&room.path(name));
    texts.into_iter().find(|(key, _)| key == "parameters").unwrap().1
}

#[test]
fn an_image_is_enlarged_by_a_network_or_by_a_filter() {
    let room = Room::new();
    room.file("4x.safetensors", &esrgan(2));
    room.succeeds(&["txt2img", "a red apple", "--steps", "2", "-s", "7", "-o", "apple.png"]);
    assert_eq!(
        room.succeeds(&["upscale", "apple.png", "--upscale-model", "lanczos"]),
        "apple-2x.png (128x128)\n"
    );
    let told = room.succeeds(&["upscale", "apple.png", "--upscale-model", "4x.safetensors"]);
    assert_eq!(told, "apple-4x.png (256x256)\n");
    let (small, _) = read_png(&room.path("apple.png"));
    let (large, texts) = read_png(&room.path("apple-4x.png"));
    for (i, value) in large.iter().enumerate() {
        let (x, y, channel) = (i / 3 % 256 / 4, i / 3 / 256 / 4, i % 3);
        assert!(value.abs_diff(small[3 * (y * 64 + x) + channel]) <= 1);
    }
    let told = texts.iter().find(|(key, _)| key == "postprocessing").map(|(_, text)| text.as_str());
    assert_eq!(told, Some("Postprocess upscale by: 4, Postprocess upscaler: 4x"));
    // A size that the network does not make by itself, in tiles and whole.
    let model = ["upscale", "apple.png", "--upscale-model", "4x.safetensors", "--scale"];
    room.succeeds(&[&model[..], &["2.5", "-o", "whole.png"]].concat());
    room.succeeds(&[&model[..], &["2.5", "-o", "tiles.png", "--tile", "16"]].concat());
    assert_eq!(size(&room, "whole.png"), (160, 160));
    let [whole, tiles] = ["whole.png", "tiles.png"].map(|name| read_png(&room.path(name)).0);
    assert!(whole.iter().zip(&tiles).all(|(a, b)| a.abs_diff(*b) <= 2));
    // Twice through the network.
    room.succeeds(&[&model[..], &["6", "-o", "six.png"]].concat());
    assert_eq!(size(&room, "six.png"), (384, 384));
}

#[test]
fn what_cannot_be_enlarged_is_refused() {
    let room = Room::new();
    room.file("4x.safetensors", &esrgan(1));
    let damaged = esrgan(1);
    room.file("damaged.safetensors", &damaged[..damaged.len() - 9]);
    room.file("demo.safetensors", &common::demo());
    room.succeeds(&["txt2img", "a red apple", "--steps", "1", "-s", "7", "-o", "apple.png"]);
    for (args, parts) in [
        (&["nothing.png"][..], &["nothing.png", "no such file"][..]),
        (&["4x.safetensors"], &["4x.safetensors", "not an image"]),
        (&["apple.png", "--scale", "0.5"], &["scale: 0.5", "1 to 16"]),
        (&["apple.png", "--scale", "nan"], &["scale: NaN"]),
        (&["apple.png", "--tile", "1"], &["tile: 1 is not in 16 to 8192"]),
        (&["apple.png", "--tile", "9000"], &["tile: 9000 is not in 16 to 8192"]),
        (&["apple.png", "-o", "no/folder.png"], &["no", "folder does not exist"]),
        (&["apple.png", "--upscale-model", "demo.safetensors"], &["not an upscaler but a model", "ESRGAN"]),
        (&["apple.png", "--upscale-model", "damaged.safetensors"], &["damaged.safetensors"]),
        (&["apple.png", "--upscale-model", "missing.safetensors"], &["missing.safetensors"]),
    ] {
        room.refuses(&[&["upscale"], args].concat(), parts);
    }
    for (args, parts) in [
        (&["--hires-steps", "3"][..], &["--hires"][..]),
        (&["--hires", "--hires-scale", "0.9"], &["hires scale: 0.9"]),
        (&["--hires", "--hires-strength", "0"], &["hires strength: 0"]),
        (&["--hires", "--hires-steps", "0"], &["hires steps: 0"]),
        (&["--hires", "--hires-scale", "16", "-W", "1024"], &["hires size: 16384"]),
        (&["--hires", "--hires-upscaler", "demo.safetensors"], &["not an upscaler but a model"]),
        (&["--hires", "--hires-upscaler", "lanczoss"], &["lanczoss", "no such file"]),
    ] {
        room.refuses(&[&["txt2img", "a"], args].concat(), parts);
    }
}

#[test]
fn an_upscaler_is_known() {
    let room = Room::new();
    std::fs::create_dir(room.path("models")).unwrap();
    room.file("models/4x-Name.safetensors", &esrgan(2));
    let told = room.succeeds(&["inspect", "models/4x-Name.safetensors"]);
    assert!(told.contains("upscaler; enlarges images") && told.contains("ESRGAN 4x, 2 blocks of 8 channels"));
    let told = room.succeeds(&["models", "--models-dir", "models"]);
    assert!(told.starts_with("upscaler\n  4x-Name: ESRGAN 4x, 2 blocks of 8 channels"), "{told}");
    room.succeeds(&["txt2img", "a red apple", "--steps", "1", "-s", "7", "-o", "apple.png"]);
    let by_name = ["upscale", "apple.png", "--upscale-model", "4x-Name", "--models-dir", "models"];
    room.succeeds(&by_name);
    assert_eq!(size(&room, "apple-4x.png"), (256, 256));
}

#[test]
fn a_second_pass_is_drawn_and_told_as_the_webui_does() {
    let room = Room::new();
    room.file("4x.safetensors", &esrgan(1));
    let mut seen = Vec::new();
    for (by, named) in [
        ("latent", "Latent"),
        ("latent-nearest", "Latent (nearest)"),
        ("lanczos", "Lanczos"),
        ("4x.safetensors", "4x"),
    ] {
        let start = ["txt2img", "a red apple", "--steps", "3", "-s", "7", "--hires", "--hires-upscaler", by];
        let rest = ["--hires-steps", "2", "--hires-strength", "0.5", "-W", "64", "-H", "32", "-b", "2"];
        room.succeeds(&[&start[..], &rest, &["-o", "{seed}.png", "--preview", "preview.png"]].concat());
        assert_eq!((size(&room, "7.png"), size(&room, "preview.png")), ((128, 64), (128, 64)));
        let told = parameters(&room, "8.png");
        let hires = format!(
            "Size: 64x32, Denoising strength: 0.5, Hires upscale: 2, Hires steps: 2, Hires upscaler: {named}"
        );
        assert!(told.contains(&hires), "{told}");
        let image = read_png(&room.path("8.png")).0;
        // In bands and alone: the same bytes.
        let start = ["txt2img", "a red apple", "--steps", "3", "-s", "8", "--hires", "--hires-upscaler", by];
        room.succeeds(&[&start[..], &rest[..8], &["-o", "alone.png", "--vae-tiling"]].concat());
        assert_eq!(read_png(&room.path("alone.png")).0, image, "{by}");
        assert!(!seen.contains(&image), "{by}");
        seen.push(image);
    }
}

/// Large enough for several bands, on the way in and out.
#[test]
fn tiling_the_vae_changes_no_byte() {
    let room = Room::new();
    room.succeeds(&["txt2img", "a red apple", "--steps", "1", "-s", "7", "-o", "apple.png"]);
    let start = ["img2img", "apple.png", "a pear", "-s", "7", "--steps", "1", "-W", "512", "-H", "264", "-o"];
    room.succeeds(&[&start[..], &["whole.png"]].concat());
    room.succeeds(&[&start[..], &["bands.png", "--vae-tiling"]].concat());
    let image = |name: &str| std::fs::read(room.path(name)).unwrap();
    assert_eq!(image("whole.png"), image("bands.png"));
}

/// The estimate is told before the sampling, and counts the second pass.
#[test]
fn the_memory_is_told() {
    let room = Room::new();
    let told = |args: &[&str]| {
        let start = ["txt2img", "a red apple", "--steps", "1", "-s", "7", "-v", "-o", "a.png"];
        let output = room.run(&[&start[..], args].concat());
        assert!(output.status.success());
        let error = String::from_utf8(output.stderr).unwrap();
        let line = error.lines().find(|line| line.starts_with("memory, estimated: ")).unwrap().to_owned();
        let mega: f64 = line.split(' ').nth(2).unwrap().parse().unwrap();
        assert!(line.contains(" MB ("), "{line}");
        mega
    };
    let (once, twice) = (told(&["-W", "128", "-H", "128"]), told(&["-W", "128", "-H", "128", "--hires"]));
    assert!(twice > 1.3 * once, "{once} {twice}");
}
