//! What happens to the program while it runs: signals, a full disk, a reader that went away, too little memory. It ends in
//! one line and status 1, and no image is ever half there.

#![cfg(unix)]

use crate::common::{Room, read_png, until_it_draws};
use std::process::{Child, Command, Output, Stdio};

const DRAW: &[&str] = &["txt2img", "a red apple", "-s", "1", "-t", "1"];

/// Runs the program from a shell that sets a limit first.
fn limited(room: &Room, limit: &str, args: &[&str]) -> Output {
    let program = room.command(&[]);
    let mut shell = Command::new("sh");
    shell.current_dir(room.path("")).env("LATENT_DEVICE", "cpu").args([
        "-c",
        &format!("{limit}; exec \"$@\""),
        "sh",
    ]);
    shell.arg(program.get_program()).args(args).output().unwrap()
}

#[track_caller]
fn fails_in_one_line(output: &Output, part: &str) {
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(error.starts_with("latent: ") && error.contains(part), "{error}");
}

fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success());
}

#[test]
fn a_full_disk_leaves_no_file() {
    let room = Room::new();
    // No file may have more than a kilobyte, which for the program is what a full disk is.
    let output =
        limited(&room, "trap '' XFSZ; ulimit -f 1", &[DRAW, &["--steps", "1", "-o", "a.png"]].concat());
    fails_in_one_line(&output, "a.png: File too large");
    assert_eq!(room.files(), [""; 0]);
}

#[test]
fn a_image_that_was_there_stays_when_the_new_one_cannot_be_written() {
    let room = Room::new();
    room.file("a.png", b"the old one");
    let output =
        limited(&room, "trap '' XFSZ; ulimit -f 1", &[DRAW, &["--steps", "1", "-o", "a.png"]].concat());
    fails_in_one_line(&output, "a.png: File too large");
    assert_eq!(std::fs::read(room.path("a.png")).unwrap(), b"the old one");
}

#[test]
#[cfg(target_os = "linux")]
fn standard_output_that_is_full() {
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let output = Room::new().command(&["samplers"]).stdout(full).stderr(Stdio::piped()).output().unwrap();
    fails_in_one_line(&output, "standard output: No space left on device");
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let mut child =
        Room::new().command(&["samplers"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

/// An image whose parts do not fit into the memory that the program may address.
#[test]
#[cfg(target_os = "linux")]
fn too_little_memory_is_told() {
    let room = Room::new();
    let args = [DRAW, &["--steps", "1", "-W", "4096", "-H", "4096", "-o", "a.png"]].concat();
    fails_in_one_line(&limited(&room, "ulimit -v 1500000", &args), "out of memory");
    assert_eq!(room.files(), [""; 0]);
}

#[test]
fn a_polite_end_leaves_no_half_file() {
    let room = Room::new();
    let args = [DRAW, &["--steps", "1000", "--verbose"]].concat();
    let mut child = room.command(&args).stderr(Stdio::piped()).spawn().unwrap();
    until_it_draws(&mut child);
    signal(&child, "-TERM");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(room.files(), [""; 0]);
}

/// Whenever it is killed, each image that has its name is whole. What it leaves beside, the next run removes.
#[test]
fn a_killed_program_leaves_whole_images() {
    let room = Room::new();
    let mut whole = 0;
    for round in 0..6 {
        let args = [DRAW, &["--steps", "1", "-W", "8", "-H", "8", "-b", "1000", "-o", "p-%03d.png"]].concat();
        let mut child = room.command(&args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // Somewhere behind the first image, and later in each round.
        let drawn = || room.files().iter().filter(|name| name.ends_with(".png")).count();
        while drawn() <= 3 * round && child.try_wait().unwrap().is_none() {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        signal(&child, "-KILL");
        child.wait().unwrap();
        for name in room.files() {
            if name.ends_with(".png") {
                assert_eq!(read_png(&room.path(&name)).0.len(), 3 * 8 * 8, "{name}");
                whole += 1;
                std::fs::remove_file(room.path(&name)).unwrap();
            }
        }
    }
    assert!(whole > 0, "it was killed too early in every round");
}
