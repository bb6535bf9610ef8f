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
    assert!(text.starts_with("no model found; put .safetensors files into"), "{text}");
    room.refuses(&["models", "--models-dir", "nowhere"], &["nowhere", "no such folder"]);
    let args = ["txt2img", "a cat", "-m", "dreams", "--models-dir", "empty"];
    room.refuses(&args, &["dreams", "no such file", "LATENT_MODELS"]);
}
