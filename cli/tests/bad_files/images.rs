//! Images and masks that cannot be taken, and flags that go with them.

use crate::Room;
use crate::case::{Case, put};
use image::{DynamicImage, ImageFormat, RgbImage};
use std::io::Cursor;
use std::panic::RefUnwindSafe;

const GROUP: &str = "Images";
const IMAGE: &str = "given.png";
const MASK: &str = "mask.png";

/// An image that no command takes.
fn image(
    name: &str,
    file: &'static str,
    make: impl Fn() -> Vec<u8> + RefUnwindSafe + 'static,
    says: &[&str],
) -> Case {
    let case = Case::flags(GROUP, name, &["img2img", file, "a cat"], says);
    let mut case = case.made(move |room| {
        put(room, file, &make());
        put(room, IMAGE, &encoded(ImageFormat::Png));
    });
    case.says.push(file.to_owned());
    case.and(&["inpaint", file, "a cat"])
        .and(&["inpaint", IMAGE, file, "a cat"])
        .and(&["outpaint", file, "a cat", "--left", "8"])
}

/// A command with a sound image of 32x16 pixels, and a mask of the same size.
fn flags(name: &str, args: &[&str], says: &[&str]) -> Case {
    Case::flags(GROUP, name, args, says).made(|room| {
        put(room, IMAGE, &encoded(ImageFormat::Png));
        put(room, MASK, &grey(32, 16, 200));
        put(room, "small.png", &grey(31, 16, 200));
        put(room, "black.png", &grey(32, 16, 0));
        put(room, "white.png", &grey(32, 16, 255));
    })
}

/// An image of 32x16 pixels of many colours.
fn encoded(format: ImageFormat) -> Vec<u8> {
    let pixel = |x: u32, y: u32| image::Rgb([(x * 8) as u8, (y * 16) as u8, (x * 37 + y * 101) as u8]);
    write(RgbImage::from_fn(32, 16, pixel).into(), format)
}

fn grey(width: u32, height: u32, value: u8) -> Vec<u8> {
    write(image::GrayImage::from_pixel(width, height, image::Luma([value])).into(), ImageFormat::Png)
}

fn write(image: DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    image.write_to(&mut out, format).unwrap();
    out.into_inner()
}

/// A sound file in which some bytes are others.
fn patched(format: ImageFormat, at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut file = encoded(format);
    file[at..at + bytes.len()].copy_from_slice(bytes);
    file
}

/// A PNG that says it has this size.
fn png_of(width: u32, height: u32) -> Vec<u8> {
    let mut file = patched(ImageFormat::Png, 16, &[width.to_be_bytes(), height.to_be_bytes()].concat());
    let crc = crc(&file[12..29]).to_be_bytes();
    file[29..33].copy_from_slice(&crc);
    file
}

/// The check sum of PNG (ISO 3309).
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |c, _| if c & 1 == 1 { 0xEDB8_8320 ^ (c >> 1) } else { c >> 1 })
    })
}

/// A JPEG that says it has this size.
fn jpeg_of(width: u16, height: u16) -> Vec<u8> {
    let file = encoded(ImageFormat::Jpeg);
    let frame = file.windows(2).position(|mark| mark == [0xFF, 0xC0]).unwrap();
    patched(ImageFormat::Jpeg, frame + 5, &[height.to_be_bytes(), width.to_be_bytes()].concat())
}

pub(crate) fn all() -> Vec<Case> {
    let parts = [bombs(), broken(), masks(), settings()];
    let mut cases: Vec<_> = parts.into_iter().flatten().collect();
    #[cfg(unix)]
    cases.extend(not_files());
    cases
}

/// Small files that claim to be huge.
fn bombs() -> Vec<Case> {
    let much = "more than 67 million pixels";
    let side = 60_000u32.to_le_bytes();
    vec![
        image("a PNG of 60000x60000", "a.png", || png_of(60_000, 60_000), &["60000x60000", much]),
        image("a PNG of 8193x8192", "a.png", || png_of(8193, 8192), &["8193x8192", much]),
        image("a PNG of 2^31-1 columns", "a.png", || png_of(i32::MAX as u32, 2), &["Memory limit exceeded"]),
        image("a JPEG of 65535x65535", "a.jpg", || jpeg_of(65_535, 65_535), &["a.jpg"]),
        image(
            "a GIF of 65535x65535",
            "a.gif",
            || patched(ImageFormat::Gif, 6, &[0xFF; 4]),
            &["65535x65535", much],
        ),
        image(
            "a BMP of 60000x60000",
            "a.bmp",
            move || patched(ImageFormat::Bmp, 18, &[side, side].concat()),
            &["60000x60000", much],
        ),
        image(
            "a QOI of 2^32-1 columns and lines",
            "a.qoi",
            || patched(ImageFormat::Qoi, 4, &[0xFF; 8]),
            &["a.qoi"],
        ),
        image("a PPM of 60000x60000", "a.ppm", || b"P6 60000 60000 255\n".to_vec(), &["60000x60000", much]),
        image("a PBM of 2^64 columns", "a.pbm", || b"P4 18446744073709551616 1\n".to_vec(), &["a.pbm"]),
        image(
            "a TGA of 65535x65535",
            "a.tga",
            || patched(ImageFormat::Tga, 12, &[0xFF; 4]),
            &["65535x65535", much],
        ),
    ]
}

