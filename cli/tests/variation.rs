//! Variation seeds, images that can be tiled, and perturbed-attention guidance.

use crate::common::{Room, read_png};
use serde_json::Value;

/// A small image of the built-in model.
const SMALL: [&str; 12] =
    ["txt2img", "a red apple", "-W", "32", "-H", "32", "-s", "3", "--steps", "2", "-t", "1"];

fn draw(room: &Room, flags: &[&str]) -> (Vec<u8>, String, Value) {
    // A size among the flags takes the place of the small one.
    let small = if flags.contains(&"-W") { [&SMALL[..2], &SMALL[6..]].concat() } else { SMALL.to_vec() };
    room.succeeds(&[&small[..], &["-o", "a.png"], flags].concat());
    let (pixels, texts) = read_png(&room.path("a.png"));
    (pixels, texts[0].1.clone(), serde_json::from_str(&texts[1].1).unwrap())
}

#[test]
fn a_variation_is_between_two_seeds_and_is_recorded_as_the_webui_does() {
    let room = Room::new();
    let (plain, text, json) = draw(&room, &[]);
    assert!(!text.contains("Variation") && json.get("variation_seed").is_none());
    let varied = |strength: &str, more: &[&str]| {
        let flags = ["--variation-seed", "9", "--variation-strength", strength];
        draw(&room, &[&flags[..], more].concat())
    };
    assert!(varied("0", &[]).0 == plain);
    let (pixels, text, json) = varied("0.25", &[]);
    assert!(pixels != plain && text.contains(", Variation seed: 9, Variation seed strength: 0.25"), "{text}");
    assert_eq!((&json["seed"], &json["variation_seed"]), (&3.into(), &9.into()));
    assert!(room.succeeds(&["replay", "a.png"]).ends_with("has the same pixels\n"));
    // All of it is the other seed's own noise.
    let (whole, ..) = varied("1", &[]);
    room.succeeds(&[&SMALL[..6], &["-s", "9", "--steps", "2", "-t", "1", "-o", "b.png"]].concat());
    let other = read_png(&room.path("b.png")).0;
    let off = whole.iter().zip(&other).map(|(a, b)| a.abs_diff(*b)).max();
    assert!(off <= Some(1), "{off:?}");
    // Other names for both, and a random variation seed, which is recorded.
    draw(&room, &["--subseed", "9", "--subseed-strength", "0.25"]);
    let (_, text, _) = draw(&room, &["--variation-strength", "0.5"]);
    assert!(text.contains("Variation seed: "), "{text}");
    assert!(room.succeeds(&["replay", "a.png"]).ends_with("has the same pixels\n"));
    room.refuses(&["txt2img", "x", "--variation-strength", "1.5"], &["variation strength", "0 to 1"]);
    room.refuses(&["txt2img", "x", "--variation-seed", "x"], &["--variation-seed", "whole number"]);
}

#[test]
fn of_several_images_the_variation_seed_counts() {
    let room = Room::new();
    let flags = ["-b", "3", "--batch-size", "2", "--variation-seed", "7", "--variation-strength", "0.3"];
    room.succeeds(&[&SMALL[..], &flags, &["-o", "v%03d.png"]].concat());
    for (i, file) in ["v000.png", "v001.png", "v002.png"].iter().enumerate() {
        let (pixels, texts) = read_png(&room.path(file));
        let json: Value = serde_json::from_str(&texts[1].1).unwrap();
        let seed = 7 + i;
        assert_eq!((&json["seed"], &json["variation_seed"]), (&3.into(), &seed.into()));
        let alone = ["--variation-seed", &seed.to_string(), "--variation-strength", "0.3"].map(str::to_owned);
        assert!(draw(&room, &alone.each_ref().map(String::as_str)).0 == pixels, "{file}");
    }
}

/// All cells have the same variation seed, which a replay finds again.
#[test]
fn a_grid_of_strengths_has_one_variation_seed() {
    let room = Room::new();
    let grid = [
        "grid",
        "a red apple",
        "-s",
        "3",
        "--steps",
        "1",
        "-W",
        "32",
        "-H",
        "32",
        "--x",
        "variation-strength=0,0.4,1",
    ];
    room.succeeds(&[&grid[..], &["-o", "grid.png"]].concat());
    assert!(room.succeeds(&["replay", "grid.png"]).ends_with("has the same pixels\n"));
}

/// Of a seamless image the columns on both sides are neighbours: their difference is that of any two.
#[test]
fn seamless_images_are_recorded_and_change() {
    let room = Room::new();
    let (plain, ..) = draw(&room, &["--seamless", "off"]);
    let mut seen = vec![plain];
    for (axes, label) in [("x", "Tiling: x"), ("y", "Tiling: y"), ("both", "Tiling: True")] {
        let (pixels, text, json) = draw(&room, &["--seamless", axes]);
        assert!(!seen.contains(&pixels) && text.contains(label), "{text}");
        assert_eq!(json["seamless"], axes);
        assert!(room.succeeds(&["replay", "a.png"]).ends_with("has the same pixels\n"));
        seen.push(pixels);
    }
    draw(&room, &["--tiling", "both", "--vae-tiling"]);
    assert!(read_png(&room.path("a.png")).0 == seen[3]);
    room.refuses(&["txt2img", "x", "--seamless", "z"], &["--seamless", "off, x, y, both"]);
}

#[test]
fn perturbed_attention_guidance_changes_an_image_and_is_recorded() {
    let room = Room::new();
    // Of a larger image, whose mid block has more than one position.
    let draw =
        |room: &Room, flags: &[&str]| self::draw(room, &[&["-W", "64", "-H", "64"][..], flags].concat());
    let (plain, ..) = draw(&room, &["--pag-scale", "0"]);
    let (pixels, text, json) = draw(&room, &["--pag-scale", "3"]);
    assert!(pixels != plain && text.contains(", PAG scale: 3") && json["pag_scale"] == 3.0, "{text}");
    assert!(room.succeeds(&["replay", "a.png"]).ends_with("has the same pixels\n"));
    // Also without guidance, for subprompts, and in a batch.
    let (alone, ..) = draw(&room, &["--pag-scale", "3", "--cfg-scale", "1"]);
    assert!(alone != draw(&room, &["--cfg-scale", "1"]).0);
    room.succeeds(&[
        "txt2img",
        "a red apple AND a pear :0.5",
        "--pag-scale",
        "2",
        "--steps",
        "1",
        "-s",
        "1",
        "-o",
        "b.png",
    ]);
    room.succeeds(
        &[&SMALL[..2], &SMALL[6..], &["--pag-scale", "3", "-b", "2", "--batch-size", "2", "-o", "c%03d.png"]]
            .concat(),
    );
    assert!(read_png(&room.path("c000.png")).0 == pixels);
    room.refuses(&["txt2img", "x", "--pag-scale", "-1"], &["pag scale", "0 to 100"]);
}
