//! The texts of image files: chunks of a PNG, EXIF, XMP and comments of a JPEG, EXIF and XMP of a WebP.
//!
//! Pixels are not decoded. The lengths that a file claims are compared with its own before any memory is taken, and
//! compressed texts are bounded.

use super::exif;
use super::texts::{MAX_TEXT_BYTES, MetadataText, latin1, text_length, utf8};
use crate::text::clipped;
use flate2::Crc;
use flate2::read::ZlibDecoder;
use std::io::{self, Read, Seek, SeekFrom};

/// Maximum size of an EXIF block in bytes, as all its tags may point to the same bytes.
const MAX_EXIF_BYTES: usize = 4 << 20;
/// Maximum size of all texts and their keywords in bytes, also after they are decompressed.
const MAX_TOTAL_BYTES: usize = 16 << 20;
/// Maximum number of texts.
const MAX_TEXTS: usize = 1000;
/// Maximum number of characters of a keyword in an error.
const MAX_KEYWORD_CHARS: usize = 40;
/// Maximum number of chunks and segments: an image of 8 GB in chunks of 8 KB has as many.
const MAX_CHUNKS: usize = 1_000_000;
/// What is shorter is read over, as looking for another place in a file takes longer.
const MIN_SEEK_BYTES: u64 = 64 << 10;
/// What XMP in a JPEG begins with.
const XMP: &[u8] = b"http://ns.adobe.com/xap/1.0/\0";
const CUT_OFF: &str = "is cut off";

/// The texts that were found so far.
#[derive(Debug, Default)]
struct TextCollector {
    texts: Vec<MetadataText>,
    bytes: usize,
}

impl TextCollector {
    fn add(&mut self, keyword: &str, text: String) -> Result<(), String> {
        self.bytes = self.bytes.saturating_add(keyword.len()).saturating_add(text.len());
        if self.texts.len() >= MAX_TEXTS || self.bytes > MAX_TOTAL_BYTES {
            return Err(format!("has more than {MAX_TEXTS} texts, or {} MiB of them", MAX_TOTAL_BYTES >> 20));
        }
        self.texts.push(MetadataText::new(keyword, text));
        Ok(())
    }

    fn add_exif(&mut self, block: &[u8]) -> Result<(), String> {
        if block.len() > MAX_EXIF_BYTES {
            return Err(format!(
                "has {} bytes of EXIF; the maximum is {} MiB",
                block.len(),
                MAX_EXIF_BYTES >> 20
            ));
        }
        // One by one, as all may be the same megabytes.
        exif::read_each(block, &mut |keyword, text| self.add(keyword, text))
    }
}

/// Reads the texts of a PNG, JPEG or WebP file.
///
/// # Errors
/// The rest of a line that begins with the file's name: another format, a damaged file, or more or longer texts than the
/// limits here.
pub fn read(file: &mut (impl Read + Seek)) -> Result<Vec<MetadataText>, String> {
    let length = file.seek(SeekFrom::End(0)).map_err(|error| error.to_string())?;
    file.seek(SeekFrom::Start(0)).map_err(|error| error.to_string())?;
    let mut source = BoundedReader { file, left: length };
    let first = source.take(length.min(12) as usize)?;
    let mut texts = TextCollector::default();
    match first.as_slice() {
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => {
            source.step_back(first.len() as u64 - 8)?;
            png(&mut source, &mut texts)?;
        }
        [0xff, 0xd8, 0xff, ..] => {
            source.step_back(first.len() as u64 - 2)?;
            jpeg(&mut source, &mut texts)?;
        }
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P'] => webp(&mut source, &mut texts)?,
        _ => {
            return Err("is not a PNG, JPEG or WebP image; others do not say how they were made".into());
        }
    }
    Ok(texts.texts)
}

/// A file, and how many bytes of it are left.
struct BoundedReader<'a, F> {
    file: &'a mut F,
    left: u64,
}

impl<F: Read + Seek> BoundedReader<'_, F> {
    /// The next bytes; an error where fewer are left.
    fn take(&mut self, length: usize) -> Result<Vec<u8>, String> {
        if self.left < length as u64 {
            return Err(CUT_OFF.into());
        }
        let mut bytes = vec![0; length];
        self.file.read_exact(&mut bytes).map_err(read_error)?;
        self.left -= length as u64;
        Ok(bytes)
    }

    /// The next bytes, of a fixed number.
    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        self.left = self.left.checked_sub(N as u64).ok_or(CUT_OFF)?;
        let mut bytes = [0; N];
        self.file.read_exact(&mut bytes).map_err(read_error)?;
        Ok(bytes)
    }

    fn skip(&mut self, length: u64) -> Result<(), String> {
        self.left = self.left.checked_sub(length).ok_or(CUT_OFF)?;
        if length >= MIN_SEEK_BYTES {
            let distance = i64::try_from(length).map_err(|_| CUT_OFF)?;
            self.file.seek(SeekFrom::Current(distance)).map_err(read_error)?;
            return Ok(());
        }
        match io::copy(&mut self.file.by_ref().take(length), &mut io::sink()).map_err(read_error)? {
            read if read < length => Err(CUT_OFF.into()),
            _ => Ok(()),
        }
    }

    fn step_back(&mut self, length: u64) -> Result<(), String> {
        self.file.seek(SeekFrom::Current(-(length as i64))).map_err(read_error)?;
        self.left += length;
        Ok(())
    }
}

