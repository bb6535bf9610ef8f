//! Images of the built-in model.

use crate::common::{Room, demo, read_png, synthetic_folder, until_it_draws};

const FAST: &[&str] = &["--steps", "3"];

fn draw(room: &Room, args: &[&str]) -> String {
    room.succeeds(&[&["txt2img", "a red apple"], FAST, args].concat())
}

#[test]
fn the_same_bytes_with_any_number_of_threads() {
    let room = Room::new();
    for threads in ["1", "2", "3"] {
        draw(&room, &["-s", "7", "-t", threads, "-o", &format!("{threads}.png")]);
    }
    let one = std::fs::read(room.path("1.png")).unwrap();
    assert_eq!(one, std::fs::read(room.path("2.png")).unwrap());
    assert_eq!(one, std::fs::read(room.path("3.png")).unwrap());
}

#[test]
fn the_same_bytes_alone_and_in_a_batch() {
    let room = Room::new();
    for sampler in ["dpm++2m", "euler_a"] {
        draw(
            &room,
            &["-s", "5", "-b", "3", "--batch-size", "3", "--sampler", sampler, "-o", "batch-{seed}.png"],
        );
        draw(&room, &["-s", "6", "--sampler", sampler, "-o", "alone.png"]);
        draw(&room, &["-s", "6", "-b", "2", "--sampler", sampler, "-o", "one-by-one-{seed}.png"]);
        let alone = std::fs::read(room.path("alone.png")).unwrap();
        let same = |name: &str| std::fs::read(room.path(name)).unwrap() == alone;
        assert!(same("batch-6.png") && same("one-by-one-6.png") && !same("batch-7.png"), "{sampler}");
    }
}

#[test]
fn the_same_bytes_with_little_memory() {
    let room = Room::new();
    room.file("model.safetensors", &demo());
    synthetic_folder("sd15", &room.path("folder"));
    for model in [&["-m", "model.safetensors"][..], &["-m", "folder"], &[]] {
        draw(&room, &[model, &["-s", "7", "-o", "read.png"]].concat());
        draw(&room, &[model, &["-s", "7", "-o", "mapped.png", "--low-memory"]].concat());
        let image = |name: &str| std::fs::read(room.path(name)).unwrap();
        assert_eq!(image("read.png"), image("mapped.png"), "{model:?}");
    }
}

/// Large enough for several bands, the last of them smaller.
#[test]
fn the_same_bytes_decoded_in_bands() {
    let room = Room::new();
    let size = &["txt2img", "a red apple", "--steps", "1", "-s", "7", "-W", "512", "-H", "264", "-o"][..];
    room.succeeds(&[size, &["whole.png"]].concat());
    room.succeeds(&[size, &["bands.png", "--low-memory"]].concat());
    let image = |name: &str| std::fs::read(room.path(name)).unwrap();
    assert_eq!(image("whole.png"), image("bands.png"));
}

/// Winograd's algorithm rounds differently, and no more than the direct sum.
#[test]
fn the_same_image_by_the_direct_convolution() {
    let room = Room::new();
    for algorithm in ["direct", "winograd"] {
        let args = ["txt2img", "a red apple", "-s", "7", "--steps", "20", "-o", &format!("{algorithm}.png")];
        let args = [&args[..], &["--precision", "f32"]].concat();
        let status = room.command(&args).env("LATENT_CONV", algorithm).output().unwrap().status;
        assert!(status.success(), "{algorithm}");
    }
    let [direct, winograd] = ["direct.png", "winograd.png"].map(|name| read_png(&room.path(name)).0);
    let largest = direct.iter().zip(&winograd).map(|(a, b)| a.abs_diff(*b)).max();
    assert!(direct.len() == 64 * 64 * 3 && largest <= Some(1), "{largest:?} of 255");
    let refused = room.command(&["txt2img", "a"]).env("LATENT_CONV", "fft").output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
}

