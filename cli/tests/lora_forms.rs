//! LoRA files of the forms that programs write, and tags as the webui reads them, on the built-in model.

use crate::common::{Room, demo, read_png};
use crate::pickles::pickled;
use serde_json::{Value, json};

/// A layer of the demo model, 64x128, and one of its text encoder, 128x128.
const LAYER: &str = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_v";
const ORIGINAL: &str = "input_blocks.1.1.transformer_blocks.0.attn2.to_v";
const TEXT: &str = "text_model.encoder.layers.0.self_attn.v_proj";

/// A tensor: name, dtype, shape, bytes.
type Entry<'a> = (String, &'a str, Vec<usize>, Vec<u8>);

fn values(name: String, shape: &[usize], seed: usize) -> Entry<'static> {
    let count: usize = shape.iter().product();
    let value = |i: usize| ((i * 7 + seed * 5) % 13) as f32 / 16.0 - 0.375;
    (name, "F32", shape.to_vec(), (0..count).flat_map(|i| value(i).to_le_bytes()).collect())
}

/// The factors of a layer, of rank 4.
fn factors(module: &str, [up, down]: [&str; 2], outputs: usize) -> Vec<Entry<'static>> {
    vec![values(format!("{module}.{up}"), &[outputs, 4], 1), values(format!("{module}.{down}"), &[4, 128], 2)]
}

const KOHYA: [&str; 2] = ["lora_up.weight", "lora_down.weight"];
const PEFT: [&str; 2] = ["lora_B.weight", "lora_A.weight"];

fn kohya(layer: &str) -> String {
    format!("lora_unet_{}", layer.replace('.', "_"))
}

/// A file in the safetensors format.
fn file(entries: &[Entry<'_>], metadata: &[(&str, &str)]) -> Vec<u8> {
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for (name, dtype, shape, bytes) in entries {
        let start = data.len();
        data.extend(bytes);
        header.insert(
            name.clone(),
            json!({"dtype": dtype, "shape": shape, "data_offsets": [start, data.len()]}),
        );
    }
    let texts = metadata.iter().map(|(key, text)| ((*key).to_owned(), (*text).into()));
    header.insert("__metadata__".to_owned(), Value::Object(texts.collect()));
    let header = Value::Object(header).to_string();
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &data].concat()
}

/// The pixels, the texts and the standard error of a drawing.
fn draw(room: &Room, prompt: &str, args: &[&str]) -> (Vec<u8>, Value, String) {
    let always = ["txt2img", prompt, "-s", "3", "-W", "64", "-H", "64", "-o", "out.png"];
    let steps: &[&str] = if args.contains(&"--default-steps") { &[] } else { &["--steps", "2"] };
    let args: Vec<&str> = args.iter().copied().filter(|arg| *arg != "--default-steps").collect();
    let output = room.run(&[&always[..], steps, &args].concat());
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{prompt:?} {args:?}: {error}");
    let (pixels, texts) = read_png(&room.path("out.png"));
    let json =
        texts.iter().find(|(key, _)| key == "latent").map(|(_, text)| serde_json::from_str(text).unwrap());
    (pixels, json.unwrap(), error)
}

#[track_caller]
fn replays(room: &Room, args: &[&str]) {
    let again = room.run(&[&["replay", "out.png", "-o", "again.png"], args].concat());
    let shown = String::from_utf8(again.stdout).unwrap() + &String::from_utf8(again.stderr).unwrap();
    assert!(shown.contains("out.png has the same pixels"), "{shown}");
}

