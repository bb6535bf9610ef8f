//! Images and measurements on a GPU, and what is said where there is none.
#![cfg(feature = "gpu")]

use crate::common::{Room, read_png};
use serde_json::Value;

const IMAGE: &[&str] = &["txt2img", "a red apple", "-s", "7", "--steps", "4", "-W", "64", "-H", "64", "-o"];

/// Whether there is a GPU. That there is none is told, and is a failure where `LATENT_GPU_REQUIRED` is set.
fn has_gpu(room: &Room) -> bool {
    let json: Value = serde_json::from_str(&room.succeeds(&["devices", "--json"])).unwrap();
    let gpus = json["gpus"].as_array().unwrap();
    if gpus.is_empty() {
        assert!(std::env::var_os("LATENT_GPU_REQUIRED").is_none(), "no GPU, and LATENT_GPU_REQUIRED is set");
        eprintln!("SKIPPED: no GPU; Mesa's llvmpipe is one (Debian: mesa-vulkan-drivers)");
    }
    !gpus.is_empty()
}

/// The largest difference of two images' values, of 255.
fn difference(room: &Room, a: &str, b: &str) -> u8 {
    let [a, b] = [a, b].map(|name| read_png(&room.path(name)).0);
    assert_eq!(a.len(), b.len());
    a.iter().zip(&b).map(|(a, b)| a.abs_diff(*b)).max().unwrap()
}

#[test]
fn the_image_of_the_cpu() {
    let room = Room::new();
    if !has_gpu(&room) {
        return;
    }
    room.succeeds(&[IMAGE, &["cpu.png", "--device", "cpu", "--precision", "f32"]].concat());
    room.succeeds(&[IMAGE, &["f32.png", "--device", "gpu", "--precision", "f32"]].concat());
    assert!(difference(&room, "cpu.png", "f32.png") <= 2);
    let least = [IMAGE, &["least.png", "--device", "gpu"]].concat();
    let output = room.command(&least).env("LATENT_GPU", "minimal").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(difference(&room, "cpu.png", "least.png") <= 2);
}

#[test]
fn images_of_a_batch_are_shared_by_gpus() {
    let room = Room::new();
    if !has_gpu(&room) {
        return;
    }
    let args = ["txt2img", "a red apple", "-s", "7", "--steps", "2", "-W", "32", "-H", "32", "-b", "3"];
    room.succeeds(&[&args[..], &["--device", "gpu:0", "-o", "one%d.png"]].concat());
    let output = room.run(&[&args[..], &["--gpu", "0,0", "-v", "-o", "two%d.png"]].concat());
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{text}");
    assert_eq!(text.matches("for weights while sampling").count(), 2, "{text}");
    for number in 0..3 {
        let [one, two] = ["one", "two"].map(|name| std::fs::read(room.path(&format!("{name}{number}.png"))));
        assert!(one.unwrap() == two.unwrap(), "{number}");
    }
    room.refuses(&["txt2img", "a", "--gpu", "0,77"], &["device", "77", "latent devices"]);
    room.refuses(&["txt2img", "a", "--gpu", "0,x"], &["--gpu", "\"x\" is not the number"]);
    room.refuses(&["upscale", "one0.png", "--gpu", "0,0"], &["gpu:0,0", "give one"]);
    room.refuses(&["serve", "--device", "gpu:0,0"], &["--device", "once for each"]);
    // It counts before a device; above, before the one of the environment, which is the CPU.
    room.refuses(&["txt2img", "a", "--device", "cpu", "--gpu", "77"], &["device", "77", "latent devices"]);
}

#[test]
fn tokens_are_merged_on_the_cpu_only() {
    let room = Room::new();
    if !has_gpu(&room) {
        return;
    }
    let flags = ["out.png", "--tome", "0.3", "--device"];
    room.refuses(&[IMAGE, &flags, &["gpu"]].concat(), &["token merging", "on the CPU only"]);
    room.refuses(&["bench", "--device", "gpu", "--tome", "0.3"], &["tome", "on the CPU only"]);
    room.refuses(&["bench", "--device", "gpu", "--advise"], &["CPU"]);
    room.succeeds(&[IMAGE, &flags, &["cpu"]].concat());
}

