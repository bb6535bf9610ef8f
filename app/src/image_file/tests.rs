//! Sound images of every kind. Those that are refused are in `cli/tests/bad_files/images.rs`.

use super::decode::{InputImage, MAX_PIXELS, decode};
use image::{
    DynamicImage, Frame, GrayAlphaImage, GrayImage, ImageFormat, Luma, LumaA, Rgb, RgbImage, Rgba, RgbaImage,
};
use std::io::Cursor;

const RED: [u8; 3] = [255, 0, 0];
const GREEN: [u8; 3] = [0, 255, 0];
const BLUE: [u8; 3] = [0, 0, 255];
const WHITE: [u8; 3] = [255; 3];

fn read(bytes: &[u8], named: Option<ImageFormat>) -> InputImage {
    decode(Cursor::new(bytes), named, MAX_PIXELS).unwrap()
}

fn write(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    image.into().write_to(&mut out, format).unwrap();
    out.into_inner()
}

fn size(given: &InputImage) -> (usize, usize) {
    (given.image.width, given.image.height)
}

fn pixel(given: &InputImage, x: usize, y: usize) -> [u8; 3] {
    *given.image.rgb[3 * (y * given.image.width + x)..].first_chunk().unwrap()
}

/// The four quarters of 64x32 pixels in colours of their own.
fn quarters() -> RgbImage {
    RgbImage::from_fn(64, 32, |x, y| {
        Rgb([[RED, GREEN], [BLUE, WHITE]][usize::from(y >= 16)][usize::from(x >= 32)])
    })
}

#[test]
fn every_format_is_read_with_and_without_its_name() {
    let colours = RgbImage::from_fn(5, 3, |x, y| Rgb([(x * 50) as u8, (y * 99) as u8, 7]));
    for format in [
        ImageFormat::Png,
        ImageFormat::WebP,
        ImageFormat::Bmp,
        ImageFormat::Tiff,
        ImageFormat::Qoi,
        ImageFormat::Pnm,
        ImageFormat::Tga,
    ] {
        let bytes = write(colours.clone(), format);
        let given = read(&bytes, Some(format));
        assert_eq!((size(&given), &given.image.rgb), ((5, 3), colours.as_raw()), "{format:?}");
        if format != ImageFormat::Tga {
            // A wrong name does no harm.
            assert_eq!(read(&bytes, None).image, given.image, "{format:?}");
            assert_eq!(read(&bytes, Some(ImageFormat::Jpeg)).image, given.image, "{format:?}");
        }
    }
}

/// The orientations of EXIF (Exif 2.32, tag 274): which quarters end up at the upper left and right.
#[test]
fn a_photo_is_rotated_as_its_camera_says() {
    let plain = write(quarters(), ImageFormat::Jpeg);
    let turns = [
        [RED, GREEN],
        [GREEN, RED],
        [WHITE, BLUE],
        [BLUE, WHITE],
        [RED, BLUE],
        [BLUE, RED],
        [WHITE, GREEN],
        [GREEN, WHITE],
    ];
    for (orientation, corners) in (1u8..).zip(turns) {
        let exif = [
            &b"\xFF\xE1\0\x22Exif\0\0MM\0\x2A\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0"[..],
            &[orientation, 0, 0, 0, 0, 0, 0],
        ]
        .concat();
        let given = read(&[&plain[..2], &exif, &plain[2..]].concat(), None);
        let (width, height) = if orientation < 5 { (64, 32) } else { (32, 64) };
        assert_eq!(size(&given), (width, height), "{orientation}");
        let seen = [pixel(&given, 4, 4), pixel(&given, width - 5, 4)];
        for (seen, corner) in seen.iter().flatten().zip(corners.iter().flatten()) {
            assert!(seen.abs_diff(*corner) < 40, "{orientation}: {seen:?} for {corner:?}");
        }
    }
}

