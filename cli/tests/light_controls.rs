//! Control-LoRAs and ControlNet-LLLites from the command line. Their values are compared among the goldens of the library.

use crate::common::{Room, read_png, synthetic};

/// Files that steer, and what `inspect` calls each.
const NETS: [(&str, &str); 2] = [("control-lora", "Control-LoRA"), ("lllite", "ControlNet-LLLite")];

/// A folder with a model, both kinds of files and an image.
fn room() -> Room {
    let room = Room::new();
    room.file("model.safetensors", &synthetic("sd15"));
    for (net, _) in NETS {
        room.file(&format!("{net}.safetensors"), &synthetic(&format!("{net}-sd15")));
    }
    picture(&room, "lines.png", |i| if i % 7 < 3 { [220, 20, 20] } else { [255; 3] });
    room
}

fn picture(room: &Room, name: &str, pixel: impl Fn(usize) -> [u8; 3]) {
    let pixels: Vec<u8> = (0..64 * 96).flat_map(pixel).collect();
    let mut encoder = png::Encoder::new(std::fs::File::create(room.path(name)).unwrap(), 96, 64);
    encoder.set_color(png::ColorType::Rgb);
    encoder.write_header().unwrap().write_image_data(&pixels).unwrap();
}

const TEXT: &[&str] = &["txt2img", "a bridge", "-W", "64", "-H", "64"];

/// The pixels that a command draws, of the first image where it draws several, and its texts.
fn draw(room: &Room, args: &[&str]) -> (Vec<u8>, Vec<(String, String)>) {
    room.succeeds(&[args, &["--steps", "2", "-s", "7", "-o", "out.png"]].concat());
    let name = if room.files().iter().any(|name| name == "out-1.png") { "out-1.png" } else { "out.png" };
    let drawn = read_png(&room.path(name));
    room.files().iter().filter(|name| name.starts_with("out")).for_each(|name| {
        std::fs::remove_file(room.path(name)).unwrap();
    });
    drawn
}

#[test]
fn every_command_that_draws_takes_them_and_replay_draws_the_same() {
    let room = room();
    picture(&room, "mask.png", |i| if i % 96 < 48 { [0; 3] } else { [255; 3] });
    let model = ["-m", "model.safetensors"];
    for command in [
        &["img2img", "lines.png", "a bridge", "-W", "64", "-H", "64"][..],
        &["inpaint", "lines.png", "mask.png", "a bridge"],
        &["outpaint", "lines.png", "a bridge", "--left", "32"],
        &[TEXT, &["--hires", "--hires-upscaler", "latent", "--cache", "2"]].concat(),
        &[TEXT, &["--cfg-scale", "1", "-b", "2"]].concat(),
    ] {
        let plain = draw(&room, &[command, &model].concat()).0;
        for (net, _) in NETS {
            let net = ["--control-net", net, "--models-dir", ".", "--control-image", "lines.png"];
            let (steered, texts) = draw(&room, &[command, &model, &net].concat());
            assert_ne!(plain, steered, "{command:?} {net:?}");
            assert!(texts[0].1.contains(&format!("net: {}", net[1])), "{}", texts[0].1);
        }
    }
    // Both at once, each with settings of its own.
    let net = |name: &'static str| ["--control-net", name, "--control-image", "lines.png"];
    let [lora, lllite] = [net("control-lora.safetensors"), net("lllite.safetensors")];
    let own = ["--control-strength", "0.5", "--control-strength", "1.5", "--control-end", "0.5"];
    let args = [TEXT, &model, &lora, &lllite, &own, &["--steps", "2", "-s", "7"]].concat();
    room.succeeds(&[&args[..], &["-o", "first.png"]].concat());
    let (drawn, texts) = read_png(&room.path("first.png"));
    let json: serde_json::Value = serde_json::from_str(&texts[1].1).unwrap();
    assert_eq!(json["control_1"]["strength"], 1.5, "{json}");
    room.succeeds(&["replay", "first.png", "-o", "again.png"]);
    assert_eq!(drawn, read_png(&room.path("again.png")).0);
}

#[test]
fn a_control_lora_changes_a_model_of_any_stored_type() {
    let room = room();
    let net = ["--control-net", "control-lora.safetensors", "--control-image", "lines.png"];
    let drawn = |model: &str| draw(&room, &[TEXT, &["-m", model], &net].concat()).0;
    let half = drawn("model.safetensors");
    let convert = |from: &str, to: &str, dtype: &str| {
        room.succeeds(&["convert", from, to, "--type", dtype, "--force"]);
    };
    convert("model.safetensors", "wide.safetensors", "f32");
    assert_eq!(half, drawn("wide.safetensors"));
    for (small, dtype) in
        [("small.safetensors", "q8_0"), ("small.safetensors", "f8_e4m3"), ("small.gguf", "q4_0")]
    {
        convert("model.safetensors", small, dtype);
        convert(small, "wide.safetensors", "f32");
        let small = drawn(small);
        assert!(small == drawn("wide.safetensors") && small != half, "{dtype}");
    }
}

#[test]
fn what_they_are_is_shown_and_another_base_is_refused() {
    let room = room();
    room.file("xl.safetensors", &synthetic("sdxl"));
    for (net, kind) in NETS {
        let file = format!("{net}.safetensors");
        let shown = room.succeeds(&["inspect", &file]);
        assert!(shown.contains(kind), "{shown}");
        let net = ["--control-net", &file, "--control-image", "lines.png", "-s", "1"];
        let refused = [&file, kind, "Stable Diffusion XL"];
        room.refuses(&[TEXT, &["-m", "xl.safetensors"], &net].concat(), &refused);
        // The built-in model is of the same family, and of other sizes.
        room.refuses(&[TEXT, &net].concat(), &[&file, kind, "the model"]);
    }
    let shown = room.succeeds(&["models", "--models-dir", "."]);
    assert!(shown.contains("control-lora") && shown.contains("lllite"), "{shown}");
}
