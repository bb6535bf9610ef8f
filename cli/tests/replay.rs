//! Images drawn again from what their files tell.

use crate::common::{Room, demo, synthetic, synthetic_folder};
use serde_json::Value;
use std::path::Path;

/// Draws, draws again, and compares; the standard output of the second.
#[track_caller]
fn again(room: &Room, args: &[&str], name: &str, replay: &[&str]) -> String {
    room.succeeds(&[args, &["-o", name]].concat());
    let told = room.succeeds(&[&["replay", name, "-o", "again.png"], replay].concat());
    assert!(told.ends_with(&format!("{name} has the same pixels\n")), "{args:?}: {told}");
    told
}

fn pixels(path: &Path) -> Vec<u8> {
    image::open(path).unwrap().into_rgb8().into_raw()
}

#[test]
fn from_words() {
    let room = Room::new();
    let draw = [
        "txt2img",
        "a red apple (shiny:1.2)",
        "--negative-prompt=-dark \"quoted\" é",
        "--steps",
        "3",
        "-W",
        "32",
    ];
    again(&room, &[&draw[..], &["-s", "7"]].concat(), "a.png", &[]);
    assert_eq!(pixels(&room.path("a.png")), pixels(&room.path("again.png")));
    // The two tell the same of themselves.
    assert_eq!(std::fs::read(room.path("a.png")).unwrap(), std::fs::read(room.path("again.png")).unwrap());
    for more in [
        &["--sampler", "euler_a", "--eta", "0.5", "--rng", "cpu"][..],
        &["--sampler", "ddim", "--scheduler", "trailing", "--compat", "diffusers", "--cfg-scale", "3.3"],
        &["--sampler", "heun", "--s-churn", "1.5", "--clip-skip", "2"],
        &["--prediction", "v", "--zero-snr", "on", "--cfg-rescale", "0.7"],
    ] {
        again(&room, &[&draw[..], &["-s", "18446744073709551615"], more].concat(), "a.png", &[]);
    }
    let sigmas = ["txt2img", "a cat", "--sigmas", "14.6,7,2.9,0.8,0", "-s", "1"];
    again(&room, &sigmas, "s.png", &[]);
}

/// Each image of a batch is drawn alone, and JPEG is compared as it is written.
#[test]
fn batches_and_formats() {
    let room = Room::new();
    room.succeeds(&[
        "txt2img",
        "a cat",
        "-s",
        "3",
        "-b",
        "2",
        "--batch-size",
        "2",
        "--steps",
        "2",
        "-o",
        "{seed}.webp",
    ]);
    let told = room.succeeds(&["replay", "4.webp"]);
    assert_eq!(told, "4-replay.webp (seed 4)\n4.webp has the same pixels\n");
    room.succeeds(&["txt2img", "a cat", "-s", "3", "--steps", "2", "-o", "a.jpg", "--quality", "70"]);
    let told = room.succeeds(&["replay", "a.jpg"]);
    assert_eq!(told, "a-replay.jpg (seed 3)\na.jpg has the same pixels\n");
    assert_eq!(std::fs::read(room.path("a.jpg")).unwrap(), std::fs::read(room.path("a-replay.jpg")).unwrap());
    let told = room.succeeds(&["replay", "a.jpg", "-o", "other.png", "--", "--steps", "1", "-s", "4"]);
    assert!(told.contains("a.jpg differs in ") && told.contains("other.png (seed 4)"), "{told}");
}

