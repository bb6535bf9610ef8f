//! Models with a transformer in place of the UNet, drawn by the program.

use crate::common::{Room, png_size, read_png, synthetic, synthetic_part};
use std::path::Path;

const DRAW: [&str; 10] = ["txt2img", "a red fox", "--steps", "2", "-W", "64", "-H", "48", "--cfg-scale", "2"];
/// Prefixes of files as ComfyUI's, and the parts below them in files of their own, with the flag and the name of each.
const MODEL: [&str; 4] = ["model.diffusion_model.", "transformer.safetensors", "--transformer", "UNet"];
const VAE: [&str; 4] = ["vae.", "vae.safetensors", "--vae", "VAE"];
const CLIP_L: [&str; 4] =
    ["text_encoders.clip_l.transformer.", "clip_l.safetensors", "--clip-l", "text encoder (CLIP-L)"];
const T5: [&str; 4] = ["text_encoders.t5xxl.transformer.", "t5.safetensors", "--t5", "text encoder (T5)"];
const QWEN3: [&str; 4] =
    ["text_encoders.qwen3_4b.transformer.", "qwen3.safetensors", "--llm", "text encoder (Qwen3)"];

fn room(families: &[&str]) -> Room {
    let room = Room::new();
    for name in families {
        room.file(&format!("{name}.safetensors"), &synthetic(name));
    }
    room
}

fn draw(room: &Room, flags: &[&str]) -> Vec<u8> {
    room.succeeds(&[&DRAW[..], flags, &["-o", "out.png"]].concat());
    read_png(&room.path("out.png")).0
}

fn write_image(path: &Path, width: u32, height: u32) {
    image::RgbImage::from_fn(width, height, |x, y| image::Rgb([4 * x as u8, 4 * y as u8, 90]))
        .save(path)
        .unwrap();
}

#[test]
fn little_memory_changes_no_byte_and_a_batch_draws_what_each_seed_draws() {
    let families = ["sd35-pipeline", "flux-schnell-pipeline", "chroma-pipeline", "z-image-pipeline"];
    let room = room(&families);
    for model in families {
        let file = format!("{model}.safetensors");
        let model = ["-m", &file[..], "-s", "5", "-n", "blurry and much too bright"];
        let plain = draw(&room, &model);
        assert_eq!(draw(&room, &[&model[..], &["--low-memory"]].concat()), plain, "{file}");
        assert_ne!(draw(&room, &[&model[..], &["--shift", "6"]].concat()), plain, "{file}");
        let batch = ["-s", "4", "-b", "2", "--batch-size", "2", "-o", "{seed}.png"];
        room.succeeds(&[&DRAW[..], &model[..2], &model[4..], &batch].concat());
        assert_eq!(read_png(&room.path("5.png")).0, plain, "{file}");
    }
}

#[test]
fn what_acts_on_a_unet_is_refused() {
    let room = room(&[
        "sd35-pipeline",
        "flux-schnell-pipeline",
        "controlnet-sd15",
        "ip-adapter-plain-sd15",
        "image-encoder",
    ]);
    write_image(&room.path("in.png"), 64, 48);
    let model = ["-m", "sd35-pipeline.safetensors"];
    let net = ["--control-net", "controlnet-sd15.safetensors", "--control-image", "in.png"];
    let adapter = [
        "--ip-adapter",
        "ip-adapter-plain-sd15.safetensors",
        "--ip-adapter-image",
        "in.png",
        "--image-encoder",
        "image-encoder.safetensors",
    ];
    for (flags, part) in [
        (&["--pag-scale", "3"][..], "UNet"),
        (&["--tome", "0.3"], "UNet"),
        (&["--cache", "2"], "UNet"),
        (&["--sampler", "plms"], "euler"),
        (&net, "UNet"),
        (&adapter, "UNet"),
    ] {
        room.refuses(&[&DRAW[..], &model, flags].concat(), &[part]);
    }
    let odd = ["txt2img", "a red fox", "-m", "sd35-pipeline.safetensors", "-W", "72", "-H", "48"];
    room.refuses(&odd, &["16"]);
    let edit = ["edit", "in.png", "make it snow", "-m", "flux-schnell-pipeline.safetensors", "-W", "64"];
    room.refuses(&edit, &["follows no instructions", "Flux.1 Kontext"]);
}

