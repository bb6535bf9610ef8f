//! Files as other programs write them, made here from what is known of their formats, and broken ones.

use super::container::read as contents;
use super::told::{Key, Told};
use super::{Text, exif, read, summary};
use flate2::Compression;
use flate2::write::ZlibEncoder;
use latent_benches::growth::assert_linear;
use proptest::prelude::*;
use serde_json::json;
use std::io::{Cursor, Write};

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";

fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let mut crc = flate2::Crc::new();
    crc.update(kind);
    crc.update(data);
    [&(data.len() as u32).to_be_bytes()[..], kind, data, &crc.sum().to_be_bytes()].concat()
}

/// A PNG of these chunks and nothing to see.
fn png(chunks: &[Vec<u8>]) -> Vec<u8> {
    [PNG, &chunk(b"IHDR", &[0, 0, 0, 1, 0, 0, 0, 1, 8, 2, 0, 0, 0]), &chunks.concat(), &chunk(b"IEND", b"")]
        .concat()
}

fn text(keyword: &str, text: &str) -> Vec<u8> {
    chunk(b"tEXt", &[keyword.as_bytes(), b"\0", text.as_bytes()].concat())
}

fn packed(text: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn segment(marker: u8, data: &[u8]) -> Vec<u8> {
    [&[0xff, marker][..], &(data.len() as u16 + 2).to_be_bytes(), data].concat()
}

fn jpeg(segments: &[Vec<u8>]) -> Vec<u8> {
    [b"\xff\xd8", segments.concat().as_slice(), b"\xff\xda\0\x02"].concat()
}

fn webp(chunks: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
    let piece = |(kind, data): &(&[u8; 4], &[u8])| {
        [&kind[..], &(data.len() as u32).to_le_bytes(), data, &vec![0; data.len() % 2]].concat()
    };
    let body: Vec<u8> = chunks.iter().flat_map(piece).collect();
    [b"RIFF", &(body.len() as u32 + 4).to_le_bytes()[..], b"WEBP", &body].concat()
}

#[track_caller]
fn texts(file: Vec<u8>) -> Vec<Text> {
    contents(&mut Cursor::new(file)).unwrap().texts
}

#[track_caller]
fn told(file: Vec<u8>) -> Told {
    read::read(&texts(file)).unwrap()
}

/// What is told, in the order of `keys`.
#[track_caller]
fn check(told: &Told, program: &str, want: &[(Key, &str)]) {
    assert_eq!(told.program, program);
    for (key, value) in want {
        assert_eq!(told.get(*key), Some(*value), "{}", key.name());
    }
}

const WEBUI: &str = "a cat\nNegative prompt: dog\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 5, Size: 512x768, Version: f2.0.1";

#[test]
fn the_webui_s_text_wherever_it_stands() {
    let want = [(Key::Prompt, "a cat"), (Key::Negative, "dog"), (Key::Seed, "5"), (Key::Height, "768")];
    let block = exif::write(WEBUI, None);
    let with_mark = [b"Exif\0\0", block.as_slice()].concat();
    let compressed = [b"parameters\0\0", packed(WEBUI.as_bytes()).as_slice()].concat();
    let international = [b"parameters\0\0\0en\0\0", WEBUI.as_bytes()].concat();
    let both = [b"parameters\0\x01\0\0\0", packed(WEBUI.as_bytes()).as_slice()].concat();
    for file in [
        png(&[text("parameters", WEBUI)]),
        png(&[chunk(b"zTXt", &compressed)]),
        png(&[chunk(b"iTXt", &international)]),
        png(&[chunk(b"iTXt", &both)]),
        png(&[chunk(b"IDAT", &[0; 99]), text("parameters", WEBUI)]),
        png(&[chunk(b"eXIf", &block)]),
        jpeg(&[segment(0xe0, b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0"), segment(0xe1, &with_mark)]),
        webp(&[(b"VP8L", &[0; 7]), (b"EXIF", &block)]),
        webp(&[(b"VP8X", &[0; 10]), (b"EXIF", &with_mark), (b"XMP ", b"<x/>")]),
    ] {
        check(&told(file), "Forge f2.0.1", &want);
    }
}

#[test]
fn comfy_ui_with_what_json_has_not() {
    let graph = r#"{"1": {"class_type": "KSampler", "inputs": {"seed": 3, "steps": 9, "cfg": 8.0, "sampler_name": "uni_pc",
        "scheduler": "simple", "denoise": 0.5, "positive": ["2", 0]}, "is_changed": [NaN]},
        "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "NaN is no number \"NaN\""}}}"#;
    let want = [
        (Key::Seed, "3"),
        (Key::Sampler, "uni_pc"),
        (Key::Prompt, "NaN is no number \"NaN\""),
        (Key::Strength, "0.5"),
    ];
    check(&told(png(&[text("prompt", graph), text("workflow", "{}")])), "ComfyUI", &want);
    // As savers of WebP write it: into the camera's name.
    let mut block = b"II\x2a\0\x08\0\0\0\x01\0\x10\x01\x02\0".to_vec();
    let value = format!("prompt:{graph}\0");
    block.extend((value.len() as u32).to_le_bytes());
    block.extend(26u32.to_le_bytes());
    block.extend([0; 4]);
    block.extend(value.as_bytes());
    check(&told(webp(&[(b"EXIF", &block)])), "ComfyUI", &want);
}

