//! What `latent inspect` prints, from the header alone.

use crate::common::{Room, demo, synthetic};
use serde_json::Value;

#[test]
fn the_demo_model_is_described() {
    let room = Room::new();
    room.file("demo.safetensors", &demo());
    let text = room.succeeds(&["inspect", "demo.safetensors"]);
    for part in
        ["Stable Diffusion 1.x", "single file, 39.6 MB", "64x64", "F16", "[64, 64, 128, 128]", "factor 4"]
    {
        assert!(text.contains(part), "{text} does not hold {part}");
    }
    let json: Value =
        serde_json::from_str(&room.succeeds(&["inspect", "--json", "demo.safetensors"])).unwrap();
    assert_eq!(json["family"], "sd1");
    assert_eq!(json["can_draw"], true);
    assert_eq!(json["model"]["width"], 64);
    assert_eq!(json["model"]["unet"]["block_out_channels"], serde_json::json!([64, 64, 128, 128]));
    assert_eq!(json["metadata"]["modelspec.resolution"], "64x64");
    let unet = json["components"].as_array().unwrap().iter().find(|c| c["name"] == "UNet").unwrap();
    assert_eq!(unet["tensors"], 684);
    assert_eq!(unet["bytes"], unet["dtypes"]["F16"]);
}

#[test]
fn every_family_is_named() {
    for (family, id) in [
        ("sd15", "sd1"),
        ("sd15-inpaint", "sd1"),
        ("sd15-pix2pix", "sd1"),
        ("sd21", "sd2"),
        ("sdxl", "sdxl"),
        ("sdxl-refiner", "sdxl-refiner"),
    ] {
        let room = Room::new();
        room.file("model.safetensors", &synthetic(family));
        let json: Value =
            serde_json::from_str(&room.succeeds(&["inspect", "--json", "model.safetensors"])).unwrap();
        assert_eq!(json["family"], id, "{json}");
        assert_eq!(json["can_draw"], true, "{json}");
    }
}

#[test]
fn hostile_metadata_cannot_steer_the_terminal() {
    let header =
        br#"{"__metadata__":{"title":"\u001b[2Jgone\nfamily  forged","a\u202eb\u2028c\ufeffd":"\u2066x"},
        "t\u202e":{"dtype":"F16","shape":[0],"data_offsets":[0,0]}}"#;
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header);
    let room = Room::new();
    let file = "hos\u{202e}tile.safetensors";
    room.file(file, &bytes);
    let text = room.succeeds(&["inspect", file, "--tensors"]);
    let steering = ['\u{1b}', '\u{202e}', '\u{2028}', '\u{2066}', '\u{feff}'];
    assert!(!text.contains(steering) && !text.contains("\nfamily  forged"), "{text}");
    for escaped in ["hos\\u{202e}tile", "a\\u{202e}b\\u{2028}c\\u{feff}d", "t\\u{202e}"] {
        assert!(text.contains(escaped), "{text}");
    }
    std::fs::create_dir(room.path("models")).unwrap();
    room.file(&format!("models/{file}"), &bytes);
    let text = room.succeeds(&["models", "--models-dir", "models"]);
    assert!(!text.contains(steering) && text.contains("hos\\u{202e}tile"), "{text}");
}
