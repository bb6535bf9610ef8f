//! Image files with metadata of every program in every container, and of shapes that are hard on a reader: deep, wide,
//! long, compressed, tangled. The same number always gives the same file.

use flate2::Compression;
use flate2::write::ZlibEncoder;
use std::fmt::Write as _;
use std::io::Write as _;

/// Where the text stands.
const CONTAINERS: [&str; 11] = [
    "text",
    "ztext",
    "itext",
    "iztext",
    "exif-png",
    "exif-jpeg",
    "exif-webp",
    "xmp-jpeg",
    "xmp-webp",
    "comment-jpeg",
    "texts",
];
/// Which program seems to have written it: a name, and what the text is called.
const PROGRAMS: [(&str, &str); 14] = [
    ("latent", "latent"),
    ("webui", "parameters"),
    ("fooocus", "parameters"),
    ("swarm", "parameters"),
    ("comfy", "prompt"),
    ("comfy-graph", "prompt"),
    ("comfy-page", "workflow"),
    ("invoke", "invokeai_metadata"),
    ("sd-metadata", "sd-metadata"),
    ("dream", "Dream"),
    ("novel", "Comment"),
    ("old-fooocus", "Comment"),
    ("draw-things", "XML:com.adobe.xmp"),
    ("easy", "UserComment"),
];
/// A piece that a value is made of, again and again.
const PIECES: [(&str, &str); 20] = [
    ("maps", "{\"\":0},"),
    ("lists", "[],"),
    ("zeros", "0,"),
    ("numbers", "1e300,"),
    ("strings", "\"\","),
    ("escapes", "\"\\n\\u0001\","),
    ("objects", "{\"a\":{\"b\":[{}]}},"),
    ("nan", "NaN,"),
    ("deep-lists", "["),
    ("deep-maps", "{\"a\":"),
    ("long", "x"),
    ("lines", "\n"),
    ("short-lines", "a\n"),
    ("settings", "a:1,"),
    ("quotes", "a:\"b,"),
    ("brackets", "a:{,"),
    ("pairs", "[]"),
    ("controls", "\u{1b}"),
    ("flags", "-a b "),
    ("steps", "\nSteps: 1"),
];
/// How nodes of a graph are linked.
const GRAPHS: [&str; 14] = [
    "chain",
    "hub",
    "star",
    "cycle",
    "self",
    "savers",
    "samplers",
    "texts",
    "doubling",
    "numbers",
    "sizes",
    "conditionings",
    "unknown",
    "dangling",
];

/// Numbers that follow from a seed (splitmix64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % limit as u64) as usize
    }
}

/// A file and its name.
pub(crate) fn file(number: usize) -> (String, Vec<u8>) {
    let mut numbers = Numbers(number as u64);
    let container = CONTAINERS[number % CONTAINERS.len()];
    let (program, keyword) = PROGRAMS[number / CONTAINERS.len() % PROGRAMS.len()];
    let size = [1_000, 60_000, 400_000, 2_000_000, 8_380_000][numbers.below(5)];
    // What is not compressed is rarely as long as it may be, as the disk has to hold it.
    let is_compressed = matches!(container, "ztext" | "iztext" | "texts");
    let size = if is_compressed || numbers.below(8) == 0 { size } else { size.min(400_000) };
    let size = match container {
        _ if container.ends_with("jpeg") => size.min(65_000),
        "exif-png" | "exif-webp" => size.min(4_000_000),
        _ => size,
    };
    let (shape, text) = if program == "comfy-graph" {
        let shape = GRAPHS[numbers.below(GRAPHS.len())];
        let nodes = [10, 300, 3_000, 9_000, 12_000][numbers.below(5)].min(size / 40 + 1);
        (shape, graph(shape, nodes, &mut numbers))
    } else {
        let (shape, piece) = PIECES[numbers.below(PIECES.len())];
        (shape, said(program, &value(piece, size.saturating_sub(200), &mut numbers), &mut numbers))
    };
    let extension =
        container.rsplit('-').next().filter(|end| matches!(*end, "jpeg" | "webp")).unwrap_or("png");
    let name = format!("{number:05}-{container}-{program}-{shape}-{}.{extension}", text.len());
    (name, contained(container, keyword, &text, &mut numbers))
}

