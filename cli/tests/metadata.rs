//! What images tell of how they were made, in each format, and what the program tells of itself to shells and readers.

use crate::common::{Room, demo, read_png};
use serde_json::Value;

const DRAW: &[&str] =
    &["txt2img", "a red apple", "-n", "blurry, dark", "-s", "7", "--steps", "2", "-W", "32"];

fn draw(room: &Room, name: &str, args: &[&str]) {
    room.succeeds(&[DRAW, &["-o", name], args].concat());
}

fn json(room: &Room, file: &str) -> Value {
    serde_json::from_str(&room.succeeds(&["metadata", file, "--json"])).unwrap()
}

#[test]
fn each_format_tells_the_same() {
    let room = Room::new();
    for name in ["a.png", "a.jpg", "a.JPEG", "a.webp"] {
        draw(&room, name, &[]);
    }
    let png = json(&room, "a.png");
    assert_eq!(png["program"], format!("latent {}", env!("CARGO_PKG_VERSION")));
    let want = serde_json::json!({
        "prompt": "a red apple", "negative_prompt": "blurry, dark", "seed": 7, "steps": 2, "sampler": "dpm++2m",
        "scheduler": "karras", "cfg_scale": 7.0, "width": 32, "height": 64, "model": "demo", "model_hash": "246ef46339",
        "clip_skip": 1, "rng": "cuda",
    });
    assert_eq!(png["settings"], want);
    for name in ["a.jpg", "a.JPEG", "a.webp"] {
        assert_eq!(json(&room, name), png, "{name}");
    }
    let shown = room.succeeds(&["metadata", "a.webp"]);
    assert!(
        shown.contains("\nprompt: a red apple\n") && shown.contains("\nnegative prompt: blurry, dark\n"),
        "{shown}"
    );
    // A program that knows only the webui's text.
    let bytes = std::fs::read(room.path("a.jpg")).unwrap();
    let big: Vec<u8> = "a red apple\nNegative".encode_utf16().flat_map(u16::to_be_bytes).collect();
    let comment = [b"UNICODE\0", big.as_slice()].concat();
    assert!(bytes.windows(comment.len()).any(|part| part == comment));
}

#[test]
fn formats_hold_the_same_image() {
    let room = Room::new();
    draw(&room, "a.png", &[]);
    draw(&room, "a.webp", &[]);
    draw(&room, "good.jpg", &[]);
    draw(&room, "bad.jpg", &["--quality", "5"]);
    let pixels = |name: &str| image::open(room.path(name)).unwrap().into_rgb8();
    let png = pixels("a.png");
    assert_eq!(png, pixels("a.webp"), "WebP is lossless");
    let difference = |name: &str| -> u64 {
        png.iter().zip(pixels(name).iter()).map(|(a, b)| u64::from(a.abs_diff(*b))).sum::<u64>()
    };
    let (good, bad) = (difference("good.jpg"), difference("bad.jpg"));
    assert!(
        png.dimensions() == (32, 64) && good > 0 && good < 6 * 3 * 32 * 64 && bad > 2 * good,
        "{good} {bad}"
    );
    for quality in ["0", "101", "x"] {
        room.refuses(&[DRAW, &["--quality", quality]].concat(), &["--quality"]);
    }
    for name in ["a.gif", "a.BMP", "a.tiff", "a.avif"] {
        room.refuses(&[DRAW, &["-o", name]].concat(), &[name, ".png, .jpg or .webp"]);
    }
}

#[test]
fn no_folder_of_a_person_is_told() {
    let room = Room::new();
    room.file("model.safetensors", &demo());
    draw(&room, "in.png", &[]);
    let here = room.path("").display().to_string();
    let path = |name: &str| room.path(name).display().to_string();
    let line =
        ["img2img", &path("in.png"), "a fox", "-m", &path("model.safetensors"), "--steps", "2", "-s", "1"];
    room.succeeds(&[&line[..], &["-o", &path("out.png")]].concat());
    let (_, texts) = read_png(&room.path("out.png"));
    assert!(texts.iter().all(|(_, text)| !text.contains(&here)), "{texts:?}");
    let own: Value = serde_json::from_str(&texts[1].1).unwrap();
    assert_eq!(own["flags"]["image"][0], "in.png");
    assert_eq!(own["flags"]["model"][0], "model.safetensors");
    let image = &own["files"][0];
    assert_eq!((&image["flag"], &image["name"]), (&"image".into(), &"in.png".into()));
    assert_eq!(image["sha256"].as_str().map(str::len), Some(64));
    assert!(own["device"].as_str().is_some_and(|device| device.starts_with("cpu")), "{own}");
    assert!(
        own["isa"].is_string()
            && own["model_sha256"].as_str().is_some_and(|hash| hash.starts_with("246ef46339"))
    );
}

#[test]
fn what_tells_nothing_is_refused_in_a_line() {
    let room = Room::new();
    image::RgbImage::new(4, 4).save(room.path("plain.png")).unwrap();
    image::RgbImage::new(4, 4).save(room.path("plain.gif")).unwrap();
    room.file("text.png", b"a cat");
    room.file("short.png", b"\x89PNG\r\n\x1a\n\0\0");
    std::fs::create_dir(room.path("folder")).unwrap();
    let refuse = |name: &str, part: &str| room.refuses(&["metadata", name], &[name, part]);
    refuse("plain.png", "does not say how it was made");
    refuse("plain.gif", "not a PNG, JPEG or WebP");
    refuse("text.png", "not a PNG, JPEG or WebP");
    refuse("short.png", "is cut off");
    refuse("folder", "is not a file");
    refuse("none.png", "no such file");
}

