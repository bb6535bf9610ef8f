//! `--cfg-end` and `--cache`, in every command that draws.

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
    let none = &["--cache", "1", "--cfg-end", "1"];
    assert!(draw(&room, &commands[0], none).0 == draw(&room, &commands[0], &[]).0);
    for command in &commands {
        let (plain, texts) = draw(&room, command, &[]);
        assert!(!texts[0].1.contains("DeepCache") && !texts[0].1.contains("CFG end"), "{}", texts[0].1);
        for flags in [&["--cache", "2"][..], &["--cfg-end", "0.5"]] {
            assert!(draw(&room, command, flags).0 != plain, "{command:?} {flags:?}");
        }
        let (_, texts) = draw(&room, command, &["--cache", "3", "--cfg-end", "0.5"]);
        assert!(texts[0].1.contains(", CFG end: 0.5, DeepCache: 3"), "{}", texts[0].1);
        let json: serde_json::Value = serde_json::from_str(&texts[1].1).unwrap();
        assert_eq!((&json["cfg_end"], &json["cache"]), (&0.5.into(), &3.into()));
    }
}

#[test]
fn what_cannot_be_is_one_line() {
    let room = Room::new();
    room.refuses(&["txt2img", "a", "--cfg-end", "-0.5"], &["cfg end", "0 to 1"]);
    room.refuses(&["txt2img", "a", "--cfg-end", "NaN"], &["cfg end"]);
    room.refuses(&["txt2img", "a", "--cache", "0"], &["cache", "1 to 1000"]);
}
