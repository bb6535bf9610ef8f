//! Flux.2 klein drawn by the program, and what acts on the guidance of transformers.

use crate::common::{Room, read_png, synthetic};
use serde_json::Value;

const KLEIN: &str = "flux-2-klein-4b.safetensors";
const SIZE: [&str; 8] = ["-W", "64", "-H", "48", "--steps", "2", "-s", "5"];

/// Draws to a file of that name: its pixels and texts.
fn draw(room: &Room, model: &str, name: &str, more: &[&str]) -> (Vec<u8>, Vec<(String, String)>) {
    let base = ["txt2img", "a red fox", "-m", model, "-o", name];
    room.succeeds(&[&base[..], &SIZE, more].concat());
    read_png(&room.path(name))
}

fn json(texts: &[(String, String)]) -> Value {
    let text = texts.iter().find(|(key, _)| key == "latent").unwrap();
    serde_json::from_str(&text.1).unwrap()
}

#[test]
fn klein_and_its_base_are_known_by_their_names() {
    let room = Room::new();
    let file = synthetic("flux2-klein-pipeline");
    let base = "flux-2-klein-base-4b.safetensors";
    for (name, label, variant, distilled) in [
        (KLEIN, "Flux.2 klein", "base", Value::from("step-distilled")),
        (base, "Flux.2 klein base", "klein base", Value::Null),
    ] {
        room.file(name, &file);
        let told: Value = serde_json::from_str(&room.succeeds(&["inspect", "--json", name])).unwrap();
        assert_eq!((&told["family_name"], &told["variant"]), (&label.into(), &variant.into()), "{told}");
        assert_eq!(
            (&told["distilled"]["name"], &told["family"]),
            (&distilled, &"flux2-klein".into()),
            "{told}"
        );
        assert_eq!(
            (&told["model"]["size_multiple"], &told["can_draw"]),
            (&16.into(), &true.into()),
            "{told}"
        );
        for part in told["tensors_checked"].as_array().unwrap() {
            let problems =
                ["missing", "misshaped", "not_used"].map(|key| part[key].as_array().unwrap().len());
            assert_eq!(problems, [0; 3], "{part}");
        }
    }
    // Without steps, it draws in four.
    let args = ["txt2img", "a fox", "-m", KLEIN, "-W", "32", "-H", "32", "-s", "1", "-o", "four.png"];
    room.succeeds(&args);
    let told = json(&read_png(&room.path("four.png")).1);
    assert_eq!((&told["steps"], &told["cfg_scale"]), (&4.into(), &1.0.into()), "{told}");
}

#[test]
fn klein_draws_from_parts_and_with_little_memory_and_on_images() {
    let room = Room::new();
    room.file(KLEIN, &synthetic("flux2-klein-pipeline"));
    let (plain, texts) = draw(&room, KLEIN, "plain.png", &[]);
    assert_eq!(plain.len(), 64 * 48 * 3);
    assert_eq!(draw(&room, KLEIN, "low.png", &["--low-memory"]).0, plain);
    let parts = ["--transformer", KLEIN, "--vae", KLEIN, "--llm", KLEIN, "-o", "parts.png"];
    room.succeeds(&[&["txt2img", "a red fox"][..], &parts, &SIZE].concat());
    assert_eq!(read_png(&room.path("parts.png")).0, plain);
    // Steps count in the shift.
    assert!(json(&texts)["sampling"]["shift"].is_null());
    assert_ne!(draw(&room, KLEIN, "shift.png", &["--shift", "3"]).0, plain);
    assert!(room.succeeds(&["replay", "plain.png"]).ends_with("has the same pixels\n"));
    let again = ["img2img", "plain.png", "a red fox", "-m", KLEIN, "--strength", "0.5", "-o", "image.png"];
    room.succeeds(&[&again[..], &SIZE].concat());
    assert_ne!(read_png(&room.path("image.png")).0, plain);
    room.refuses(&["txt2img", "x", "-m", KLEIN, "-W", "40", "-H", "48"], &["16"]);
}