#[test]
fn invoke_ai_in_its_three_forms() {
    let new = json!({
        "app_version": "4.2.1", "generation_mode": "txt2img", "positive_prompt": "a cat", "negative_prompt": "dog",
        "width": 512, "height": 768, "seed": 7, "cfg_scale": 7.5, "steps": 30, "scheduler": "dpmpp_2m_k",
        "model": { "name": "Dream", "hash": "blake3:00", "base": "sd-1" }
    });
    let told_new = told(png(&[text("invokeai_metadata", &new.to_string())]));
    let want =
        [(Key::Prompt, "a cat"), (Key::Negative, "dog"), (Key::Sampler, "dpmpp_2m_k"), (Key::Model, "Dream")];
    check(&told_new, "InvokeAI 4.2.1", &want);
    let old = json!({
        "model": "stable diffusion", "model_weights": "sd-1.5", "model_hash": "cc6cb271", "app_version": "invoke-ai 2.3",
        "image": { "prompt": [{ "prompt": "a cat [dog, bird]", "weight": 1.0 }], "steps": 50, "cfg_scale": 7.5,
            "sampler": "k_lms", "height": 512, "width": 640, "seed": 11 }
    });
    let want = [
        (Key::Prompt, "a cat"),
        (Key::Negative, "dog, bird"),
        (Key::Seed, "11"),
        (Key::ModelHash, "cc6cb271"),
    ];
    check(&told(png(&[text("sd-metadata", &old.to_string())])), "InvokeAI invoke-ai 2.3", &want);
    let dream = "\"a \"big\" cat [dog]\" -s 50 -S 11 -W 640 -H 512 -C 7.5 -A k_euler_a -f0.4";
    let want = [
        (Key::Prompt, "a \"big\" cat"),
        (Key::Negative, "dog"),
        (Key::Steps, "50"),
        (Key::Seed, "11"),
        (Key::Width, "640"),
        (Key::Sampler, "k_euler_a"),
        (Key::Strength, "0.4"),
    ];
    check(&told(png(&[text("Dream", dream)])), "InvokeAI", &want);
}

#[test]
fn novel_ai() {
    let comment =
        json!({ "steps": 28, "sampler": "k_euler", "seed": 99, "scale": 11.0, "uc": "lowres", "noise": 0.2 });
    let file = png(&[
        text("Software", "NovelAI"),
        text("Description", "a cat "),
        text("Source", "Stable Diffusion 1D44365E"),
        text("Comment", &comment.to_string()),
    ]);
    let want = [
        (Key::Prompt, "a cat"),
        (Key::Negative, "lowres"),
        (Key::Model, "Stable Diffusion"),
        (Key::CfgScale, "11.0"),
    ];
    check(&told(file), "NovelAI", &want);
}

