//! Prompts from files and from standard input.

use crate::common::{Room, read_png};
use std::io::Write;
use std::process::Stdio;

const FAST: [&str; 4] = ["-s", "1", "--steps", "1"];

fn prompt_of(room: &Room, name: &str) -> String {
    let (_, texts) = read_png(&room.path(name));
    let own: serde_json::Value = serde_json::from_str(&texts[1].1).unwrap();
    format!("{}|{}", own["prompt"].as_str().unwrap(), own["negative_prompt"].as_str().unwrap())
}

/// Runs with a text on standard input; its status and standard error.
fn fed(room: &Room, args: &[&str], text: &str) -> (Option<i32>, String) {
    let mut command = room.command(args);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn prompts_are_read_from_files_and_from_standard_input() {
    let room = Room::new();
    room.file("p.txt", "a red apple,\nshiny é\n".as_bytes());
    room.file("n.txt", b"blurry\r\n");
    let both = ["--prompt-file", "p.txt", "--negative-prompt-file", "n.txt", "-o", "a.png"];
    room.succeeds(&[&["txt2img"], &FAST[..], &both].concat());
    assert_eq!(prompt_of(&room, "a.png"), "a red apple,\nshiny é|blurry");
    room.succeeds(&[&["img2img", "a.png", "--prompt-file", "n.txt", "-o", "b.png"], &FAST[..]].concat());
    assert_eq!(prompt_of(&room, "b.png"), "blurry|");
    image::GrayImage::from_fn(64, 64, |x, _| image::Luma([if x > 40 { 255 } else { 0 }]))
        .save(room.path("m.png"))
        .unwrap();
    room.succeeds(
        &[&["inpaint", "a.png", "m.png", "--prompt-file", "n.txt", "-o", "c.png"], &FAST[..]].concat(),
    );
    assert_eq!(prompt_of(&room, "c.png"), "blurry|");
    let line = [&["txt2img", "--prompt-file", "-", "-o", "d.png"], &FAST[..]].concat();
    assert_eq!(fed(&room, &line, "a green pear\n").0, Some(0));
    assert_eq!(prompt_of(&room, "d.png"), "a green pear|");
    assert!(room.succeeds(&["replay", "a.png", "-o", "again.png"]).ends_with("same pixels\n"));
}

#[test]
fn prompts_that_cannot_be_read_are_one_line() {
    let room = Room::new();
    room.file("p.txt", b"a cat");
    room.file("latin1.txt", b"caf\xe9");
    room.file("large.txt", &vec![b'a'; (1 << 20) + 1]);
    let refuses = |args: &[&str], parts: &[&str]| room.refuses(&[&["txt2img"], args].concat(), parts);
    refuses(&["--prompt-file", "none.txt"], &["none.txt"]);
    refuses(&["--prompt-file", "."], &["is not a file"]);
    refuses(&["--prompt-file", "latin1.txt"], &["latin1.txt", "UTF-8"]);
    refuses(&["--prompt-file", "large.txt"], &["large.txt", "1 MiB"]);
    refuses(&["a dog", "--prompt-file", "p.txt"], &["given twice"]);
    refuses(&["-p", "a dog", "--prompt-file", "p.txt"], &["given twice"]);
    refuses(&["--prompt-file", "-", "--negative-prompt-file", "-"], &["standard input", "both"]);
}

/// As in other programs, `@FILE` is a file's text and `-` what standard input says.
#[test]
fn a_prompt_may_be_a_file_or_standard_input() {
    let room = Room::new();
    room.file("p.txt", b"a cat\n");
    room.file("n.txt", b"@p.txt\n");
    let draw = |args: &[&str], text: &str| {
        let (status, error) = fed(&room, &[&["txt2img", "-o", "a.png"], args, &FAST[..]].concat(), text);
        assert_eq!(status, Some(0), "{args:?}: {error}");
        (prompt_of(&room, "a.png"), error)
    };
    assert_eq!(draw(&["@p.txt"], "").0, "a cat|");
    assert_eq!(draw(&["-"], "a dog\n").0, "a dog|");
    assert_eq!(draw(&["-p", "-", "-n", "@p.txt"], "a dog\n").0, "a dog|a cat");
    // What a file says is said, also where it looks like a file's name.
    assert_eq!(draw(&["x", "-n", "@n.txt"], "").0, "x|@p.txt");
    assert_eq!(draw(&["--prompt-file", "n.txt"], "").0, "@p.txt|");
    // Words stay words.
    let (prompt, error) = draw(&["@home"], "");
    assert!(prompt == "@home|" && !error.contains("file"), "{prompt} {error}");
    let (prompt, error) = draw(&["@none.txt"], "");
    assert!(prompt == "@none.txt|" && error.contains("there is no file none.txt"), "{prompt} {error}");
    assert_eq!(draw(&[" @p.txt"], "").0, " @p.txt|");
    room.refuses(&["txt2img", "-", "-n", "-"], &["standard input", "both"]);
    room.refuses(&["txt2img", "-", "--negative-prompt-file", "-"], &["standard input", "both"]);
    assert!(room.succeeds(&["tokens", "@p.txt"]).contains("cat"));
}

/// A recorded prompt is never the name of a file.
#[test]
fn a_replayed_prompt_stays_as_it_is() {
    let room = Room::new();
    room.succeeds(&[&["txt2img", "@p.txt", "-o", "a.png"], &FAST[..]].concat());
    room.file("p.txt", b"a cat\n");
    assert!(room.succeeds(&["replay", "a.png", "-o", "again.png"]).ends_with("same pixels\n"));
    assert_eq!(prompt_of(&room, "again.png"), "@p.txt|");
    assert!(room.succeeds(&["replay", "a.png", "--print"]).contains("'--prompt= @p.txt'"));
}