/// Second passes, cached levels, guidance that ends, prompts that change and are joined, images that grow.
#[test]
fn other_ways_of_drawing_give_the_image_of_the_cpu() {
    let room = Room::new();
    if !has_gpu(&room) {
        return;
    }
    let small = &["-W", "32", "-H", "32", "--steps", "2"][..];
    let [apple, words] = ["a red apple", "a [red:green:0.5] apple AND a tree :0.5"]
        .map(|prompt| [&["txt2img", prompt], small].concat());
    room.succeeds(&[&apple[..], &["-o", "photo.png"]].concat());
    for args in [
        &[&apple[..], &["--hires", "--hires-steps", "1"]].concat(),
        &[&apple[..], &["--cache", "3", "--cfg-end", "0.5"]].concat(),
        &words,
        &["outpaint", "photo.png", "a red apple", "--left", "16", "--steps", "2"].to_vec(),
    ] {
        for device in ["cpu", "gpu"] {
            let how = ["-s", "3", "--precision", "f32", "--device", device, "-o", &format!("{device}.png")];
            room.succeeds(&[&args[..], &how].concat());
        }
        assert!(difference(&room, "cpu.png", "gpu.png") <= 2, "{args:?}");
    }
}

#[test]
fn devices_are_listed_with_limits_and_features() {
    let room = Room::new();
    assert!(room.succeeds(&["devices"]).starts_with("cpu    "));
    let json: Value = serde_json::from_str(&room.succeeds(&["devices", "--json"])).unwrap();
    for (number, gpu) in json["gpus"].as_array().unwrap().iter().enumerate() {
        assert_eq!(gpu["device"], format!("gpu:{number}"));
        assert!(gpu["name"].is_string() && gpu["features"]["f16"].is_boolean(), "{gpu}");
        assert!(gpu["limits"]["largest binding"].as_u64() >= Some(128 << 20), "{gpu}");
    }
    room.refuses(&["txt2img", "a", "--device", "gpu:77"], &["device", "77", "latent devices"]);
    room.refuses(&["txt2img", "a", "--device", "cuda"], &["--device", "cuda", "gpu:N"]);
}

#[test]
fn too_little_memory_is_one_clear_line() {
    let room = Room::new();
    if !has_gpu(&room) {
        return;
    }
    let output = room.run(&[IMAGE, &["a.png", "--device", "gpu", "--max-vram", "3"]].concat());
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("latent: the GPU is out of memory"), "{error}");
    assert!(room.files().is_empty());
}

#[test]
fn kernels_are_measured() {
    let room = Room::new();
    if !has_gpu(&room) {
        return;
    }
    let bench = |device: &str| -> Value {
        let args = ["bench", "--stage", "vae", "--size", "16", "--runs", "1", "--json", "--device", device];
        serde_json::from_str(&room.succeeds(&args)).unwrap()
    };
    let (cpu, gpu) = (bench("cpu"), bench("gpu"));
    assert!(gpu["fma_peak_gflops"].as_f64() > Some(0.0) && gpu["copy_peak_gb"].as_f64() > Some(0.0));
    let gflop = |json: &Value| json["stages"][0]["direct_gflop"].as_f64().unwrap();
    assert!((gflop(&gpu) / gflop(&cpu) - 1.0).abs() < 1e-6, "{} {}", gflop(&gpu), gflop(&cpu));
    let kernels = gpu["stages"][0]["kernels"].as_array().unwrap();
    let has = |name| kernels.iter().any(|kernel| kernel["name"] == name);
    assert!(has("conv2d") && has("gemm") && has("attention"), "{kernels:?}");
    assert!(kernels.iter().all(|k| k["calls"].as_u64() > Some(0) && k["seconds"].as_f64() > Some(0.0)));
}