#[test]
fn from_images() {
    let room = Room::new();
    room.succeeds(&["txt2img", "a red apple", "-s", "1", "--steps", "2", "-o", "in.png"]);
    image::RgbImage::from_fn(64, 64, |x, _| image::Rgb([if x > 40 { 255 } else { 0 }; 3]))
        .save(room.path("mask.png"))
        .unwrap();
    let same = ["-s", "5", "--steps", "4"];
    for (i, draw) in [
        &["img2img", "in.png", "a green apple", "--strength", "0.6"][..],
        &["img2img", "in.png", "-p", "a green apple", "-W", "32", "-H", "64", "--resize", "stretch"],
        &["inpaint", "in.png", "mask.png", "a leaf"],
        &[
            "inpaint",
            "in.png",
            "a leaf",
            "--mask",
            "mask.png",
            "--invert",
            "--fill",
            "noise",
            "--mask-blur",
            "2.5",
        ],
        &["inpaint", "in.png", "-p", "a leaf", "mask.png", "--only-masked", "--padding", "8"],
        &["outpaint", "in.png", "an apple on a table", "--left", "16", "--bottom", "8"],
    ]
    .into_iter()
    .enumerate()
    {
        again(&room, &[draw, &same].concat(), &format!("{i}.png"), &[]);
    }
    // Elsewhere, the images are found beside the file or where a flag says.
    std::fs::create_dir(room.path("kept")).unwrap();
    for name in ["in.png", "mask.png", "2.png"] {
        std::fs::rename(room.path(name), room.path("kept").join(name)).unwrap();
    }
    assert!(room.succeeds(&["replay", "kept/2.png"]).ends_with("kept/2.png has the same pixels\n"));
    room.refuses(&["replay", "0.png"], &["in.png", "image", "not found", "--from"]);
    room.succeeds(&["replay", "0.png", "--from", "kept"]);
    // Another image of the same name is none.
    image::RgbImage::new(64, 64).save(room.path("in.png")).unwrap();
    room.refuses(&["replay", "0.png"], &["in.png", "another image", "--force"]);
    let told = room.succeeds(&["replay", "0.png", "--force"]);
    assert!(told.contains("0.png differs in "), "{told}");
}

/// Several images of one file are drawn together again.
#[test]
fn grids() {
    let room = Room::new();
    let sides = ["--x", "steps=2,3", "--y", "prompt=red,green"];
    let grid =
        [&["grid", "a red apple"], &sides[..], &["-s", "3", "-W", "32", "--sampler", "euler"]].concat();
    again(&room, &grid, "grid.png", &[]);
    assert_eq!(std::fs::read(room.path("grid.png")).unwrap(), std::fs::read(room.path("again.png")).unwrap());
    let line = room.succeeds(&["replay", "grid.png", "--print"]);
    assert!(
        line.starts_with("latent grid ") && line.contains(" --x=steps=2,3 --y=prompt=red,green "),
        "{line}"
    );
    let shown = room.succeeds(&["replay", "grid.png", "-o", "other.png", "--", "--x", "steps=2,4"]);
    assert!(shown.contains("grid.png differs in "), "{shown}");
    // A side of files, which are found again, in a list that has others.
    room.file("m.safetensors", &synthetic("sd15"));
    room.file("ink.safetensors", &synthetic("lora-sd15-kohya"));
    let small = ["-W", "64", "-H", "64", "--steps", "1", "-s", "1", "-m", "m.safetensors"];
    let loras = ["--lora", "ink.safetensors:0.2", "--x", "lora=ink.safetensors:0.5,ink.safetensors:-1"];
    again(&room, &[&["grid", "a fox"], &loras[..], &small].concat(), "loras.png", &[]);
    let own = own(&room, "grid.png");
    assert_eq!(own["grid"]["x"]["flag"], "steps");
    with_text(
        &room,
        "grid.png",
        "bad.png",
        "latent",
        &own.to_string().replace("\"steps\",\"v", "\"output\",\"v"),
    );
    room.refuses(&["replay", "bad.png"], &["bad.png", "output"]);
}

#[test]
fn contact_sheets() {
    let room = Room::new();
    let draw = ["txt2img", "a red apple", "--steps", "2", "-W", "32", "-s", "3", "-b", "3", "--grid"];
    room.succeeds(&[&draw[..], &["-o", "a-%d.png"]].concat());
    let shown = room.succeeds(&["replay", "a-0-grid.png", "-o", "again.png"]);
    assert_eq!(shown, "again.png (seed 3)\na-0-grid.png has the same pixels\n");
    assert_eq!(
        std::fs::read(room.path("a-0-grid.png")).unwrap(),
        std::fs::read(room.path("again.png")).unwrap()
    );
    let line = room.succeeds(&["replay", "a-0-grid.png", "--print"]);
    assert!(line.contains(" --batch-count=3 ") && line.contains(" --grid "), "{line}");
}

