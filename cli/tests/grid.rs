//! Many images as one: `latent grid`, and `--grid`.

use crate::common::{Room, png_size, read_png};

/// The part of an image where a smaller one of 64x64 stands.
fn holds(sheet: &[u8], width: usize, part: &[u8]) -> bool {
    let row = |image: &[u8], width: usize, x: usize, y: usize| -> Vec<u8> {
        image[(y * width + x) * 3..][..64 * 3].to_vec()
    };
    let height = sheet.len() / 3 / width;
    let mut places = (0..=height - 64).flat_map(|y| (0..=width - 64).map(move |x| (x, y)));
    places.any(|(x, y)| (0..64).all(|dy| row(sheet, width, x, y + dy) == row(part, 64, 0, dy)))
}

#[test]
fn a_cell_is_the_image_of_its_flags() {
    let room = Room::new();
    let shared = ["-s", "3", "--cfg-scale", "5"];
    let grid = ["grid", "a red apple", "--x", "steps=2,3", "--y", "sampler=euler,DPM++ 2M", "-o", "grid.png"];
    let told = room.succeeds(&[&grid[..], &shared].concat());
    assert_eq!(told, "grid.png (seed 3)\n");
    let (sheet, texts) = read_png(&room.path("grid.png"));
    let width = png_size(&room.path("grid.png")).0;
    for (steps, sampler) in [("2", "euler"), ("3", "dpm++2m")] {
        let alone = ["txt2img", "a red apple", "--steps", steps, "--sampler", sampler, "-o", "alone.png"];
        room.succeeds(&[&alone[..], &shared].concat());
        assert!(holds(&sheet, width, &read_png(&room.path("alone.png")).0), "{steps} {sampler}");
    }
    let text = |keyword: &str| &texts.iter().find(|(key, _)| key == keyword).unwrap().1;
    assert!(text("parameters").contains("Script: X/Y/Z plot, X Type: steps, X Values: \"2,3\""));
    assert!(
        text("latent").contains(r#""grid":{"x":{"flag":"steps","values":["2","3"]}"#),
        "{}",
        text("latent")
    );
}

#[test]
fn words_of_the_prompt_are_replaced() {
    let room = Room::new();
    room.succeeds(&[
        "grid",
        "a red apple",
        "--x",
        "prompt=red,green",
        "--steps",
        "2",
        "-s",
        "3",
        "-o",
        "grid.png",
    ]);
    room.succeeds(&["txt2img", "a green apple", "--steps", "2", "-s", "3", "-o", "alone.png"]);
    let width = png_size(&room.path("grid.png")).0;
    let [sheet, alone] = ["grid.png", "alone.png"].map(|name| read_png(&room.path(name)).0);
    assert!(holds(&sheet, width, &alone));
}

#[test]
fn a_cell_that_cannot_be_drawn_is_empty_and_told_of() {
    let room = Room::new();
    let output = room.run(&[
        "grid",
        "a red apple",
        "--y",
        "clip-skip=1,99",
        "--steps",
        "2",
        "-s",
        "3",
        "-o",
        "grid.png",
    ]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("clip-skip 99: ") && error.contains("1 of 2 images are missing"), "{error}");
    room.succeeds(&["txt2img", "a red apple", "--steps", "2", "-s", "3", "-o", "alone.png"]);
    let width = png_size(&room.path("grid.png")).0;
    let [sheet, alone] = ["grid.png", "alone.png"].map(|name| read_png(&room.path(name)).0);
    assert!(holds(&sheet, width, &alone));
}

#[test]
fn a_contact_sheet_holds_all_images() {
    let room = Room::new();
    room.succeeds(&[
        "txt2img",
        "a red apple",
        "--steps",
        "2",
        "-s",
        "3",
        "-b",
        "3",
        "--grid",
        "-o",
        "a-%d.png",
    ]);
    assert_eq!(room.files(), ["a-0-grid.png", "a-0.png", "a-1.png", "a-2.png"]);
    let sheet = read_png(&room.path("a-0-grid.png")).0;
    let width = png_size(&room.path("a-0-grid.png")).0;
    assert_eq!(sheet.len() / 3 / width, width);
    for name in ["a-0.png", "a-1.png", "a-2.png"] {
        assert!(holds(&sheet, width, &read_png(&room.path(name)).0), "{name}");
    }
}

#[test]
fn what_makes_no_grid_is_refused() {
    let room = Room::new();
    let refuses =
        |flags: &[&str], part: &str| room.refuses(&[&["grid", "a red apple"], flags].concat(), &[part]);
    refuses(&[], "--x");
    refuses(&["--x", "steps"], "such as steps=10,20");
    refuses(&["--x", "steps=1,2", "--y", "steps=3,4"], "both sides are steps");
    refuses(&["--x", "stepz=1,2"], "did you mean \"steps\"");
    refuses(&["--x", "steps=1,two"], "two");
    refuses(&["--x", "output=a.png,b.png"], "is not a setting of an image");
    refuses(&["--x", "prompt=green,red"], "\"green\" is not in the prompt");
    refuses(&["--x", "steps=1,2", "-b", "2"], "--batch-count");
    let many =
        |flag: &str| format!("{flag}={}", (1..=33).map(|n| n.to_string()).collect::<Vec<_>>().join(","));
    refuses(&["--x", &many("steps"), "--y", &many("seed")], "1089 images are too many");
}
