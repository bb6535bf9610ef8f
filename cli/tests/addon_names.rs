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
    room.file("loras/style/deep.safetensors", &with_name(&lora, "Trained Name"));
    for name in ["topword", "neg/badword"] {
        room.file(&format!("{webui}/embeddings/{name}.safetensors"), &synthetic("ti-sd15"));
    }
    room
}

/// A file with the name that its trainer gave it in its metadata.
fn with_name(file: &[u8], name: &str) -> Vec<u8> {
    let len = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
    let mut header: serde_json::Value = serde_json::from_slice(&file[8..8 + len]).unwrap();
    header["__metadata__"] = serde_json::json!({ "ss_output_name": name });
    let header = header.to_string();
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &file[8 + len..]].concat()
}

/// The tensors of a file whose names begin with a prefix.
fn only(file: &[u8], prefix: &str) -> Vec<u8> {
    let len = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
    let mut header: serde_json::Value = serde_json::from_slice(&file[8..8 + len]).unwrap();
    let header = header.as_object_mut().unwrap();
    header.retain(|name, _| name.starts_with(prefix));
    let mut data = Vec::new();
    for tensor in header.values_mut() {
        let at = |i: usize| 8 + len + tensor["data_offsets"][i].as_u64().unwrap() as usize;
        let bytes = &file[at(0)..at(1)];
        tensor["data_offsets"] = serde_json::json!([data.len(), data.len() + bytes.len()]);
        data.extend(bytes);
    }
    let header = serde_json::Value::Object(header.clone()).to_string();
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &data].concat()
}

/// The pixels and the standard error of a drawing.
fn draw(room: &Room, prompt: &str, args: &[&str]) -> (Vec<u8>, String) {
    draw_with(room, prompt, &[&["-m", "tiny"], args].concat())
}

fn draw_with(room: &Room, prompt: &str, args: &[&str]) -> (Vec<u8>, String) {
    let always = ["txt2img", prompt, "-W", "64", "-H", "64", "--steps", "1", "-s", "1"];
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
        ("a fox<lora:DEEP:1>", &lora_dir),
        ("a fox<lora:Style/deep:1>", &lora_dir),
        ("a fox<lora:Trained Name:1>", &lora_dir),
        ("a fox<lora:mine:1>", &[]),
        ("a fox<lora:a/twin:1>", &[]),
        ("a fox<lora:beside:1>", &[]),
        ("a fox", &["--lora", "mine"]),
        ("a fox", &["--lora", "MINE.safetensors:1"]),
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
    refuses(&room, "x<lora:mime:1>", &[], &["there is no mime.safetensors", "names like it: mine"]);
    refuses(&room, "x", &["--lora", "mime.safetensors"], &["no such file", "names like it: mine"]);
    // A model of that name is not a LoRA.
    refuses(&room, "x<lora:tiny:1>", &["--lora-dir", "loras"], &["tiny.safetensors", "is not a LoRA"]);
}

#[test]
fn models_and_their_parts_are_found_by_name() {
    let room = room();
    let webui = "home/stable-diffusion-webui/models";
    for folder in ["VAE", "ControlNet", "Stable-diffusion/sub"] {
        std::fs::create_dir_all(room.path(&format!("{webui}/{folder}"))).unwrap();
    }
    let (want, _) = draw(&room, "a fox", &[]);
    // A VAE, a ControlNet and a LoRA have the model's name too, and each is found for what it is.
    room.file(&format!("{webui}/VAE/Twice.safetensors"), &only(&synthetic("sd15"), "first_stage_model."));
    room.file(&format!("{webui}/Lora/twice.safetensors"), &synthetic("lora-sd15-kohya"));
    room.file(&format!("{webui}/Stable-diffusion/sub/Twice.safetensors"), &synthetic("sd15"));
    for model in ["TINY", "tiny.safetensors", "Stable-diffusion/tiny", "Twice", "sub/Twice", "sub/twice"] {
        assert_eq!(draw_with(&room, "a fox", &["-m", model]).0, want, "{model}");
    }
    let by_path = format!("{webui}/VAE/Twice.safetensors");
    let (with_vae, _) = draw(&room, "a fox", &["--vae", &by_path]);
    assert_eq!(draw(&room, "a fox", &["--vae", "Twice"]).0, with_vae);
    let refused = |model: &str, parts: &[&str]| {
        let output = run(&room, &["txt2img", "x", "-m", model, "--steps", "1"]);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
    };
    refused("twin", &["twin: several models", "a/twin.safetensors", "b/twin.safetensors"]);
    refused("tine", &["tine: no such file", "names like it: tiny"]);
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
    for (prompt, args) in [
        ("a embedding:neg/badword", &["--embd-dir", folder][..]),
        ("a embedding:neg/badword.safetensors", &["--embd-dir", folder]),
        ("a topword", &["--embedding", "TopWord"]),
    ] {
        let (pixels, told) = draw(&room, prompt, args);
        assert!(pixels == by_file, "{prompt} {args:?}: {told}");
    }
    let (_, told) = draw(&room, "a embedding:topwort", &["--embd-dir", folder]);
    assert!(told.contains("drawn as words; names like it: topword"), "{told}");
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
