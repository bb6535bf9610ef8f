//! Names and texts of files that hold what would steer a terminal or hide parts of a line.

use crate::common::{Room, demo};
use serde_json::json;

/// Escape sequences, C1 controls, marks of direction, invisible characters and line separators.
const HIDDEN: &str =
    "\u{1b}[31m\u{7}\u{9b}2J\u{85}\u{90}\u{202e}\u{2066}\u{200f}\u{2028}\u{2029}\u{feff}\u{200b}\u{e0041}";

/// Whether a text can be shown as it is: line feeds and tabs are the program's own.
#[track_caller]
fn is_plain(what: &str, bytes: &[u8]) {
    let text = std::str::from_utf8(bytes).unwrap();
    let found = text
        .chars()
        .find(|c| (c.is_control() && !matches!(c, '\n' | '\t')) || HIDDEN.contains(*c) && !c.is_ascii());
    assert_eq!(found, None, "{what}: {text:?}");
}

/// A safetensors file with metadata.
fn with_metadata(bytes: &[u8], metadata: &serde_json::Value) -> Vec<u8> {
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let mut header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    header["__metadata__"] = metadata.clone();
    let header = header.to_string();
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &bytes[8 + length..]].concat()
}

#[test]
#[cfg(unix)]
fn no_verb_prints_what_is_hidden() {
    let room = Room::new();
    std::fs::create_dir(room.path("models")).unwrap();
    let model = format!("models/m{}.safetensors", HIDDEN);
    let metadata = json!({ format!("key{HIDDEN}"): format!("value{HIDDEN}"), "modelspec.title": HIDDEN });
    room.file(&model, &with_metadata(&demo(), &metadata));
    room.file(&format!("models/bad{HIDDEN}.safetensors"), b"<html>");
    room.succeeds(&["txt2img", &format!("a cat {HIDDEN}"), "-s", "3", "--steps", "1", "-o", "a.png"]);
    let foreign = format!(
        "a {HIDDEN}\nNegative prompt: {HIDDEN}\nSteps: 1, Sampler: Odd{HIDDEN}, Seed: 3, Size: 64x64, \
                           Model hash: 246ef46339, Model: m{HIDDEN}, Key{HIDDEN}: {HIDDEN}, Version: v1{HIDDEN}"
    );
    image::RgbImage::new(64, 64).save(room.path("plain.png")).unwrap();
    let file = std::fs::File::create(room.path("foreign.png")).unwrap();
    let mut encoder = png::Encoder::new(file, 64, 64);
    encoder.set_color(png::ColorType::Rgb);
    encoder.add_itxt_chunk("parameters".to_owned(), foreign).unwrap();
    encoder.write_header().unwrap().write_image_data(&[0; 64 * 64 * 3]).unwrap();
    let named = format!("copy{HIDDEN}.png");
    std::fs::copy(room.path("a.png"), room.path(&named)).unwrap();
    let missing = format!("none{HIDDEN}.png");
    let lora = format!("x <lora:none{HIDDEN}:1>");
    for args in [
        &["inspect", &model][..],
        &["inspect", &model, "--tensors", "--hash"],
        &["inspect", &model, "--json"],
        &["inspect", &missing],
        &["models", "--models-dir", "models"],
        &["models", "--models-dir", "models", "--json"],
        &["models", "--models-dir", &missing],
        &["metadata", "a.png"],
        &["metadata", "a.png", "--json"],
        &["metadata", "foreign.png"],
        &["metadata", "foreign.png", "--json"],
        &["metadata", &named],
        &["metadata", &missing],
        &["tokens", HIDDEN],
        &["tokens", HIDDEN, "--json"],
        &["tokens", &lora],
        &["replay", "a.png", "--print"],
        &["replay", "foreign.png", "--print"],
        &["replay", "foreign.png", "-o", "again.png"],
        &["replay", &named, "-o", &missing],
        &["replay", &missing],
        &["txt2img", &lora, "--steps", "1"],
        &["txt2img", "x", "-m", &model, "-W", "64", "-H", "64", "--steps", "1", "-s", "1", "-o", &named],
        &["txt2img", "x", "-m", &missing],
        &["txt2img", "x", "--sampler", HIDDEN],
        &["txt2img", "x", HIDDEN],
        &["txt2img", "x", "--lora", &model, "--steps", "1"],
        &["img2img", &missing, "x"],
        &["grid", "x", "--x", &format!("steps=1,{HIDDEN}")],
        &[
            "grid",
            "x cat",
            "--x",
            &format!("prompt=cat,{HIDDEN}"),
            "--steps",
            "1",
            "-s",
            "1",
            "-o",
            "grid.png",
        ],
        &["convert", &missing, "out.safetensors"],
        &["upscale", &missing],
    ] {
        let output = room.run(args);
        is_plain(&format!("{args:?}, standard output"), &output.stdout);
        is_plain(&format!("{args:?}, standard error"), &output.stderr);
    }
}
