//! Where images are written: what is replaced, what is refused, and what gets another name.

use crate::common::{Room, read_png};
use std::path::Path;
use std::process::Stdio;

/// Flags of the smallest image.
const SMALL: [&str; 6] = ["-W", "8", "-H", "8", "--steps", "1"];

fn draw<'a>(args: &[&'a str]) -> Vec<&'a str> {
    [&["txt2img", "a cat"][..], &SMALL, args].concat()
}

fn read(room: &Room, name: &str) -> Vec<u8> {
    std::fs::read(room.path(name)).unwrap()
}

#[test]
fn a_default_name_is_never_used_again() {
    let room = Room::new();
    room.succeeds(&draw(&["-s", "1"]));
    let first = read(&room, "a-cat-1.png");
    assert_eq!(room.succeeds(&draw(&["-s", "1", "--cfg-scale", "3"])), "a-cat-1_2.png (seed 1)\n");
    assert_eq!(
        room.succeeds(&draw(&["-s", "0", "-b", "2"])),
        "a-cat-0.png (seed 0)\na-cat-1_3.png (seed 1)\n"
    );
    assert!(read(&room, "a-cat-1.png") == first && read(&room, "a-cat-1_2.png") != first);
    assert!(read(&room, "a-cat-1_3.png") == first);
    // A sheet is beside its first image; whatever has the name keeps it.
    std::fs::create_dir(room.path("a-cat-5.png")).unwrap();
    room.file("a-cat-5_2-grid.png", b"mine");
    let told = room.succeeds(&draw(&["-s", "5", "-b", "2", "--grid"]));
    assert!(
        told.starts_with("a-cat-5_2.png (seed 5)\na-cat-6.png (seed 6)\na-cat-5_2-grid_2.png ("),
        "{told}"
    );
    for (command, name) in [
        (&["upscale", "a-cat-1.png"][..], "a-cat-1-4x"),
        (&["replay", "a-cat-1.png"], "a-cat-1-replay"),
        (&[&["grid", "a cat", "--x", "steps=1,2", "-s", "4"][..], &SMALL[..4]].concat(), "grid-4"),
    ] {
        let told = [(); 2].map(|()| room.succeeds(command));
        assert!(told[0].starts_with(&format!("{name}.png (")), "{}", told[0]);
        assert!(told[1].starts_with(&format!("{name}_2.png (")), "{}", told[1]);
    }
    // A name that is given is replaced.
    room.succeeds(&draw(&["-s", "1", "--cfg-scale", "3", "-o", "a-cat-1.png"]));
    assert!(read(&room, "a-cat-1.png") != first);
    assert!(room.files().iter().all(|name| !name.starts_with('.')));
}

/// Many that are drawn at once get different names.
#[test]
fn programs_at_once_do_not_overwrite_each_other() {
    let room = Room::new();
    let children: Vec<_> = (1..9)
        .map(|scale| {
            let scale = scale.to_string();
            let mut command = room.command(&draw(&["-s", "1", "-t", "1", "--cfg-scale", &scale]));
            command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
        })
        .collect();
    let mut told: Vec<String> = children
        .into_iter()
        .zip(1..)
        .map(|(child, scale)| {
            let told = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
            let name = told.strip_suffix(" (seed 1)\n").unwrap().to_owned();
            let (_, texts) = read_png(&room.path(&name));
            assert!(texts[0].1.contains(&format!("CFG scale: {scale}, ")), "{name}: {texts:?}");
            name
        })
        .collect();
    told.sort();
    assert_eq!(told, room.files());
    assert_eq!(told.len(), 8);
}

/// The image, the preview, the enlarged image, the grid, the replayed one: each goes through a link to its file.
#[test]
#[cfg(unix)]
fn a_link_is_followed_to_a_file_and_stays() {
    let room = Room::new();
    room.succeeds(&draw(&["-s", "1", "-o", "a.png"]));
    std::fs::create_dir(room.path("real")).unwrap();
    let grid =
        [&["grid", "a cat", "--x", "steps=1,2", "-s", "4", "-o", "link.png"][..], &SMALL[..4]].concat();
    for command in [
        &draw(&["-s", "2", "-o", "link.png"])[..],
        &draw(&["-s", "2", "-o", "b.png", "--preview", "link.png"]),
        &["upscale", "a.png", "-o", "link.png"],
        &["replay", "a.png", "-o", "link.png"],
        &grid,
    ] {
        room.file("real/old.png", b"old");
        std::os::unix::fs::symlink("real/old.png", room.path("link.png")).unwrap();
        room.succeeds(command);
        assert!(room.path("link.png").is_symlink(), "{command:?}");
        assert!(!read_png(&room.path("real/old.png")).0.is_empty(), "{command:?}");
        assert_eq!(std::fs::read_dir(room.path("real")).unwrap().count(), 1, "{command:?}");
        std::fs::remove_file(room.path("link.png")).unwrap();
    }
}

