//! The metadata of an image file, as any program may have written them.

use super::assert_one_line;
use super::bytes::FuzzInput;
use latent_app::metadata::{ImageMetadata, MetadataSummary, read_from};
use std::io::Cursor;

/// What a text is called.
const KEYWORDS: [&str; 16] = [
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
    "Source",
    "fooocus_scheme",
    "Seed",
];
/// Tags of EXIF that hold texts: `ImageDescription`, `Make`, `Model`, `Software`, `UserComment`, `MakerNote`.
const TAGS: [u16; 6] = [0x010e, 0x010f, 0x0110, 0x0131, 0x9286, 0x927c];
/// Separates the texts of a file.
const BETWEEN: u8 = 0xff;

/// The first byte says what the rest is: a whole file, or texts of a PNG, EXIF of a WebP or segments of a JPEG, each with a
/// byte for its keyword.
pub fn run(data: &[u8]) {
    let mut input = FuzzInput(data);
    let kind = input.below(4);
    let file = match kind {
        0 => input.0.to_vec(),
        1 => png(input.0),
        2 => webp(input.0),
        _ => jpeg(input.0),
    };
    let read = || read_from(&mut Cursor::new(&file));
    let metadata = match read() {
        Ok(metadata) => metadata,
        Err(line) => return assert_one_line(&latent_loader::Plain(&line)),
    };
    check(&metadata);
    assert_eq!(read(), Ok(metadata), "read again it is something else");
}

fn check(metadata: &ImageMetadata) {
    let summary = MetadataSummary(metadata).to_string();
    assert!(!summary.contains(|c: char| c.is_control() && c != '\n'), "{summary:?}");
    let json = serde_json::to_string_pretty(metadata).expect("metadata as JSON");
    assert_eq!(json, format!("{:#}", metadata.json()));
    assert!(metadata.others.len() <= 1000 && metadata.not_followed.len() <= 100);
    assert!(metadata.settings().next().is_some(), "metadata that say nothing");
    assert!(metadata.settings().all(|(_, value)| !value.trim().is_empty()));
}

/// The texts of an input: the byte before each, and its bytes.
fn texts(data: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    data.split(|byte| *byte == BETWEEN)
        .filter_map(|text| text.split_first().map(|(kind, text)| (*kind, text)))
}

fn png(data: &[u8]) -> Vec<u8> {
    let mut out = b"\x89PNG\r\n\x1a\n".to_vec();
    for (kind, text) in texts(data) {
        let keyword = KEYWORDS[usize::from(kind) % KEYWORDS.len()];
        let (name, head) = match kind / 16 {
            0 => (b"iTXt", [keyword.as_bytes(), b"\0\0\0\0\0"].concat()),
            1 => (b"eXIf", Vec::new()),
            // A whole text with a keyword of its own.
            2 => (b"zTXt", Vec::new()),
            _ => (b"tEXt", [keyword.as_bytes(), b"\0"].concat()),
        };
        chunk(&mut out, name, &[&head, text].concat());
    }
    chunk(&mut out, b"IEND", b"");
    out
}

fn chunk(out: &mut Vec<u8>, kind: &[u8; 4], data: &[u8]) {
    out.extend((data.len() as u32).to_be_bytes());
    let start = out.len();
    out.extend(kind);
    out.extend(data);
    // The check sum of PNG (ISO 3309).
    let crc = !out[start..].iter().fold(!0, |crc, byte| {
        (0..8).fold(
            crc ^ u32::from(*byte),
            |c: u32, _| if c & 1 == 1 { 0xEDB8_8320 ^ (c >> 1) } else { c >> 1 },
        )
    });
    out.extend(crc.to_be_bytes());
}

fn exif(data: &[u8]) -> Vec<u8> {
    let all: Vec<_> = texts(data).take(20).collect();
    let mut block = b"MM\0\x2a\0\0\0\x08".to_vec();
    block.extend((all.len() as u16).to_be_bytes());
    let mut at = block.len() + 12 * all.len() + 4;
    for (kind, text) in &all {
        block.extend(TAGS[usize::from(*kind) % TAGS.len()].to_be_bytes());
        block.extend([0, 7]);
        block.extend((text.len() as u32).to_be_bytes());
        if text.len() <= 4 {
            block.extend([*text, &[0; 4]].concat().iter().take(4));
        } else {
            block.extend((at as u32).to_be_bytes());
            at += text.len();
        }
    }
    block.extend([0; 4]);
    block.extend(all.iter().filter(|(_, text)| text.len() > 4).flat_map(|(_, text)| *text));
    block
}

fn webp(data: &[u8]) -> Vec<u8> {
    let exif = exif(data);
    let length = (exif.len() as u32).to_le_bytes();
    [b"RIFF\0\0\0\0WEBPEXIF", &length[..], &exif, &vec![0; exif.len() % 2]].concat()
}

fn jpeg(data: &[u8]) -> Vec<u8> {
    let mut out = b"\xff\xd8".to_vec();
    for (kind, text) in texts(data) {
        let (marker, head): (u8, &[u8]) = match kind % 3 {
            0 => (0xfe, b""),
            1 => (0xe1, b"Exif\0\0"),
            _ => (0xe1, b"http://ns.adobe.com/xap/1.0/\0"),
        };
        let body = if kind % 3 == 1 { [head, &exif(text)].concat() } else { [head, text].concat() };
        let body = &body[..body.len().min(65_533)];
        out.extend([0xff, marker]);
        out.extend((body.len() as u16 + 2).to_be_bytes());
        out.extend(body);
    }
    out.extend(b"\xff\xd9");
    out
}
