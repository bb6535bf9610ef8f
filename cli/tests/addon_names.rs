//! LoRAs and textual inversions found by their names, in sub-folders and in the usual folders.

use crate::common::{Room, read_png, synthetic};

const MODEL: &str = "home/stable-diffusion-webui/models/Stable-diffusion/tiny.safetensors";

/// A room whose home has a model, LoRAs and textual inversions where the webui has them.
fn room() -> Room {
    let room = Room::new();
    let webui = "home/stable-diffusion-webui";
    for folder in ["models/Stable-diffusion", "models/Lora/a", "models/Lora/b", "embeddings/neg"] {
        std::fs::create_dir_all(room.path(&format!("{webui}/{folder}"))).unwrap();
    }
    std::fs::create_dir_all(room.path("loras/style")).unwrap();
    room.file(MODEL, &synthetic("sd15"));
    let lora = synthetic("lora-sd15-kohya");
    for name in
        ["models/Stable-diffusion/beside", "models/Lora/mine", "models/Lora/a/twin", "models/Lora/b/twin"]
    {
        room.file(&format!("{webui}/{name}.safetensors"), &lora);
    }
    room.file("loras/style/deep.safetensors", &lora);
    for name in ["topword", "neg/badword"] {
        room.file(&format!("{webui}/embeddings/{name}.safetensors"), &synthetic("ti-sd15"));
    }
    room
}

/// The pixels and the standard error of a drawing.
fn draw(room: &Room, prompt: &str, args: &[&str]) -> (Vec<u8>, String) {
    let always = ["txt2img", prompt, "-m", "tiny", "-W", "64", "-H", "64", "--steps", "1", "-s", "1"];
    let output = run(room, &[&always[..], &["-o", "out.png"], args].concat());
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{prompt:?}: {error}");
    (read_png(&room.path("out.png")).0, error)
}

fn run(room: &Room, args: &[&str]) -> std::process::Output {
    room.command(args).env("HOME", room.path("home")).output().unwrap()
}

#[track_caller]
fn refuses(room: &Room, prompt: &str, args: &[&str], parts: &[&str]) {
    let output = run(room, &[&["txt2img", prompt, "-m", "tiny", "--steps", "1"], args].concat());
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(parts.iter().all(|part| error.contains(part)), "{error}");
}

#[test]
fn loras_are_found_by_name_and_by_path() {
    let room = room();
    let (want, _) = draw(&room, "a fox", &["--lora", "loras/style/deep.safetensors"]);
    let lora_dir = ["--lora-dir", "loras"];
    for (prompt, args) in [
        ("a fox<lora:deep:1>", &lora_dir[..]),
        ("a fox<lora:style/deep:1>", &lora_dir),
        (r"a fox<lora:style\deep>", &lora_dir),
        ("a fox<lora:deep.safetensors:1>", &lora_dir),
        ("a fox<lora:mine:1>", &[]),
        ("a fox<lora:a/twin:1>", &[]),
        ("a fox<lora:beside:1>", &[]),
        ("a fox", &["--lora", "mine"]),
        ("a fox", &["--lora", "b/twin:1"]),
        ("a fox", &["--lora", "deep", "--lora-dir", "loras"]),
    ] {
        let (pixels, told) = draw(&room, prompt, args);
        assert_eq!(pixels, want, "{prompt} {args:?}: {told}");
        let again = run(&room, &["replay", "out.png", "--from", "loras/style", "-o", "again.png"]);
        let shown = String::from_utf8(again.stdout).unwrap() + &String::from_utf8(again.stderr).unwrap();
        assert!(shown.contains("out.png has the same pixels"), "{prompt} {args:?}: {shown}");
    }
    // Where a name is of several, both are named.
    refuses(&room, "x<lora:twin:1>", &[], &["several LoRAs", "a/twin.safetensors", "b/twin.safetensors"]);
    refuses(&room, "x", &["--lora", "twin"], &["several LoRAs", "a/twin.safetensors", "b/twin.safetensors"]);
    refuses(&room, "x<lora:none:1>", &[], &["there is no none.safetensors", "--lora-dir"]);
    refuses(&room, "x", &["--lora", "none"], &["none: no such file"]);
    // A model of that name is not a LoRA.
    refuses(&room, "x<lora:tiny:1>", &["--lora-dir", "loras"], &["tiny.safetensors", "is not a LoRA"]);
}

#[test]
fn textual_inversions_are_found_by_name() {
    let room = room();
    let folder = "home/stable-diffusion-webui/embeddings";
    let words = draw(&room, "a topword", &["--embd-dir", "loras"]).0;
    let by_file = draw(&room, "a topword", &["--embedding", &format!("{folder}/topword.safetensors")]).0;
    assert_ne!(words, by_file);
    for (prompt, args) in [
        ("a topword", &[][..]),
        ("a embedding:topword", &[]),
        ("a topword", &["--embd-dir", folder]),
        ("a badword", &[]),
        ("a embedding:badword", &["--embd-dir", folder]),
    ] {
        let (pixels, told) = draw(&room, prompt, args);
        assert!(pixels == by_file && told.contains("embedding "), "{prompt} {args:?}: {told}");
        let again = run(&room, &["replay", "out.png", "-o", "again.png"]);
        let shown = String::from_utf8(again.stdout).unwrap() + &String::from_utf8(again.stderr).unwrap();
        assert!(shown.contains("out.png has the same pixels"), "{prompt} {args:?}: {shown}");
    }
    let (_, told) = draw(&room, "a embedding:nothere, (embedding:topword:1.2)", &[]);
    assert!(told.contains("embedding:nothere: there is no such textual inversion"), "{told}");
    assert!(!told.contains("embedding:topword: there is no"), "{told}");
    // Of another kind of model, it stays words.
    let header = r#"{"clip_g":{"dtype":"F16","shape":[1,1280],"data_offsets":[0,2560]},
                     "clip_l":{"dtype":"F16","shape":[1,768],"data_offsets":[2560,4096]}}"#;
    let file = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &[0; 4096]].concat();
    room.file(&format!("{folder}/xlword.safetensors"), &file);
    let (_, told) = draw(&room, "a xlword", &[]);
    assert!(!told.contains("xlword"), "{told}");
}