#[test]
fn the_same_lora_in_every_form_draws_the_same() {
    let room = Room::new();
    let with_alpha = |module: &str, ends, dtype: &'static str, alpha: Vec<u8>| {
        let mut entries = factors(module, ends, 64);
        entries.push((format!("{module}.alpha"), dtype, vec![], alpha));
        entries
    };
    let kohya = kohya(LAYER);
    let want = with_alpha(&kohya, KOHYA, "F32", 8f32.to_le_bytes().to_vec());
    room.file("want.safetensors", &file(&want, &[]));
    let (want, _, _) = draw(&room, "a red apple", &["--lora", "want.safetensors"]);
    assert_ne!(want, draw(&room, "a red apple", &[]).0);
    let integers = with_alpha(&kohya, KOHYA, "I64", 8i64.to_le_bytes().to_vec());
    let unet = format!("unet.{LAYER}");
    let of_comfy = format!("diffusion_model.{ORIGINAL}");
    let diffusers = r#"{"unet.r": 4, "unet.lora_alpha": 8, "unet.target_modules": ["to_v"]}"#;
    for (name, file) in [
        ("integers", file(&integers, &[])),
        ("diffusers", file(&factors(&unet, PEFT, 64), &[("lora_adapter_metadata", diffusers)])),
        ("network", file(&factors(&kohya, KOHYA, 64), &[("ss_network_alpha", "8"), ("ss_network_dim", "4")])),
        ("comfy", file(&with_alpha(&of_comfy, KOHYA, "F32", 8f32.to_le_bytes().to_vec()), &[])),
    ] {
        let path = format!("{name}.safetensors");
        room.file(&path, &file);
        let (pixels, _, told) = draw(&room, "a red apple", &["--lora", &path]);
        assert!(told.contains("1 of 1 applied"), "{told}");
        assert_eq!(pixels, want, "{name}");
    }
    // A folder of PEFT, by its path, by its file and by its name; and of PEFT before 0.7, which pickled weights.
    let weights = file(&factors(&format!("base_model.model.{LAYER}"), PEFT, 64), &[]);
    let config = br#"{"peft_type": "LORA", "r": 4, "lora_alpha": 2, "alpha_pattern": {"attn2.to_v": 8}}"#;
    for (name, model, weights) in [
        ("adapter", "adapter_model.safetensors", &weights),
        ("older", "adapter_model.bin", &pickled(&weights, None)),
    ] {
        let folder = format!("loras/{name}");
        std::fs::create_dir_all(room.path(&folder)).unwrap();
        room.file(&format!("{folder}/{model}"), weights);
        room.file(&format!("{folder}/adapter_config.json"), config);
        for (prompt, lora) in [
            ("a red apple", &["--lora", &folder][..]),
            ("a red apple", &["--lora", &format!("{folder}/{model}")]),
            ("a red apple", &["--lora", name, "--lora-dir", "loras"]),
            (&format!("a red apple<lora:{name}:1>"), &["--lora-dir", "loras"]),
        ] {
            assert_eq!(draw(&room, prompt, lora).0, want, "{prompt} {lora:?}");
            replays(&room, &["--from", "loras", "--from", &folder]);
        }
    }
}

#[test]
fn text_encoders_are_changed_under_the_names_of_comfy() {
    let room = Room::new();
    let kohya = format!("lora_te_{}", TEXT.replace('.', "_"));
    room.file("kohya.safetensors", &file(&factors(&kohya, KOHYA, 128), &[]));
    let (want, _, _) = draw(&room, "a red apple", &["--lora", "kohya.safetensors"]);
    assert_ne!(want, draw(&room, "a red apple", &[]).0);
    let comfy = format!("text_encoders.clip_l.transformer.{TEXT}");
    room.file("comfy.safetensors", &file(&factors(&comfy, PEFT, 128), &[]));
    assert_eq!(draw(&room, "a red apple", &["--lora", "comfy.safetensors"]).0, want);
}

/// A file as another version of the program wrote it.
fn with_json(room: &Room, edit: impl Fn(&mut Value)) {
    let (pixels, texts) = read_png(&room.path("out.png"));
    let mut encoder = png::Encoder::new(std::fs::File::create(room.path("out.png")).unwrap(), 64, 64);
    encoder.set_color(png::ColorType::Rgb);
    for (key, text) in texts {
        let text = match key.as_str() {
            "latent" => {
                let mut json: Value = serde_json::from_str(&text).unwrap();
                edit(&mut json);
                json.to_string()
            }
            _ => text,
        };
        encoder.add_itxt_chunk(key, text).unwrap();
    }
    encoder.write_header().unwrap().write_image_data(&pixels).unwrap();
}

