//! SDXL's sizes and its refiner, as flags.

use crate::common::{Room, read_png, synthetic};

const DRAW: [&str; 12] =
    ["txt2img", "a cat", "-m", "base.safetensors", "-W", "64", "-H", "64", "-s", "1", "--steps", "2"];

fn room() -> Room {
    let room = Room::new();
    room.file("base.safetensors", &synthetic("sdxl"));
    room.file("refiner.safetensors", &synthetic("sdxl-refiner"));
    room
}

fn pixels(room: &Room, name: &str, flags: &[&str]) -> Vec<u8> {
    room.succeeds(&[&DRAW[..], &["-o", name], flags].concat());
    read_png(&room.path(name)).0
}

#[test]
fn a_refiner_and_sizes_change_the_image() {
    let room = room();
    let alone = pixels(&room, "alone.png", &[]);
    // Sizes that are the drawn ones are the usual ones.
    let drawn = ["--original-size", "64x64", "--crop", "0,0", "--target-size", "64x64", "--cfg-rescale", "0"];
    assert!(alone == pixels(&room, "drawn.png", &drawn));
    assert!(alone != pixels(&room, "sizes.png", &["--original-size", "512x768"]));
    assert!(alone != pixels(&room, "rescaled.png", &["--cfg-rescale", "0.7"]));
    let refined = ["--refiner", "refiner.safetensors", "--refiner-start", "0.5"];
    assert!(alone != pixels(&room, "refined.png", &refined));
    // The refiner draws alone too.
    room.file("alone.safetensors", &synthetic("sdxl-refiner"));
    let args =
        ["txt2img", "a cat", "-m", "alone.safetensors", "-W", "64", "-H", "64", "--steps", "1", "-s", "1"];
    room.succeeds(&args);
}

#[test]
fn flags_that_cannot_be_followed_are_refused() {
    let room = room();
    let refuses = |flags: &[&str], parts: &[&str]| room.refuses(&[&DRAW[..], flags].concat(), parts);
    refuses(&["--original-size", "64"], &["--original-size", "1024x768"]);
    refuses(&["--crop", "1x2"], &["--crop", "0,128"]);
    refuses(&["--target-size", "0x64"], &["--target-size"]);
    refuses(&["--zero-snr", "maybe"], &["--zero-snr", "on or off"]);
    refuses(&["--cfg-rescale", "2"], &["cfg rescale", "0 to 1"]);
    refuses(&["--refiner-start", "0.5"], &["--refiner"]);
    refuses(&["--refiner", "none.safetensors"], &["none.safetensors"]);
    refuses(
        &["--refiner", "refiner.safetensors", "--refiner-start", "1.5"],
        &["refiner start", "0.8 is usual"],
    );
    room.file("sd15.safetensors", &synthetic("sd15"));
    refuses(&["--refiner", "sd15.safetensors"], &["sd15.safetensors", "latents"]);
}