/// A PNG of 64x64 pixels with a text.
fn png_with(room: &Room, name: &str, keyword: &str, text: &str) {
    let file = std::fs::File::create(room.path(name)).unwrap();
    let mut encoder = png::Encoder::new(file, 64, 64);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.add_ztxt_chunk(keyword.into(), text.into()).unwrap();
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(&[0; 64 * 64]).unwrap();
    writer.finish().unwrap();
}

/// A graph of ComfyUI whose prompt and seed come through other nodes.
fn linked_graph(class: &str) -> String {
    let graph = serde_json::json!({
        "3": { "class_type": "KSampler", "inputs": {
            "seed": ["11", 0], "steps": 2, "cfg": 8, "sampler_name": "dpmpp_2m", "scheduler": "karras", "denoise": 1,
            "model": ["4", 0], "positive": ["6", 0], "negative": ["7", 0], "latent_image": ["5", 0] } },
        "4": { "class_type": "CheckpointLoaderSimple", "inputs": { "ckpt_name": "SD1.5\\demo.safetensors" } },
        "5": { "class_type": "EmptyLatentImage", "inputs": { "width": 64, "height": 64 } },
        "6": { "class_type": "CLIPTextEncode", "inputs": { "text": ["12", 0], "clip": ["4", 1] } },
        "7": { "class_type": "CLIPTextEncode", "inputs": { "text": "bad", "clip": ["4", 1] } },
        "9": { "class_type": "SaveImage", "inputs": { "images": ["3", 0] } },
        "11": { "class_type": "PrimitiveInt", "inputs": { "value": 777 } },
        "12": { "class_type": class, "inputs": { "string_a": "a cat", "string_b": " on mat", "delimiter": "," } },
    });
    graph.to_string()
}

#[test]
fn a_prompt_that_comes_through_nodes_is_drawn_or_named() {
    let room = Room::new();
    room.file("model.safetensors", &demo());
    png_with(&room, "known.png", "prompt", &linked_graph("StringConcatenate"));
    png_with(&room, "unknown.png", "prompt", &linked_graph("StringShuffle"));
    let shown = room.succeeds(&["metadata", "known.png"]);
    assert!(shown.contains("\nprompt: a cat, on mat\n") && !shown.contains("not followed"), "{shown}");
    let replay = |name: &str| room.run(&["replay", name, "-m", "model.safetensors", "--print"]);
    let output = replay("known.png");
    let line = String::from_utf8(output.stdout).unwrap();
    assert!(line.contains("--prompt=a cat, on mat") && line.contains("--seed=777"), "{line}");

    let shown = room.succeeds(&["metadata", "unknown.png"]);
    assert!(shown.contains("\nnot followed: prompt (through StringShuffle, node 12)\n"), "{shown}");
    let told = &json(&room, "unknown.png")["not_followed"];
    assert_eq!(*told, serde_json::json!(["prompt (through StringShuffle, node 12)"]));
    let output = replay("unknown.png");
    let line = String::from_utf8(output.stderr).unwrap();
    assert!(
        line.contains("not followed: ") && line.contains("prompt (through StringShuffle, node 12)"),
        "{line}"
    );
}

#[test]
fn metadata_that_are_too_much_are_refused_in_a_line() {
    let room = Room::new();
    room.file("model.safetensors", &demo());
    let maps = |count: usize| format!("[{}0]", r#"{"":0},"#.repeat(count));
    let own = format!(r#"{{"version":"x","prompt":"a","seed":1,"z":{}}}"#, maps(300_000));
    for (name, keyword, text, bound) in [
        ("maps.png", "prompt", format!("{{\"a\":{}}}", maps(300_000)), "200000 JSON values"),
        ("own.png", "latent", own, "200000 JSON values"),
        ("deep.png", "workflow", "{\"a\":".repeat(1000), "100 levels"),
        ("lines.png", "parameters", format!("a\nSteps: 1{}", "\na".repeat(300_000)), "10000 lines"),
    ] {
        png_with(&room, name, keyword, &text);
        for args in [
            &["metadata", name][..],
            &["metadata", name, "--json"],
            &["replay", name, "-m", "model.safetensors"],
        ] {
            room.refuses(args, &[name, bound]);
        }
    }
}

#[test]
fn completions_and_manual() {
    let room = Room::new();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = room.succeeds(&["completions", shell]);
        for word in ["txt2img", "negative-prompt", "replay"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    room.refuses(&["completions", "tcsh"], &["tcsh"]);
    let page = room.succeeds(&["man"]);
    assert!(page.contains(".TH latent 1") && page.contains("txt2img"), "{page}");
    std::fs::create_dir(room.path("man1")).unwrap();
    room.succeeds(&["man", "-o", "man1"]);
    let txt2img = std::fs::read_to_string(room.path("man1/latent-txt2img.1")).unwrap();
    assert!(txt2img.contains("cfg\\-scale") && txt2img.contains(".TH latent-txt2img 1"), "{txt2img}");
    for name in ["latent.1", "latent-replay.1", "latent-inspect.1"] {
        assert!(room.path("man1").join(name).is_file(), "{name}");
    }
    assert!(!room.path("man1/latent-help.1").exists());
    room.refuses(&["man", "-o", "none"], &["none", "does not exist"]);
}
