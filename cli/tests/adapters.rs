//! IP-Adapters, unions of ControlNets, and adapters where they do not belong, from the command line.

use crate::common::{Room, read_png, synthetic};
use latent_benches::{DType, Manifest, synth};
use serde_json::json;

/// A folder with a model, an IP-Adapter, its image encoder and an image.
fn room() -> Room {
    let room = Room::new();
    room.file("model.safetensors", &synthetic("sd15"));
    room.file("adapter.safetensors", &synthetic("ip-adapter-plain-sd15"));
    room.file("encoder.safetensors", &synthetic("image-encoder"));
    picture(&room, "red.png", [220, 20, 20]);
    room
}

/// A PNG of stripes in a colour.
fn picture(room: &Room, name: &str, colour: [u8; 3]) {
    let pixels: Vec<u8> = (0..64 * 96).flat_map(|i| if i % 7 < 3 { colour } else { [255; 3] }).collect();
    let file = std::fs::File::create(room.path(name)).unwrap();
    let mut encoder = png::Encoder::new(file, 96, 64);
    encoder.set_color(png::ColorType::Rgb);
    encoder.write_header().unwrap().write_image_data(&pixels).unwrap();
}

/// A file of tensors of these names and shapes.
fn tensors(room: &Room, name: &str, entries: &[(&str, &[usize])]) {
    let entries: Vec<_> =
        entries.iter().map(|(name, shape)| json!({"name": name, "dtype": "W", "shape": shape})).collect();
    let manifest = Manifest::parse(&json!({"files": {"file": entries}}).to_string()).unwrap();
    room.file(name, &synth::bytes(&manifest.files()["file"], 1, DType::F16));
}

const DRAW: &[&str] =
    &["txt2img", "a bridge", "-m", "model.safetensors", "--steps", "3", "-s", "7", "-W", "64", "-H", "64"];
const PROMPT: &[&str] = &[
    "--ip-adapter",
    "adapter.safetensors",
    "--ip-adapter-image",
    "red.png",
    "--image-encoder",
    "encoder.safetensors",
];

/// The pixels that flags draw.
fn draw(room: &Room, flags: &[&str]) -> Vec<u8> {
    room.succeeds(&[DRAW, flags, &["-o", "out.png"]].concat());
    read_png(&room.path("out.png")).0
}

#[test]
fn an_image_is_a_prompt_and_the_file_tells_of_it() {
    let room = room();
    let plain = draw(&room, &[]);
    let seen = draw(&room, PROMPT);
    assert_ne!(plain, seen);
    assert_eq!(plain, draw(&room, &[PROMPT, &["--ip-adapter-strength", "0"]].concat()));
    assert_eq!(
        plain,
        draw(&room, &[PROMPT, &["--ip-adapter-start", "0.1", "--ip-adapter-end", "0.2"]].concat())
    );
    let half = draw(&room, &[PROMPT, &["--ip-adapter-strength", "0.5"]].concat());
    assert_ne!(half, seen);
    // Twice with half the strength: what several add is summed.
    picture(&room, "blue.png", [20, 20, 220]);
    let adapters = [&PROMPT[..2], &PROMPT[..2]].concat();
    let rest = [
        "--ip-adapter-image",
        "red.png",
        "--ip-adapter-image",
        "blue.png",
        "--image-encoder",
        "encoder.safetensors",
    ];
    let second_off = ["--ip-adapter-scale", "0.5", "--ip-adapter-scale", "0"];
    assert_eq!(half, draw(&room, &[&adapters[..], &rest, &second_off].concat()));
    draw(&room, &[PROMPT, &["--ip-adapter-end", "0.75"]].concat());
    let texts = read_png(&room.path("out.png")).1;
    let recorded = "IP-Adapter 0: \"adapter: adapter, encoder: encoder, end: 0.75, image: red.png, start: 0.0, strength: 1.0\"";
    assert!(texts[0].1.contains(recorded), "{}", texts[0].1);
    let json: serde_json::Value = serde_json::from_str(&texts[1].1).unwrap();
    assert_eq!(json["ip_adapter_0"]["end"], 0.75);
    let drawn = read_png(&room.path("out.png")).0;
    room.succeeds(&["replay", "out.png", "-o", "again.png"]);
    assert_eq!(drawn, read_png(&room.path("again.png")).0);
}