#[test]
fn a_file_is_named_by_its_hash_and_a_folder_is_not() {
    let room = Room::new();
    room.file("model.safetensors", &demo());
    synthetic_folder("sd15", &room.path("folder"));
    draw(&room, &["-m", "model.safetensors", "-s", "7", "-b", "2", "-o", "file-{seed}.png"]);
    draw(&room, &["-m", "folder", "-s", "7", "-o", "folder.png"]);
    let hash = |name: &str| {
        let (_, texts) = read_png(&room.path(name));
        let json: serde_json::Value = serde_json::from_str(&texts[1].1).unwrap();
        json["model_hash"].as_str().map(str::to_owned)
    };
    assert_eq!(hash("file-7.png").as_deref(), Some("246ef46339"));
    assert_eq!(hash("file-8.png").as_deref(), Some("246ef46339"));
    assert_eq!(hash("folder.png"), None);
}

#[test]
fn a_image_tells_how_it_was_made() {
    let room = Room::new();
    draw(&room, &["-s", "7", "-n", "blurry", "--sampler", "DPM++ 2M Karras", "-W", "32", "-o", "a.png"]);
    let (pixels, texts) = read_png(&room.path("a.png"));
    assert_eq!(pixels.len(), 32 * 64 * 3);
    let [(first, parameters), (second, json)] = &texts[..] else { panic!("{texts:?}") };
    assert_eq!((&first[..], &second[..]), ("parameters", "latent"));
    assert_eq!(
        *parameters,
        format!(
            "a red apple\nNegative prompt: blurry\nSteps: 3, Sampler: DPM++ 2M, Schedule type: Karras, \
             CFG scale: 7, Seed: 7, Size: 32x64, Model hash: 246ef46339, Model: demo, RNG: NV, \
             Version: latent {}",
            env!("CARGO_PKG_VERSION")
        )
    );
    let json: serde_json::Value = serde_json::from_str(json).unwrap();
    assert_eq!(json["seed"], 7);
    assert_eq!(json["sampler"], "dpm++2m");
    assert_eq!(json["model_hash"].as_str().map(str::len), Some(10));
}

#[test]
fn a_prompt_in_any_writing_is_kept() {
    let room = Room::new();
    room.succeeds(&["txt2img", "猫 🐱", "--steps", "1", "-s", "1", "-o", "cat.png"]);
    let (_, texts) = read_png(&room.path("cat.png"));
    assert!(texts[0].1.starts_with("猫 🐱\nSteps: 1"), "{texts:?}");
    room.succeeds(&["txt2img", "-p", "a café", "--steps", "1", "-s", "1", "-o", "cafe.png"]);
    assert!(read_png(&room.path("cafe.png")).1[0].1.starts_with("a café\n"));
}

#[test]
fn a_random_seed_is_told_and_draws_the_image_again() {
    let room = Room::new();
    let output = room.run(&[&["txt2img", "a red apple"], FAST, &["-o", "a.png"]].concat());
    let told = String::from_utf8(output.stderr).unwrap();
    let seed = told.lines().find_map(|line| line.strip_prefix("seed ")).unwrap();
    draw(&room, &["-s", seed, "-o", "b.png"]);
    assert_eq!(std::fs::read(room.path("a.png")).unwrap(), std::fs::read(room.path("b.png")).unwrap());
}

#[test]
fn images_are_named_after_prompt_and_seed() {
    let room = Room::new();
    let told = draw(&room, &["-s", "7", "-b", "2"]);
    assert_eq!(room.files(), ["a-red-apple-7.png", "a-red-apple-8.png"]);
    assert_eq!(told, "a-red-apple-7.png (seed 7)\na-red-apple-8.png (seed 8)\n");
}

#[test]
fn an_empty_prompt_and_a_very_long_one_draw() {
    let room = Room::new();
    room.succeeds(&["txt2img", "", "--steps", "1", "-s", "1"]);
    let long = "cat ".repeat(200);
    room.succeeds(&["txt2img", &long, "-n", "dog", "--steps", "1", "-s", "1", "-o", "long.png"]);
    assert_eq!(room.files(), ["image-1.png", "long.png"]);
}

#[test]
#[cfg(unix)]
fn ctrl_c_leaves_no_half_file() {
    let room = Room::new();
    let mut command = room.command(&["txt2img", "a cat", "--steps", "1000", "-s", "1", "--verbose"]);
    let mut child = command.stderr(std::process::Stdio::piped()).spawn().unwrap();
    until_it_draws(&mut child);
    let kill = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(room.files(), [""; 0]);
}