/// Nothing but a file is ever replaced, whichever command writes.
#[test]
#[cfg(unix)]
fn what_is_not_a_file_is_refused_before_the_work() {
    use std::os::unix::fs::symlink;
    let room = Room::new();
    room.succeeds(&draw(&["-s", "1", "-o", "a.png"]));
    std::fs::create_dir(room.path("folder.png")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(room.path("pipe.png")).status().unwrap().success());
    let _socket = std::os::unix::net::UnixListener::bind(room.path("socket.png")).unwrap();
    symlink("/dev/null", room.path("null.png")).unwrap();
    symlink("/dev/fd/1", room.path("stdout.png")).unwrap();
    symlink("pipe.png", room.path("to-pipe.png")).unwrap();
    symlink("folder.png", room.path("to-folder.png")).unwrap();
    symlink("nothing", room.path("to-nothing.png")).unwrap();
    symlink("loop.png", room.path("loop.png")).unwrap();
    let long = format!("{}.png", "x".repeat(300));
    for (name, part) in [
        ("pipe.png", "is a device, a pipe or a socket"),
        ("socket.png", "is a device, a pipe or a socket"),
        ("null.png", "is a device, a pipe or a socket"),
        ("to-pipe.png", "is a device, a pipe or a socket"),
        ("folder.png", "is a folder"),
        ("to-folder.png", "is a folder"),
        ("new.png/", "is a folder"),
        ("new.png/.", "is a folder"),
        ("..", "is a folder"),
        ("to-nothing.png", "is a link to a file that does not exist"),
        ("loop.png", "cannot be written"),
        (&long, "cannot be written"),
        ("a.png/b.png", "the folder does not exist"),
        ("none/b.png", "the folder does not exist"),
    ] {
        let grid = [&["grid", "a cat", "--x", "steps=1,2", "-o", name][..], &SMALL[..4]].concat();
        for command in [
            &draw(&["-o", name])[..],
            &draw(&["-s", "2", "-o", "b.png", "--preview", name]),
            &["upscale", "a.png", "-o", name],
            &["replay", "a.png", "-o", name],
            &grid,
        ] {
            room.refuses(command, &[part]);
        }
    }
    // The standard output is a pipe here, and has no name.
    room.refuses(&draw(&["-o", "stdout.png"]), &["is a device, a pipe or a socket"]);
    room.refuses(&draw(&["-o", "/dev/stdout"]), &["/dev/stdout: ", ", or - for the standard output"]);
    for (name, is) in [("pipe.png", "p"), ("socket.png", "S"), ("null.png", "h"), ("to-nothing.png", "h")] {
        let test = std::process::Command::new("test").arg(format!("-{is}")).arg(room.path(name)).status();
        assert!(test.unwrap().success(), "{name} is what it was");
    }
}

/// What other programs wrote there before stays.
#[test]
#[cfg(target_os = "linux")]
fn the_file_behind_the_standard_output_is_not_replaced() {
    let room = Room::new();
    room.file("log.txt", b"what was there\n");
    room.file("model", b"");
    std::os::unix::fs::symlink("/dev/stdout", room.path("link.png")).unwrap();
    for args in [
        draw(&["-o", "/dev/stdout"]),
        draw(&["-o", "/proc/self/fd/1"]),
        draw(&["-o", "link.png"]),
        draw(&["-o", "a.png", "--preview", "/dev/stdout"]),
        vec!["convert", "model", "/dev/stdout", "-f"],
    ] {
        let log = std::fs::File::options().append(true).open(room.path("log.txt")).unwrap();
        let output = room.command(&args).stdout(log).stderr(Stdio::piped()).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {error}");
        assert!(error.contains("that a program has open"), "{error}");
        assert_eq!(std::fs::read(room.path("log.txt")).unwrap(), b"what was there\n");
    }
}

