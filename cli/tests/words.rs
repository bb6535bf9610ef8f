//! Textual inversions by flag and by folder.

use crate::common::{Room, read_png, synthetic};

fn room() -> Room {
    let room = Room::new();
    room.file("model.safetensors", &synthetic("sd15"));
    std::fs::create_dir(room.path("words")).unwrap();
    room.file("words/toy.safetensors", &synthetic("ti-sd15"));
    room.file("words/broken.safetensors", b"no");
    room.file("words/old.pt", b"PK\x03\x04 a pickle in a zip");
    room
}

/// The pixels of an image drawn with these arguments, and the standard error.
fn draw(room: &Room, prompt: &str, args: &[&str]) -> (Vec<u8>, String) {
    let always = ["txt2img", prompt, "-m", "model.safetensors", "-W", "64", "-H", "64", "--steps", "1"];
    let always = [&always[..], &["-s", "1", "-o", "out.png"], args].concat();
    let output = room.run(&always);
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{error}");
    let (pixels, _) = read_png(&room.path("out.png"));
    std::fs::remove_file(room.path("out.png")).unwrap();
    (pixels, error)
}

#[test]
fn a_folder_gives_the_words_that_the_prompt_names() {
    let room = room();
    let (without, told) = draw(&room, "a toy", &[]);
    assert!(!told.contains("embedding"), "{told}");
    let (by_folder, told) = draw(&room, "a Toy", &["--embd-dir", "words"]);
    assert!(told.contains("embedding words/toy.safetensors: 3 vectors for \"toy\"\n"), "{told}");
    assert_ne!(by_folder, without);
    let (by_flag, _) = draw(&room, "a embedding:toy", &["--embedding", "words/toy.safetensors"]);
    assert_eq!(by_flag, by_folder);
    let (_, told) = draw(&room, "a cat", &["--embedding", "words/toy.safetensors"]);
    assert!(told.contains("for \"toy\", not in the prompt"), "{told}");
    let (_, told) = draw(&room, "a cat", &["--embd-dir", "words", "-n", "(toy:1.2)"]);
    assert!(told.contains("words/toy.safetensors"), "{told}");
}

#[test]
fn what_cannot_be_is_one_line() {
    let room = room();
    room.file("xl.safetensors", &synthetic("sdxl"));
    let refuses = |prompt: &str, args: &[&str], parts: &[&str]| {
        room.refuses(&[&["txt2img", prompt], args].concat(), parts);
    };
    let model = ["-m", "model.safetensors", "--embd-dir", "words"];
    refuses("a broken toy", &model, &["words/broken.safetensors"]);
    refuses("an old toy", &model, &["words/old.pt"]);
    refuses("a toy", &["-m", "model.safetensors", "--embd-dir", "none"], &["none"]);
    refuses(
        "a toy",
        &["-m", "xl.safetensors", "--embd-dir", "words"],
        &["words/toy.safetensors", "width 128", "Stable Diffusion XL", "128 and 192"],
    );
}
