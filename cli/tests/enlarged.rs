//! Images of the built-in model are enlarged by the built-in upscaler, unless a person asks for another size.

use crate::common::{self, Room, png_size, read_png};
use serde_json::Value;

/// Draws as a person would, without the flag that other tests add.
#[track_caller]
fn draws(room: &Room, args: &[&str]) -> String {
    let output = room.command_as_given(args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn text(room: &Room, name: &str, key: &str) -> String {
    let (_, texts) = read_png(&room.path(name));
    texts.into_iter().find(|(own, _)| own == key).unwrap().1
}

fn pixels(room: &Room, name: &str) -> Vec<u8> {
    read_png(&room.path(name)).0
}

const APPLE: [&str; 6] = ["txt2img", "a red apple", "--steps", "2", "-s", "7"];

#[test]
fn the_first_image_is_enlarged_and_says_so() {
    let room = Room::new();
    draws(&room, &[&APPLE[..], &["-o", "apple.png"]].concat());
    assert_eq!(png_size(&room.path("apple.png")), (256, 256));
    let told = text(&room, "apple.png", "parameters");
    let by = "Size: 64x64, Postprocess upscale by: 4, Postprocess upscaler: realesr-animevideov3, ";
    assert!(told.contains(by), "{told}");
    let json: Value = serde_json::from_str(&text(&room, "apple.png", "latent")).unwrap();
    assert_eq!(
        (&json["width"], &json["height"], &json["postprocess_upscale"]),
        (&64.into(), &64.into(), &4.into())
    );
    assert_eq!(json["flags"], serde_json::json!({ "steps": ["2"] }));
    // It is what `latent upscale` makes of the small one, also in a batch and in a grid.
    draws(&room, &[&APPLE[..], &["--raw-size", "-o", "raw.png"]].concat());
    assert_eq!(png_size(&room.path("raw.png")), (64, 64));
    assert!(!text(&room, "raw.png", "latent").contains("postprocess"));
    assert_eq!(draws(&room, &["upscale", "raw.png"]), "raw-4x.png (256x256)\n");
    assert_eq!(pixels(&room, "raw-4x.png"), pixels(&room, "apple.png"));
    let batch = ["txt2img", "a red apple", "--steps", "2", "-s", "6", "-b", "2", "--batch-size", "2"];
    draws(&room, &[&batch[..], &["--grid", "-o", "{seed}.png"]].concat());
    assert_eq!(pixels(&room, "7.png"), pixels(&room, "apple.png"));
    // Metadata that do not name an upscaler are of an image that was not enlarged.
    for name in ["apple.png", "raw.png", "6-grid.png"] {
        let output = room.command_as_given(&["replay", name, "-o", "again.png"]).output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap() + &String::from_utf8(output.stdout).unwrap();
        assert!(told.contains("same pixels"), "{name}: {told}");
        assert_eq!(pixels(&room, name), pixels(&room, "again.png"), "{name}");
    }
    draws(&room, &["replay", "apple.png", "-o", "small.png", "--", "--raw-size"]);
    assert_eq!(pixels(&room, "small.png"), pixels(&room, "raw.png"));
}

#[test]
fn a_size_that_is_asked_for_is_drawn() {
    let room = Room::new();
    room.file("demo.safetensors", &common::demo());
    for (more, size) in [
        (&["-W", "64"][..], (64, 64)),
        (&["-H", "96"], (64, 96)),
        (&["--hires", "--hires-steps", "1"], (128, 128)),
        (&["-m", "demo.safetensors"], (64, 64)),
    ] {
        draws(&room, &[&APPLE[..], more, &["-o", "a.png"]].concat());
        assert_eq!(png_size(&room.path("a.png")), size, "{more:?}");
        assert!(!text(&room, "a.png", "parameters").contains("Postprocess"), "{more:?}");
    }
    draws(&room, &["grid", "a red apple", "-s", "7", "--x", "steps=1,2", "-o", "g.png"]);
    let (width, height) = png_size(&room.path("g.png"));
    assert!(width >= 512 && (256..400).contains(&height), "{width}x{height}");
}

/// An enlarged image is drawn in the model's size, and what is kept of it stays byte for byte.
#[test]
fn an_enlarged_image_is_changed_in_its_own_size() {
    let room = Room::new();
    draws(&room, &[&APPLE[..], &["-o", "apple.png"]].concat());
    draws(&room, &["img2img", "apple.png", "a pear", "--steps", "2", "-s", "1", "-o", "pear.png"]);
    assert_eq!(png_size(&room.path("pear.png")), (256, 256));
    let mask = image::GrayImage::from_fn(256, 256, |x, _| image::Luma([if x < 100 { 255 } else { 0 }]));
    mask.save(room.path("mask.png")).unwrap();
    let steps = ["--steps", "2", "-s", "1", "-o"];
    draws(&room, &[&["inpaint", "apple.png", "mask.png", "a pear"][..], &steps, &["half.png"]].concat());
    draws(&room, &[&["outpaint", "apple.png", "a pear", "--left", "64"][..], &steps, &["wide.png"]].concat());
    let apple = pixels(&room, "apple.png");
    let part = |name: &str, left: usize, columns: std::ops::Range<usize>| -> bool {
        let (all, width) = (pixels(&room, name), png_size(&room.path(name)).0);
        (0..256).all(|y| {
            let own = &all[3 * (y * width + left + columns.start)..][..3 * columns.len()];
            own == &apple[3 * (y * 256 + columns.start)..][..3 * columns.len()]
        })
    };
    assert_eq!(
        (png_size(&room.path("half.png")), png_size(&room.path("wide.png"))),
        ((256, 256), (320, 256))
    );
    // The mask's edge is softened by 4 pixels, with which a Gaussian reaches three times as far.
    assert!(part("half.png", 0, 120..256) && part("wide.png", 64, 20..256));
    assert!(!part("half.png", 0, 0..100));
    // A small image is drawn in its own size, as ever.
    draws(&room, &[&APPLE[..], &["--raw-size", "-o", "raw.png"]].concat());
    draws(&room, &[&["outpaint", "raw.png", "a pear", "--left", "16"][..], &steps, &["little.png"]].concat());
    assert_eq!(png_size(&room.path("little.png")), (80, 64));
    for name in ["half.png", "wide.png", "little.png"] {
        draws(&room, &["replay", name, "-o", "again.png"]);
        assert_eq!(pixels(&room, name), pixels(&room, "again.png"), "{name}");
    }
}

/// The strength by which a general model of Real-ESRGAN removes noise.
#[test]
fn a_network_is_mixed_with_the_one_that_keeps_noise() {
    let room = Room::new();
    let networks =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../diffusion/tests/reference/upscalers");
    let place = |from: &str, to: &str| {
        std::fs::copy(networks.join(from), room.path(to)).unwrap();
    };
    place("compact.safetensors", "general-x4v3.safetensors");
    image::RgbImage::from_fn(20, 12, |x, y| image::Rgb([(x * 12) as u8, (y * 20) as u8, 90]))
        .save(room.path("in.png"))
        .unwrap();
    let upscale = ["upscale", "in.png", "--upscale-model", "general-x4v3.safetensors"];
    let strength = |value| [&upscale[..], &["--denoise-strength", value]].concat();
    room.refuses(&strength("0.5"), &["general-x4v3.safetensors", "has no denoise strength", "wdn"]);
    place("compact-wdn.safetensors", "general-wdn-x4v3.safetensors");
    room.refuses(&strength("1.5"), &["denoise strength: 1.5 is not in 0 to 1"]);
    room.refuses(
        &["upscale", "in.png", "--denoise-strength", "0.5"],
        &["realesr-animevideov3", "has no denoise"],
    );
    let mut seen = Vec::new();
    for value in ["0", "0.5", "1"] {
        room.succeeds(&[&strength(value)[..], &["-o", "out.png"]].concat());
        seen.push(pixels(&room, "out.png"));
    }
    room.succeeds(&[&upscale[..], &["-o", "out.png"]].concat());
    assert_eq!(seen[2], pixels(&room, "out.png"));
    room.succeeds(&["upscale", "in.png", "--upscale-model", "general-wdn-x4v3.safetensors", "-o", "out.png"]);
    assert_eq!(seen[0], pixels(&room, "out.png"));
    assert!(seen[0] != seen[1] && seen[1] != seen[2]);
}
