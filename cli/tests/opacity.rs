//! Images with transparent parts, and masks that are painted on transparency.

use crate::common::Room;
use image::{Rgba, RgbaImage};

/// A room with an opaque image of the demo model's size.
fn room() -> Room {
    let room = Room::new();
    image::RgbImage::from_fn(64, 64, |x, y| image::Rgb([4 * x as u8, 4 * y as u8, 99]))
        .save(room.path("in.png"))
        .unwrap();
    room
}

/// Whether a pixel is in the part that is drawn.
fn is_drawn(x: u32, y: u32) -> bool {
    x >= 40 && y >= 24
}

fn draw(room: &Room, args: &[&str]) -> String {
    let output = room.run(&[args, &["-s", "3", "--steps", "2"]].concat());
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{args:?}: {error}");
    error
}

/// As in the webui, what is painted in one colour on transparency is a mask by its opacity.
#[test]
fn a_mask_may_be_painted_in_any_colour_on_transparency() {
    let room = room();
    let mask = |name: &str, painted: [u8; 3], under: [u8; 3]| {
        RgbaImage::from_fn(64, 64, |x, y| {
            let [r, g, b] = if is_drawn(x, y) { painted } else { under };
            Rgba([r, g, b, if is_drawn(x, y) { 255 } else { 0 }])
        })
        .save(room.path(name))
        .unwrap();
    };
    image::GrayImage::from_fn(64, 64, |x, y| image::Luma([if is_drawn(x, y) { 255 } else { 0 }]))
        .save(room.path("grey.png"))
        .unwrap();
    draw(&room, &["inpaint", "in.png", "grey.png", "a leaf", "-o", "want.png"]);
    let want = image::open(room.path("want.png")).unwrap();
    let colours = [([255; 3], [255; 3]), ([0; 3], [0; 3]), ([0; 3], [255; 3]), ([200, 30, 40], [0; 3])];
    for (painted, under) in colours {
        mask("m.png", painted, under);
        draw(&room, &["inpaint", "in.png", "m.png", "a leaf", "-o", "out.png"]);
        assert!(image::open(room.path("out.png")).unwrap() == want, "{painted:?} on {under:?}");
    }
}

/// The advice of each refusal is one that helps.
#[test]
fn a_mask_that_draws_nothing_says_what_to_paint() {
    let room = room();
    image::GrayImage::new(64, 64).save(room.path("black.png")).unwrap();
    image::GrayImage::from_pixel(64, 64, image::Luma([255])).save(room.path("white.png")).unwrap();
    RgbaImage::from_pixel(64, 64, Rgba([9, 9, 9, 255])).save(room.path("opaque.png")).unwrap();
    RgbaImage::from_pixel(64, 64, Rgba([9, 9, 9, 0])).save(room.path("clear.png")).unwrap();
    room.refuses(&["inpaint", "in.png", "black.png", "x"], &["black.png", "paint white what is to be drawn"]);
    room.refuses(&["inpaint", "in.png", "white.png", "x", "--invert"], &["white.png", "paint black"]);
    room.refuses(&["inpaint", "opaque.png", "x"], &["opaque.png", "make transparent what is to be drawn"]);
    room.refuses(&["inpaint", "clear.png", "x", "--invert"], &["clear.png", "give a mask"]);
}

/// "All else stays, byte for byte" holds for the opacity, and for colours under it that are not seen.
#[test]
fn what_is_not_drawn_keeps_its_opacity() {
    let room = room();
    let given = RgbaImage::from_fn(64, 64, |x, y| {
        let alpha = if x < 16 { 0 } else { (4 * y) as u8 };
        Rgba([(3 * x) as u8, (2 * y) as u8, 77, alpha])
    });
    given.save(room.path("alpha.png")).unwrap();
    image::GrayImage::from_fn(64, 64, |x, y| image::Luma([if is_drawn(x, y) { 255 } else { 0 }]))
        .save(room.path("m.png"))
        .unwrap();
    let inpaint = ["inpaint", "alpha.png", "m.png", "a leaf", "-o"];
    for (name, more) in [
        ("out.png", &[][..]),
        ("out.webp", &[]),
        ("part.png", &["--only-masked", "--padding", "4"]),
        ("sharp.png", &["--mask-blur", "0"]),
    ] {
        let told = draw(&room, &[&inpaint[..], &[name], more].concat());
        assert!(!told.contains("JPEG"), "{told}");
        let out = image::open(room.path(name)).unwrap();
        assert!(out.color().has_alpha(), "{name}");
        let out = out.into_rgba8();
        for (x, y, pixel) in out.enumerate_pixels() {
            if !is_drawn(x, y) {
                assert_eq!(pixel, given.get_pixel(x, y), "{name} at {x},{y}");
            }
        }
        assert_eq!(out.get_pixel(63, 63)[3], 255, "{name}");
        let replayed = room.succeeds(&["replay", name, "-o", "again.png"]);
        assert!(replayed.ends_with("has the same pixels\n"), "{replayed}");
    }
    let told = draw(&room, &[&inpaint[..], &["out.jpg"]].concat());
    assert!(told.contains("a JPEG has no transparency"), "{told}");
    // An image that grows keeps what it has, and what is new is opaque.
    draw(&room, &["outpaint", "alpha.png", "a leaf", "--right", "16", "-o", "wide.png"]);
    let wide = image::open(room.path("wide.png")).unwrap().into_rgba8();
    assert!(given.enumerate_pixels().all(|(x, y, pixel)| wide.get_pixel(x, y) == pixel));
    assert_eq!(wide.get_pixel(79, 3)[3], 255);
    // Where no kept pixel is transparent, an image stays as it was: without opacity.
    RgbaImage::from_fn(64, 64, |x, y| Rgba([1, 2, 3, if is_drawn(x, y) { 0 } else { 255 }]))
        .save(room.path("hole.png"))
        .unwrap();
    draw(&room, &["inpaint", "hole.png", "a leaf", "-o", "filled.png"]);
    assert!(!image::open(room.path("filled.png")).unwrap().color().has_alpha());
}
