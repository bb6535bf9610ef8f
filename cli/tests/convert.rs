//! `latent convert`, as a person runs it.

use crate::common::{Room, demo, read_png, synthetic};
use std::path::{Path, PathBuf};

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
fn a_folder_and_a_file_draw_the_same_image() {
    let room = room();
    let told = room.succeeds(&["convert", "model.safetensors", "folder"]);
    assert!(told.starts_with("folder: 1002 tensors, F16 "), "{told}");
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

/// A product with a quantized weight is, bit for bit, that with the widened one: so is every image.
#[test]
fn every_command_draws_from_blocks() {
    let room = Room::new();
    for (name, bytes) in [
        ("plain", demo()),
        ("inpaint", synthetic("sd15-inpaint")),
        ("edit", synthetic("sd15-pix2pix")),
        ("small", synthetic("sd15")),
    ] {
        room.file("model.safetensors", &bytes);
        let (blocks, exact) = (format!("{name}-blocks.safetensors"), format!("{name}-exact.safetensors"));
        let told = room.succeeds(&["convert", "model.safetensors", &blocks, "--type", "q8_0"]);
        assert!(told.contains("Q8_0 "), "{told}");
        room.succeeds(&["convert", &blocks, &exact, "--type", "f32"]);
    }
    room.file("net.safetensors", &synthetic("controlnet-sd15"));
    room.file("lora.safetensors", &synthetic("lora-sd15-kohya"));
    room.succeeds(&["txt2img", "a door", "-m", "plain-blocks.safetensors", "-s", "1", "-o", "photo.png"]);
    let size = ["-W", "64", "-H", "64"];
    let net = ["--control-net", "net.safetensors", "--control-image", "photo.png"];
    let lora = ["--lora", "lora.safetensors:0.5"];
    let commands: [(&str, Vec<&str>); 7] = [
        ("plain", vec!["txt2img", "a red apple"]),
        ("plain", vec!["img2img", "photo.png", "a red apple"]),
        ("inpaint", vec!["inpaint", "photo.png", "photo.png", "a red apple"]),
        ("plain", vec!["outpaint", "photo.png", "a red apple", "--left", "16"]),
        ("edit", [&["edit", "photo.png", "make it red"], &size[..]].concat()),
        ("small", [&["txt2img", "a red apple"], &size[..], &net].concat()),
        ("small", [&["txt2img", "a red apple"], &size[..], &lora].concat()),
    ];
    for (model, command) in &commands {
        let draw = |kind: &str| {
            let model = format!("{model}-{kind}.safetensors");
            let how = ["-m", &model, "--steps", "2", "-s", "1", "-o", "out.png"];
            room.succeeds(&[command, &how[..]].concat());
            read_png(&room.path("out.png")).0
        };
        assert!(draw("blocks") == draw("exact"), "{command:?}");
    }
    let told = room.succeeds(&["inspect", "plain-blocks.safetensors"]);
    assert!(told.contains("Q8_0 10.5 MB"), "{told}");
}

#[test]
fn what_cannot_be_is_one_line_and_leaves_nothing() {
    let room = room();
    let refuses = |args: &[&str], parts: &[&str]| room.refuses(&[&["convert"], args].concat(), parts);
    refuses(&["model.safetensors", "lora.safetensors"], &["lora.safetensors", "--force"]);
    refuses(&["model.safetensors", "model.safetensors"], &["is an input"]);
    refuses(&["model.safetensors", "model.safetensors", "--force"], &["is an input"]);
    refuses(
        &["model.safetensors", "./lora.safetensors", "-f", "--lora", "lora.safetensors"],
        &["is an input"],
    );
    refuses(&["none.safetensors", "new"], &["none.safetensors"]);
    refuses(&["lora.safetensors", "new"], &["lora.safetensors", "is a LoRA"]);
    refuses(&["model.safetensors", "none/new"], &["none: the folder does not exist"]);
    refuses(&["model.safetensors", "new", "--dtype", "f8"], &["f32, f16, bf16, f8_e4m3, f8_e5m2, q8_0"]);
    refuses(&["model.safetensors", "new", "--keep-ema"], &["EMA", "single file"]);
    refuses(&["model.safetensors", "..", "-f"], &["is an input"]);
    room.file("xl.safetensors", &synthetic("lora-sdxl-kohya"));
    refuses(&["model.safetensors", "new", "--lora", "xl.safetensors"], &["xl.safetensors", "does not fit"]);
    let whole = std::fs::read(room.path("model.safetensors")).unwrap();
    room.file("cut.safetensors", &whole[..whole.len() - 1]);
    refuses(&["cut.safetensors", "new"], &["cut.safetensors", "cut short"]);
    // Numbers that are none are found half-way.
    let mut damaged = whole;
    let (length, rest) = damaged.split_first_chunk().unwrap();
    let start = 8 + u64::from_le_bytes(*length) as usize;
    let header: serde_json::Value = serde_json::from_slice(&rest[..start - 8]).unwrap();
    let end = &header["first_stage_model.decoder.conv_out.bias"]["data_offsets"][1];
    let end = start + end.as_u64().unwrap() as usize;
    damaged[end - 2..end].copy_from_slice(&[0, 0x7e]);
    room.file("damaged.safetensors", &damaged);
    refuses(&["damaged.safetensors", "new"], &["damaged.safetensors"]);
    refuses(&["damaged.safetensors", "new.safetensors"], &["damaged.safetensors"]);
}

#[test]
#[cfg(any(target_os = "linux", target_os = "macos"))]
fn what_is_there_is_replaced_by_force_alone() {
    let room = room();
    room.succeeds(&["convert", "model.safetensors", "folder"]);
    room.refuses(
        &["convert", "model.safetensors", "folder"],
        &["folder: exists already; --force replaces it"],
    );
    room.succeeds(&["convert", "model.safetensors", "folder", "--force", "--dtype", "f32"]);
    room.succeeds(&["convert", "folder", "a.safetensors"]);
    room.refuses(&["convert", "folder", "a.safetensors"], &["--force replaces it"]);
    room.succeeds(&["convert", "model.safetensors", "a.safetensors", "-f", "--dtype", "bf16"]);
    // A file in place of a folder, and a folder in place of a file.
    room.succeeds(&["convert", "a.safetensors", "folder", "-f", "--layout", "single"]);
    assert!(room.path("folder").is_file());
    room.succeeds(&["convert", "a.safetensors", "folder", "-f"]);
    assert!(room.path("folder").is_dir());
    assert_eq!(room.files(), ["a.safetensors", "folder", "lora.safetensors", "model.safetensors"]);
}

/// All files of a folder with their contents.
fn tree(folder: &Path) -> Vec<(PathBuf, Option<Vec<u8>>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(tree(&path));
            found.push((path, None));
        } else {
            let bytes = std::fs::read(&path).unwrap();
            found.push((path, Some(bytes)));
        }
    }
    found.sort();
    found
}