#[test]
fn parts_may_be_files_of_their_own() {
    for (family, parts) in [
        ("flux-fill-pipeline", &[MODEL, VAE, CLIP_L, T5][..]),
        ("chroma-pipeline", &[MODEL, VAE, T5]),
        ("z-image-pipeline", &[MODEL, VAE, QWEN3]),
    ] {
        let room = room(&[family]);
        for [prefix, file, ..] in parts {
            room.file(file, &synthetic_part(family, prefix));
        }
        let flags: Vec<&str> = parts.iter().flat_map(|[_, file, flag, _]| [*flag, *file]).collect();
        let whole = format!("{family}.safetensors");
        let whole = draw(&room, &["-m", &whole, "-s", "5"]);
        assert_eq!(draw(&room, &[&flags[..], &["-s", "5"]].concat()), whole, "{family}");
        // The files are told of, so that the image can be drawn again.
        let told = room.succeeds(&["replay", "out.png", "-o", "again.png"]);
        assert!(told.ends_with("out.png has the same pixels\n"), "{told}");
        for (i, [_, _, flag, name]) in parts.iter().enumerate().skip(1) {
            let without = [&flags[..2 * i], &flags[2 * i + 2..]].concat();
            room.refuses(&[&DRAW[..], &without].concat(), &["transformer.safetensors", name, &advice(flag)]);
        }
    }
}

/// The flag that a missing part is asked for by.
fn advice(flag: &str) -> String {
    format!("{} FILE", if flag == "--clip-l" { "--text-encoder" } else { flag })
}

#[test]
fn a_file_gives_what_is_asked_of_it_and_parts_of_other_models_are_told() {
    let room = room(&["sd35-pipeline", "flux-schnell-pipeline", "sd15"]);
    let whole = draw(&room, &["-m", "sd35-pipeline.safetensors", "-s", "5"]);
    let file = "sd35-pipeline.safetensors";
    let parts = ["--transformer", file, "--vae", file, "--t5", file, "-s", "5"];
    assert_eq!(draw(&room, &parts), whole);
    // Flux reads a T5, and this one is there already.
    draw(&room, &["-m", "flux-schnell-pipeline.safetensors", "--t5", file]);
    room.file("t5.safetensors", &synthetic_part("sd35-pipeline", "text_encoder_3."));
    room.refuses(
        &[&DRAW[..], &["-m", "sd15.safetensors", "--t5", "t5.safetensors"]].concat(),
        &["t5.safetensors", "holds a T5", "Stable Diffusion 1.x"],
    );
    // The VAE of Flux has latents of as many channels, so its name alone raises doubts.
    room.file("ae.safetensors", &synthetic_part("flux-schnell-pipeline", "vae."));
    let output = room.run(&[&DRAW[..], &["-m", file, "--vae", "ae.safetensors", "-o", "o.png"]].concat());
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        output.status.success() && error.contains("ae.safetensors: seems to be a VAE for Flux.1"),
        "{error}"
    );
    let sd15 = ["-m", "sd15.safetensors", "--vae", "ae.safetensors"];
    room.refuses(&[&DRAW[..], &sd15].concat(), &["ae.safetensors", "16 channels"]);
}

/// Draws, draws again from what the file tells, and compares.
#[track_caller]
fn again(room: &Room, args: &[&str]) -> image::RgbImage {
    room.succeeds(&[args, &["--steps", "2", "-s", "3", "-o", "out.png"]].concat());
    let told = room.succeeds(&["replay", "out.png", "-o", "again.png"]);
    assert!(told.ends_with("out.png has the same pixels\n"), "{args:?}: {told}");
    image::open(room.path("out.png")).unwrap().into_rgb8()
}

