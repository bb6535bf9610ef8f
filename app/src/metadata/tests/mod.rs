//! Files as other programs write them, made here from what is known of their formats, and broken ones.

mod comfy;
mod comfy_links;
mod comfy_steps;
mod hostile;
mod programs;

use super::container::read as contents;
use super::{ImageMetadata, MetadataKey, MetadataText, detect};
use flate2::Compression;
use flate2::write::ZlibEncoder;
use std::io::{Cursor, Write};

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";

fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let mut crc = flate2::Crc::new();
    crc.update(kind);
    crc.update(data);
    [&(data.len() as u32).to_be_bytes()[..], kind, data, &crc.sum().to_be_bytes()].concat()
}

/// A PNG of these chunks without pixels.
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
fn texts(file: Vec<u8>) -> Vec<MetadataText> {
    contents(&mut Cursor::new(file)).unwrap()
}

#[track_caller]
fn metadata_of(file: Vec<u8>) -> ImageMetadata {
    detect::detect(&texts(file)).unwrap().unwrap()
}

/// The program and some of the settings.
#[track_caller]
fn check(metadata: &ImageMetadata, program: &str, want: &[(MetadataKey, &str)]) {
    assert_eq!(metadata.program, program);
    for (key, value) in want {
        assert_eq!(metadata.get(*key), Some(*value), "{}", key.name());
    }
}

const WEBUI: &str = "a cat\nNegative prompt: dog\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 5, Size: 512x768, Version: f2.0.1";
