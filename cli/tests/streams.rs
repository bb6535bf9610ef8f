//! Standard output and standard error that are full, closed, or a pipe whose reader left: no command panics, images and
//! models are written as ever, and the exit status says whether output was lost.

#![cfg(unix)]

use crate::common::{Room, demo};
use std::path::Path;
use std::process::{Command, Stdio};

/// What takes nothing, or nothing any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sink {
    /// A pipe whose reader left.
    Left,
    /// No stream at all.
    Closed,
    /// A device that is full.
    #[cfg(target_os = "linux")]
    Full,
}

const SINKS: &[Sink] = &[
    Sink::Left,
    Sink::Closed,
    #[cfg(target_os = "linux")]
    Sink::Full,
];

impl Sink {
    /// A stream for a program; nothing where a shell has to close it.
    fn stream(self) -> Stdio {
        match self {
            Sink::Left => std::io::pipe().unwrap().1.into(),
            Sink::Closed => Stdio::null(),
            #[cfg(target_os = "linux")]
            Sink::Full => std::fs::File::options().write(true).open("/dev/full").unwrap().into(),
        }
    }

    /// The exit status of a command whose standard output this is.
    fn status_of_output(self) -> i32 {
        match self {
            // A closed one is the null device, and whoever left has what they wanted.
            Sink::Left | Sink::Closed => 0,
            #[cfg(target_os = "linux")]
            Sink::Full => 1,
        }
    }
}

/// The exit status of a command with such streams; `None` is one that is read. What they let through is checked for panics.
#[track_caller]
fn status(room: &Room, args: &[&str], output: Option<Sink>, error: Option<Sink>) -> i32 {
    let closed = |sink: Option<Sink>, what| if sink == Some(Sink::Closed) { what } else { "" };
    let program = room.command(&[]);
    let mut shell = Command::new("sh");
    shell.current_dir(room.path("")).env("LATENT_TERMINAL", "sixel");
    shell.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let script = format!("exec \"$@\" {} {}", closed(output, ">&-"), closed(error, "2>&-"));
    shell.args(["-c", &script, "sh"]).arg(program.get_program()).args(args);
    shell.stdout(output.map_or(Stdio::piped(), Sink::stream));
    shell.stderr(error.map_or(Stdio::piped(), Sink::stream));
    let done = shell.spawn().unwrap().wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&done.stderr);
    assert!(!text.contains("panicked"), "{args:?}: {text}");
    done.status.code().unwrap_or_else(|| panic!("{args:?}: {:?}", done.status))
}

/// Each kind in place of either stream, and of both.
fn pairs() -> impl Iterator<Item = (Option<Sink>, Option<Sink>)> {
    let all = SINKS.iter().copied().map(Some);
    all.flat_map(|sink| [(sink, None), (None, sink), (sink, sink)])
}

/// Runs a command with all pairs of streams; `check` looks at what it left, which is removed.
#[track_caller]
fn with_all_streams(room: &Room, args: &[&str], check: impl Fn()) {
    for (output, error) in pairs() {
        let got = status(room, args, output, error);
        let expected = output.map_or(0, Sink::status_of_output);
        assert_eq!(got, expected, "{args:?}, standard output {output:?}, standard error {error:?}");
        check();
    }
}

#[test]
fn commands_that_print() {
    let room = Room::new();
    room.file("model.safetensors", &demo());
    room.succeeds(&[
        "txt2img",
        "a red apple",
        "-s",
        "1",
        "--steps",
        "1",
        "-W",
        "8",
        "-H",
        "8",
        "-o",
        "a.png",
    ]);
    for args in [
        &["--help"][..],
        &["--version"],
        &["txt2img", "--help"],
        &["samplers"],
        &["samplers", "--json"],
        &["models"],
        &["tokens", "a cat"],
        &["completions", "bash"],
        &["man"],
        &["devices"],
        &["inspect", "model.safetensors"],
        &["metadata", "a.png"],
        &["replay", "a.png", "--print"],
    ] {
        with_all_streams(&room, args, || {});
    }
}

#[test]
fn an_error_that_nobody_reads_has_its_status() {
    let room = Room::new();
    for (output, error) in pairs() {
        for (args, expected) in [
            (&["inspect", "nothing.safetensors"][..], 2),
            (&["txt2img", "a cat", "--steps", "many"], 2),
            (&[], 2),
            (&["metadata", "nothing.png"], 2),
        ] {
            assert_eq!(status(&room, args, output, error), expected, "{args:?}, {output:?}, {error:?}");
        }
    }
}

/// Runs a command that writes a file, which is the same whatever becomes of the streams.
#[track_caller]
fn writes(room: &Room, args: &[&str], file: &str) {
    let path = room.path(file);
    assert_eq!(status(room, args, None, None), 0, "{args:?}");
    let whole = std::fs::read(&path).unwrap();
    let take = |path: &Path| {
        let found = std::fs::read(path).unwrap_or_default();
        let _ = std::fs::remove_file(path);
        found
    };
    take(&path);
    with_all_streams(room, args, || assert!(take(&path) == whole, "{args:?}: another {file}"));
}

#[test]
fn images_are_drawn_whatever_becomes_of_the_streams() {
    let room = Room::new();
    const SMALL: &[&str] = &["-s", "1", "--steps", "2", "-W", "8", "-H", "8", "-t", "1024"];
    let args = |first: &[&'static str], rest: &[&'static str]| [first, SMALL, rest].concat();
    writes(&room, &args(&["txt2img", "a cat"], &["-v", "-o", "a.png", "--preview", "terminal"]), "a.png");
    writes(&room, &args(&["grid", "a cat"], &["--x", "steps=1,2", "-o", "grid.png"]), "grid.png");
    room.succeeds(&args(&["txt2img", "a cat"], &["-o", "a.png"]));
    let from_image = ["img2img", "a.png", "a cat", "-s", "1", "--steps", "2", "-v", "-o", "b.png"];
    writes(&room, &from_image, "b.png");
    writes(&room, &["replay", "a.png", "-o", "c.png"], "c.png");
    writes(&room, &["upscale", "a.png", "-o", "d.png", "-v", "-t", "1024"], "d.png");
}

#[test]
fn a_model_is_converted_whatever_becomes_of_the_streams() {
    let room = Room::new();
    room.file("model.safetensors", &demo());
    writes(
        &room,
        &["convert", "model.safetensors", "new.safetensors", "--dtype", "bf16", "-t", "1024"],
        "new.safetensors",
    );
}