#[test]
fn tags_are_read_as_in_the_webui() {
    let room = Room::new();
    room.file("own.safetensors", &file(&factors(&kohya(LAYER), KOHYA, 64), &[]));
    let lora_dir = ["--lora-dir", "."];
    let (without, _, _) = draw(&room, "a red apple", &[]);
    let (with, _, _) = draw(&room, "a red apple", &["--lora", "own.safetensors"]);
    assert_ne!(without, with);
    for tag in
        ["<lora:own:0:1>", "<lyco:own:1>", "<lora:own:te=0:unet=1>", "<lora:own:0.5:1:4>", "<lora:OWN>"]
    {
        assert_eq!(draw(&room, &format!("a red apple{tag}"), &lora_dir).0, with, "{tag}");
    }
    assert_eq!(draw(&room, "a red apple<lora:own:1:0>", &lora_dir).0, without);
    let (pixels, _, told) = draw(&room, "a red apple<hypernet:some:1>", &[]);
    assert!(told.contains("<hypernet:some:1>: is a tag of an unknown kind"), "{told}");
    assert_eq!(pixels, without);
    let shown = room.succeeds(&["tokens", "a red apple<lyco:own:0:1> <hypernet:foo:1>"]);
    assert!(shown.contains("weight 1 in the UNet, 0 in the text encoders"), "{shown}");
    assert!(shown.contains("<hypernet:foo:1>: is a tag of an unknown kind"), "{shown}");
}

#[test]
fn images_of_the_order_of_earlier_versions_are_drawn_again() {
    let room = Room::new();
    room.file("own.safetensors", &file(&factors(&kohya(LAYER), KOHYA, 64), &[]));
    let (_, json, _) = draw(&room, "a red apple<lora:own:0:1>", &["--lora-dir", "."]);
    assert_eq!(json["tag_order"], "te:unet");
    replays(&room, &[]);
    with_json(&room, |json| {
        json.as_object_mut().unwrap().remove("tag_order").unwrap();
        json["prompt"] = "a red apple<lora:own:1:0>".into();
    });
    replays(&room, &[]);
    // What were words stays words.
    let (_, _, _) = draw(&room, "a red apple < hypernet:own:1>", &[]);
    with_json(&room, |json| {
        json.as_object_mut().unwrap().remove("tag_order").unwrap();
        json["prompt"] = "a red apple <hypernet:own:1>".into();
    });
    replays(&room, &[]);
}

#[test]
fn words_that_a_lora_bundles_are_understood_with_it() {
    let room = Room::new();
    std::fs::create_dir(room.path("plain")).unwrap();
    let lora = factors(&kohya(LAYER), KOHYA, 64);
    let vectors = |name: &str| values(name.to_owned(), &[2, 128], 3);
    let bundle = [&lora[..], &[vectors("bundle_emb.my.token.string_to_param.*")]].concat();
    room.file("bundle.safetensors", &file(&bundle, &[]));
    room.file("plain/bundle.safetensors", &file(&lora, &[]));
    room.file("my.token.safetensors", &file(&[vectors("emb_params")], &[]));
    let prompt = "a photo of my.token<lora:bundle:1>";
    let word = ["--embedding", "my.token.safetensors"];
    let (want, _, _) = draw(&room, prompt, &[&["--lora-dir", "plain"][..], &word].concat());
    assert_ne!(want, draw(&room, prompt, &["--lora-dir", "plain"]).0);
    let (pixels, _, told) = draw(&room, prompt, &["--lora-dir", "."]);
    assert!(told.contains("my.token") && !told.contains("no layer"), "{told}");
    assert_eq!(pixels, want);
    replays(&room, &[]);
    assert_eq!(draw(&room, "a photo of my.token", &["--lora", "bundle.safetensors"]).0, want);
    // A file of that word goes first, and a LoRA that is off brings none.
    assert_eq!(draw(&room, prompt, &[&["--lora-dir", "."][..], &word].concat()).0, want);
    let off = draw(&room, "a photo of my.token<lora:bundle:0>", &["--lora-dir", "."]).0;
    assert_eq!(off, draw(&room, "a photo of my.token", &[]).0);
}