#[test]
fn fooocus_new_and_old() {
    let new = json!({
        "base_model": "juggernaut", "base_model_hash": "aeb7e9e689", "prompt": "a cat", "negative_prompt": "", "seed": "5",
        "steps": 30, "sampler": "dpmpp_2m_sde_gpu", "scheduler": "karras", "guidance_scale": 4.0,
        "resolution": "(896, 1152)", "metadata_scheme": "fooocus", "version": "Fooocus v2.5.5", "loras": [["x", 0.1]]
    });
    let want =
        [(Key::Width, "896"), (Key::Height, "1152"), (Key::CfgScale, "4.0"), (Key::ModelHash, "aeb7e9e689")];
    let new = new.to_string();
    check(
        &told(png(&[text("parameters", &new), text("fooocus_scheme", "fooocus")])),
        "Fooocus v2.5.5",
        &want,
    );
    let in_exif = told(webp(&[(b"EXIF", &exif::write(&new, None))]));
    check(&in_exif, "Fooocus v2.5.5", &want);
    assert_eq!(in_exif.get(Key::Negative), None);
    let old = json!({ "prompt": "a cat", "negative_prompt": "dog", "sampler": "euler", "seed": 5, "cfg": 7, "steps": 30,
        "width": 896, "height": 1152, "base_model": "x.safetensors" });
    let want = [(Key::Seed, "5"), (Key::CfgScale, "7"), (Key::Width, "896"), (Key::Model, "x.safetensors")];
    check(&told(jpeg(&[segment(0xfe, old.to_string().as_bytes())])), "Fooocus", &want);
}

#[test]
fn draw_things() {
    let comment = "{&quot;c&quot;:&quot;a cat &amp; a &#x201c;hat&#8221; &x &quot;,&quot;uc&quot;:&quot;dog&quot;,&quot;seed&quot;:4,\
                   &quot;steps&quot;:25,&quot;scale&quot;:7,&quot;sampler&quot;:&quot;DPM++ 2M Karras&quot;,&quot;size&quot;:&quot;\
                   512x640&quot;,&quot;model&quot;:&quot;sd_v1.5_f16.ckpt&quot;}";
    let xmp = format!(
        "<x:xmpmeta><rdf:RDF><rdf:Description><exif:UserComment> <rdf:Alt> <rdf:li xml:lang=\"x-default\">{comment}</rdf:li> \
         </rdf:Alt> </exif:UserComment></rdf:Description></rdf:RDF></x:xmpmeta>"
    );
    let international = [b"XML:com.adobe.xmp\0\0\0\0\0", xmp.as_bytes()].concat();
    let want = [(Key::Prompt, "a cat & a “hat” &x"), (Key::Height, "640"), (Key::Model, "sd_v1.5_f16.ckpt")];
    check(&told(png(&[chunk(b"iTXt", &international)])), "Draw Things", &want);
}

#[test]
fn easy_diffusion_and_swarm_ui() {
    let file = png(&[
        text("prompt", "a cat"),
        text("negative_prompt", "dog"),
        text("seed", "5"),
        text("use_stable_diffusion_model", "sd"),
        text("num_inference_steps", "25"),
        text("guidance_scale", "7.5"),
        text("width", "512"),
        text("height", "640"),
    ]);
    let want = [(Key::Prompt, "a cat"), (Key::Steps, "25"), (Key::Model, "sd"), (Key::Width, "512")];
    check(&told(file), "Easy Diffusion", &want);
    let object = json!({ "Prompt": "a cat", "Negative Prompt": "dog", "Steps": 25, "Stable Diffusion model": "sd", "Width": 512 });
    check(&told(webp(&[(b"EXIF", &exif::write(&object.to_string(), None))])), "Easy Diffusion", &want);
    let swarm = json!({ "sui_image_params": { "prompt": "a cat", "negativeprompt": "dog", "steps": 25, "model": "sd",
        "width": 512, "cfgscale": 7.0, "swarm_version": "0.9.3" } });
    check(&told(png(&[text("parameters", &swarm.to_string())])), "SwarmUI 0.9.3", &want);
}