#[test]
fn every_command_that_draws_takes_an_ip_adapter() {
    let room = room();
    picture(&room, "mask.png", [0; 3]);
    let model = ["-m", "model.safetensors", "--steps", "2", "-s", "7", "-o", "out.png"];
    for command in [
        &["img2img", "red.png", "a bridge", "-W", "64", "-H", "64"][..],
        &["inpaint", "red.png", "mask.png", "a bridge"],
        &["outpaint", "red.png", "a bridge", "--left", "32"],
        &[
            "txt2img",
            "a bridge",
            "-W",
            "64",
            "-H",
            "64",
            "--hires",
            "--hires-upscaler",
            "latent",
            "--cache",
            "2",
        ],
        &["txt2img", "a bridge", "-W", "64", "-H", "64", "--cfg-scale", "1", "-b", "2"],
    ] {
        let first = if command.contains(&"-b") { "out-1.png" } else { "out.png" };
        room.succeeds(&[command, &model].concat());
        let shown = room.files();
        let first = if shown.iter().any(|name| name == first) { first } else { "out.png" };
        let plain = read_png(&room.path(first)).0;
        room.succeeds(&[command, &model, PROMPT].concat());
        assert_ne!(plain, read_png(&room.path(first)).0, "{command:?}");
    }
}

#[test]
fn what_cannot_be_an_image_prompt_is_refused() {
    let room = room();
    room.file("sdxl.safetensors", &synthetic("ip-adapter-plain-sdxl"));
    room.file("plus.safetensors", &synthetic("ip-adapter-plus-sd15"));
    tensors(
        &room,
        "narrow.safetensors",
        &[("image_proj.proj.weight", &[512, 32]), ("image_proj.proj.bias", &[512])],
    );
    let refuse = |flags: &[&str], parts: &[&str]| room.refuses(&[DRAW, flags].concat(), parts);
    refuse(&PROMPT[..2], &["--ip-adapter-image"]);
    refuse(&PROMPT[..4], &["--image-encoder"]);
    refuse(&PROMPT[2..4], &["--ip-adapter"]);
    let adapter = |file: &'static str| [&["--ip-adapter", file][..], &PROMPT[2..]].concat();
    refuse(&adapter("model.safetensors"), &["model.safetensors", "is not an IP-Adapter but a model"]);
    refuse(&adapter("encoder.safetensors"), &["is not an IP-Adapter but an image encoder"]);
    refuse(
        &adapter("sdxl.safetensors"),
        &["sdxl.safetensors", "is an IP-Adapter for", "give one for Stable Diffusion 1.x"],
    );
    let encoder = [&PROMPT[..4], &["--image-encoder", "adapter.safetensors"]].concat();
    refuse(&encoder, &["is not a CLIP vision encoder but an IP-Adapter", "CLIP-ViT-H-14"]);
    refuse(&[PROMPT, &["--ip-adapter-strength", "11"]].concat(), &["ip adapter strength"]);
    refuse(&[PROMPT, &["--ip-adapter-start", "0.5", "--ip-adapter-end", "0.1"]].concat(), &["0 to 1 is all"]);
    let face: &[(&str, &[usize])] = &[
        ("image_proj.proj.0.weight", &[64, 512]),
        ("image_proj.norm.weight", &[128]),
        ("ip_adapter.0.to_q_lora.down.weight", &[8, 32]),
        ("ip_adapter.1.to_k_ip.weight", &[32, 128]),
    ];
    tensors(&room, "face.safetensors", face);
    refuse(&adapter("face.safetensors"), &["face.safetensors", "FaceID", "recognises faces"]);
}

#[test]
fn an_adapter_where_it_does_not_belong_is_told_what_it_is() {
    let room = room();
    let control_lora: &[(&str, &[usize])] = &[
        ("lora_controlnet", &[0]),
        ("input_blocks.1.0.in_layers.2.up", &[32, 4]),
        ("input_hint_block.0.weight", &[16, 3, 3, 3]),
    ];
    tensors(&room, "control-lora.safetensors", control_lora);
    tensors(
        &room,
        "lllite.safetensors",
        &[("lllite_unet_input_blocks_4_1_attn1_to_q.down.0.weight", &[4, 32])],
    );
    tensors(&room, "t2i.safetensors", &[("adapter.body.0.resnets.0.block1.weight", &[32, 32, 3, 3])]);
    tensors(&room, "flux.safetensors", &[("double_blocks.0.img_mod.lin.weight", &[32, 32])]);
    tensors(
        &room,
        "sd3.safetensors",
        &[("model.diffusion_model.joint_blocks.0.x_block.mlp.fc1.bias", &[32])],
    );
    let control = |file| ["--control-net", file, "--control-image", "red.png"];
    for (file, what) in [
        ("control-lora.safetensors", "Control-LoRA"),
        ("lllite.safetensors", "ControlNet-LLLite"),
        ("t2i.safetensors", "T2I-Adapter"),
        ("adapter.safetensors", "IP-Adapter"),
        ("encoder.safetensors", "image encoder"),
        ("flux.safetensors", "a Flux model"),
        ("sd3.safetensors", "a Stable Diffusion 3 model"),
    ] {
        room.refuses(&["txt2img", "a bridge", "-s", "1", "-m", file], &[file, what]);
        room.refuses(&[DRAW, &["--lora", file]].concat(), &[file, what]);
        // A T2I-Adapter does steer; this one has gaps.
        let what = if what == "T2I-Adapter" { file } else { what };
        room.refuses(&[DRAW, &control(file)].concat(), &[file, what]);
    }
    let shown = room.succeeds(&["inspect", "control-lora.safetensors"]);
    assert!(shown.contains("Control-LoRA"), "{shown}");
}

