//! The texts of image files: chunks of a PNG, EXIF, XMP and comments of a JPEG, EXIF and XMP of a WebP.
//!
//! Pixels are not looked at. What a file claims is compared with what it has before any memory is taken, and compressed
//! texts are bounded.

use super::{Text, exif};
use flate2::Crc;
use flate2::read::ZlibDecoder;
use std::io::{self, Read, Seek, SeekFrom};

/// Most bytes of a text, also after it is decompressed: workflows with images in them have some megabytes.
const MOST_BYTES: usize = 8 << 20;
/// Most bytes of an EXIF block, whose tags may all lead to the same bytes.
const MOST_EXIF: usize = 4 << 20;
/// Most bytes of all texts.
const MOST_IN_ALL: usize = 32 << 20;
/// Most texts.
const MOST_TEXTS: usize = 1000;
/// Most chunks and segments: those of an image of 8 GB in pieces of 8 KB.
const MOST_PIECES: usize = 1_000_000;
/// What XMP in a JPEG begins with.
const XMP: &[u8] = b"http://ns.adobe.com/xap/1.0/\0";
const CUT_OFF: &str = "is cut off";

/// What a file holds.
#[derive(Debug, Default)]
pub struct Contents {
    pub texts: Vec<Text>,
}

impl Contents {
    fn add(&mut self, keyword: &str, text: String) -> Result<(), String> {
        let bytes = self.texts.iter().map(|text| text.text.len()).sum::<usize>() + text.len();
        if self.texts.len() >= MOST_TEXTS || bytes > MOST_IN_ALL {
            return Err(format!("has more than {MOST_TEXTS} texts, or {} MiB of them", MOST_IN_ALL >> 20));
        }
        self.texts.push(Text { keyword: keyword.to_owned(), text });
        Ok(())
    }

    fn add_exif(&mut self, block: &[u8]) -> Result<(), String> {
        if block.len() > MOST_EXIF {
            return Err(format!("has {} bytes of EXIF; {} MiB are the most", block.len(), MOST_EXIF >> 20));
        }
        exif::read(block)?.into_iter().try_for_each(|text| self.add(&text.keyword, text.text))
    }
}

/// Reads the texts of a PNG, JPEG or WebP file.
///
/// # Errors
/// One line that goes on behind the file's name.
pub fn read(file: &mut (impl Read + Seek)) -> Result<Contents, String> {
    let length = file.seek(SeekFrom::End(0)).map_err(|error| error.to_string())?;
    file.seek(SeekFrom::Start(0)).map_err(|error| error.to_string())?;
    let mut source = Source { file, left: length };
    let first = source.take(length.min(12) as usize)?;
    let mut contents = Contents::default();
    match first.as_slice() {
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => {
            source.back(first.len() as u64 - 8)?;
            png(&mut source, &mut contents)?;
        }
        [0xff, 0xd8, 0xff, ..] => {
            source.back(first.len() as u64 - 2)?;
            jpeg(&mut source, &mut contents)?;
        }
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P'] => webp(&mut source, &mut contents)?,
        _ => {
            return Err("is no PNG, JPEG or WebP image, which are those that tell how they were made".into());
        }
    }
    Ok(contents)
}

/// A file, and how much of it is left.
struct Source<'a, F> {
    file: &'a mut F,
    left: u64,
}

impl<F: Read + Seek> Source<'_, F> {
    /// The next bytes, which are there.
    fn take(&mut self, length: usize) -> Result<Vec<u8>, String> {
        if self.left < length as u64 {
            return Err(CUT_OFF.into());
        }
        let mut bytes = vec![0; length];
        self.file.read_exact(&mut bytes).map_err(told)?;
        self.left -= length as u64;
        Ok(bytes)
    }

    fn skip(&mut self, length: u64) -> Result<(), String> {
        if self.left < length {
            return Err(CUT_OFF.into());
        }
        self.file.seek(SeekFrom::Current(length as i64)).map_err(told)?;
        self.left -= length;
        Ok(())
    }

    fn back(&mut self, length: u64) -> Result<(), String> {
        self.file.seek(SeekFrom::Current(-(length as i64))).map_err(told)?;
        self.left += length;
        Ok(())
    }
}

fn told(error: io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => CUT_OFF.into(),
        _ => error.to_string(),
    }
}

/// Refuses a text that is too long, before it is read.
fn check(length: u64, what: &str) -> Result<usize, String> {
    match usize::try_from(length) {
        Ok(length) if length <= MOST_BYTES => Ok(length),
        _ => Err(format!("has a text of {length} bytes ({what}); {} MiB are the most", MOST_BYTES >> 20)),
    }
}