#[test]
fn what_is_printed_cannot_steer_a_terminal() {
    let told = told(png(&[text(
        "parameters",
        "\u{1b}[2Ja\nSeed: 1\u{7}\nSteps: 1, Seed: 9\u{1b}]0;x\u{7}, \u{1b}b: c",
    )]));
    let shown = summary(&told);
    assert!(!shown.contains(|c: char| c.is_control() && c != '\n'), "{shown:?}");
    // A line of a prompt is none of the settings.
    assert!(shown.contains("\\u{1b}[2Ja\n  Seed: 1"), "{shown:?}");
}

#[test]
fn long_values_are_cut_on_the_screen_and_not_in_json() {
    let long = "x".repeat(5000);
    let told = told(png(&[text("parameters", &format!("a\nSteps: 1, Odd: {long}, Odd: two"))]));
    assert!(summary(&told).lines().all(|line| line.chars().count() < 500));
    assert_eq!(told.json()["others"]["Odd"], json!([long, "two"]));
    assert_eq!(told.json()["settings"]["steps"], 1);
}

#[track_caller]
fn refused(file: Vec<u8>, part: &str) {
    let error = contents(&mut Cursor::new(file)).unwrap_err();
    assert!(error.contains(part) && !error.contains(char::is_control), "{error:?} does not hold {part:?}");
}

#[test]
fn bad_files_are_refused_in_a_line() {
    refused(Vec::new(), "no PNG");
    refused(b"GIF89a".to_vec(), "no PNG");
    refused(PNG.to_vec(), "cut off");
    refused([PNG, &[0xff; 4], b"tEXt", &[0; 64]].concat(), "has a text of 4294967295 bytes");
    refused([PNG, &[0x7f, 0xff, 0xff, 0xff], b"IDAT", &[0; 64]].concat(), "cut off");
    let mut wrong = png(&[text("parameters", "a cat")]);
    let at = wrong.len() - 14;
    wrong[at] ^= 1;
    refused(wrong, "checksum");
    refused(png(&[chunk(b"tEXt", b"no zero")]), "without a keyword");
    refused(png(&[chunk(b"zTXt", b"a\0\x05x")]), "compression");
    refused(png(&[chunk(b"zTXt", b"a\0\0not zlib")]), "broken");
    refused(png(&[chunk(b"iTXt", b"a\0\x02\0\0\0x")]), "compression");
    refused(png(&[chunk(b"eXIf", b"no TIFF")]), "EXIF");
    refused(png(&vec![text("a", "b"); 1001]), "1000 texts");
    refused(jpeg(&[b"\xff\xe1\0\x01".to_vec()]), "no length");
    refused(jpeg(&[b"\xff\xe1\xff\xffx".to_vec()]), "cut off");
    refused(jpeg(&[segment(0xe0, b""), b"zz".to_vec()]), "does not begin as one");
    refused(webp(&[(b"EXIF", b"no TIFF")]), "EXIF");
    refused([&webp(&[])[..], b"EXIF\xff\xff\xff\x7f"].concat(), "has a text of");
    refused([&webp(&[])[..], b"VP8 \xff\xff\xff\x7f"].concat(), "cut off");
}