#[test]
fn models_and_what_is_added_to_them() {
    let room = Room::new();
    for folder in ["models", "loras", "words"] {
        std::fs::create_dir(room.path(folder)).unwrap();
    }
    room.file("models/sd.safetensors", &synthetic("sd15"));
    room.file("loras/ink.safetensors", &synthetic("lora-sd15-kohya"));
    let size = ["-W", "64", "-H", "64", "--steps", "1", "-s", "1", "-m", "models/sd.safetensors"];
    let lora = ["txt2img", "a fox", "--lora", "loras/ink.safetensors:0.5"];
    let places = ["--models-dir", "models", "--from", "loras"];
    again(&room, &[&lora[..], &size].concat(), "flag.png", &places);
    let tag = ["txt2img", "a fox <lora:ink:0.7>", "--lora-dir", "loras"];
    again(&room, &[&tag[..], &size].concat(), "tag.png", &places);
    again(&room, &[&tag[..], &size].concat(), "tag.png", &["-m", "models/sd.safetensors", "--from", "loras"]);
    // Without them, or with others of the same names.
    room.refuses(&["replay", "flag.png", "--models-dir", "models"], &["ink.safetensors", "lora", "--from"]);
    room.refuses(&["replay", "flag.png", "--from", "loras"], &["sd.safetensors", "model", "not found"]);
    room.file("models/sd.safetensors", &demo());
    let refused = [&["replay", "flag.png"], &places[..]].concat();
    room.refuses(&refused, &["sd.safetensors", "another model", "246ef46339", "--force"]);
    room.refuses(&["replay", "flag.png", "-m", "models/sd.safetensors"], &["another model", "246ef46339"]);
}

#[test]
fn words_nets_and_decoders() {
    let room = Room::new();
    room.file("model.safetensors", &synthetic("sd15"));
    room.file("net.safetensors", &synthetic("controlnet-sd15"));
    room.file("taesd.safetensors", &synthetic("taesd"));
    std::fs::create_dir(room.path("words")).unwrap();
    room.file("words/toy.safetensors", &synthetic("ti-sd15"));
    image::RgbImage::from_fn(64, 64, |x, y| image::Rgb([(4 * x.max(y)) as u8; 3]))
        .save(room.path("net.png"))
        .unwrap();
    let draw =
        ["txt2img", "a toy", "-W", "64", "-H", "64", "--steps", "1", "-s", "1", "-m", "model.safetensors"];
    let net = ["--control-net", "net.safetensors", "--control-image", "net.png", "--control-strength", "0.5"];
    again(&room, &[&draw[..], &net, &["--taesd", "taesd.safetensors"]].concat(), "net-drawn.png", &[]);
    again(&room, &[&draw[..], &["--embd-dir", "words"]].concat(), "by-folder.png", &["--from", "words"]);
    again(
        &room,
        &[&draw[..], &["--embedding", "words/toy.safetensors"]].concat(),
        "by-flag.png",
        &["--from", "words"],
    );
    room.refuses(&["replay", "by-folder.png"], &["toy.safetensors", "embedding", "--from"]);
}

#[test]
fn another_instruction_set_is_told() {
    let room = Room::new();
    let draw = ["txt2img", "a cat", "-s", "3", "--steps", "2", "-W", "16", "-H", "16", "-o", "a.png"];
    let scalar = |args: &[&str]| room.command(args).env("LATENT_ISA", "scalar").output().unwrap();
    assert!(scalar(&draw).status.success());
    assert_eq!(own(&room, "a.png")["isa"], "scalar");
    let told = String::from_utf8(scalar(&["replay", "a.png"]).stdout).unwrap();
    assert!(told.ends_with("a.png has the same pixels\n"), "{told}");
    let told = room.succeeds(&["replay", "a.png"]);
    let is_same = told.ends_with("a.png has the same pixels\n");
    assert!(is_same || told.contains("LATENT_ISA=scalar draws as then"), "{told}");
}

#[test]
fn the_line_is_printed_and_not_run() {
    let room = Room::new();
    room.succeeds(&["txt2img", "it's a cat", "-s", "3", "--steps", "2", "-o", "a.png"]);
    let line = room.succeeds(&["replay", "a.png", "--print", "--", "-t", "1"]);
    assert!(line.starts_with("latent txt2img --steps=2 ") && line.ends_with(" -t 1\n"), "{line}");
    assert!(line.contains(r"'--prompt=it'\''s a cat'") && line.contains(" --output=a-replay.png "), "{line}");
    assert_eq!(room.files(), ["a.png"]);
}