/// Many of a piece, closed as JSON where it is that, and sometimes cut short.
fn value(piece: &str, size: usize, numbers: &mut Numbers) -> String {
    let count = size / piece.len();
    let body = piece.repeat(count);
    match piece {
        "[" if numbers.below(2) == 0 => {
            let count = numbers.below(200).min(count);
            piece.repeat(count) + &"]".repeat(count)
        }
        "{\"a\":" if numbers.below(2) == 0 => {
            let count = numbers.below(200).min(count);
            format!("{}0{}", piece.repeat(count), "}".repeat(count))
        }
        _ if piece.ends_with(',') && numbers.below(8) > 0 => format!("[{body}0]"),
        _ => body,
    }
}

/// What a program seems to say.
fn said(program: &str, value: &str, numbers: &mut Numbers) -> String {
    let quoted = || {
        // JSON itself, or a text in JSON.
        if value.starts_with(['[', '{']) {
            value.to_owned()
        } else {
            serde_json::to_string(value).unwrap_or_default()
        }
    };
    let members = |first: &str| -> String {
        let names = ["a", "prompt", "b"];
        let name = names[value.len() % names.len()];
        format!("{{{first},\"{name}\":{}}}", quoted())
    };
    match program {
        "latent" => members(r#""version":"9","seed":1,"prompt":"a""#),
        "webui" => match numbers.below(4) {
            0 => format!("{value}\nNegative prompt: {value}\nSteps: 1, Seed: 2"),
            1 => format!("a\nSteps: 1, {value}"),
            2 => format!("a\nSteps: 1\n{value}"),
            _ => value.to_owned(),
        },
        "fooocus" => members(r#""metadata_scheme":"fooocus","seed":1"#),
        "swarm" => format!("{{\"sui_image_params\":{}}}", members(r#""seed":1"#)),
        "comfy" => format!(
            r#"{{"1":{{"class_type":"KSampler","inputs":{{"steps":1,"cfg":1,"seed":{},"positive":["2",0]}}}},"2":{}}}"#,
            if numbers.below(2) == 0 { "1".to_owned() } else { quoted() },
            members(r#""class_type":"CLIPTextEncode""#),
        ),
        "comfy-page" => match numbers.below(3) {
            0 => format!(r#"{{"nodes":[{{"id":1,"type":"KSampler","widgets_values":{}}}]}}"#, quoted()),
            1 => format!(r#"{{"nodes":[{{"id":1,"type":"KSampler"}}],"links":{}}}"#, quoted()),
            _ => format!(r#"{{"nodes":{}}}"#, quoted()),
        },
        "invoke" => members(r#""app_version":"4","positive_prompt":"a","model":{"name":"b"}"#),
        "sd-metadata" => match numbers.below(2) {
            0 => format!(r#"{{"app_version":"2","image":{{"prompt":{},"seed":1}}}}"#, quoted()),
            _ => members(r#""image":{"seed":1}"#),
        },
        "dream" => format!("\"{value}\" -s 1 {value}"),
        "novel" => members(r#""steps":1,"uc":"b""#),
        "old-fooocus" => members(r#""prompt":"a","base_model":"b","size":"1x1""#),
        "draw-things" => {
            let json = members(r#""c":"a","seed":1"#);
            let escaped = if numbers.below(2) == 0 { json.replace('"', "&quot;") } else { json };
            format!("<exif:UserComment><rdf:li>{escaped}</rdf:li></exif:UserComment>")
        }
        _ => members(r#""negative_prompt":"b","seed":1"#),
    }
}

/// A graph of so many nodes.
fn graph(shape: &str, nodes: usize, numbers: &mut Numbers) -> String {
    let mut out = String::from(
        r#"{"S":{"class_type":"KSampler","inputs":{"seed":["n0",0],"steps":1,"cfg":1,"positive":["n0",0],"negative":["p",0],"latent_image":["n0",0],"model":["n0",0]}},"p":{"class_type":"CLIPTextEncode","inputs":{"text":"a"}},"v":{"class_type":"SaveImage","inputs":{"images":["S",0]}}"#,
    );
    for i in 0..nodes {
        let next = if i + 1 < nodes { i + 1 } else { 0 };
        let any = numbers.below(nodes);
        let _ = match shape {
            "chain" => write!(out, r#","n{i}":{{"class_type":"Reroute","inputs":{{"":["n{}",0]}}}}"#, i + 1),
            "hub" => {
                write!(out, r#","n{i}":{{"class_type":"Mix","inputs":{{"a":["h",0],"b":["n{any}",0]}}}}"#)
            }
            "star" if i == 0 => {
                let links: Vec<_> = (1..nodes).map(|to| format!(r#""a{to}":["n{to}",0]"#)).collect();
                write!(out, r#","n0":{{"class_type":"x","inputs":{{{}}}}}"#, links.join(","))
            }
            "star" => {
                write!(out, r#","n{i}":{{"inputs":{{"width":["n0",0],"height":["n0",0],"text":["n0",0]}}}}"#)
            }
            "cycle" => write!(
                out,
                r#","n{i}":{{"class_type":"ConditioningCombine","inputs":{{"a":["n{next}",0],"b":["n{any}",0]}}}}"#
            ),
            "self" => write!(
                out,
                r#","n{i}":{{"class_type":"StringConcatenate","inputs":{{"string_a":["n{i}",0],"string_b":["n{any}",0]}}}}"#
            ),
            "savers" => write!(
                out,
                r#","n{i}":{{"class_type":"SaveImage","inputs":{{"images":["n{next}",0],"image":["n{any}",0]}}}}"#
            ),
            "samplers" => write!(
                out,
                r#","n{i}":{{"class_type":"KSampler","inputs":{{"steps":1,"cfg":1,"seed":["n{any}",0],"positive":["n{next}",0],"latent_image":["n{next}",0]}}}}"#
            ),
            "texts" => write!(
                out,
                r#","n{i}":{{"class_type":"CLIPTextEncode","inputs":{{"text":["n{next}",0],"text_g":"a{i}","text_l":["n{any}",0]}}}}"#
            ),
            "doubling" => write!(
                out,
                r#","n{i}":{{"class_type":"Text Concatenate","inputs":{{"text_a":["n{next}",0],"text_b":["n{next}",0],"text_c":"abc","delimiter":["n{any}",0]}}}}"#
            ),
            "numbers" => write!(
                out,
                r#","n{i}":{{"class_type":"ImpactSwitch","inputs":{{"select":["n{next}",0],"input1":["n{any}",0],"value":["n{next}",0]}}}}"#
            ),
            "sizes" => write!(
                out,
                r#","n{i}":{{"class_type":"x","inputs":{{"width":["n{any}",0],"height":["n{next}",0],"samples":["n{next}",0]}}}}"#
            ),
            "conditionings" => write!(
                out,
                r#","n{i}":{{"class_type":"ControlNetApplyAdvanced","inputs":{{"positive":["n{next}",0],"negative":["n{any}",0],"a":["n{any}",0]}}}}"#
            ),
            "unknown" => write!(
                out,
                r#","n{i}":{{"class_type":"K{i}","inputs":{{"text":["n{next}",0],"a":["n{any}",0],"seed":["n{any}",0]}}}}"#
            ),
            _ => write!(
                out,
                r#","n{i}":{{"class_type":"x","inputs":{{"text":["m{any}",0],"a":["n{next}",0],"width":["m",0]}}}}"#
            ),
        };
    }
    out + "}"
}

/// A file of a text.
fn contained(container: &str, keyword: &str, text: &str, numbers: &mut Numbers) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    if numbers.below(6) == 0 {
        // Not UTF-8, in which such bytes are longer.
        let at = numbers.below(bytes.len() + 1);
        let end = (at + 1 + numbers.below(bytes.len() + 1)).min(bytes.len());
        bytes[at.min(end)..end].fill(0xe9);
    }
    let plain = |data: &[u8]| chunk(b"tEXt", &[keyword.as_bytes(), b"\0", data].concat());
    let software = chunk(b"tEXt", b"Software\0NovelAI");
    let prefix = match keyword {
        "prompt" | "workflow" => format!("{keyword}:").into_bytes(),
        _ => Vec::new(),
    };
    let exif = || exif(&prefix, &bytes, keyword == "latent", numbers_of(keyword));
    match container {
        "text" => png(&[software, plain(&bytes)]),
        "ztext" => png(&[software, chunk(b"zTXt", &[keyword.as_bytes(), b"\0\0", &packed(&bytes)].concat())]),
        "itext" => png(&[software, chunk(b"iTXt", &[keyword.as_bytes(), b"\0\0\0\0\0", &bytes].concat())]),
        "iztext" => {
            png(&[software, chunk(b"iTXt", &[keyword.as_bytes(), b"\0\x01\0\0\0", &packed(&bytes)].concat())])
        }
        "exif-png" => png(&[software, chunk(b"eXIf", &exif())]),
        "exif-jpeg" => jpeg(&segment(0xe1, &[b"Exif\0\0", exif().as_slice()].concat())),
        "exif-webp" => webp(b"EXIF", &exif()),
        "xmp-jpeg" => jpeg(&segment(0xe1, &[b"http://ns.adobe.com/xap/1.0/\0", bytes.as_slice()].concat())),
        "xmp-webp" => webp(b"XMP ", &bytes),
        "comment-jpeg" => jpeg(&segment(0xfe, &bytes)),
        // Many texts, and chunks of nothing between them.
        _ => {
            let one = chunk(b"zTXt", &[keyword.as_bytes(), b"\0\0", &packed(&bytes)].concat());
            let nothing = chunk(b"vpAg", b"").repeat([1, 100, 100_000][numbers.below(3)]);
            // A file of at most 8 MB, as it is compressed.
            let many = [2, 3, 900, 1_100][numbers.below(4)].min(6_000_000 / one.len() + 1);
            png(&[software, nothing, one.repeat(many)])
        }
    }
}

/// Whether all tags of EXIF point to the same bytes.
fn numbers_of(keyword: &str) -> bool {
    keyword.len() % 2 == 1
}

/// EXIF of a text in `UserComment`, in `MakerNote` as this program's, or in `Make` with a name before it.
fn exif(prefix: &[u8], text: &[u8], is_own: bool, all: bool) -> Vec<u8> {
    let value = match is_own {
        true => [b"latent\0", text].concat(),
        false => [prefix, text].concat(),
    };
    let tags: &[u16] = match (is_own, prefix.is_empty(), all) {
        (true, ..) => &[0x927c],
        (_, true, false) => &[0x9286],
        (_, false, false) => &[0x010f],
        (_, _, true) => &[0x010e, 0x010f, 0x0110, 0x0131, 0x9286],
    };
    let mut block = b"MM\0\x2a\0\0\0\x08".to_vec();
    block.extend((tags.len() as u16).to_be_bytes());
    let at = block.len() + 12 * tags.len() + 4;
    for tag in tags {
        block.extend(tag.to_be_bytes());
        block.extend([0, 7]);
        block.extend((value.len().max(5) as u32).to_be_bytes());
        block.extend((at as u32).to_be_bytes());
    }
    block.extend([0; 4]);
    block.extend(&value);
    block.extend([0; 5]);
    block
}

fn packed(text: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let mut crc = flate2::Crc::new();
    crc.update(kind);
    crc.update(data);
    [&(data.len() as u32).to_be_bytes()[..], kind, data, &crc.sum().to_be_bytes()].concat()
}

fn png(chunks: &[Vec<u8>]) -> Vec<u8> {
    let head = chunk(b"IHDR", &[0, 0, 0, 1, 0, 0, 0, 1, 8, 2, 0, 0, 0]);
    let pixels = chunk(b"IDAT", &packed(&[0; 4]));
    [b"\x89PNG\r\n\x1a\n", head.as_slice(), &chunks.concat(), &pixels, &chunk(b"IEND", b"")].concat()
}

fn segment(marker: u8, data: &[u8]) -> Vec<u8> {
    let data = &data[..data.len().min(65_533)];
    [&[0xff, marker][..], &(data.len() as u16 + 2).to_be_bytes(), data].concat()
}

fn jpeg(segment: &[u8]) -> Vec<u8> {
    [b"\xff\xd8", segment, b"\xff\xda\0\x02"].concat()
}

fn webp(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let body = [kind, &(data.len() as u32).to_le_bytes()[..], data, &vec![0; data.len() % 2]].concat();
    [b"RIFF", &(body.len() as u32 + 4).to_le_bytes()[..], b"WEBP", &body].concat()
}