#[test]
fn images_of_any_size_are_redrawn() {
    let room = room(&["sd35-pipeline"]);
    write_image(&room.path("in.png"), 40, 24);
    let mask = image::GrayImage::from_fn(40, 24, |x, _| image::Luma([if x < 20 { 255 } else { 0 }]));
    mask.save(room.path("mask.png")).unwrap();
    let given = image::open(room.path("in.png")).unwrap().into_rgb8();
    let model = ["-m", "sd35-pipeline.safetensors", "--shift", "2"];
    let redrawn =
        again(&room, &[&["img2img", "in.png", "a red fox", "-W", "48", "-H", "32"][..], &model].concat());
    assert_eq!(redrawn.dimensions(), (48, 32));
    let inpaint = ["inpaint", "in.png", "a red fox", "--mask", "mask.png"];
    let inpainted = again(&room, &[&inpaint[..], &model].concat());
    let is_kept = |x, y| inpainted.get_pixel(x, y) == given.get_pixel(x, y);
    assert!((20..40).all(|x| (0..24).all(|y| is_kept(x, y))) && !(0..20).all(|x| is_kept(x, 12)));
}

#[test]
fn fill_inpaints_and_outpaints() {
    let room = room(&["flux-fill-pipeline"]);
    write_image(&room.path("in.png"), 40, 24);
    let mask = image::GrayImage::from_fn(40, 24, |x, _| image::Luma([if x < 20 { 255 } else { 0 }]));
    mask.save(room.path("mask.png")).unwrap();
    let given = image::open(room.path("in.png")).unwrap().into_rgb8();
    let model = ["-m", "flux-fill-pipeline.safetensors"];
    let inpaint = ["inpaint", "in.png", "a red fox", "--mask", "mask.png"];
    let inpainted = again(&room, &[&inpaint[..], &model].concat());
    assert!((20..40).all(|x| inpainted.get_pixel(x, 9) == given.get_pixel(x, 9)));
    assert_ne!(inpainted.get_pixel(2, 9), given.get_pixel(2, 9));
    let texts = read_png(&room.path("out.png")).1;
    // What Fill was made for.
    assert!(texts[0].1.contains("CFG scale: 30"), "{}", texts[0].1);
    // The mask reaches the network, not the pixels alone.
    image::GrayImage::from_pixel(40, 24, image::Luma([255])).save(room.path("mask.png")).unwrap();
    let whole = again(&room, &[&inpaint[..], &model].concat());
    assert_ne!(whole.get_pixel(2, 9), inpainted.get_pixel(2, 9));
    let outpaint = ["outpaint", "in.png", "a red fox", "--left", "16"];
    assert_eq!(again(&room, &[&outpaint[..], &model].concat()).dimensions(), (56, 24));
}

#[test]
fn kontext_edits() {
    let room = room(&["flux-pipeline"]);
    write_image(&room.path("in.png"), 40, 24);
    let edit =
        |image| ["edit", image, "make it snow", "-m", "flux-pipeline.safetensors", "-W", "48", "-H", "32"];
    let edited = again(&room, &edit("in.png"));
    assert_eq!(png_size(&room.path("out.png")), (48, 32));
    let texts = read_png(&room.path("out.png")).1;
    assert!(!texts[0].1.contains("Image CFG scale"), "{}", texts[0].1);
    image::RgbImage::from_pixel(40, 24, image::Rgb([250, 9, 9])).save(room.path("in.png")).unwrap();
    let other = again(&room, &edit("in.png"));
    assert_ne!(edited, other, "the image is not seen");
    let scaled = [&edit("in.png")[..], &["--img-cfg-scale", "2"]].concat();
    room.refuses(&scaled, &["img cfg scale", "leave it out"]);
}