#[test]
fn a_union_of_control_nets_needs_to_know_the_kind() {
    let room = room();
    room.file("xl.safetensors", &synthetic("sdxl"));
    room.file("union.safetensors", &synthetic("controlnet-union-sdxl"));
    let base =
        ["txt2img", "a bridge", "-m", "xl.safetensors", "--steps", "2", "-s", "7", "-W", "64", "-H", "64"];
    let net = ["--control-net", "union.safetensors", "--control-image", "red.png"];
    let draw = |flags: &[&str]| {
        room.succeeds(&[&base[..], &net, flags, &["-o", "out.png"]].concat());
        read_png(&room.path("out.png"))
    };
    room.refuses(
        &[&base[..], &net].concat(),
        &["control type", "openpose, depth, softedge, canny", "repaint"],
    );
    room.refuses(
        &[&base[..], &net, &["--control-type", "scent"]].concat(),
        &["control type", "give one of openpose"],
    );
    let (depth, texts) = draw(&["--control-type", "depth"]);
    assert!(texts[0].1.contains("type: depth"), "{}", texts[0].1);
    assert_ne!(depth, draw(&["--control-type", "tile"]).0);
    // Edges that are made of the image are of that kind.
    let edges = draw(&["--control-preprocess", "canny"]).0;
    assert_eq!(edges, draw(&["--control-preprocess", "canny", "--control-type", "lineart"]).0);
}

#[test]
fn a_t2i_adapter_steers_as_a_control_net_does() {
    let room = room();
    room.file("xl.safetensors", &synthetic("sdxl"));
    room.file("full.safetensors", &synthetic("t2i-full-adapter-sd15"));
    room.file("light.safetensors", &synthetic("t2i-light-adapter-sd15"));
    room.file("for-xl.safetensors", &synthetic("t2i-full-adapter-xl-sdxl"));
    let plain = draw(&room, &[]);
    let net = |file: &'static str| ["--control-net", file, "--control-image", "red.png"];
    let full = draw(&room, &net("full.safetensors"));
    assert_ne!(plain, full);
    assert_ne!(full, draw(&room, &net("light.safetensors")));
    assert_ne!(full, draw(&room, &[&net("full.safetensors")[..], &["--control-strength", "0.5"]].concat()));
    assert_eq!(plain, draw(&room, &[&net("full.safetensors")[..], &["--control-strength", "0"]].concat()));
    // With the coarse levels of an earlier step, the finest feature still acts.
    assert_ne!(
        draw(&room, &["--cache", "3"]),
        draw(&room, &[&net("full.safetensors")[..], &["--cache", "3"]].concat())
    );
    room.refuses(
        &[DRAW, &net("for-xl.safetensors")].concat(),
        &[
            "for-xl.safetensors",
            "is a T2I-Adapter for Stable Diffusion XL",
            "give one for Stable Diffusion 1.x",
        ],
    );
    // Sides that are not whole squares of 16 pixels.
    let xl = [
        "txt2img",
        "a bridge",
        "-m",
        "xl.safetensors",
        "--steps",
        "2",
        "-s",
        "7",
        "-W",
        "72",
        "-H",
        "64",
        "-o",
        "xl.png",
    ];
    room.succeeds(&xl);
    let plain = read_png(&room.path("xl.png")).0;
    room.succeeds(&[&xl[..], &net("for-xl.safetensors")].concat());
    assert_ne!(plain, read_png(&room.path("xl.png")).0);
}