/// A PNG with one text and the pixels of another.
fn with_text(room: &Room, from: &str, to: &str, keyword: &str, text: &str) {
    let image = image::open(room.path(from)).unwrap().into_rgb8();
    let file = std::fs::File::create(room.path(to)).unwrap();
    let mut encoder = png::Encoder::new(file, image.width(), image.height());
    encoder.set_color(png::ColorType::Rgb);
    encoder.add_itxt_chunk(keyword.to_owned(), text.to_owned()).unwrap();
    encoder.write_header().unwrap().write_image_data(image.as_raw()).unwrap();
}

fn own(room: &Room, file: &str) -> Value {
    let told: Value = serde_json::from_str(&room.succeeds(&["metadata", file, "--json"])).unwrap();
    told["latent"].clone()
}

/// The webui's text alone is enough for the same image where nothing is lost in it.
#[test]
fn the_webui_s_text() {
    let room = Room::new();
    room.succeeds(&[
        "txt2img",
        "a cat",
        "-n",
        "dog",
        "-s",
        "3",
        "--steps",
        "3",
        "--sampler",
        "euler_a",
        "-o",
        "a.png",
    ]);
    let text = "a cat\nNegative prompt: dog\nSteps: 3, Sampler: Euler a, Schedule type: Automatic, CFG scale: 7.0, Seed: 3, \
                Size: 64x64, Model hash: 246ef46339, Model: demo, RNG: NV, Version: v1.10.1";
    with_text(&room, "a.png", "webui.png", "parameters", text);
    assert!(room.succeeds(&["replay", "webui.png"]).ends_with("webui.png has the same pixels\n"));
    // Tokens are merged as far as this program does it.
    let merged = format!("{text}, Token merging ratio: 0.4");
    with_text(&room, "a.png", "merged.png", "parameters", &merged);
    assert!(room.succeeds(&["replay", "merged.png", "--print"]).contains("--tome=0.4"));
    let merged = format!("{text}, Token merging ratio: 0.7");
    with_text(&room, "a.png", "most.png", "parameters", &merged);
    let output = room.run(&["replay", "most.png"]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{error}");
    assert!(error.contains("not followed: token merging ratio 0.7"), "{error}");
    // Variation seeds and images that can be tiled are followed.
    let varied = format!("{text}, Variation seed: 8, Variation seed strength: 0.3, Tiling: True");
    with_text(&room, "a.png", "varied.png", "parameters", &varied);
    let line = room.succeeds(&["replay", "varied.png", "--print"]);
    for flag in ["--variation-seed=8", "--variation-strength=0.3", "--seamless=both"] {
        assert!(line.contains(flag), "{line}");
    }
    let json = room.succeeds(&["metadata", "varied.png", "--json"]);
    assert!(json.contains("\"variation_seed\": 8") && json.contains("\"seamless\": \"True\""), "{json}");
    // What is not followed is told, and the model must be the same.
    with_text(&room, "a.png", "more.png", "parameters", &format!("{text}, Hires upscale: 2, Odd: 1"));
    let output = room.run(&["replay", "more.png"]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && error.contains("not followed: Hires upscale, Odd"), "{error}");
    let other = text.replace("246ef46339", "0123456789").replace("demo", "SD/none.safetensors");
    with_text(&room, "a.png", "other.png", "parameters", &other);
    room.refuses(&["replay", "other.png"], &["other.png", "none (hash 0123456789)", "--model"]);
    room.file("m.safetensors", &demo());
    room.refuses(
        &["replay", "other.png", "-m", "m.safetensors"],
        &["m.safetensors", "another model", "--force"],
    );
    assert!(
        room.succeeds(&["replay", "other.png", "-m", "m.safetensors", "--force"]).ends_with("same pixels\n")
    );
    with_text(&room, "a.png", "bare.png", "parameters", "a cat");
    room.refuses(&["replay", "bare.png"], &["does not name the model"]);
}

#[test]
fn comfy_ui_s_graph() {
    let room = Room::new();
    room.file("m.safetensors", &demo());
    let drawn = [
        "txt2img",
        "a cat",
        "-n",
        "dog",
        "-s",
        "3",
        "--steps",
        "3",
        "--cfg-scale",
        "5",
        "--sampler",
        "euler",
    ];
    room.succeeds(&[&drawn[..], &["--scheduler", "simple", "--rng", "cpu", "-o", "a.png"]].concat());
    let graph = serde_json::json!({
        "1": { "class_type": "CheckpointLoaderSimple", "inputs": { "ckpt_name": "m.safetensors" } },
        "2": { "class_type": "CLIPTextEncode", "inputs": { "text": "a cat", "clip": ["1", 1] } },
        "3": { "class_type": "CLIPTextEncode", "inputs": { "text": "dog", "clip": ["1", 1] } },
        "4": { "class_type": "EmptyLatentImage", "inputs": { "width": 64, "height": 64, "batch_size": 1 } },
        "5": { "class_type": "KSampler", "inputs": {
            "seed": 3, "steps": 3, "cfg": 5, "sampler_name": "euler", "scheduler": "simple", "denoise": 1, "model": ["1", 0],
            "positive": ["2", 0], "negative": ["3", 0], "latent_image": ["4", 0] } },
        "6": { "class_type": "VAEDecode", "inputs": { "samples": ["5", 0], "vae": ["1", 2] } },
        "7": { "class_type": "SaveImage", "inputs": { "images": ["6", 0] } },
    });
    with_text(&room, "a.png", "comfy.png", "prompt", &graph.to_string());
    let line = ["replay", "comfy.png", "-m", "m.safetensors"];
    assert!(room.succeeds(&line).ends_with("comfy.png has the same pixels\n"));
}

/// What a file tells is a stranger's: it names no places, writes nothing and runs nothing but a drawing.
#[test]
fn a_hostile_file_does_no_harm() {
    let room = Room::new();
    room.succeeds(&["txt2img", "a cat", "-s", "3", "--steps", "2", "-o", "a.png"]);
    let genuine = own(&room, "a.png");
    let refuse = |change: &dyn Fn(&mut Value), parts: &[&str]| {
        let mut told = genuine.clone();
        change(&mut told);
        with_text(&room, "a.png", "bad.png", "latent", &told.to_string());
        room.refuses(&["replay", "bad.png"], parts);
        std::fs::remove_file(room.path("bad.png")).unwrap();
    };
    for flag in ["output", "preview", "models-dir", "no-such", "help", "version"] {
        refuse(&|told| told["flags"][flag] = serde_json::json!(["a.png"]), &["bad.png", flag]);
    }
    refuse(&|told| told["command"] = "bench".into(), &["bad.png", "bench"]);
    refuse(&|told| told["command"] = "--help".into(), &["bad.png", "--help"]);
    refuse(&|told| told["seed"] = "x".into(), &["bad.png", "seed"]);
    refuse(&|told| told["flags"]["steps"] = serde_json::json!(["many"]), &["bad.png", "steps"]);
    refuse(&|told| told["flags"]["steps"] = serde_json::json!(["1000000000000"]), &["steps"]);
    refuse(&|told| told["flags"]["vae"] = serde_json::json!(["../../etc/passwd"]), &["passwd", "not found"]);
    refuse(&|told| told["flags"]["vae"] = serde_json::json!(["/etc/passwd"]), &["passwd", "not found"]);
    refuse(&|told| told["model_sha256"] = "00".into(), &["another built-in model"]);
    refuse(&|told| told["prompt"] = "<lora:../x>".into(), &["plain name"]);
}

/// A folder is known by its contents as a file is.
#[test]
fn another_folder_of_the_same_name_is_refused() {
    let room = Room::new();
    for folder in ["a", "b"] {
        std::fs::create_dir(room.path(folder)).unwrap();
    }
    synthetic_folder("sd15", &room.path("a/model"));
    synthetic_folder("sd15", &room.path("b/model"));
    let draw = ["txt2img", "a fox", "-W", "64", "-H", "64", "--steps", "1", "-s", "1", "-m", "a/model"];
    again(&room, &draw, "drawn.png", &["--from", "a"]);
    let recorded = own(&room, "drawn.png");
    assert!(recorded["model_sha256"].is_null() && recorded["model_folder_sha256"].is_string(), "{recorded}");
    again(&room, &draw, "drawn.png", &["-m", "b/model"]);
    // One byte of a weight.
    let weights = room.path("b/model/vae/diffusion_pytorch_model.safetensors");
    let mut bytes = std::fs::read(&weights).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&weights, bytes).unwrap();
    for place in [["--from", "b"], ["-m", "b/model"]] {
        let line = [&["replay", "drawn.png"][..], &place].concat();
        room.refuses(&line, &["b/model", "another model", "its hash is", "--force"]);
        let forced = room.run(&[&line[..], &["--force"]].concat());
        let error = String::from_utf8(forced.stderr).unwrap();
        assert!(forced.status.success() && error.contains("b/model: is another model"), "{error}");
    }
    // The configurations are a part of it, and a file is never the same.
    synthetic_folder("sd15", &room.path("b/model"));
    let config = room.path("b/model/unet/config.json");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replacen('{', "{ ", 1)).unwrap();
    room.refuses(&["replay", "drawn.png", "--from", "b"], &["b/model", "another model"]);
    room.file("m.safetensors", &synthetic("sd15"));
    room.refuses(&["replay", "drawn.png", "-m", "m.safetensors"], &["it is a file, and that was a folder"]);
    // What an older version drew records no hash.
    let mut old = recorded;
    old.as_object_mut().unwrap().remove("model_folder_sha256");
    with_text(&room, "drawn.png", "old.png", "latent", &old.to_string());
    let output = room.run(&["replay", "old.png", "--from", "a", "-o", "again.png"]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && error.contains("records no hash of its model"), "{error}");
}

