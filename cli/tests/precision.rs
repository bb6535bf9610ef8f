//! What the CPU multiplies in.

use crate::common::{Room, read_png, synthetic};
use latent_benches::likeness::psnr;

const IMAGE: [&str; 10] =
    ["txt2img", "a red apple", "-s", "7", "--steps", "3", "--device", "cpu", "--precision", "f32"];

/// Draws in a precision, and returns the pixels and the device that the metadata name.
fn draw(room: &Room, precision: &str, more: &[&str]) -> (Vec<u8>, String) {
    let args = [&IMAGE[..9], &[precision], more, &["-o", "out.png"]].concat();
    room.succeeds(&args);
    let (pixels, texts) = read_png(&room.path("out.png"));
    let json: serde_json::Value = serde_json::from_str(&texts[1].1).unwrap();
    (pixels, json["device"].as_str().unwrap().to_owned())
}

#[test]
fn an_image_in_another_precision_is_almost_the_same_and_says_so() {
    let room = Room::new();
    let (exact, device) = draw(&room, "f32", &[]);
    assert_eq!(device, "cpu");
    for precision in ["bf16", "int8"] {
        let (pixels, device) = draw(&room, precision, &[]);
        assert_eq!(device, format!("cpu {precision}"));
        let psnr = psnr(&exact, &pixels);
        assert!(pixels != exact && psnr > 25.0, "{precision}: {psnr} dB");
        // Drawn again as it was, whatever is the best here.
        let shown = room.succeeds(&["replay", "out.png", "-o", "again.png"]);
        assert!(shown.contains("has the same pixels"), "{precision}: {shown}");
    }
}

#[test]
fn the_same_bytes_with_any_number_of_threads_and_in_any_batch() {
    let room = Room::new();
    for precision in ["bf16", "int8"] {
        let alone = draw(&room, precision, &["-t", "1"]).0;
        for threads in ["2", "3"] {
            assert_eq!(draw(&room, precision, &["-t", threads]).0, alone, "{precision}, {threads} threads");
        }
        let batch = ["-b", "3", "--batch-size", "3", "-o", "batch-{seed}.png"];
        room.succeeds(&[&IMAGE[..9], &[precision], &batch[..]].concat());
        assert_eq!(read_png(&room.path("batch-7.png")).0, alone, "{precision}");
    }
}

/// The mid block's attention of a VAE, heads of several widths, a model in blocks of 8 bits.
#[test]
fn every_kind_of_model_draws_in_every_precision() {
    let room = Room::new();
    for family in ["sd15", "sd21", "sdxl"] {
        room.file("model.safetensors", &synthetic(family));
        room.succeeds(&["convert", "model.safetensors", "q8.safetensors", "--type", "q8_0", "--force"]);
        for model in ["model.safetensors", "q8.safetensors"] {
            for precision in ["bf16", "int8"] {
                draw(&room, precision, &["-m", model, "-W", "64", "-H", "64"]);
            }
        }
    }
}

#[test]
fn a_gpu_is_not_asked_for_what_it_lacks() {
    let room = Room::new();
    let help = room.succeeds(&["txt2img", "--help"]);
    assert!(
        ["auto", "f32", "f16", "bf16", "int8"].iter().all(|name| help.contains(&format!("- {name}:"))),
        "{help}"
    );
    if std::env::var_os("LATENT_GPU_REQUIRED").is_some() {
        let args = ["txt2img", "a", "--device", "gpu", "--precision", "bf16"];
        room.refuses(&args, &["precision", "f16 or f32", "CPU"]);
    }
}