#[test]
fn sixteen_bits_become_eight() {
    let deep =
        image::ImageBuffer::<Rgb<u16>, _>::from_fn(3, 1, |x, _| Rgb([[0, 0x8080, 0xFFFF][x as usize]; 3]));
    for format in [ImageFormat::Png, ImageFormat::Tiff] {
        let given = read(&write(deep.clone(), format), None);
        assert_eq!(given.image.rgb, [0, 0, 0, 128, 128, 128, 255, 255, 255], "{format:?}");
    }
}

#[test]
fn grey_is_grey() {
    let given = read(&write(GrayImage::from_pixel(2, 2, Luma([77])), ImageFormat::Png), None);
    assert_eq!((given.image.rgb, given.alpha), (vec![77; 12], None));
    let given = read(&write(GrayAlphaImage::from_pixel(2, 1, LumaA([77, 9])), ImageFormat::Png), None);
    assert_eq!((given.image.rgb, given.alpha), (vec![77; 6], Some(vec![9, 9])));
}

#[test]
fn a_palette_is_looked_up() {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 4, 1);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::Two);
    encoder.set_palette([RED, GREEN, BLUE, WHITE].concat());
    encoder.set_trns(vec![255, 0]);
    encoder.write_header().unwrap().write_image_data(&[0b00_01_10_11]).unwrap();
    let given = read(&bytes, None);
    assert_eq!(given.image.rgb, [RED, GREEN, BLUE, WHITE].concat());
    assert_eq!(given.alpha, Some(vec![255, 0, 255, 255]));
}

#[test]
fn what_is_transparent_shows_the_background_and_is_a_hole() {
    let image = RgbaImage::from_fn(3, 1, |x, _| Rgba([100, 0, 200, [255, 128, 0][x as usize]]));
    let bytes = write(image, ImageFormat::Png);
    assert_eq!(read(&bytes, None).hole().unwrap().values, [0, 127, 255]);
    // 128 of 255 of the colour, the rest white.
    assert_eq!(read(&bytes, None).over(255).rgb, [100, 0, 200, 177, 127, 227, 255, 255, 255]);
    // As a mask: the opacity of one colour, and Rec. 601 of several on black.
    assert_eq!(read(&bytes, None).into_mask().values, [255, 128, 0]);
    let coloured = RgbaImage::from_fn(3, 1, |x, _| Rgba([100 + x as u8, 0, 200, [255, 128, 0][x as usize]]));
    assert_eq!(read(&write(coloured, ImageFormat::Png), None).into_mask().values, [53, 27, 0]);
    // An image that is opaque throughout is a mask by its brightness, of one colour too.
    let opaque = RgbaImage::from_pixel(2, 1, Rgba([0, 0, 0, 255]));
    assert_eq!(read(&write(opaque, ImageFormat::Png), None).into_mask().values, [0, 0]);
    assert!(read(&write(quarters(), ImageFormat::Png), None).hole().is_none());
}

/// A sample of Pillow's: pure magenta and yellow ink, which is red.
#[test]
fn inks_become_colours() {
    let given = read(include_bytes!("samples/cmyk.jpg"), None);
    assert_eq!(size(&given), (16, 16));
    let [r, g, b] = pixel(&given, 8, 8);
    assert!(r > 240 && g < 15 && b < 15, "{r} {g} {b}");
}

#[test]
fn of_an_animation_the_first_image_counts() {
    let mut bytes = Vec::new();
    {
        let mut encoder = image::codecs::gif::GifEncoder::new(&mut bytes);
        for colour in [RED, GREEN, BLUE] {
            let [r, g, b] = colour;
            encoder.encode_frame(Frame::new(RgbaImage::from_pixel(4, 2, Rgba([r, g, b, 255])))).unwrap();
        }
    }
    let given = read(&bytes, None);
    assert_eq!((size(&given), pixel(&given, 3, 1)), ((4, 2), RED));
}

#[test]
fn the_smallest_and_the_thinnest_are_read() {
    for (width, height) in [(1, 1), (1, 70_000), (70_000, 1)] {
        let given = read(&write(GrayImage::from_pixel(width, height, Luma([5])), ImageFormat::Png), None);
        assert_eq!(size(&given), (width as usize, height as usize));
    }
}