/// A device node that root owns.
#[test]
#[cfg(target_os = "linux")]
fn a_device_node_stays_one() {
    let room = Room::new();
    let node = room.path("null.png");
    let made =
        std::process::Command::new("mknod").arg(&node).args(["c", "1", "3"]).stderr(Stdio::null()).status();
    // Only root can make one, and only root could replace one.
    if made.is_ok_and(|made| made.success()) {
        room.refuses(&draw(&["-o", "null.png"]), &["is a device"]);
        room.file("a", b"");
        room.refuses(&["convert", "a", "null.png", "-f"], &["is a device"]);
        assert!(std::process::Command::new("test").arg("-c").arg(&node).status().unwrap().success());
    }
}

/// What `{seed}`, `_2` or a sheet leads to is known before the first step: not one image is drawn.
#[test]
#[cfg(unix)]
fn all_names_are_checked_before_the_first_step() {
    let room = Room::new();
    for name in ["7.png", "b_2.png", "c-001.png", "d-grid.png"] {
        std::fs::create_dir(room.path(name)).unwrap();
    }
    std::fs::create_dir(room.path("6")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(room.path("e_3.png")).status().unwrap().success());
    let long = format!("{}-{{seed}}.png", "x".repeat(249));
    for (args, part) in [
        (&["-s", "6", "-b", "2", "-o", "{seed}.png"][..], "7.png: is a folder"),
        (&["-s", "6", "-b", "2", "-o", "{seed}/a.png"], "7: the folder does not exist"),
        (&["-s", "6", "-b", "2", "-o", "b.png"], "b_2.png: is a folder"),
        (&["-s", "6", "-b", "2", "-o", "c-%03d.png"], "c-001.png: is a folder"),
        (&["-s", "6", "-b", "2", "-o", "d.png", "--grid"], "d-grid.png: is a folder"),
        (&["-s", "6", "-b", "3", "-o", "e.png"], "e_3.png: is a device, a pipe or a socket"),
        (&["-s", "9", "-b", "2", "-o", &long], "cannot be written"),
        (
            &["-s", "6", "-b", "2", "-o", "f.png", "--preview", "f.png"],
            "f.png: would be the file of two images",
        ),
    ] {
        room.refuses(&draw(args), &[part]);
    }
    let axis = ["grid", "a cat", "--x", "seed=6,7", "-o", "{seed}.png"];
    room.refuses(&[&axis[..], &SMALL].concat(), &["7.png: is a folder"]);
    // A seed that the program chooses: the line with it comes first.
    let output = room.run(&draw(&["-o", "{seed}/a.png"]));
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains("the folder does not exist") && error.lines().count() == 2, "{error}");
    // Two names of one file.
    room.file("g.png", b"old");
    std::os::unix::fs::symlink("g.png", room.path("g_2.png")).unwrap();
    room.refuses(&draw(&["-b", "2", "-o", "g.png"]), &["g_2.png: would be the file of two images"]);
    assert_eq!(read(&room, "g.png"), b"old");
    // Where all is well, the seed is in the folder's name.
    room.succeeds(&draw(&["-s", "6", "-o", "{seed}/a.png"]));
    assert!(room.path("6/a.png").is_file());
}

/// The same bytes as in a file, and nothing else.
#[test]
fn an_image_goes_to_the_standard_output() {
    let room = Room::new();
    room.succeeds(&["txt2img", "a cat", "-W", "64", "-H", "64", "--steps", "1", "-s", "1", "-o", "a.png"]);
    let one = ["--steps", "1", "-s", "1"];
    let same = [&one[..], &["-W", "64", "-H", "64"]].concat();
    for command in [
        draw(&["-s", "1"]),
        [&["img2img", "a.png", "a dog"][..], &same].concat(),
        [&["inpaint", "a.png", "a.png", "a dog"][..], &one].concat(),
        [&["outpaint", "a.png", "a dog", "--left", "8"][..], &one].concat(),
        [&["grid", "a cat", "--x", "steps=1,2", "-s", "1"][..], &SMALL[..4]].concat(),
        vec!["upscale", "a.png"],
        vec!["replay", "a.png"],
    ] {
        room.succeeds(&[&command[..], &["-o", "file.png"]].concat());
        let output = room.run(&[&command[..], &["-o", "-"]].concat());
        assert!(output.status.success(), "{command:?}");
        assert!(output.stdout == read(&room, "file.png"), "{command:?}");
    }
    assert_eq!(room.files(), ["a.png", "file.png"]);
    room.refuses(&draw(&["-o", "-", "-b", "2"]), &["standard output: takes one image"]);
    room.refuses(&draw(&["-o", "-", "--grid"]), &["standard output: takes one image"]);
    room.refuses(&draw(&["-o", "b.png", "--preview", "-"]), &["preview: ", "name a PNG file"]);
    room.refuses(&["convert", "a", "-"], &["-: a model is not written to the standard output"]);
    let mut command = room.command(&draw(&["-o", "-", "--preview", "terminal"]));
    let output = command.env("LATENT_TERMINAL", "blocks").output().unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
    // A file of that name.
    room.succeeds(&draw(&["-s", "1", "-o", "./-"]));
    assert!(room.path("-").is_file());
}

