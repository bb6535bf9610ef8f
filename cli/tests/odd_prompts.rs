//! Prompts that no one would write, and that draw all the same; those that are refused are in `bad_files`.

use crate::common::Room;

#[track_caller]
fn draws(prompt: &str) {
    let room = Room::new();
    room.succeeds(&["txt2img", prompt, "--steps", "1", "-s", "1", "-W", "8", "-H", "8", "-o", "a.png"]);
    assert_eq!(room.files(), ["a.png"]);
}

#[test]
fn thousands_of_nested_brackets() {
    for [open, close] in [["(", ")"], ["[", "]"]] {
        draws(&format!("{}a cat{}", open.repeat(3000), close.repeat(3000)));
        draws(&open.repeat(6000));
        draws(&close.repeat(6000));
    }
}

#[test]
fn thousands_of_schedules() {
    draws(&format!("{}a{}", "[".repeat(1500), ":1]".repeat(1500)));
    draws(&format!("{}a cat", "[|".repeat(3000)));
    draws(&"[a|b]".repeat(5000));
    draws(&"[a:b:0.5".repeat(800));
    draws("a AND AND AND :1 AND :-1 AND [::] AND [|||] AND [:1] AND [::0.5] AND");
}

#[test]
fn a_prompt_of_one_long_word() {
    draws(&"a".repeat(1000));
}

#[test]
fn signs_of_every_kind() {
    draws("\u{1b}[2J \u{202e}a\u{0301}\u{fdfa} \u{10ffff} \r\n\t \\( (( ]] :1.2 ::: <lora");
}

#[test]
#[cfg(unix)]
fn bad_utf_8_is_refused() {
    use std::os::unix::ffi::OsStrExt;
    let room = Room::new();
    let bad = std::ffi::OsStr::from_bytes(b"a \xFF cat");
    let output = room.command(&["txt2img"]).arg(bad).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), error.lines().count()), (Some(2), 1), "{error}");
    assert!(error.contains("UTF-8"), "{error}");
}

#[test]
fn a_prompt_as_long_as_it_may_be() {
    draws(&"cat ".repeat(7500));
    draws(&"(cat)".repeat(7500));
    draws(&format!("cat{}", " ".repeat(65_000)));
}

#[test]
fn longer_prompts_are_refused_in_one_line() {
    let room = Room::new();
    let (long, chunks) = ("cat ".repeat(20_000), "cat ".repeat(7501));
    let (bytes, many) = ("has 78 KiB of text; the maximum is 64 KiB", "more than 100 chunks of 75 tokens");
    for command in ["txt2img", "tokens"] {
        room.refuses(&[command, &long], &["prompt: ", bytes]);
        room.refuses(&[command, &chunks], &["prompt: ", many]);
        room.refuses(&[command, &"BREAK ".repeat(101)], &["prompt: ", many]);
        room.refuses(&[command, &format!("a AND [b|{chunks}]")], &["prompt: ", many]);
    }
    room.refuses(&["txt2img", "a cat", "--negative-prompt", &long], &["negative prompt: ", bytes]);
    room.refuses(&["txt2img", "a cat", "--negative-prompt", &chunks], &[many]);
    room.refuses(&["grid", &long, "--x", "steps=1,2"], &["prompt: ", bytes]);
    let words = format!("prompt=a,{}", "b".repeat(100));
    room.refuses(&["grid", &"a ".repeat(1000), "--x", &words], &["becomes larger than 64 KiB"]);
    std::fs::create_dir(room.path("words")).unwrap();
    room.file("words/many.txt", chunks.as_bytes());
    room.refuses(&["txt2img", "__many__", "--wildcards", "words"], &[many]);
    room.refuses(&["txt2img", "__many__ __many__ __many__", "--wildcards", "words"], &["larger than 64 KiB"]);
}