/// Other programs, and people who edit a text, write hashes in either case.
#[test]
fn hashes_are_the_same_in_either_case() {
    let room = Room::new();
    room.file("m.safetensors", &demo());
    let draw = ["txt2img", "a cat", "-s", "3", "--steps", "1", "--sampler", "euler_a"];
    room.succeeds(&[&draw[..], &["-m", "m.safetensors", "-o", "a.png"]].concat());
    let mut loud = own(&room, "a.png");
    loud["model_sha256"] = loud["model_sha256"].as_str().unwrap().to_uppercase().into();
    with_text(&room, "a.png", "own.png", "latent", &loud.to_string());
    assert!(room.succeeds(&["replay", "own.png"]).ends_with("own.png has the same pixels\n"));
    room.succeeds(&[&draw[..], &["-o", "a.png"]].concat());
    let mut loud = own(&room, "a.png");
    loud["model_sha256"] = loud["model_sha256"].as_str().unwrap().to_uppercase().into();
    with_text(&room, "a.png", "own.png", "latent", &loud.to_string());
    assert!(room.succeeds(&["replay", "own.png"]).ends_with("own.png has the same pixels\n"));
    let text = "a cat\nSteps: 1, Sampler: Euler a, CFG scale: 7, Seed: 3, Size: 64x64, Model hash: 246EF46339, Model: m, RNG: NV";
    with_text(&room, "a.png", "webui.png", "parameters", text);
    for more in [&[][..], &["-m", "m.safetensors"]] {
        let line = [&["replay", "webui.png"][..], more].concat();
        assert!(room.succeeds(&line).ends_with("webui.png has the same pixels\n"));
    }
}

