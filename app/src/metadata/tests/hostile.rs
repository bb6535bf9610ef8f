//! Broken and hostile files.

use super::{PNG, WEBUI, chunk, contents, jpeg, packed, png, segment, text, texts, webp};
use crate::metadata::{detect, exif, summary};
use latent_benches::growth::assert_linear;
use proptest::prelude::*;
use serde_json::json;
use std::io::Cursor;

#[track_caller]
fn refused(file: Vec<u8>, part: &str) {
    let error = contents(&mut Cursor::new(file)).unwrap_err();
    assert!(error.contains(part) && !error.contains(char::is_control), "{error:?} does not hold {part:?}");
}

#[test]
fn bad_files_are_refused_in_a_line() {
    refused(Vec::new(), "not a PNG");
    refused(b"GIF89a".to_vec(), "not a PNG");
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
    let largest = [b"a\0\0", packed(&vec![b'x'; 7 << 20]).as_slice()].concat();
    refused(png(&vec![chunk(b"zTXt", &largest); 3]), "16 MiB");
    let deep = "{\"a\":".repeat(100_000);
    for keyword in ["prompt", "parameters"] {
        let error = detect::detect(&texts(png(&[text(keyword, &deep)]))).unwrap_err();
        assert!(error.contains("more than 100 levels deep"), "{error}");
    }
}

/// Texts that a parser could go through again and again: the work grows no faster than they do.
#[test]
fn hostile_texts_take_linear_time() {
    /// Bytes of the smaller texts, and nodes of the smaller workflows.
    const BYTES: usize = 64 << 10;
    const NODES: usize = 250;
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

/// Each is kilobytes that would take hundreds of megabytes as they stand.
#[test]
fn what_is_too_much_is_refused_by_its_bound() {
    let said = |keyword: &str, content: &str| detect::detect(&texts(png(&[text(keyword, content)])));
    let refused = |keyword: &str, content: &str, part: &str| {
        let error = said(keyword, content).unwrap_err();
        assert!(
            error.contains(part) && !error.contains(char::is_control),
            "{error:?} does not hold {part:?}"
        );
    };
    let maps = |count: usize| format!("[{}0]", r#"{"":0},"#.repeat(count));
    refused("prompt", &maps(200_000), "more than 200000 JSON values in its text \"prompt\"");
    refused("parameters", &maps(200_000), "JSON values in its text \"parameters\"");
    let own = |count| format!(r#"{{"version":"x","prompt":"a","seed":1,"z":{}}}"#, maps(count));
    refused("latent", &own(20_000), "more than 20000 JSON values in its text \"latent\"");
    refused("parameters", &format!("a\nSteps: 1{}", "\na".repeat(20_000)), "more than 10000 lines");
    refused("parameters", &format!("a\nSteps: 1{}", "\na".repeat(2_000)), "more than 1000 settings");
    refused("parameters", &format!("a\nSteps: 1{}", ", a: 1".repeat(2_000)), "more than 1000 settings");
    refused("Dream", &format!("\"a\" -s 1{}", " -x 1".repeat(2_000)), "more than 1000 settings");
    let members: Vec<_> = (0..2_000).map(|i| format!("\"a{i}\":1")).collect();
    let swarm = format!(r#"{{"sui_image_params":{{"seed":1,{}}}}}"#, members.join(","));
    refused("parameters", &swarm, "more than 1000 settings");

    // What people have: a workflow of a thousand nodes and a megabyte, and images within a text.
    let node = |i: usize| {
        let ports = r#"{"name":"model","type":"MODEL","link":null,"shape":7}"#;
        let ports = [ports; 6].join(",");
        format!(
            r#"{{"id":{i},"type":"KSampler","pos":[1.5,2.5],"size":[3,4],"flags":{{}},"order":1,"mode":0,"inputs":[{ports}],
            "outputs":[{ports}],"properties":{{"Node name for S&R":"KSampler"}},"widgets_values":[1,"fixed",20,8,"euler","normal",1]}}"#
        )
    };
    let nodes: Vec<_> = (0..1_000).map(node).collect();
    let workflow = format!(r#"{{"nodes":[{}],"links":[]}}"#, nodes.join(","));
    assert!(workflow.len() > 850_000, "{}", workflow.len());
    assert!(said("workflow", &workflow).unwrap().is_some());
    let graph = r#"{"1":{"class_type":"KSampler","inputs":{"steps":1,"cfg":1,"seed":1,"a":"IMAGE"}}}"#;
    assert!(said("prompt", &graph.replace("IMAGE", &"x".repeat(7 << 20))).unwrap().is_some());
}

/// One byte of what is not UTF-8 becomes three.
#[test]
fn bytes_that_are_longer_as_text_are_bounded() {
    let odd = [b"a\0", vec![0xe9; 5 << 20].as_slice()].concat();
    refused(png(&[chunk(b"tEXt", &odd)]), "has a text of 10485760 bytes");
    refused(png(&[chunk(b"iTXt", &[b"a\0\0\0\0\0", &odd[2..]].concat())]), "maximum is 8 MiB");
    refused(webp(&[(b"XMP ", &odd)]), "maximum is 8 MiB");
}

/// A thousand tags that point to the same megabytes are read once.
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

/// Any bytes give an error of one line or metadata.
fn survives(file: impl AsRef<[u8]>) {
    match contents(&mut Cursor::new(file)) {
        Ok(contents) => match detect::detect(&contents) {
            Ok(Some(metadata)) => {
                assert!(!summary(&metadata).contains(|c: char| c.is_control() && c != '\n'));
                assert!(metadata.json().is_object());
            }
            Ok(None) => {}
            Err(error) => assert!(!error.is_empty() && !error.contains(char::is_control), "{error:?}"),
        },
        Err(error) => assert!(!error.is_empty() && !error.contains(char::is_control), "{error:?}"),
    }
}

/// Pieces, some of which mean something to the parsers.
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
