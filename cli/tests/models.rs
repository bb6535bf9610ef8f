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

/// CosXL and Playground 2.5 have the layers of SDXL and other noise levels: every command says the same of them.
#[test]
fn a_model_with_the_noise_levels_of_edm_cannot_draw() {
    let room = Room::new();
    std::fs::create_dir(room.path("here")).unwrap();
    let bytes = synthetic("sdxl");
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let mut header: Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let end = bytes.len() - 8 - length;
    header["edm_vpred.sigma_max"] = json!({ "dtype": "F32", "shape": [], "data_offsets": [end, end + 4] });
    let header = header.to_string();
    let marked = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &bytes[8 + length..], &[0; 4]];
    room.file("here/cosxl.safetensors", &marked.concat());
    let text = room.succeeds(&["inspect", "here/cosxl.safetensors"]);
    let has =
        |line: &str| text.lines().any(|own| own.split_whitespace().collect::<Vec<_>>().join(" ") == line);
    assert!(
        has("kind model; cannot draw here") && text.contains("EDM") && !text.contains("draws images"),
        "{text}"
    );
    let json: Value =
        serde_json::from_str(&room.succeeds(&["inspect", "here/cosxl.safetensors", "--json"])).unwrap();
    assert_eq!((&json["can_draw"], &json["variant"]), (&json!(false), &json!("EDM")), "{json}");
    let listed = room.succeeds(&["models", "--models-dir", "here"]);
    assert!(listed.contains("cosxl: ") && listed.contains(" EDM, "), "{listed}");
    let draw = ["txt2img", "x", "-s", "1", "--steps", "1", "-W", "64", "-H", "64"];
    for model in [
        &["-m", "here/cosxl.safetensors"][..],
        &["--unet", "here/cosxl.safetensors", "--parts-from", "here/cosxl.safetensors"],
    ] {
        room.refuses(&[&draw[..], model].concat(), &["cosxl.safetensors", "EDM", "cannot draw here"]);
    }
}