/// PNG, third edition, sections 5 and 11.3.3.
fn png(source: &mut Source<'_, impl Read + Seek>, contents: &mut Contents) -> Result<(), String> {
    for _ in 0..MOST_PIECES {
        let head = source.take(8)?;
        let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
        let kind = [head[4], head[5], head[6], head[7]];
        match &kind {
            b"tEXt" | b"zTXt" | b"iTXt" | b"eXIf" => {
                let name = String::from_utf8_lossy(&kind).into_owned();
                let data = source.take(check(u64::from(length), &name)?)?;
                let mut crc = Crc::new();
                crc.update(&kind);
                crc.update(&data);
                if source.take(4)? != crc.sum().to_be_bytes() {
                    return Err(format!("has a damaged text: the checksum of a chunk {name} is wrong"));
                }
                png_text(&kind, &data, contents)?;
            }
            b"IEND" => return Ok(()),
            _ => source.skip(u64::from(length) + 4)?,
        }
    }
    Err(format!("has more than {MOST_PIECES} chunks"))
}

fn png_text(kind: &[u8; 4], data: &[u8], contents: &mut Contents) -> Result<(), String> {
    if kind == b"eXIf" {
        return contents.add_exif(data);
    }
    let (keyword, data) = to_zero(data)?;
    let keyword = latin1(keyword);
    let text = match (kind, data) {
        (b"tEXt", text) => latin1(text),
        (b"zTXt", [0, packed @ ..]) => latin1(&inflate(packed)?),
        (b"iTXt", [compressed @ (0 | 1), 0, rest @ ..]) => {
            let (_language, rest) = to_zero(rest)?;
            let (_translated, text) = to_zero(rest)?;
            let unpacked = if *compressed == 1 { inflate(text)? } else { text.to_vec() };
            String::from_utf8_lossy(&unpacked).into_owned()
        }
        _ => return Err(format!("has a text ({keyword:?}) of an unknown compression")),
    };
    contents.add(&keyword, text)
}

/// What is before the next zero, and what behind it.
fn to_zero(data: &[u8]) -> Result<(&[u8], &[u8]), String> {
    let at = data.iter().position(|byte| *byte == 0).ok_or("has a text without a keyword")?;
    Ok((&data[..at], &data[at + 1..]))
}

fn inflate(packed: &[u8]) -> Result<Vec<u8>, String> {
    let mut text = Vec::new();
    let read = ZlibDecoder::new(packed).take(MOST_BYTES as u64 + 1).read_to_end(&mut text);
    read.map_err(|error| format!("has a compressed text that is broken: {error}"))?;
    check(text.len() as u64, "decompressed")?;
    Ok(text)
}

/// Latin-1, as PNG has it; UTF-8 where it can be that, as some programs write it all the same.
fn latin1(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().copied().map(char::from).collect(),
    }
}

/// ITU T.81, annex B: segments until the image itself begins.
fn jpeg(source: &mut Source<'_, impl Read + Seek>, contents: &mut Contents) -> Result<(), String> {
    for _ in 0..MOST_PIECES {
        let [0xff, marker] = source.take(2)?[..] else {
            return Err("is broken: a segment of a JPEG does not begin as one".into());
        };
        match marker {
            // Padding, and segments without a length.
            0xff => source.back(1)?,
            0x01 | 0xd0..=0xd8 => {}
            0xd9 | 0xda => return Ok(()),
            _ => {
                let length = source.take(2)?;
                let length = u16::from_be_bytes([length[0], length[1]]);
                let length =
                    usize::from(length).checked_sub(2).ok_or("is broken: a segment has no length")?;
                if !matches!(marker, 0xe1 | 0xfe) {
                    source.skip(length as u64)?;
                    continue;
                }
                let data = source.take(length)?;
                if marker == 0xfe {
                    contents.add("Comment", latin1(&data).trim_end_matches('\0').to_owned())?;
                } else if data.starts_with(b"Exif\0\0") {
                    contents.add_exif(&data)?;
                } else if let Some(xmp) = data.strip_prefix(XMP) {
                    contents.add("XML:com.adobe.xmp", String::from_utf8_lossy(xmp).into_owned())?;
                }
            }
        }
    }
    Err(format!("has more than {MOST_PIECES} segments"))
}

/// RFC 9649, section 2: chunks of a RIFF file, the odd ones with a byte more.
fn webp(source: &mut Source<'_, impl Read + Seek>, contents: &mut Contents) -> Result<(), String> {
    for _ in 0..MOST_PIECES {
        if source.left < 8 {
            return Ok(());
        }
        let head = source.take(8)?;
        let length = u64::from(u32::from_le_bytes([head[4], head[5], head[6], head[7]]));
        let padding = (length % 2).min(source.left.saturating_sub(length));
        match &head[..4] {
            b"EXIF" => contents.add_exif(&source.take(check(length, "EXIF")?)?)?,
            b"XMP " => {
                let data = source.take(check(length, "XMP")?)?;
                contents.add("XML:com.adobe.xmp", String::from_utf8_lossy(&data).into_owned())?;
            }
            _ => source.skip(length)?,
        }
        source.skip(padding)?;
    }
    Err(format!("has more than {MOST_PIECES} chunks"))
}