/// A few kilobytes that become gigabytes.
#[test]
fn bombs_are_bounded() {
    let bomb = packed(&vec![b'x'; (8 << 20) + 1]);
    assert!(bomb.len() < 100_000);
    refused(png(&[chunk(b"zTXt", &[b"a\0\0", bomb.as_slice()].concat())]), "8 MiB");
    refused(png(&[chunk(b"iTXt", &[b"a\0\x01\0\0\0", bomb.as_slice()].concat())]), "8 MiB");
    let most = [b"a\0\0", packed(&vec![b'x'; 7 << 20]).as_slice()].concat();
    refused(png(&vec![chunk(b"zTXt", &most); 5]), "32 MiB");
    let deep = "{\"a\":".repeat(100_000);
    assert!(read::read(&texts(png(&[text("prompt", &deep), text("parameters", &deep)]))).is_some());
}

/// Texts that a parser could go through again and again: the work grows no faster than they do.
#[test]
fn hostile_texts_take_linear_time() {
    /// Bytes of the smaller texts, and nodes of the smaller workflows.
    const BYTES: usize = 64 << 10;
    const NODES: usize = 2_500;
    let linear = |keyword: &str, label: &str, size: usize, content: &dyn Fn(usize) -> String| {
        let file = |size| png(&[text(keyword, &content(size))]);
        assert_linear(&format!("{keyword}, {label}"), size, file, |file| survives(file));
    };
    let of = |piece: &'static str| move |bytes: usize| piece.repeat(bytes / piece.len());
    let steps = |piece: &'static str| move |bytes| format!("a\nSteps: 1, {}", of(piece)(bytes));
    linear("parameters", "braces", BYTES, &steps("a:{,"));
    linear("parameters", "quotes", BYTES, &steps("a:\"b,"));
    linear("parameters", "steps", BYTES, &of("\nSteps: "));
    let comment = |bytes| format!("<exif:UserComment>{}</exif:UserComment>", of("&")(bytes));
    linear("XML:com.adobe.xmp", "entities", BYTES, &comment);
    linear("Dream", "quotes", BYTES, &of("\"["));
    linear("prompt", "NaN", BYTES, &of("{NaN,"));

    let list =
        |count: usize, node: &dyn Fn(usize) -> String| (0..count).map(node).collect::<Vec<_>>().join(",");
    let save =
        |i: usize| format!(r#""{i}":{{"class_type":"SaveImage","inputs":{{"images":["{}",0]}}}}"#, i + 1);
    linear("prompt", "saves", NODES, &|count| format!("{{{}}}", list(count, &save)));
    let sampler = |i: usize| {
        format!(r#""{i}":{{"inputs":{{"steps":1,"cfg":1,"seed":1,"latent_image":["{}",0]}}}}"#, i + 1)
    };
    linear("prompt", "samplers", NODES, &|count| format!("{{{}}}", list(count, &sampler)));
    let workflow = |count| {
        let links = list(count, &|i| format!("[{i},{i},0]"));
        let inputs = list(count, &|i| format!(r#"{{"name":"{i}","link":{i}}}"#));
        format!(r#"{{"nodes":[{{"id":1,"type":"KSampler","inputs":[{inputs}]}}],"links":[{links}]}}"#)
    };
    linear("workflow", "links", NODES, &workflow);
}

/// A thousand tags that lead to the same megabytes are read once.
#[test]
fn hostile_exif_is_bounded() {
    let mut block = [b"MM\0\x2a\0\0\0\x08\x03\xe8".as_slice(), &[0; 12_000]].concat();
    for tag in block[10..].chunks_exact_mut(12) {
        tag.copy_from_slice(&[0x92, 0x86, 0, 7, 0, 0x2f, 0, 0, 0, 0, 0, 0]);
    }
    block.resize(0x2f_0000, b'x');
    assert_eq!(texts(webp(&[(b"EXIF", &block)])).len(), 1);
    refused(webp(&[(b"EXIF", &vec![0; (4 << 20) + 1])]), "4 MiB");
}

/// Whatever the bytes are: an error of a line or an answer.
fn survives(file: impl AsRef<[u8]>) {
    match contents(&mut Cursor::new(file)) {
        Ok(contents) => {
            if let Some(told) = read::read(&contents.texts) {
                assert!(!summary(&told).contains(|c: char| c.is_control() && c != '\n'));
                assert!(told.json().is_object());
            }
        }
        Err(error) => assert!(!error.is_empty() && !error.contains(char::is_control), "{error:?}"),
    }
}

/// Pieces of which the parsers know some.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ -~]{0,12}",
        "\\PC{0,8}",
        Just("\nSteps: ".to_owned()),
        Just("\nNegative prompt: ".to_owned()),
        Just(", Size: 1x".to_owned()),
        Just("\"".to_owned()),
        Just("{\"a\": [".to_owned()),
        Just("}]".to_owned()),
        Just("NaN".to_owned()),
        Just("&#x110000;&quot;".to_owned()),
        Just("\" -s".to_owned()),
        Just("[".to_owned()),
    ]
}

fn keyword() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "parameters",
        "latent",
        "prompt",
        "workflow",
        "Dream",
        "sd-metadata",
        "invokeai_metadata",
        "Comment",
        "Software",
        "UserComment",
        "XML:com.adobe.xmp",
        "negative_prompt",
        "Description",
    ])
}

