//! LoRAs by flag and in the prompt.

use crate::common::{Room, read_png, synthetic};

/// A room with a small model and LoRAs for it and for another.
fn room() -> Room {
    let room = Room::new();
    room.file("model.safetensors", &synthetic("sd15"));
    std::fs::create_dir(room.path("loras")).unwrap();
    room.file("loras/kohya.safetensors", &synthetic("lora-sd15-kohya"));
    room.file("loras/xl.safetensors", &synthetic("lora-sdxl-kohya"));
    room
}

/// The pixels of an image drawn with these arguments, and the standard error.
fn draw(room: &Room, prompt: &str, args: &[&str]) -> (Vec<u8>, String) {
    let always = ["txt2img", prompt, "-m", "model.safetensors", "-W", "64", "-H", "64", "--steps", "1"];
    let always = [&always[..], &["-s", "1", "-o", "out.png", "--lora-dir", "loras"], args].concat();
    let output = room.run(&always);
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{error}");
    let (pixels, _) = read_png(&room.path("out.png"));
    std::fs::remove_file(room.path("out.png")).unwrap();
    (pixels, error)
}

#[test]
fn flag_and_prompt_do_the_same_and_weight_zero_nothing() {
    let room = room();
    let (without, _) = draw(&room, "a fox", &[]);
    let (by_flag, told) = draw(&room, "a fox", &["--lora", "loras/kohya.safetensors"]);
    assert_ne!(by_flag, without);
    let counts = told.lines().find_map(|line| line.strip_prefix("LoRA loras/kohya.safetensors: ")).unwrap();
    let [n, "of", m, "applied"] = counts.split(' ').collect::<Vec<_>>()[..] else { panic!("{counts}") };
    assert_eq!(n, m);
    assert_eq!(draw(&room, "a fox<lora:kohya:1>", &[]).0, by_flag);
    assert_eq!(draw(&room, "a fox", &["--lora", "loras/kohya.safetensors:0"]).0, without);
}

#[test]
fn what_cannot_be_is_one_line() {
    let room = room();
    let refuses = |prompt: &str, args: &[&str], parts: &[&str]| {
        room.refuses(&[&["txt2img", prompt, "-m", "model.safetensors"], args].concat(), parts);
    };
    refuses(
        "a fox",
        &["--lora", "loras/xl.safetensors"],
        &["loras/xl.safetensors", "does not fit this", "1.x"],
    );
    refuses("a fox", &["--lora", "model.safetensors"], &["model.safetensors", "is not a LoRA"]);
    refuses("a fox", &["--lora", "none.safetensors"], &["none.safetensors"]);
    refuses("a fox<lora:kohya>", &[], &["there is no kohya.safetensors in ."]);
    refuses("a fox<lora:../loras/kohya>", &["--lora-dir", "loras"], &["plain name"]);
    refuses("a fox<lora:kohya:much>", &["--lora-dir", "loras"], &["not a number"]);
    refuses("a fox<lora:kohya:1e9>", &["--lora-dir", "loras"], &["loras/kohya.safetensors", "weight"]);
}
