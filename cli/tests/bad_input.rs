//! What cannot be is refused before anything is drawn: status 2, one line, no file.

use crate::common::{Room, demo, synthetic};

#[test]
fn a_missing_file() {
    Room::new().refuses(&["txt2img", "a cat", "-m", "no.safetensors"], &["no.safetensors", "no such file"]);
    Room::new().refuses(&["inspect", "no.safetensors"], &["no.safetensors", "no such file"]);
}

#[test]
fn a_file_cut_short_tells_both_sizes() {
    let room = Room::new();
    let whole = demo();
    room.file("part.safetensors", &whole[..whole.len() - 1000]);
    let sizes = [&whole.len().to_string()[..], &(whole.len() - 1000).to_string()];
    room.refuses(&["txt2img", "a cat", "-m", "part.safetensors"], &sizes);
    room.refuses(&["txt2img", "a cat", "-m", "part.safetensors", "--low-memory"], &sizes);
    room.refuses(&["inspect", "part.safetensors"], &sizes);
}

#[test]
fn a_pickle() {
    let room = Room::new();
    room.file("model.ckpt", b"\x80\x02}q\x00(X\x0a\x00\x00\x00state_dictq\x01}q\x02u.");
    room.refuses(&["txt2img", "a cat", "-m", "model.ckpt"], &["model.ckpt", "pickle"]);
}

#[test]
fn a_git_lfs_pointer() {
    let room = Room::new();
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 2132625612\n";
    room.file("model.safetensors", pointer.as_bytes());
    room.refuses(&["txt2img", "a cat", "-m", "model.safetensors"], &["Git LFS pointer"]);
}

#[test]
fn files_that_hold_no_model_are_told_what_they_are() {
    let room = Room::new();
    room.file("lora.safetensors", &synthetic("lora-sd15-kohya"));
    room.refuses(&["txt2img", "a cat", "-m", "lora.safetensors"], &["lora.safetensors"]);
    std::fs::create_dir(room.path("folder")).unwrap();
    room.refuses(&["txt2img", "a cat", "-m", "folder"], &["folder"]);
}

#[test]
fn a_weight_that_is_no_number_is_named() {
    let room = Room::new();
    let mut bytes = demo();
    let header = usize::try_from(u64::from_le_bytes(bytes[..8].try_into().unwrap())).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&bytes[8..8 + header]).unwrap();
    let name = "model.diffusion_model.out.2.weight";
    let start = 8 + header + usize::try_from(json[name]["data_offsets"][0].as_u64().unwrap()).unwrap();
    bytes[start..start + 2].copy_from_slice(&0x7e00u16.to_le_bytes());
    room.file("nan.safetensors", &bytes);
    room.refuses(
        &["txt2img", "a cat", "-m", "nan.safetensors", "-s", "1", "--steps", "1"],
        &["nan.safetensors", name],
    );
}

#[test]
fn sizes_that_the_model_cannot_make_name_the_nearest() {
    let room = Room::new();
    room.refuses(&["txt2img", "a cat", "-W", "65"], &["width", "65", "multiple of 4", "64"]);
    room.refuses(&["txt2img", "a cat", "-H", "0"], &["height", "nearest good one is 4"]);
    room.refuses(&["txt2img", "a cat", "-W", "2147483648"], &["width", "nearest good one is 8192"]);
}

#[test]
fn unknown_names_suggest_the_nearest() {
    let room = Room::new();
    room.refuses(&["txt2img", "a cat", "--sampler", "eulre"], &["--sampler", "did you mean \"euler\"?"]);
    room.refuses(&["txt2img", "a cat", "--scheduler", "karas"], &["--scheduler", "did you mean \"karras\"?"]);
    room.refuses(&["txt2img", "a cat", "--rng", "gpu"], &["--rng", "cuda", "cpu"]);
}

#[test]
fn settings_out_of_range() {
    let room = Room::new();
    for (flag, value) in [
        ("--steps", "0"),
        ("--steps", "1000000000"),
        ("--cfg-scale", "NaN"),
        ("--clip-skip", "0"),
        ("--clip-skip", "40"),
        ("--batch-count", "0"),
        ("--batch-size", "0"),
        ("--threads", "0"),
    ] {
        room.refuses(&["txt2img", "a cat", flag, value], &[&flag[2..5]]);
    }
    room.refuses(&["txt2img", "a cat", "--steps", "many"], &["--steps", "many"]);
    room.refuses(&["txt2img", "a cat", "--strngth", "1"], &["--strngth"]);
    room.refuses(&["txt2img"], &["PROMPT"]);
}

#[test]
fn outputs_that_cannot_be_written_are_found_first() {
    let room = Room::new();
    room.refuses(&["txt2img", "a cat", "-o", "nowhere/cat.png"], &["nowhere", "does not exist"]);
    room.refuses(&["txt2img", "a cat", "-o", "."], &["is a folder"]);
}

/// With the number of a GPU that no machine has; and in a build without kernels for GPUs.
#[test]
fn a_gpu_that_is_not_there() {
    let says = if cfg!(feature = "gpu") { "no GPU has the number 99" } else { "no GPU kernels" };
    Room::new().refuses(&["txt2img", "a cat", "--device", "gpu:99"], &["device", says]);
}

/// What is counted before it is drawn is bounded first.
#[test]
fn billions_of_images_are_refused_at_once() {
    let room = Room::new();
    for output in ["a.png", "{seed}.png", "a-%03d.png"] {
        room.refuses(&["txt2img", "a cat", "-b", "4294967296", "-o", output], &["batch count", "10000"]);
    }
    room.refuses(&["txt2img", "a cat", "-s", "1", "-b", "4294967296"], &["batch count", "10000"]);
}
