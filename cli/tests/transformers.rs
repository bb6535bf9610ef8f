//! Models with a transformer in place of the UNet, drawn by the program.

use crate::common::{Room, read_png, synthetic};

const DRAW: [&str; 10] = ["txt2img", "a red fox", "--steps", "2", "-W", "64", "-H", "48", "--cfg-scale", "2"];

fn room() -> Room {
    let room = Room::new();
    for name in ["sd35-pipeline", "flux-schnell-pipeline"] {
        room.file(&format!("{name}.safetensors"), &synthetic(name));
    }
    room
}

#[test]
fn little_memory_changes_no_byte_and_a_batch_draws_what_each_seed_draws() {
    let room = room();
    for model in ["sd35-pipeline", "flux-schnell-pipeline"] {
        let draw = |more: &[&str]| {
            let file = format!("{model}.safetensors");
            room.succeeds(&[&DRAW[..], &["-m", &file, "-s", "5", "-o", "out.png"], more].concat());
            read_png(&room.path("out.png")).0
        };
        let plain = draw(&[]);
        assert_eq!(draw(&["--low-memory"]), plain, "{model}");
        assert_ne!(draw(&["--shift", "6"]), plain, "{model}");
    }
}

#[test]
fn what_acts_on_a_unet_is_refused() {
    let room = room();
    let model = ["-m", "sd35-pipeline.safetensors"];
    for (flags, part) in [
        (&["--pag-scale", "3"][..], "UNet"),
        (&["--tome", "0.3"], "UNet"),
        (&["--cache", "2"], "UNet"),
        (&["--sampler", "plms"], "euler"),
    ] {
        room.refuses(&[&DRAW[..], &model, flags].concat(), &[part]);
    }
    let odd = ["txt2img", "a red fox", "-m", "sd35-pipeline.safetensors", "-W", "72", "-H", "48"];
    room.refuses(&odd, &["16"]);
}

#[test]
fn parts_may_be_files_of_their_own() {
    let room = room();
    let whole = ["-m", "sd35-pipeline.safetensors", "-s", "5", "-o", "whole.png"];
    room.succeeds(&[&DRAW[..], &whole].concat());
    // The same file gives each part, and another its transformer alone.
    let parts = [
        "--transformer",
        "sd35-pipeline.safetensors",
        "--vae",
        "sd35-pipeline.safetensors",
        "--t5",
        "sd35-pipeline.safetensors",
        "-s",
        "5",
        "-o",
        "parts.png",
    ];
    room.succeeds(&[&DRAW[..], &parts].concat());
    assert_eq!(read_png(&room.path("whole.png")).0, read_png(&room.path("parts.png")).0);
    // Flux reads a T5, and this one is there already.
    let twice = ["-m", "flux-schnell-pipeline.safetensors", "--t5", "sd35-pipeline.safetensors"];
    room.succeeds(&[&DRAW[..], &twice, &["-o", "other.png"]].concat());
}