/// A stranger's file may ask for days of work.
#[test]
fn what_takes_very_long_is_asked_for_first() {
    let room = Room::new();
    room.succeeds(&["txt2img", "a cat", "-s", "3", "--steps", "2", "-W", "16", "-H", "16", "-o", "a.png"]);
    let genuine = own(&room, "a.png");
    let with = |name: &str, values: &[(&str, &str)]| {
        let mut told = genuine.clone();
        values.iter().for_each(|(flag, value)| told["flags"][*flag] = serde_json::json!([*value]));
        with_text(&room, "a.png", name, "latent", &told.to_string());
    };
    with("large.png", &[("width", "8192"), ("height", "8192"), ("steps", "1000")]);
    room.refuses(
        &["replay", "large.png"],
        &["large.png", "8192x8192 in 1000 steps", "of memory", "--yes draws it"],
    );
    with("many.png", &[("width", "1024"), ("height", "1024"), ("steps", "999")]);
    room.refuses(&["replay", "many.png"], &["many.png", "1024x1024 in 999 steps"]);
    // What a person's own flags make of it counts, and it is printed without a question.
    let line = room.succeeds(&["replay", "large.png", "--print"]);
    assert!(line.contains("--width=8192"), "{line}");
    room.succeeds(&["replay", "large.png", "--", "-W", "16", "-H", "16", "--steps", "1"]);
    // The cells of a grid and the images of a contact sheet count together.
    room.succeeds(&[
        "grid",
        "a cat",
        "--x",
        "steps=1,2",
        "-s",
        "3",
        "-W",
        "16",
        "-H",
        "16",
        "-o",
        "grid.png",
    ]);
    let mut told = own(&room, "grid.png");
    told["flags"]["width"] = serde_json::json!(["1024"]);
    told["flags"]["height"] = serde_json::json!(["1024"]);
    told["grid"]["x"]["values"] = (0..200).map(|i| (i % 2 + 1).to_string()).collect();
    with_text(&room, "grid.png", "cells.png", "latent", &told.to_string());
    room.refuses(&["replay", "cells.png"], &["200 images of up to 1024x1024 in 2 steps", "--yes"]);
    let mut told = genuine.clone();
    told["sheet"] = 256.into();
    told["flags"]["width"] = serde_json::json!(["1024"]);
    told["flags"]["height"] = serde_json::json!(["1024"]);
    with_text(&room, "a.png", "sheet.png", "latent", &told.to_string());
    room.refuses(&["replay", "sheet.png"], &["256 images of up to 1024x1024 in 2 steps", "--yes"]);
    // The bounds of a person's flags hold, whatever was accepted.
    with("sharp.png", &[("quality", "255")]);
    room.refuses(&["replay", "sharp.png", "--yes"], &["quality: 255 is not in 1 to 100"]);
    with("wide.png", &[("width", "16384")]);
    room.refuses(&["replay", "wide.png", "--yes"], &["width", "8192"]);
}