/// A reader that is gone is not one who has the image.
#[test]
#[cfg(unix)]
fn an_image_that_nobody_reads_is_a_failure() {
    let room = Room::new();
    let args = draw(&["-s", "1", "-o", "-"]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = room.command(&args).stdout(writer).stderr(Stdio::piped()).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.ends_with('\n') && error.contains("latent: standard output: "), "{error}");
    if Path::new("/dev/full").exists() {
        let full = std::fs::File::create("/dev/full").unwrap();
        assert_eq!(room.command(&args).stdout(full).output().unwrap().status.code(), Some(1));
    }
    assert!(room.files().is_empty());
}

#[test]
#[cfg(unix)]
fn permissions_are_kept_and_new_files_follow_the_umask() {
    use std::os::unix::fs::PermissionsExt;
    let room = Room::new();
    let mode = |name: &str| std::fs::metadata(room.path(name)).unwrap().permissions().mode() & 0o777;
    for (umask, expected) in [("022", 0o644), ("027", 0o640), ("077", 0o600)] {
        let program = room.command(&[]);
        let script = format!("umask {umask}; exec \"$0\" \"$@\"");
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", &script]).arg(program.get_program()).args(draw(&["-s", "1", "-o", umask]));
        let output = shell.current_dir(room.path("")).env("LATENT_DEVICE", "cpu").output().unwrap();
        assert!(output.status.success());
        assert_eq!(mode(umask), expected, "umask {umask}");
    }
    for kept in [0o600, 0o664, 0o755] {
        let path = room.file("old.png", b"old");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(kept)).unwrap();
        room.succeeds(&draw(&["-s", "1", "-o", "old.png"]));
        assert_eq!(mode("old.png"), kept);
    }
}

/// As somebody who is not root: what may not be written to stays as it is.
#[test]
#[cfg(unix)]
fn a_protected_file_is_not_replaced() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
    use std::os::unix::process::CommandExt;
    const NOBODY: u32 = 65_534;
    let room = Room::new();
    let set = |name: &str, mode| {
        std::fs::set_permissions(room.path(name), std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let is_root = std::fs::metadata(room.path("")).unwrap().uid() == 0;
    for folder in ["mine", "closed", "public"] {
        std::fs::create_dir(room.path(folder)).unwrap();
    }
    let protected = room.file("mine/protected.png", b"old");
    // Of somebody else, who lets everybody write to it, in a folder for everybody.
    room.file("public/others.png", b"old");
    let program = room.path("latent");
    std::fs::copy(env!("CARGO_BIN_EXE_latent"), &program).unwrap();
    for (name, mode) in [
        ("", 0o755),
        ("closed", 0o555),
        ("public", 0o1777),
        ("public/others.png", 0o666),
        ("mine/protected.png", 0o444),
    ] {
        set(name, mode);
    }
    if is_root {
        for path in [&room.path("mine"), &room.path("closed"), &protected] {
            chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
    }
    let status = |name: &str| {
        let mut command = std::process::Command::new(&program);
        command.args(draw(&["-s", "1", "-o", name])).current_dir(room.path("")).env("LATENT_DEVICE", "cpu");
        if is_root {
            command.uid(NOBODY).gid(NOBODY);
        }
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    for (name, part) in [
        ("mine/protected.png", "protected.png: cannot be written"),
        ("closed/new.png", "closed: cannot write there"),
        ("public/others.png", "is a file of another user"),
    ] {
        if name.starts_with("public") && !is_root {
            continue;
        }
        let (status, error) = status(name);
        assert_eq!(status, Some(2), "{name}: {error}");
        assert!(error.contains(part), "{error}");
    }
    assert_eq!(
        (read(&room, "mine/protected.png"), read(&room, "public/others.png")),
        (b"old".to_vec(), b"old".to_vec())
    );
    assert_eq!(status("mine/new.png").0, Some(0));
    assert_eq!(status("public/new.png").0, Some(0));
    set("closed", 0o755);
}