#[test]
fn loras_for_few_steps_are_drawn_so() {
    let room = Room::new();
    let lora = factors(&kohya(LAYER), KOHYA, 64);
    for (name, output_name, expected) in [
        ("lcm-lora-sdv1-5", "", (4, 1.0, "lcm")),
        ("Hyper-SD15-8steps-lora", "", (8, 1.0, "ddim")),
        ("sdxl_lightning_4step_lora", "", (4, 1.0, "euler")),
        ("dmd2_sdxl_4step_lora", "", (4, 1.0, "lcm")),
        ("tcd-sd15-lora", "", (4, 1.0, "tcd")),
        ("Hyper-SDXL-8steps-CFG-lora", "", (8, 5.0, "ddim")),
        ("renamed", "lcm_lora_v2", (4, 1.0, "lcm")),
        ("lightning_storm", "", (20, 7.0, "dpm++2m")),
    ] {
        let path = format!("{name}.safetensors");
        room.file(&path, &file(&lora, &[("ss_output_name", output_name)]));
        let (_, json, told) = draw(&room, "a red apple", &["--lora", &path, "--default-steps"]);
        let used = (json["steps"].as_u64().unwrap(), json["cfg_scale"].as_f64().unwrap());
        assert_eq!((used.0, used.1, json["sampler"].as_str().unwrap()), expected, "{name}");
        assert_eq!(told.contains("steps 4") || told.contains("steps 8"), expected.0 < 20, "{told}");
        std::fs::remove_file(room.path(&path)).unwrap();
    }
    room.file("lcm-lora.safetensors", &file(&lora, &[]));
    let (_, json, _) = draw(&room, "a <lora:lcm-lora:0.5>", &["--lora-dir", ".", "--default-steps"]);
    assert_eq!((json["steps"].as_u64(), json["sampler"].as_str()), (Some(4), Some("lcm")));
    replays(&room, &[]);
    // What a person asks for counts, and a LoRA that is off does not.
    let (_, json, _) = draw(&room, "a <lora:lcm-lora:1>", &["--lora-dir", ".", "--cfg-scale", "2"]);
    assert_eq!((json["steps"].as_u64(), json["cfg_scale"].as_f64()), (Some(2), Some(2.0)));
    let (_, json, _) = draw(&room, "a <lora:lcm-lora:1:0>", &["--lora-dir", ".", "--default-steps"]);
    assert_eq!(json["steps"].as_u64(), Some(20));
    room.file("demo_dmd2.safetensors", &demo());
    let (_, json, _) = draw(&room, "a", &["-m", "demo_dmd2.safetensors", "--default-steps"]);
    assert_eq!((json["steps"].as_u64(), json["sampler"].as_str()), (Some(4), Some("lcm")));
}

#[test]
fn rotations_are_drawn_and_what_is_not_a_lora_is_named() {
    let room = Room::new();
    let module = LAYER.replace('.', "_");
    let blocks = |start: &str, shape: &[usize]| {
        let alpha = (format!("{start}_{module}.alpha"), "F16", vec![], vec![0, 0]);
        file(&[values(format!("{start}_{module}.oft_blocks"), shape, 1), alpha], &[])
    };
    room.file("oft.safetensors", &blocks("lora_unet", &[4, 16, 16]));
    room.file("kohya.safetensors", &blocks("oft_unet", &[4, 16, 16]));
    room.file("boft.safetensors", &blocks("lora_unet", &[3, 8, 8, 8]));
    let (without, _, _) = draw(&room, "a red apple", &[]);
    let of = |name: &str| draw(&room, "a red apple", &["--lora", name]).0;
    assert_eq!(of("oft.safetensors"), of("kohya.safetensors"));
    assert!(of("oft.safetensors") != without && of("boft.safetensors") != without);
    let shown = room.succeeds(&["inspect", "boft.safetensors"]);
    assert!(shown.contains("LoRA") && shown.contains("BOFT of 1 layers"), "{shown}");
    let control = [
        values("input_hint_block.0.weight".into(), &[16, 3, 3, 3], 1),
        values("input_blocks.1.1.proj_in.down".into(), &[4, 64], 1),
        ("lora_controlnet".to_owned(), "F16", vec![0], vec![]),
    ];
    room.file("control.safetensors", &file(&control, &[]));
    let shown = room.succeeds(&["inspect", "control.safetensors"]);
    assert!(shown.contains("ControlNet"), "{shown}");
    let refuses = |parts: &[&str]| room.refuses(&["txt2img", "x", "--lora", "control.safetensors"], parts);
    refuses(&["control.safetensors", "is not a LoRA but a Control-LoRA"]);
}
