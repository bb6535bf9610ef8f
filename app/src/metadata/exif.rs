//! EXIF: the block of tags in JPEG and WebP files, which is a TIFF file without an image (CIPA DC-008, section 4.6).
//!
//! The webui writes its text into `UserComment`, in UTF-16 with the most significant byte first, whatever the byte order
//! of the block is, as the Python library piexif does. What only this program reads is in `MakerNote`, which EXIF reserves
//! for that.

use super::texts::{MetadataText, utf8};
use std::collections::HashSet;

/// Tags that are read or written.
const IMAGE_DESCRIPTION: u16 = 0x010e;
const MAKE: u16 = 0x010f;
const MODEL: u16 = 0x0110;
const SOFTWARE: u16 = 0x0131;
const EXIF_TAGS: u16 = 0x8769;
const EXIF_VERSION: u16 = 0x9000;
const MAKER_NOTE: u16 = 0x927c;
const USER_COMMENT: u16 = 0x9286;

/// Types of values.
const ASCII: u16 = 2;
const LONG: u16 = 4;
const UNDEFINED: u16 = 7;

/// What a `UserComment` in UTF-16 begins with.
const UNICODE: &[u8] = b"UNICODE\0";
/// What a `MakerNote` of this program begins with.
const OURS: &[u8] = b"latent\0";
/// Maximum number of tags of a list: cameras write some hundred.
const MAX_TAGS: usize = 1000;
/// Bytes of a tag.
const TAG_BYTES: usize = 12;

/// A block of the webui's text and our own, without the `Exif\0\0` that JPEG has before it.
#[must_use]
pub fn write(parameters: &str, own: Option<&str>) -> Vec<u8> {
    let comment =
        [UNICODE, &parameters.encode_utf16().flat_map(u16::to_be_bytes).collect::<Vec<_>>()].concat();
    let software = format!("latent {}\0", env!("CARGO_PKG_VERSION"));
    let mut exif = vec![(EXIF_VERSION, UNDEFINED, b"0232".to_vec())];
    exif.extend(own.map(|own| (MAKER_NOTE, UNDEFINED, [OURS, own.as_bytes()].concat())));
    exif.push((USER_COMMENT, UNDEFINED, comment));
    let mut block = b"MM\0\x2a\0\0\0\x08".to_vec();
    // Two tags; the last one points to the second list, which follows the values of the first.
    let at = block.len() + list_bytes(2) + even(software.len());
    let to_exif = u32::try_from(at).unwrap_or(u32::MAX).to_be_bytes().to_vec();
    append(&mut block, &[(SOFTWARE, ASCII, software.into_bytes()), (EXIF_TAGS, LONG, to_exif)]);
    append(&mut block, &exif);
    block
}

/// Bytes of a list of tags without their values: how many, the tags, and where the next list is.
fn list_bytes(tags: usize) -> usize {
    2 + TAG_BYTES * tags + 4
}

/// Values begin at even places.
fn even(length: usize) -> usize {
    length.next_multiple_of(2)
}

/// Appends a list of tags and their values.
fn append(block: &mut Vec<u8>, tags: &[(u16, u16, Vec<u8>)]) {
    let mut values = Vec::new();
    let values_at = block.len() + list_bytes(tags.len());
    block.extend((tags.len() as u16).to_be_bytes());
    for (tag, kind, value) in tags {
        let size = if *kind == LONG { 4 } else { 1 };
        block.extend(tag.to_be_bytes());
        block.extend(kind.to_be_bytes());
        block.extend(((value.len() / size) as u32).to_be_bytes());
        if value.len() <= 4 {
            block.extend([value.as_slice(), &[0; 4]].concat().iter().take(4));
        } else {
            block.extend(((values_at + values.len()) as u32).to_be_bytes());
            values.extend(value);
            values.resize(even(values.len()), 0);
        }
    }
    block.extend([0; 4]);
    block.extend(values);
}

/// The texts of a block, with or without `Exif\0\0` before it. A tag that points outside of it is passed over.
///
/// # Errors
/// A part of a line, if it is not such a block.
pub fn read(block: &[u8]) -> Result<Vec<MetadataText>, String> {
    let mut texts = Vec::new();
    read_each(block, &mut |keyword, text| {
        texts.push(MetadataText::new(keyword, text));
        Ok(())
    })?;
    Ok(texts)
}