/// Files that are no image, or one that breaks off.
fn broken() -> Vec<Case> {
    let unknown = "is not an image of a known format";
    let unreadable = "cannot be read as an image";
    let half = |name: &str, file: &'static str, format: ImageFormat| {
        let make = move || {
            let whole = encoded(format);
            whole[..whole.len() / 2].to_vec()
        };
        image(name, file, make, &[unreadable])
    };
    vec![
        half("half a PNG", "a.png", ImageFormat::Png),
        half("half a WebP", "a.webp", ImageFormat::WebP),
        half("half a GIF", "a.gif", ImageFormat::Gif),
        half("half a BMP", "a.bmp", ImageFormat::Bmp),
        half("half a TIFF", "a.tiff", ImageFormat::Tiff),
        half("half a QOI", "a.qoi", ImageFormat::Qoi),
        half("half a PPM", "a.ppm", ImageFormat::Pnm),
        half("half a TGA", "a.tga", ImageFormat::Tga),
        image(
            "a JPEG that ends in its header",
            "a.jpg",
            || encoded(ImageFormat::Jpeg)[..100].to_vec(),
            &[unreadable],
        ),
        image("a PNG of 0x0", "a.png", || png_of(0, 0), &["a.png"]),
        image("a PPM of 0 columns", "a.ppm", || b"P6 0 1 255\n".to_vec(), &["a.ppm"]),
        image("a GIF of 0x0", "a.gif", || patched(ImageFormat::Gif, 6, &[0; 4]), &["a.gif"]),
        image("a BMP of 0 lines", "a.bmp", || patched(ImageFormat::Bmp, 22, &[0; 4]), &["a.bmp"]),
        image("a TGA of 0x0", "a.tga", || patched(ImageFormat::Tga, 12, &[0; 4]), &["a.tga"]),
        image(
            "a PNG with a wrong check sum",
            "a.png",
            || patched(ImageFormat::Png, 29, &[0; 4]),
            &[unreadable],
        ),
        image("an empty image", "a.xyz", Vec::new, &[unknown]),
        image("an empty PNG", "a.png", Vec::new, &[unreadable]),
        image("a text for an image", "a.xyz", || b"a cat".to_vec(), &[unknown]),
        image("a text named as a PNG", "a.png", || b"a cat".to_vec(), &[unreadable]),
        image("a drawing of vectors (SVG)", "a.svg", || b"<svg xmlns=\"x\"/>".to_vec(), &[unknown]),
        image("an AVIF image", "a.avif", || b"\0\0\0\x1cftypavif\0\0\0\0".to_vec(), &["a.avif"]),
        image("a HEIC image", "a.heic", || b"\0\0\0\x18ftypheic\0\0\0\0".to_vec(), &[unknown]),
        image("a Photoshop image", "a.psd", || b"8BPS\0\x01\0\0\0\0".to_vec(), &[unknown]),
        image("a model for an image", "a.safetensors", || crate::case::ones(&["a"]), &[unknown]),
        flags("a missing image", &["img2img", "no.png", "a cat"], &["no.png", "no such file"]),
        flags("a folder for an image", &["img2img", ".", "a cat"], &["is not a file; an image is expected"]),
        flags(
            "an image whose name steers the terminal",
            &["img2img", "a\u{1b}[2J\n.png", "a cat"],
            &["a\\u{1b}[2J\\n.png", "no such file"],
        ),
        Case::flags(
            GROUP,
            "an image of 600 MiB",
            &["img2img", "a.jpg", "a cat"],
            &["a.jpg", "bytes, more than the"],
        )
        .made(|room| {
            put(room, "a.jpg", &encoded(ImageFormat::Jpeg));
            std::fs::File::options()
                .write(true)
                .open(room.path("a.jpg"))
                .unwrap()
                .set_len(600 << 20)
                .unwrap();
        }),
    ]
}

