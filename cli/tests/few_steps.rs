//! `--cfg-end`, `--cache` and `--tome`, in every command that draws.

use crate::common::{Room, read_png, synthetic};

const SIZE: [&str; 4] = ["-W", "64", "-H", "64"];

/// The pixels that a command draws with some flags, and the texts beside them.
fn draw(room: &Room, command: &[&str], flags: &[&str]) -> (Vec<u8>, Vec<(String, String)>) {
    let how = ["--steps", "4", "--strength", "1", "-s", "1", "-o", "out.png"];
    // No other command has a strength.
    let how = if ["img2img", "inpaint", "outpaint"].contains(&command[0]) { &how[..] } else { &how[4..] };
    let steps: &[&str] = if how.len() == 4 { &["--steps", "4"] } else { &[] };
    room.succeeds(&[command, steps, how, flags].concat());
    read_png(&room.path("out.png"))
}

#[test]
fn every_command_draws_so_and_its_file_tells_of_it() {
    let room = Room::new();
    room.file("inpaint.safetensors", &synthetic("sd15-inpaint"));
    room.file("edit.safetensors", &synthetic("sd15-pix2pix"));
    room.file("plain.safetensors", &synthetic("sd15"));
    room.file("net.safetensors", &synthetic("controlnet-sd15"));
    room.succeeds(&["txt2img", "a door", "-s", "1", "-o", "photo.png"]);
    let net = ["--control-net", "net.safetensors", "--control-image", "photo.png", "--control-end", "0.7"];
    let commands: [Vec<&str>; 6] = [
        vec!["txt2img", "a red apple"],
        vec!["img2img", "photo.png", "a red apple"],
        vec!["inpaint", "photo.png", "photo.png", "a red apple", "-m", "inpaint.safetensors"],
        vec!["outpaint", "photo.png", "a red apple", "--left", "16"],
        [&["edit", "photo.png", "make it red", "-m", "edit.safetensors"], &SIZE[..]].concat(),
        [&["txt2img", "a red apple", "-m", "plain.safetensors"], &SIZE[..], &net].concat(),
    ];
    let none = &["--cache", "1", "--cfg-end", "1", "--tome", "0"];
    assert!(draw(&room, &commands[0], none).0 == draw(&room, &commands[0], &[]).0);
    for command in &commands {
        let (plain, texts) = draw(&room, command, &[]);
        for label in ["DeepCache", "CFG end", "Token merging"] {
            assert!(!texts[0].1.contains(label), "{}", texts[0].1);
        }
        for flags in [&["--cache", "2"][..], &["--cfg-end", "0.5"], &["--tome", "0.5"]] {
            assert!(draw(&room, command, flags).0 != plain, "{command:?} {flags:?}");
        }
        let (_, texts) = draw(&room, command, &["--cache", "3", "--cfg-end", "0.5", "--tome", "0.25"]);
        let line = ", CFG end: 0.5, DeepCache: 3, Token merging ratio: 0.25";
        assert!(texts[0].1.contains(line), "{}", texts[0].1);
        let json: serde_json::Value = serde_json::from_str(&texts[1].1).unwrap();
        assert_eq!((&json["cfg_end"], &json["cache"]), (&0.5.into(), &3.into()));
        assert_eq!(json["tome"], 0.25);
    }
}

#[test]
fn what_cannot_be_is_one_line() {
    let room = Room::new();
    room.refuses(&["txt2img", "a", "--cfg-end", "-0.5"], &["cfg end", "0 to 1"]);
    room.refuses(&["txt2img", "a", "--cfg-end", "NaN"], &["cfg end"]);
    room.refuses(&["txt2img", "a", "--cache", "0"], &["cache", "1 to 1000"]);
    for part in ["-0.1", "0.6", "NaN"] {
        room.refuses(&["txt2img", "a", "--tome", part], &["token merging", "0 to 0.5"]);
    }
}

const SHORT: [&str; 6] = ["txt2img", "a red apple", "-s", "1", "--steps", "3"];

#[test]
fn merged_tokens_are_drawn_again_by_replay() {
    let room = Room::new();
    let plain = [&SHORT[..], &["-o", "plain.png"]].concat();
    room.succeeds(&plain);
    // The name that the webui and other programs have for it.
    room.succeeds(&[&SHORT[..], &["--token-merging-ratio", "0.5", "-o", "merged.png"]].concat());
    let [plain, merged] = ["plain.png", "merged.png"].map(|name| read_png(&room.path(name)).0);
    assert!(plain != merged);
    assert!(room.succeeds(&["replay", "merged.png"]).ends_with("merged.png has the same pixels\n"));
    assert!(room.succeeds(&["replay", "merged.png", "--print"]).contains("--tome=0.5"));
}

#[test]
fn merged_tokens_are_an_axis_of_a_grid() {
    let room = Room::new();
    let grid = ["grid", "a red apple", "-s", "1", "--steps", "3", "--x", "tome=0,0.5", "-o", "grid.png"];
    room.succeeds(&grid);
    room.succeeds(&[&SHORT[..], &["--tome", "0.5", "-o", "merged.png"]].concat());
    let (sheet, merged) = (read_png(&room.path("grid.png")).0, read_png(&room.path("merged.png")).0);
    // The first row of the image is somewhere in the sheet.
    let row = &merged[64 * 3 * 32..64 * 3 * 33];
    assert!(sheet.windows(row.len()).any(|part| part == row));
}