#[test]
fn another_size_of_encoder_is_refused() {
    let room = Room::new();
    room.file(KLEIN, &synthetic("flux2-klein-pipeline"));
    room.file("qwen.safetensors", &synthetic("qwen3"));
    let args = ["txt2img", "x", "-m", KLEIN, "--llm", "qwen.safetensors"];
    room.refuses(&args, &["Qwen3", "width 144", "reads 96"]);
}

#[test]
fn layers_are_skipped_between_two_parts_of_the_steps() {
    let room = Room::new();
    let model = "sd35.safetensors";
    room.file(model, &synthetic("sd35-pipeline"));
    let slg = ["--slg-scale", "2.8", "--slg-layers", "0,1", "--slg-end", "0.8"];
    let (plain, texts) = draw(&room, model, "plain.png", &[]);
    assert!(json(&texts)["slg_scale"].is_null());
    let (skipped, texts) = draw(&room, model, "skipped.png", &slg);
    assert_ne!(skipped, plain);
    let told = json(&texts);
    assert_eq!((&told["slg_scale"], &told["slg_layers"]), (&2.8.into(), &serde_json::json!([0, 1])));
    let line = &texts.iter().find(|(key, _)| key == "parameters").unwrap().1;
    assert!(line.contains("SLG scale: 2.8") && line.contains("SLG layers: 0 1"), "{line}");
    assert!(room.succeeds(&["replay", "skipped.png"]).ends_with("has the same pixels\n"));
    // The second of two steps begins at a half.
    let none = ["--slg-scale", "2.8", "--slg-layers", "0,1", "--slg-end", "0.4"];
    assert_eq!(draw(&room, model, "none.png", &none).0, plain);
    room.refuses(
        &["txt2img", "x", "-m", model, "--slg-scale", "2.8"],
        &["slg layers", "no block 9", "0 to 2"],
    );
    room.refuses(&["txt2img", "x", "--slg-scale", "2.8"], &["slg scale", "Stable Diffusion 3"]);
}

#[test]
fn real_guidance_stands_beside_a_distilled_one() {
    let room = Room::new();
    let model = "flux.safetensors";
    room.file(model, &synthetic("flux-pipeline"));
    let alone = draw(&room, model, "alone.png", &["--cfg-scale", "3", "-n", "blurry"]).0;
    let (same, texts) = draw(&room, model, "same.png", &["--guidance", "3", "-n", "blurry"]);
    assert_eq!(same, alone);
    assert_eq!((&json(&texts)["guidance"], &json(&texts)["cfg_scale"]), (&3.0.into(), &1.0.into()));
    let both = ["--guidance", "3", "--cfg-scale", "2"];
    let guided = draw(&room, model, "both.png", &[&both[..], &["-n", "blurry"]].concat()).0;
    let other = draw(&room, model, "other.png", &[&both[..], &["-n", "a forest"]].concat()).0;
    assert!(guided != alone && guided != other);
    assert!(room.succeeds(&["replay", "both.png"]).ends_with("has the same pixels\n"));
    room.refuses(&["txt2img", "x", "--guidance", "3"], &["guidance", "cfg scale"]);
}

#[test]
fn a_model_without_room_is_refused_with_what_would_fit() {
    let room = Room::new();
    let model = "sd35.safetensors";
    room.file(model, &synthetic("sd35-pipeline"));
    let refused = |limit: &str| {
        let mut command =
            room.command(&[&["txt2img", "a red fox", "-m", model, "-o", "no.png"][..], &SIZE].concat());
        let output = command.env("LATENT_MEMORY", limit).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let text = refused("30");
    assert_eq!(text.lines().count(), 1, "{text}");
    for part in ["sd35", "encoding text takes about", "30.0 MB are all there is", "its files in q8_0"] {
        assert!(text.contains(part), "{text}");
    }
    assert!(!text.contains("Stable Diffusion"), "none as small: {text}");
    assert!(!room.path("no.png").exists());
    draw(&room, model, "yes.png", &[]);
}