/// Gives the texts of a block to `add`, one by one.
pub(super) fn read_each(
    block: &[u8],
    add: &mut dyn FnMut(&'static str, String) -> Result<(), String>,
) -> Result<(), String> {
    let block = block.strip_prefix(b"Exif\0\0").unwrap_or(block);
    let big = match block.get(..4) {
        Some(b"MM\0\x2a") => true,
        Some(b"II\x2a\0") => false,
        _ => return Err("the EXIF block does not begin as one".into()),
    };
    let tiff = Tiff { block, big };
    let first = tiff.u32(4).map(|at| tiff.tags(at)).unwrap_or_default();
    let second = first.iter().find(|(tag, _)| *tag == EXIF_TAGS).and_then(|(_, value)| tiff.number(value));
    let second = second.map(|at| tiff.tags(at)).unwrap_or_default();
    let mut seen = HashSet::new();
    // The first of each: a thousand tags may point to the same megabytes.
    for (tag, value) in first.iter().chain(&second).filter(|(tag, _)| seen.insert(*tag)) {
        if let Some((keyword, text)) = text(*tag, value)? {
            add(keyword, text)?;
        }
    }
    Ok(())
}

/// A tag's text, if it is one that programs write the settings of an image into.
fn text(tag: u16, value: &[u8]) -> Result<Option<(&'static str, String)>, String> {
    let plain = || Ok::<_, String>(utf8(value.to_vec())?.trim_end_matches('\0').to_owned());
    Ok(match tag {
        IMAGE_DESCRIPTION => Some(("ImageDescription", plain()?)),
        MAKE => Some(("Make", plain()?)),
        MODEL => Some(("Model", plain()?)),
        SOFTWARE => Some(("Software", plain()?)),
        USER_COMMENT => Some(("UserComment", comment(value)?)),
        MAKER_NOTE => {
            let own = value.strip_prefix(OURS).and_then(|own| String::from_utf8(own.to_vec()).ok());
            own.map(|own| ("latent", own))
        }
        _ => None,
    })
}

/// The text of a `UserComment`, whose first eight bytes name its encoding.
fn comment(value: &[u8]) -> Result<String, String> {
    if let Some(units) = value.strip_prefix(UNICODE) {
        return Ok(utf16(units));
    }
    let rest = value.strip_prefix(b"ASCII\0\0\0").or(value.strip_prefix(&[0; 8])).unwrap_or(value);
    Ok(utf8(rest.to_vec())?.trim_end_matches('\0').to_owned())
}

/// UTF-16 of either byte order, which a byte order mark says, or else where the zeros of Latin letters are.
fn utf16(bytes: &[u8]) -> String {
    let pairs = || bytes.chunks_exact(2).map(|pair| [pair[0], pair[1]]);
    let zeros = |i: usize| pairs().filter(|pair| pair[i] == 0).count();
    let big = match pairs().next() {
        Some([0xff, 0xfe]) => false,
        Some([0xfe, 0xff]) => true,
        _ => zeros(0) >= zeros(1),
    };
    let units = pairs().map(|pair| if big { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) });
    let text: String = char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
    text.trim_start_matches('\u{feff}').trim_end_matches('\0').to_owned()
}

/// The numbers and lists of a block.
struct Tiff<'a> {
    block: &'a [u8],
    big: bool,
}

impl<'a> Tiff<'a> {
    fn u16(&self, at: usize) -> Option<u16> {
        let bytes = self.block.get(at..at.checked_add(2)?)?.try_into().ok()?;
        Some(if self.big { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    }

    fn u32(&self, at: usize) -> Option<usize> {
        self.number(self.block.get(at..at.checked_add(4)?)?)
    }

    fn number(&self, bytes: &[u8]) -> Option<usize> {
        let bytes = bytes.get(..4)?.try_into().ok()?;
        usize::try_from(if self.big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }).ok()
    }

    /// The tags of a list with the bytes of their values.
    fn tags(&self, at: usize) -> Vec<(u16, &'a [u8])> {
        let count = usize::from(self.u16(at).unwrap_or(0)).min(MAX_TAGS);
        (0..count).filter_map(|i| self.tag(at + 2 + TAG_BYTES * i)).collect()
    }

    fn tag(&self, at: usize) -> Option<(u16, &'a [u8])> {
        let size = match self.u16(at + 2)? {
            1 | ASCII | 6 | UNDEFINED => 1,
            3 | 8 => 2,
            LONG | 9 | 11 => 4,
            5 | 10 | 12 => 8,
            _ => return None,
        };
        let length = self.u32(at + 4)?.checked_mul(size)?;
        let start = if length <= 4 { at + 8 } else { self.u32(at + 8)? };
        Some((self.u16(at)?, self.block.get(start..start.checked_add(length)?)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comment(value: &[u8]) -> String {
        super::comment(value).unwrap()
    }

    fn of(texts: &[MetadataText], keyword: &str) -> Option<String> {
        texts.iter().find(|text| text.keyword == keyword).map(|text| text.text.clone())
    }

    #[test]
    fn what_is_written_is_read() {
        for (parameters, own) in [("", None), ("a cat", Some("{}")), ("猫 🐱 é", Some("{\"prompt\":\"猫\"}"))]
        {
            let texts = read(&write(parameters, own)).unwrap();
            assert_eq!(of(&texts, "UserComment").as_deref(), Some(parameters));
            assert_eq!(of(&texts, "latent").as_deref(), own);
            assert_eq!(of(&texts, "Software"), Some(format!("latent {}", env!("CARGO_PKG_VERSION"))));
        }
    }

    #[test]
    fn comments_of_other_writers_are_read() {
        let le: Vec<u8> = "Steps: 20é".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(comment(&[UNICODE, &le].concat()), "Steps: 20é");
        assert_eq!(comment(&[UNICODE, b"\xff\xfe", &le].concat()), "Steps: 20é");
        assert_eq!(comment(b"ASCII\0\0\0Steps: 20\0"), "Steps: 20");
        assert_eq!(comment(&[&[0; 8][..], "é".as_bytes()].concat()), "é");
        assert_eq!(comment(b"{\"a\":1}"), "{\"a\":1}");
        assert_eq!(comment(b""), "");
    }

    /// Every tag of a block that is cut off or points elsewhere is passed over.
    #[test]
    fn broken_blocks_do_no_harm() {
        let whole = write("a cat", Some("{}"));
        for length in 0..whole.len() {
            let _ = read(&whole[..length]);
        }
        for at in 0..whole.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut broken = whole.clone();
                broken[at] = value;
                let _ = read(&broken);
            }
        }
        assert!(read(b"").is_err() && read(b"Exif\0\0II").is_err());
    }
}
