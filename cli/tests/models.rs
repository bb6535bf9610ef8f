//! `latent models`, and a model found by its name.

use crate::common::{Room, demo, synthetic};
use serde_json::{Value, json};

#[test]
fn models_are_listed_by_kind_and_found_by_name() {
    let room = Room::new();
    std::fs::create_dir_all(room.path("here/sub")).unwrap();
    room.file("here/tiny.safetensors", &demo());
    room.file("here/sub/style.safetensors", &synthetic("lora-sd15-kohya"));
    room.file("here/page.safetensors", b"<html>not found</html>");
    let text = room.succeeds(&["models", "--models-dir", "here"]);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!((lines[0], lines[2], lines[4]), ("model", "LoRA", "cannot be opened"), "{text}");
    assert!(lines[1].starts_with("  tiny: Stable Diffusion 1.x, 39.6 MB"), "{text}");
    assert!(lines[5].contains("web page"), "{text}");
    let json: Value =
        serde_json::from_str(&room.succeeds(&["models", "--models-dir", "here", "--json", "--hash"]))
            .unwrap();
    assert_eq!((&json[0]["name"], &json[0]["base"]), (&json!("tiny"), &json!("sd1")));
    assert_eq!(json[1]["short_hash"].as_str().unwrap().len(), 10);
    let drawn = ["txt2img", "a cat", "-m", "tiny", "--models-dir", "here", "--steps", "1", "-o", "cat.png"];
    room.succeeds(&drawn);
    assert!(room.path("cat.png").is_file());
}

#[test]
fn a_name_that_several_models_have_lists_them() {
    let room = Room::new();
    for folder in ["here/a", "here/b"] {
        std::fs::create_dir_all(room.path(folder)).unwrap();
        room.file(&format!("{folder}/twin.safetensors"), b"");
    }
    let args = ["txt2img", "a cat", "-m", "twin", "--models-dir", "here"];
    room.refuses(&args, &["several models", "a/twin.safetensors", "b/twin.safetensors"]);
}

#[test]
fn where_nothing_is_found_it_tells_where_to_put_files() {
    let room = Room::new();
    std::fs::create_dir(room.path("empty")).unwrap();
    let text = room.succeeds(&["models", "--models-dir", "empty"]);
    assert!(text.starts_with("no model found; put .safetensors or .gguf files into"), "{text}");
    room.refuses(&["models", "--models-dir", "nowhere"], &["nowhere", "no such folder"]);
    let args = ["txt2img", "a cat", "-m", "dreams", "--models-dir", "empty"];
    room.refuses(&args, &["dreams", "no such file", "LATENT_MODELS"]);
}

/// A tiny SDXL with further tensors, each of one value or of none.
fn marked(marks: &[(&str, Option<f32>)]) -> Vec<u8> {
    let bytes = synthetic("sdxl");
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let mut header: Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let mut data = bytes[8 + length..].to_vec();
    for (name, value) in marks {
        let start = data.len();
        data.extend(value.iter().flat_map(|value| value.to_le_bytes()));
        let shape: &[usize] = if value.is_some() { &[] } else { &[0] };
        header[name] = json!({ "dtype": "F32", "shape": shape, "data_offsets": [start, data.len()] });
    }
    let header = header.to_string();
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &data].concat()
}

/// CosXL and Playground 2.5 have the layers of SDXL and other noise levels: every command says so, and they draw.
#[test]
fn models_with_the_noise_levels_of_edm_are_named_and_draw() {
    let room = Room::new();
    std::fs::create_dir(room.path("here")).unwrap();
    room.file("here/sdxl.safetensors", &synthetic("sdxl"));
    room.file(
        "here/cosxl.safetensors",
        &marked(&[("edm_vpred.sigma_max", Some(80.0)), ("edm_vpred.sigma_min", Some(0.002))]),
    );
    room.file("here/playground.safetensors", &marked(&[("edm_mean", None), ("edm_std", None)]));
    let listed = room.succeeds(&["models", "--models-dir", "here"]);
    let mut drawn = Vec::new();
    for name in ["sdxl", "cosxl", "playground"] {
        let file = format!("here/{name}.safetensors");
        let text = room.succeeds(&["inspect", &file]);
        let is_edm = name != "sdxl";
        assert!(text.contains("draws images") && text.contains("EDM") == is_edm, "{text}");
        let json: Value = serde_json::from_str(&room.succeeds(&["inspect", &file, "--json"])).unwrap();
        let variant = if is_edm { "EDM" } else { "base" };
        assert_eq!((&json["can_draw"], &json["variant"]), (&json!(true), &json!(variant)), "{json}");
        assert_eq!(listed.contains(&format!("{name}: Stable Diffusion XL EDM, ")), is_edm, "{listed}");
        let draw = ["txt2img", "x", "-s", "1", "--steps", "1", "-W", "64", "-H", "64", "-o", "a.png", "-m"];
        room.succeeds(&[&draw[..], &[&file]].concat());
        drawn.push(std::fs::read(room.path("a.png")).unwrap());
    }
    assert!(drawn[0] != drawn[1] && drawn[1] != drawn[2] && drawn[0] != drawn[2]);
    let usual = String::from_utf8_lossy(&drawn[2]).into_owned();
    assert!(usual.contains("CFG scale: 3,"), "the guidance of Playground's authors");
    // A mark that makes no sense is named.
    room.file("bad.safetensors", &marked(&[("edm_vpred.sigma_max", Some(0.0))]));
    room.refuses(
        &["txt2img", "x", "-m", "bad.safetensors"],
        &["bad.safetensors", "EDM", "noise levels from 0.002"],
    );
    // A folder of it keeps the noise levels.
    room.succeeds(&["convert", "here/cosxl.safetensors", "folder"]);
    let config = std::fs::read_to_string(room.path("folder/scheduler/scheduler_config.json")).unwrap();
    assert!(config.contains("EDMEulerScheduler") && config.contains("\"sigma_max\": 80.0"), "{config}");
    assert!(room.succeeds(&["inspect", "folder"]).contains("EDM"));
}