#[cfg(unix)]
fn not_files() -> Vec<Case> {
    let pipe = |room: &Room| {
        assert!(std::process::Command::new("mkfifo").arg(room.path("pipe")).status().unwrap().success());
    };
    let says = &["is not a file; an image is expected"];
    vec![
        Case::flags(GROUP, "a pipe for an image", &["img2img", "pipe", "a cat"], says).made(pipe),
        Case::flags(GROUP, "a device for an image", &["img2img", "/dev/zero", "a cat"], says),
    ]
}

fn masks() -> Vec<Case> {
    let inpaint = |name: &str, args: &[&str], says: &[&str]| {
        flags(name, &[&["inpaint", IMAGE], args, &["-p", "a cat"]].concat(), says)
    };
    vec![
        inpaint("a mask of another size", &["small.png"], &["small.png", "31x16", "32x16"]),
        inpaint("a mask that is black", &["black.png"], &["black.png", "nothing would be drawn"]),
        inpaint("a mask that is white and inverted", &["white.png", "--invert"], &["nothing would be drawn"]),
        inpaint("an opaque image without a mask", &[], &[IMAGE, "has no transparent part"]),
        inpaint("a missing mask", &["no.png"], &["no.png", "no such file"]),
        inpaint("a mask twice", &[MASK, "--mask", MASK], &["mask: is given twice"]),
        inpaint("a prompt twice", &[MASK, "a dog"], &["prompt: is given twice"]),
    ]
}

/// Flags of the commands that take an image.
fn settings() -> Vec<Case> {
    let img2img = |name: &str, args: &[&str], says: &[&str]| {
        flags(name, &[&["img2img", IMAGE, "a cat"], args].concat(), says)
    };
    let inpaint = |name: &str, args: &[&str], says: &[&str]| {
        flags(name, &[&["inpaint", IMAGE, MASK, "a cat"], args].concat(), says)
    };
    let outpaint = |name: &str, args: &[&str], says: &[&str]| {
        flags(name, &[&["outpaint", IMAGE, "a cat"], args].concat(), says)
    };
    vec![
        img2img("a strength that is NaN", &["--strength", "NaN"], &["strength", "NaN"]),
        img2img("a strength of 2", &["--strength", "2"], &["strength", "2"]),
        img2img("a negative strength", &["--strength", "-0.5"], &["strength", "-0.5"]),
        img2img("a strength that is a word", &["--strength", "much"], &["--strength"]),
        img2img("an unknown mode of resizing", &["--resize", "squash"], &["--resize", "squash"]),
        img2img("a size that is no multiple", &["-W", "65"], &["width", "the nearest good one is 64"]),
        flags("no image", &["img2img"], &["IMAGE"]),
        flags("an image without a prompt", &["img2img", IMAGE], &["PROMPT"]),
        inpaint("a blur that is NaN", &["--mask-blur", "NaN"], &["NaN"]),
        inpaint("a blur that is negative", &["--mask-blur", "-1"], &["-1"]),
        inpaint("a blur that is infinite", &["--mask-blur", "inf"], &["inf"]),
        inpaint("a padding of 2^64", &["--padding", "18446744073709551616"], &["--padding"]),
        inpaint(
            "a padding of 2^64 - 1",
            &["--padding", "18446744073709551615"],
            &["padding", "are more than 8192"],
        ),
        inpaint("a part of no width", &["--only-masked", "-W", "0"], &["width", "the nearest good one is 4"]),
        inpaint(
            "a part of 2^31 lines",
            &["--only-masked", "-H", "2147483648"],
            &["height", "the nearest good one is 8192"],
        ),
        inpaint("an unknown filling", &["--fill", "cloud"], &["--fill", "cloud"]),
        inpaint("a size where the image's own counts", &["-W", "64"], &["width"]),
        outpaint("no side that grows", &[], &["all are 0"]),
        outpaint("a side of 2^31 pixels", &["--left", "2147483648"], &["left", "2147483648"]),
        outpaint("a side of 2^64 - 1 pixels", &["--top", "18446744073709551615"], &["top"]),
        outpaint(
            "sides that are too large together",
            &["--left", "8000", "--right", "8000"],
            &["the maximum is"],
        ),
        flags("a model that cannot edit", &["edit", IMAGE, "make it winter"], &["follows no instructions"]),
        flags(
            "a guidance by the image that is NaN",
            &["edit", IMAGE, "make it winter", "--img-cfg-scale", "NaN"],
            &["latent: "],
        ),
    ]
}
