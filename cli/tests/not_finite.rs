//! Models whose numbers overflow while they draw: the stage is named, and no black image is written.

use crate::common::{Room, demo};

/// A number of 32 bits near the largest.
const HUGE: f32 = 3e38;

/// Draws with a model in which the numbers of some tensors are [`HUGE`]; the line that is told.
fn told(names: &[&str]) -> String {
    let room = Room::new();
    room.file("demo.safetensors", &demo());
    room.succeeds(&["convert", "demo.safetensors", "model.safetensors", "--dtype", "f32"]);
    let mut bytes = std::fs::read(room.path("model.safetensors")).unwrap();
    let start = 8 + u64::from_le_bytes(*bytes.first_chunk().unwrap()) as usize;
    let header: serde_json::Value = serde_json::from_slice(&bytes[8..start]).unwrap();
    for name in names {
        assert_eq!(header[name]["dtype"], "F32", "{name}");
        let offset = |i: usize| start + header[name]["data_offsets"][i].as_u64().unwrap() as usize;
        for number in bytes[offset(0)..offset(1)].chunks_exact_mut(4) {
            number.copy_from_slice(&HUGE.to_le_bytes());
        }
    }
    room.file("model.safetensors", &bytes);
    let before = room.files();
    let output = room.run(&["txt2img", "a cat", "-m", "model.safetensors", "-s", "1", "--steps", "2"]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(output.stdout.is_empty());
    assert_eq!(room.files(), before, "no image");
    error.lines().last().unwrap().to_owned()
}

#[test]
fn a_unet_that_overflows_is_named_with_the_step() {
    let line = told(&["model.diffusion_model.out.2.weight"]);
    assert!(line.starts_with("latent: ") && line.contains("step 1 of 2"), "{line}");
}

#[test]
fn a_vae_that_overflows_is_named() {
    let line = told(&["first_stage_model.decoder.conv_out.weight"]);
    assert!(line.starts_with("latent: ") && line.contains("VAE"), "{line}");
}

#[test]
fn a_text_encoder_that_overflows_is_no_image() {
    let line = told(&["cond_stage_model.transformer.text_model.final_layer_norm.weight"]);
    assert!(
        line.starts_with("latent: ") && (line.contains("text encoder") || line.contains("step 1")),
        "{line}"
    );
}