/// No name in a file leads out of the folders of the image, of flags and of the models.
#[test]
fn names_in_a_file_lead_nowhere_else() {
    let room = Room::new();
    std::fs::create_dir_all(room.path("outside")).unwrap();
    std::fs::create_dir_all(room.path("here/models")).unwrap();
    room.file("outside/m.safetensors", &demo());
    image::RgbImage::new(64, 64).save(room.path("outside/i.png")).unwrap();
    room.succeeds(&["txt2img", "a cat", "-s", "3", "--steps", "1", "-o", "here/a.png"]);
    let genuine = own(&room, "here/a.png");
    let whole = room.path("outside");
    let places = [
        "../outside/",
        "outside/",
        "./../outside/",
        "models/../../outside/",
        &format!("{}/", whole.display()),
    ];
    for place in places {
        for (command, flag, file) in [
            ("txt2img", "model", "m.safetensors"),
            ("txt2img", "unet", "m.safetensors"),
            ("txt2img", "vae", "m.safetensors"),
            ("txt2img", "text-encoder", "m.safetensors"),
            ("txt2img", "parts-from", "m.safetensors"),
            ("txt2img", "lora", "m.safetensors:1"),
            ("txt2img", "embedding", "m.safetensors"),
            ("txt2img", "refiner", "m.safetensors"),
            ("txt2img", "control-net", "m.safetensors"),
            ("txt2img", "taesd", "m.safetensors"),
            ("txt2img", "hires-upscaler", "m.safetensors"),
            ("img2img", "image", "i.png"),
            ("inpaint", "mask", "i.png"),
        ] {
            let mut told = genuine.clone();
            told["command"] = command.into();
            told["flags"][flag] = serde_json::json!([format!("{place}{file}")]);
            with_text(&room, "here/a.png", "here/bad.png", "latent", &told.to_string());
            room.refuses(
                &["replay", "here/bad.png", "--models-dir", "here/models", "--print"],
                &["not found"],
            );
            // The same by the list of files.
            told["flags"][flag] = serde_json::json!([file]);
            told["files"] =
                serde_json::json!([{ "flag": flag, "name": format!("{place}{file}"), "sha256": null }]);
            with_text(&room, "here/a.png", "here/bad.png", "latent", &told.to_string());
            room.refuses(
                &["replay", "here/bad.png", "--models-dir", "here/models", "--print"],
                &["not found"],
            );
        }
        for prompt in [format!("a <lora:{place}m:1>"), format!("a <lora:{place}m.safetensors>")] {
            let mut told = genuine.clone();
            told["prompt"] = prompt.into();
            with_text(&room, "here/a.png", "here/bad.png", "latent", &told.to_string());
            let output = room.run(&["replay", "here/bad.png", "--models-dir", "here/models", "-o", "x.png"]);
            assert_eq!(output.status.code(), Some(2), "{place}");
        }
        let mut told = genuine.clone();
        told["grid"] =
            serde_json::json!({ "x": { "flag": "vae", "values": [format!("{place}m.safetensors")] } });
        with_text(&room, "here/a.png", "here/bad.png", "latent", &told.to_string());
        // Of an axis, the file's name alone counts, which is not found.
        room.refuses(
            &["replay", "here/bad.png", "--models-dir", "here/models"],
            &["m.safetensors", "not found"],
        );
    }
}
