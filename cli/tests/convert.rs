//! `latent convert`, as a person runs it.

mod common;

use common::{Room, read_png, synthetic};
use std::path::Path;

fn pixels(room: &Room, model: &str, args: &[&str]) -> Vec<u8> {
    let always =
        ["txt2img", "a fox", "-m", model, "-W", "64", "-H", "64", "--steps", "2", "-s", "1", "-o", "out.png"];
    room.succeeds(&[&always[..], args].concat());
    let (pixels, _) = read_png(&room.path("out.png"));
    std::fs::remove_file(room.path("out.png")).unwrap();
    pixels
}

fn room() -> Room {
    let room = Room::new();
    room.file("model.safetensors", &synthetic("sd15"));
    room.file("lora.safetensors", &synthetic("lora-sd15-kohya"));
    room
}

#[test]
fn a_folder_and_a_file_draw_the_same_picture() {
    let room = room();
    let told = room.succeeds(&["convert", "model.safetensors", "folder"]);
    assert!(told.starts_with("folder: 1130 tensors, F16 "), "{told}");
    room.succeeds(&["convert", "folder", "back.safetensors", "--threads", "1"]);
    let original = pixels(&room, "model.safetensors", &[]);
    assert!(original == pixels(&room, "folder", &[]) && original == pixels(&room, "back.safetensors", &[]));
    assert_eq!(room.files(), ["back.safetensors", "folder", "lora.safetensors", "model.safetensors"]);
    let parts = [
        "model_index.json",
        "unet/config.json",
        "tokenizer/vocab.json",
        "vae/diffusion_pytorch_model.safetensors",
    ];
    assert!(parts.iter().all(|part| room.path("folder").join(part).is_file()));
}

#[test]
fn formats_loras_and_parts() {
    let room = room();
    let flags = ["--dtype", "F32", "--lora", "lora.safetensors:0.5"];
    let output = room.run(&[&["convert", "model.safetensors", "merged.safetensors"], &flags[..]].concat());
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{error}");
    for line in ["LoRA lora.safetensors: ", " applied", "left out: EMA copy, 2 tensors"] {
        assert!(error.contains(line), "{error}");
    }
    let while_drawing = pixels(&room, "model.safetensors", &flags[2..]);
    assert!(while_drawing == pixels(&room, "merged.safetensors", &[]));
    // Another model's VAE.
    room.file("inpaint.safetensors", &synthetic("sd15-inpaint"));
    room.succeeds(&[
        "convert",
        "model.safetensors",
        "baked",
        "--vae",
        "inpaint.safetensors",
        "--layout",
        "single",
    ]);
    let with_vae = pixels(&room, "model.safetensors", &["--vae", "inpaint.safetensors"]);
    assert!(with_vae == pixels(&room, "baked", &[]));
}

#[test]
fn what_cannot_be_is_one_line_and_leaves_nothing() {
    let room = room();
    let refuses = |args: &[&str], parts: &[&str]| room.refuses(&[&["convert"], args].concat(), parts);
    refuses(&["model.safetensors", "model.safetensors"], &["model.safetensors", "--force"]);
    refuses(&["model.safetensors", "model.safetensors", "--force"], &["is read from"]);
    refuses(
        &["model.safetensors", "./lora.safetensors", "-f", "--lora", "lora.safetensors"],
        &["is read from"],
    );
    refuses(&["none.safetensors", "new"], &["none.safetensors"]);
    refuses(&["lora.safetensors", "new"], &["lora.safetensors", "is a LoRA"]);
    refuses(&["model.safetensors", "none/new"], &["none: the folder does not exist"]);
    refuses(&["model.safetensors", "new", "--dtype", "f8"], &["f32, f16, bf16"]);
    refuses(&["model.safetensors", "new", "--keep-ema"], &["EMA", "single file"]);
    refuses(&["model.safetensors", "..", "-f"], &["is no name"]);
    room.file("xl.safetensors", &synthetic("lora-sdxl-kohya"));
    refuses(&["model.safetensors", "new", "--lora", "xl.safetensors"], &["xl.safetensors", "does not fit"]);
    let whole = std::fs::read(room.path("model.safetensors")).unwrap();
    room.file("cut.safetensors", &whole[..whole.len() - 1]);
    refuses(&["cut.safetensors", "new"], &["cut.safetensors", "cut short"]);
    // Numbers that are none are found half-way.
    let mut damaged = whole;
    let end = damaged.len();
    damaged[end - 2..].copy_from_slice(&[0, 0x7e]);
    room.file("damaged.safetensors", &damaged);
    refuses(&["damaged.safetensors", "new"], &["damaged.safetensors"]);
    refuses(&["damaged.safetensors", "new.safetensors"], &["damaged.safetensors"]);
}

#[test]
fn what_is_there_is_replaced_by_force_alone() {
    let room = room();
    std::fs::create_dir(room.path("folder")).unwrap();
    std::fs::write(room.path("folder/mine.txt"), "mine").unwrap();
    room.refuses(&["convert", "model.safetensors", "folder"], &["folder: is there already"]);
    room.succeeds(&["convert", "model.safetensors", "folder", "--force"]);
    assert!(!room.path("folder/mine.txt").exists() && room.path("folder/unet").is_dir());
    room.succeeds(&["convert", "folder", "a.safetensors"]);
    room.succeeds(&["convert", "model.safetensors", "a.safetensors", "-f", "--dtype", "bf16"]);
    assert_eq!(room.files(), ["a.safetensors", "folder", "lora.safetensors", "model.safetensors"]);
}

/// A device that is always full.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_leaves_nothing() {
    let full = Path::new("/dev/full");
    let room = room();
    if full.exists() {
        room.refuses(&["convert", "model.safetensors", "/dev/full", "-f"], &["is a device"]);
    }
    // As if the disk ended after a megabyte: no file may be longer.
    let limit = "ulimit -f 1024; trap '' XFSZ; exec \"$0\" convert model.safetensors new.safetensors";
    let output = std::process::Command::new("sh")
        .args(["-c", limit, env!("CARGO_BIN_EXE_latent")])
        .current_dir(room.path(""))
        .output()
        .unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    let last = error.lines().last().unwrap();
    assert!(last.starts_with("latent: ") && last.contains("cannot be written"), "{error}");
    assert_eq!(room.files(), ["lora.safetensors", "model.safetensors"]);
}