/// `--force` is for models: a person's folder stays, whatever its name and wherever the program runs.
#[test]
fn a_folder_of_a_person_is_never_replaced() {
    let room = room();
    for folder in ["docs", "home", "a.safetensors", "empty", "listed", "listed/unet", "link-to"] {
        std::fs::create_dir(room.path(folder)).unwrap();
    }
    for file in ["docs/thesis.docx", "home/mail", "a.safetensors/notes.txt", "listed/unet/thesis.docx"] {
        room.file(file, b"mine");
    }
    room.file("listed/model_index.json", br#"{"unet": ["diffusers", "UNet2DConditionModel"]}"#);
    room.file("text.safetensors", b"my notes");
    room.file("cut.safetensors", &synthetic("sd15")[..1000]);
    room.succeeds(&["convert", "model.safetensors", "model"]);
    room.file("model/README.md", b"mine");
    let before = tree(&room.path(""));
    let index = "is not the folder of a model: it has no model_index.json";
    for (output, part) in [
        ("docs", index),
        ("docs/", index),
        ("docs/../docs", index),
        ("a.safetensors", index),
        ("empty", index),
        ("listed", "\"unet/thesis.docx\""),
        ("model", "\"README.md\""),
        ("text.safetensors", "is not a safetensors file"),
        ("cut.safetensors", "is not a safetensors file"),
        ("docs/thesis.docx", "is not a safetensors file"),
        ("..", "is an input"),
        (".", "is an input"),
    ] {
        for flags in [&["-f"][..], &[], &["-f", "--layout", "single"]] {
            room.refuses(&[&["convert", "model.safetensors", output], flags].concat(), &[part]);
        }
    }
    // From inside it, and from a model's folder.
    for (here, output) in
        [("home", "../home"), ("home", "../../."), ("model", "../model"), ("model/unet", "../../model")]
    {
        let mut command = room.command(&["convert", "../model.safetensors", output, "-f"]);
        let output = command.current_dir(room.path(here)).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert!(tree(&room.path("")) == before);
    // A model's folder without anything else, but that it is the current one.
    std::fs::remove_file(room.path("model/README.md")).unwrap();
    let mut command = room.command(&["convert", "../../model.safetensors", "../../model", "-f"]);
    let output = command.current_dir(room.path("model/unet")).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains("contains the current folder"), "{error}");
    assert!(room.path("model/unet/config.json").is_file());
}

/// An input that is a folder around the output, or in it.
#[test]
fn an_input_is_not_replaced() {
    let room = room();
    room.succeeds(&["convert", "model.safetensors", "model"]);
    let before = tree(&room.path(""));
    let part = "model/unet/diffusion_pytorch_model.safetensors";
    room.refuses(&["convert", "model", "model", "-f"], &["is an input"]);
    room.refuses(&["convert", "model", part, "-f"], &["is an input"]);
    // Without -f, too: it would not help.
    room.refuses(&["convert", "model", "model"], &["is an input"]);
    room.refuses(&["convert", "model.safetensors", "model", "-f", "--unet", part], &["is an input"]);
    assert!(tree(&room.path("")) == before);
}

/// A file behind a link is replaced in its own folder; what is not a file or a model's folder is refused.
#[test]
#[cfg(unix)]
fn links_devices_and_pipes_are_not_replaced() {
    use std::os::unix::fs::symlink;
    let room = room();
    std::fs::create_dir(room.path("real")).unwrap();
    std::fs::copy(room.path("lora.safetensors"), room.path("real/old.safetensors")).unwrap();
    symlink("real/old.safetensors", room.path("link.safetensors")).unwrap();
    room.succeeds(&["convert", "model.safetensors", "link.safetensors", "-f"]);
    assert!(room.path("link.safetensors").is_symlink());
    assert!(room.succeeds(&["inspect", "real/old.safetensors"]).contains("draws images"));
    assert!(std::process::Command::new("mkfifo").arg(room.path("pipe")).status().unwrap().success());
    symlink("pipe", room.path("to-pipe")).unwrap();
    symlink("/dev/null", room.path("null")).unwrap();
    symlink("nothing", room.path("to-nothing")).unwrap();
    symlink("real", room.path("to-real")).unwrap();
    for (name, part) in [
        ("pipe", "is a device, a pipe or a socket"),
        ("to-pipe", "is a device, a pipe or a socket"),
        ("null", "is a device, a pipe or a socket"),
        ("to-nothing", "is a link to a file that does not exist"),
        ("to-real", "is not the folder of a model"),
    ] {
        room.refuses(&["convert", "model.safetensors", name, "-f"], &[part]);
    }
    assert!(room.path("null").is_symlink() && room.path("to-real").is_symlink());
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
