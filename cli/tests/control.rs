//! ControlNets, TAESD and previews from the command line.

use crate::common::{Room, demo, read_png, synthetic};
use std::path::Path;

/// A folder with a model, a ControlNet, a TAESD and an image.
fn room() -> Room {
    let room = Room::new();
    room.file("model.safetensors", &synthetic("sd15"));
    room.file("net.safetensors", &synthetic("controlnet-sd15"));
    room.file("taesd.safetensors", &synthetic("taesd"));
    square(&room.path("square.png"), 96, 96);
    room
}

/// A white square in the middle of black.
fn square(path: &Path, width: u32, height: u32) {
    let inside = |at: u32, side: u32| (side / 4..3 * side / 4).contains(&at);
    let grey = |i: u32| if inside(i % width, width) && inside(i / width, height) { 255 } else { 0 };
    let pixels: Vec<u8> = (0..width * height).flat_map(|i| [grey(i); 3]).collect();
    let mut encoder = png::Encoder::new(std::fs::File::create(path).unwrap(), width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.write_header().unwrap().write_image_data(&pixels).unwrap();
}

const DRAW: &[&str] =
    &["txt2img", "a bridge", "-m", "model.safetensors", "--steps", "3", "-s", "7", "-W", "64", "-H", "64"];
const NET: &[&str] = &["--control-net", "net.safetensors", "--control-image", "square.png"];

/// The pixels that flags draw.
fn draw(room: &Room, flags: &[&str]) -> Vec<u8> {
    room.succeeds(&[DRAW, flags, &["-o", "out.png"]].concat());
    read_png(&room.path("out.png")).0
}

#[test]
fn a_control_net_steers_and_the_file_tells_of_it() {
    let room = room();
    let plain = draw(&room, &[]);
    let steered = draw(&room, NET);
    assert_ne!(plain, steered);
    assert_eq!(plain, draw(&room, &[NET, &["--control-strength", "0"]].concat()));
    assert_eq!(plain, draw(&room, &[NET, &["--control-start", "0.1", "--control-end", "0.2"]].concat()));
    let canny = draw(&room, &[NET, &["--control-preprocess", "canny", "--control-strength", "0.5"]].concat());
    assert_ne!(canny, draw(&room, &[NET, &["--control-strength", "0.5"]].concat()));
    let (_, texts) = {
        draw(&room, &[NET, &["--control-preprocess", "canny", "--control-end", "0.75"]].concat());
        read_png(&room.path("out.png"))
    };
    let told = "ControlNet 0: \"canny: [100.0,200.0], end: 0.75, image: square.png, net: net, start: 0.0, strength: 1.0\"";
    assert!(texts[0].1.contains(told), "{}", texts[0].1);
    let json: serde_json::Value = serde_json::from_str(&texts[1].1).unwrap();
    assert_eq!((&json["control_0"]["net"], &json["control_0"]["end"]), (&"net".into(), &0.75.into()));
    // Thresholds that nothing passes leave the network a black image.
    let none = ["--control-preprocess", "canny", "--canny-low", "9000", "--canny-high", "9000"];
    assert_ne!(draw(&room, &[NET, &none[..2]].concat()), draw(&room, &[NET, &none].concat()));
}

#[test]
fn several_control_nets_take_one_value_or_their_own() {
    let room = room();
    square(&room.path("other.png"), 64, 200);
    let two = [NET, NET].concat();
    let both = draw(&room, &[&two[..], &["--control-strength", "0.5"]].concat());
    let own = ["--control-strength", "0.5", "--control-strength", "0.5"];
    assert_eq!(both, draw(&room, &[&two[..], &own].concat()));
    let nets = ["--control-net", "net.safetensors"].repeat(2);
    let images = ["--control-image", "square.png", "--control-image", "other.png"];
    assert_ne!(both, draw(&room, &[&nets[..], &images, &own].concat()));
    // The second alone.
    let second = ["--control-strength", "0", "--control-strength", "1"];
    let alone = draw(&room, &["--control-net", "net.safetensors", "--control-image", "other.png"]);
    assert_eq!(alone, draw(&room, &[&nets[..], &images, &second].concat()));
    let three = [&nets[..], &nets[..2], &["--control-image", "square.png"], &own].concat();
    let refused = [DRAW, &three].concat();
    room.refuses(&refused, &["control strength", "2 are given for 3 ControlNets"]);
}

#[test]
fn every_command_that_draws_takes_a_control_net() {
    let room = room();
    square(&room.path("mask.png"), 96, 96);
    let model = ["-m", "model.safetensors", "--steps", "2", "-s", "7", "-o", "out.png"];
    for command in [
        &["img2img", "square.png", "a bridge", "-W", "64", "-H", "64"][..],
        &["inpaint", "square.png", "mask.png", "a bridge"],
        &["inpaint", "square.png", "mask.png", "a bridge", "--only-masked", "-W", "64", "-H", "64"],
        &["outpaint", "square.png", "a bridge", "--left", "32"],
    ] {
        room.succeeds(&[command, &model].concat());
        let plain = read_png(&room.path("out.png")).0;
        room.succeeds(&[command, &model, NET].concat());
        assert_ne!(plain, read_png(&room.path("out.png")).0, "{command:?}");
    }
}

#[test]
fn what_cannot_steer_is_refused() {
    let room = room();
    room.file("lora.safetensors", &synthetic("lora-sd15-kohya"));
    let refuse = |flags: &[&str], parts: &[&str]| room.refuses(&[DRAW, flags].concat(), parts);
    refuse(&["--control-net", "net.safetensors"], &["--control-image"]);
    refuse(&["--control-image", "square.png"], &["--control-net"]);
    refuse(&["--control-strength", "1"], &["--control-net"]);
    let net = |file: &'static str| ["--control-net", file, "--control-image", "square.png"];
    refuse(&net("model.safetensors"), &["model.safetensors", "is not a ControlNet but a model"]);
    refuse(&net("lora.safetensors"), &["LoRA", "give a ControlNet"]);
    refuse(&net("nothing.safetensors"), &["nothing.safetensors"]);
    refuse(&["--control-net", "net.safetensors", "--control-image", "model.safetensors"], &["not an image"]);
    refuse(&[NET, &["--control-strength", "-1"]].concat(), &["control strength", "1 is usual"]);
    refuse(&[NET, &["--control-start", "0.5", "--control-end", "0.1"]].concat(), &["0 to 1 is all"]);
    let canny = [NET, &["--control-preprocess", "canny", "--canny-low", "300"]].concat();
    refuse(&canny, &["canny", "100 and 200 are usual"]);
    // The built-in model is narrower than the network's.
    room.refuses(&[&["txt2img", "a bridge"], NET].concat(), &["net.safetensors", "ControlNet"]);
    refuse(&["--taesd", "model.safetensors"], &["is not a TAESD but a model"]);
    refuse(&["--preview", "nowhere/a.png"], &["the folder does not exist"]);
    refuse(&["--preview-interval", "2"], &["--preview"]);
}

#[test]
fn a_terminal_shows_previews() {
    let room = Room::new();
    let args = ["txt2img", "a red apple", "--steps", "2", "-s", "7", "-o", "a.png", "--preview", "terminal"];
    room.refuses(&args, &["the standard output is not a terminal"]);
    let output = room.command(&args).env("LATENT_TERMINAL", "kitty").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let shown = String::from_utf8(output.stdout).unwrap();
    // One a step; the second in place of the first.
    assert_eq!(shown.matches("\x1b_Gf=100,a=T").count(), 2, "{shown:?}");
    assert_eq!(shown.matches("\x1b[16A\x1b7").count(), 2, "{shown:?}");
    assert!(shown.ends_with("a.png (seed 7)\n"), "{shown:?}");
    let wrong = room.command(&args).env("LATENT_TERMINAL", "vt52").output().unwrap();
    assert_eq!(wrong.status.code(), Some(2));
}

#[test]
fn taesd_decodes_and_previews() {
    let room = room();
    let plain = draw(&room, &[]);
    let flags = ["--taesd", "taesd.safetensors", "--preview", "preview.png"];
    let fast = draw(&room, &flags);
    assert_ne!(plain, fast);
    // The last preview is the image.
    let (preview, texts) = read_png(&room.path("preview.png"));
    assert!(texts.is_empty() && preview.len() == fast.len());
    assert_eq!(draw(&room, &["--fast-vae", "--models-dir", "."]), fast);
    let largest = preview.iter().zip(&fast).map(|(a, b)| a.abs_diff(*b)).max();
    assert!(largest <= Some(1), "{largest:?} of 255");
    let (_, texts) = read_png(&room.path("out.png"));
    assert!(texts[0].1.contains(", VAE Decoder: taesd"), "{}", texts[0].1);
    assert_eq!(
        room.files(),
        ["model.safetensors", "net.safetensors", "out.png", "preview.png", "square.png", "taesd.safetensors"]
    );
}

/// The last step always has one.
#[test]
fn a_preview_without_taesd_is_rough_and_of_the_same_size() {
    let room = Room::new();
    room.file("demo.safetensors", &demo());
    let draw = ["txt2img", "a red apple", "-s", "7", "--steps", "5", "-o", "out.png"];
    room.succeeds(&[&draw[..], &["--preview", "preview.png", "--preview-interval", "100"]].concat());
    let (image, preview) = (read_png(&room.path("out.png")).0, read_png(&room.path("preview.png")).0);
    assert_eq!(image.len(), preview.len());
    assert!(preview.iter().any(|value| *value != preview[0]));
    room.succeeds(&draw);
    assert_eq!(image, read_png(&room.path("out.png")).0, "a preview changes nothing");
}
