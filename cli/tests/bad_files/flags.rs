//! Flags and prompts that cannot be followed, found before anything is drawn.

use crate::case::Case;

const GROUP: &str = "Flags";

/// Name, what follows `txt2img`, what is said.
const FLAGS: &[(&str, &[&str], &[&str])] = &[
    ("no prompt", &[], &["PROMPT"]),
    ("two prompts", &["a cat", "-p", "a dog"], &["--prompt"]),
    ("an unknown flag", &["a cat", "--strngth", "1"], &["--strngth"]),
    ("a flag without its value", &["a cat", "--steps"], &["--steps"]),
    ("a flag twice", &["a cat", "--steps", "1", "--steps", "2"], &["--steps"]),
    ("a width of 0", &["a cat", "-W", "0"], &["width", "the nearest good one is 4"]),
    ("a width that is no multiple", &["a cat", "-W", "65"], &["width", "the nearest good one is 64"]),
    ("a width of 2^31", &["a cat", "-W", "2147483648"], &["width", "the nearest good one is 8192"]),
    (
        "a width of 2^64 - 1",
        &["a cat", "-W", "18446744073709551615"],
        &["width", "the nearest good one is 8192"],
    ),
    ("a width of 2^64", &["a cat", "-W", "18446744073709551616"], &["--width"]),
    ("a negative width", &["a cat", "-W", "-8"], &["-8"]),
    ("a height of 0", &["a cat", "-H", "0"], &["height", "the nearest good one is 4"]),
    ("a height that is no multiple", &["a cat", "-H", "63"], &["height", "the nearest good one is 64"]),
    ("a height with a point", &["a cat", "-H", "64.0"], &["--height"]),
    ("no steps", &["a cat", "--steps", "0"], &["steps"]),
    ("a billion steps", &["a cat", "--steps", "1000000000"], &["steps"]),
    ("steps that are a word", &["a cat", "--steps", "many"], &["--steps", "many"]),
    ("negative steps", &["a cat", "--steps", "-1"], &["-1"]),
    ("a guidance that is NaN", &["a cat", "--cfg-scale", "NaN"], &["cfg scale", "NaN"]),
    ("a guidance that is infinite", &["a cat", "--cfg-scale", "inf"], &["cfg scale", "inf"]),
    ("a guidance of a million", &["a cat", "--cfg-scale", "1e6"], &["cfg scale", "1000000"]),
    ("a guidance that is a word", &["a cat", "--cfg-scale", "strong"], &["--cfg-scale"]),
    ("a negative seed", &["a cat", "--seed=-2"], &["--seed"]),
    ("a seed of 2^64", &["a cat", "-s", "18446744073709551616"], &["--seed"]),
    ("a clip skip of 0", &["a cat", "--clip-skip", "0"], &["clip skip"]),
    ("a clip skip beyond the layers", &["a cat", "--clip-skip", "40"], &["clip skip"]),
    ("no images", &["a cat", "--batch-count", "0"], &["batch count"]),
    ("a million images", &["a cat", "--batch-count", "1000000"], &["batch count"]),
    ("no images at once", &["a cat", "--batch-size", "0"], &["batch"]),
    ("no threads", &["a cat", "--threads", "0"], &["threads"]),
    ("a million threads", &["a cat", "--threads", "1000000"], &["threads"]),
    ("an unknown sampler", &["a cat", "--sampler", "eulre"], &["did you mean \"euler\"?"]),
    ("an unknown schedule", &["a cat", "--scheduler", "karas"], &["did you mean \"karras\"?"]),
    ("an unknown generator", &["a cat", "--rng", "gpu"], &["--rng"]),
    ("an unknown convention", &["a cat", "--compat", "comfy"], &["--compat"]),
    ("an unknown prediction", &["a cat", "--prediction", "w"], &["--prediction"]),
    ("an unknown device", &["a cat", "--device", "tpu"], &["--device"]),
    (
        "a model that is a name of nothing",
        &["a cat", "-m", "dreams", "--models-dir", "."],
        &["dreams", "no such file"],
    ),
    (
        "an output in a folder that is missing",
        &["a cat", "-o", "nowhere/cat.png"],
        &["nowhere", "does not exist"],
    ),
    ("an output that is a folder", &["a cat", "-o", "."], &["is a folder"]),
    ("an output that ends as a folder", &["a cat", "-o", "cat/"], &["is a folder"]),
    ("an output without a name", &["a cat", "-o", ""], &["--output"]),
];

pub(crate) fn all() -> Vec<Case> {
    let flag = |(name, args, says): &(&str, &[&str], &[&str])| {
        Case::flags(GROUP, name, &[&["txt2img"], *args].concat(), says)
    };
    let mut cases: Vec<_> = FLAGS.iter().map(flag).collect();
    let long_name = format!("{}.png", "n".repeat(300));
    cases.push(Case::flags(
        GROUP,
        "an output with a name of 300 letters",
        &["txt2img", "a cat", "-o", &long_name],
        &["nnn", "cannot be written", "name another file"],
    ));
    cases.push(Case::flags(GROUP, "an unknown command", &["text2image", "a cat"], &["text2image"]));
    #[cfg(unix)]
    {
        let device = "is a device, a pipe or a socket";
        cases.push(Case::flags(
            GROUP,
            "an output that is a device",
            &["txt2img", "a cat", "-o", "/dev/full"],
            &["/dev/full", device],
        ));
        let pipe = |room: &crate::Room| {
            assert!(std::process::Command::new("mkfifo").arg(room.path("pipe")).status().unwrap().success());
        };
        cases.push(
            Case::flags(
                GROUP,
                "an output that is a pipe",
                &["txt2img", "a cat", "-o", "pipe"],
                &["pipe", device],
            )
            .made(pipe),
        );
    }
    #[cfg(target_os = "linux")]
    cases.push(Case::flags(
        GROUP,
        "an output where nothing can be written",
        &["txt2img", "a cat", "-o", "/proc/cat.png"],
        &["/proc", "cannot write there"],
    ));
    cases
}