/// JSON with the names that parsers look for.
fn value() -> impl Strategy<Value = serde_json::Value> {
    let name = prop::sample::select(vec![
        "inputs",
        "class_type",
        "positive",
        "negative",
        "model",
        "seed",
        "steps",
        "cfg",
        "text",
        "1",
        "2",
        "image",
        "prompt",
        "nodes",
        "links",
        "type",
        "id",
        "widgets_values",
        "c",
        "uc",
        "version",
        "latent_image",
        "files",
        "sui_image_params",
    ]);
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<f64>().prop_map(|n| json!(n)),
        prop::sample::select(vec!["1", "2", "KSampler", "SaveImage", "a [b] c", "2.0"])
            .prop_map(|t| json!(t)),
        prop::sample::select(vec![json!(["1", 0]), json!(["2", 0])]),
    ];
    leaf.prop_recursive(5, 60, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::Array),
            prop::collection::btree_map(name.clone(), inner, 0..6).prop_map(|map| map
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value))
                .collect::<serde_json::Map<_, _>>()
                .into()),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_text_is_survived(keyword in keyword(), pieces in prop::collection::vec(piece(), 0..12)) {
        survives(png(&[text(keyword, &pieces.concat()), text("Software", "NovelAI")]));
    }

    #[test]
    fn any_json_is_survived(keyword in keyword(), value in value()) {
        survives(png(&[text(keyword, &value.to_string()), text("Software", "NovelAI")]));
    }

    #[test]
    fn any_bytes_are_survived(kind in 0usize..4, bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let block = [b"MM\0\x2a\0\0\0\x08".as_slice(), &bytes].concat();
        survives(match kind {
            0 => [PNG, &bytes].concat(),
            1 => [b"\xff\xd8\xff", bytes.as_slice()].concat(),
            2 => [b"RIFF\0\0\0\0WEBP", bytes.as_slice()].concat(),
            _ => webp(&[(b"EXIF", &block)]),
        });
    }

    #[test]
    fn any_damage_is_survived(at in 0usize..600, value in any::<u8>(), cut in 0usize..600) {
        let files = [
            png(&[text("parameters", WEBUI), chunk(b"zTXt", &[b"a\0\0", packed(b"text").as_slice()].concat())]),
            jpeg(&[segment(0xe1, &[b"Exif\0\0", exif::write(WEBUI, Some("{}")).as_slice()].concat())]),
            webp(&[(b"EXIF", &exif::write(WEBUI, Some("{}")))]),
        ];
        for mut file in files {
            let at = at % file.len();
            file[at] = value;
            survives(file.clone());
            file.truncate(cut);
            survives(file);
        }
    }
}
