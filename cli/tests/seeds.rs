//! Seeds as other programs write them, and negative numbers as values.

use crate::common::Room;

#[test]
fn minus_one_and_random_choose_a_seed() {
    let room = Room::new();
    for seed in
        [&["-s", "-1"][..], &["--seed=-1"], &["--seed", "-1"], &["--seed", "random"], &["-s=-1"], &["-s-1"]]
    {
        let output = room.run(&[&["txt2img", "x", "--steps", "1", "-o", "a.png"], seed].concat());
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(
            output.status.success() && told.lines().any(|line| line.starts_with("seed ")),
            "{seed:?}: {told}"
        );
        assert!(room.succeeds(&["replay", "a.png"]).ends_with("has the same pixels\n"), "{seed:?}");
    }
    for bad in ["-2", "1.5", "x", "18446744073709551616", ""] {
        let flag = format!("--seed={bad}");
        room.refuses(&["txt2img", "x", &flag], &["--seed", "whole number", "-1 or random"]);
    }
}

/// A flag that takes a value takes one that begins with a minus sign and a digit, and no advice to write `--` is given
/// where that would make another argument of it.
#[test]
fn negative_numbers_are_values_of_flags() {
    let room = Room::new();
    for (flag, word) in [
        ("--steps", "steps"),
        ("--batch-count", "--batch-count"),
        ("-W", "--width"),
        ("--eta", "eta"),
        ("--s-churn", "s_churn"),
        ("--rho", "rho"),
        ("--clip-skip", "--clip-skip"),
        ("--quality", "--quality"),
        ("--cache", "--cache"),
        ("--threads", "--threads"),
        ("--hires-scale", "hires"),
        ("--crop", "--crop"),
    ] {
        let output = room.run(&["txt2img", "x", flag, "-1"]);
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{flag}: {told}");
        assert!(told.contains(word) && !told.contains("-- -1"), "{flag}: {told}");
    }
    let output = room.run(&["txt2img", "x", "--lora", "-x.safetensors"]);
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && !told.contains("'-- "), "{told}");
    assert!(told.contains("write --lora=-x.safetensors"), "{told}");
    // A prompt that begins so can be behind it.
    let output = room.run(&["txt2img", "-x-"]);
    assert!(String::from_utf8(output.stderr).unwrap().contains("use '-- -x"));
    room.succeeds(&["txt2img", "--steps", "1", "-s", "1", "-o", "a.png", "--", "-x-"]);
    // Where there is a prompt, it would be a second one.
    let output = room.run(&["txt2img", "x", "--nosuch", "1"]);
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("--nosuch") && !told.contains("use '--"), "{told}");
}
