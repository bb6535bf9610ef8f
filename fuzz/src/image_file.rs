//! An image that a person gives, through the reader of the program.

#[path = "../../app/src/image_file/decode.rs"]
mod decode;

use super::assert_one_line;
use super::bytes::FuzzInput;
use decode::{InputImage, decode};
use image::ImageFormat;
use std::io::Cursor;

/// Maximum number of pixels: large images only take time.
const MAX_PIXELS: u64 = 1 << 16;
/// What the file's name may promise.
const NAMED: [Option<ImageFormat>; 8] = [
    None,
    Some(ImageFormat::Tga),
    Some(ImageFormat::Png),
    Some(ImageFormat::Jpeg),
    Some(ImageFormat::Gif),
    Some(ImageFormat::Tiff),
    Some(ImageFormat::WebP),
    Some(ImageFormat::Bmp),
];

/// The first byte says which format the name promises; the rest is the file.
pub fn run(data: &[u8]) {
    let mut input = FuzzInput(data);
    let named = input.one_of(&NAMED);
    let open = || decode(Cursor::new(input.0), named, MAX_PIXELS);
    let given = match open() {
        Ok(given) => given,
        Err(line) => return assert_one_line(&latent_loader::Plain(&line)),
    };
    check(&given);
    let again = open().expect("it was read before");
    assert!(again.image == given.image && again.alpha == given.alpha, "read again it is another image");

    let size = (given.image.width, given.image.height);
    if let Some(hole) = given.hole() {
        assert_eq!((hole.width, hole.height, hole.values.len()), (size.0, size.1, size.0 * size.1));
    }
    let mask = again.into_mask();
    assert_eq!((mask.width, mask.height, mask.values.len()), (size.0, size.1, size.0 * size.1));
    let (opaque, before) = (given.alpha.is_none(), given.image.clone());
    let flat = given.over(255);
    assert_eq!((flat.width, flat.height, flat.rgb.len()), (size.0, size.1, 3 * size.0 * size.1));
    assert!(!opaque || flat == before, "an opaque image stays");
}

fn check(given: &InputImage) {
    let (width, height) = (given.image.width, given.image.height);
    assert!(width > 0 && height > 0 && (width * height) as u64 <= MAX_PIXELS, "{width}x{height}");
    assert_eq!(given.image.rgb.len(), 3 * width * height);
    assert!(given.alpha.as_ref().is_none_or(|alpha| alpha.len() == width * height));
}