fn read_error(error: io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => CUT_OFF.into(),
        _ => error.to_string(),
    }
}

/// PNG, third edition, sections 5 and 11.3.3.
fn png(source: &mut BoundedReader<'_, impl Read + Seek>, texts: &mut TextCollector) -> Result<(), String> {
    for _ in 0..MAX_CHUNKS {
        let length = u32::from_be_bytes(source.array()?);
        let kind = source.array()?;
        match &kind {
            b"tEXt" | b"zTXt" | b"iTXt" | b"eXIf" => {
                let name = String::from_utf8_lossy(&kind).into_owned();
                let data = source.take(text_length(u64::from(length), &name)?)?;
                let mut crc = Crc::new();
                crc.update(&kind);
                crc.update(&data);
                if source.array()? != crc.sum().to_be_bytes() {
                    return Err(format!("has a damaged text: the checksum of a chunk {name} is wrong"));
                }
                png_text(&kind, data, texts)?;
            }
            b"IEND" => return Ok(()),
            _ => source.skip(u64::from(length) + 4)?,
        }
    }
    Err(format!("has more than {MAX_CHUNKS} chunks"))
}

fn png_text(kind: &[u8; 4], mut data: Vec<u8>, texts: &mut TextCollector) -> Result<(), String> {
    if kind == b"eXIf" {
        return texts.add_exif(&data);
    }
    let (keyword, rest) = split_at_zero(&data)?;
    let keyword = latin1(keyword.to_vec())?;
    let text = match (kind, rest) {
        (b"tEXt", text) => {
            let start = data.len() - text.len();
            data.drain(..start);
            latin1(data)?
        }
        (b"zTXt", [0, packed @ ..]) => latin1(inflate(packed)?)?,
        (b"iTXt", [compressed @ (0 | 1), 0, rest @ ..]) => {
            let (_language, rest) = split_at_zero(rest)?;
            let (_translated, text) = split_at_zero(rest)?;
            utf8(if *compressed == 1 { inflate(text)? } else { text.to_vec() })?
        }
        _ => {
            return Err(format!(
                "has a text ({:?}) of an unknown compression",
                clipped(&keyword, MAX_KEYWORD_CHARS)
            ));
        }
    };
    texts.add(&keyword, text)
}

/// What is before the next zero byte, and what is after it.
fn split_at_zero(data: &[u8]) -> Result<(&[u8], &[u8]), String> {
    let at = data.iter().position(|byte| *byte == 0).ok_or("has a text without a keyword")?;
    Ok((&data[..at], &data[at + 1..]))
}

fn inflate(packed: &[u8]) -> Result<Vec<u8>, String> {
    let mut text = Vec::new();
    let read = ZlibDecoder::new(packed).take(MAX_TEXT_BYTES as u64 + 1).read_to_end(&mut text);
    read.map_err(|error| format!("has a compressed text that is broken: {error}"))?;
    text_length(text.len() as u64, "decompressed")?;
    Ok(text)
}

/// ITU T.81, annex B: segments until the image itself begins.
fn jpeg(source: &mut BoundedReader<'_, impl Read + Seek>, texts: &mut TextCollector) -> Result<(), String> {
    for _ in 0..MAX_CHUNKS {
        let [0xff] = source.array()? else {
            return Err("is broken: a segment of a JPEG does not begin as one".into());
        };
        // Any number of these is padding.
        let mut marker = 0xff;
        while marker == 0xff {
            [marker] = source.array()?;
        }
        match marker {
            // Segments without a length.
            0x01 | 0xd0..=0xd8 => {}
            0xd9 | 0xda => return Ok(()),
            _ => {
                let length = u16::from_be_bytes(source.array()?);
                let length =
                    usize::from(length).checked_sub(2).ok_or("is broken: a segment has no length")?;
                if !matches!(marker, 0xe1 | 0xfe) {
                    source.skip(length as u64)?;
                    continue;
                }
                let data = source.take(length)?;
                if marker == 0xfe {
                    texts.add("Comment", latin1(data)?.trim_end_matches('\0').to_owned())?;
                } else if data.starts_with(b"Exif\0\0") {
                    texts.add_exif(&data)?;
                } else if let Some(xmp) = data.strip_prefix(XMP) {
                    texts.add("XML:com.adobe.xmp", utf8(xmp.to_vec())?)?;
                }
            }
        }
    }
    Err(format!("has more than {MAX_CHUNKS} segments"))
}

/// RFC 9649, section 2: chunks of a RIFF file, those of an odd length with a byte of padding.
fn webp(source: &mut BoundedReader<'_, impl Read + Seek>, texts: &mut TextCollector) -> Result<(), String> {
    for _ in 0..MAX_CHUNKS {
        if source.left < 8 {
            return Ok(());
        }
        let kind: [u8; 4] = source.array()?;
        let length = u64::from(u32::from_le_bytes(source.array()?));
        let padding = (length % 2).min(source.left.saturating_sub(length));
        match &kind {
            b"EXIF" => texts.add_exif(&source.take(text_length(length, "EXIF")?)?)?,
            b"XMP " => {
                let data = source.take(text_length(length, "XMP")?)?;
                texts.add("XML:com.adobe.xmp", utf8(data)?)?;
            }
            _ => source.skip(length)?,
        }
        source.skip(padding)?;
    }
    Err(format!("has more than {MAX_CHUNKS} chunks"))
}
