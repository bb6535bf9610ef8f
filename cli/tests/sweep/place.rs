//! The folders around a command: the one that it runs in is full of odd things, and beside it is what belongs to a person.

use super::tree::{Tree, tree};
use crate::common::{Room, synthetic};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use tempfile::TempDir;

/// Bytes of a file that holds next to none of them.
const SPARSE: u64 = 5 << 30;
/// The user `nobody`, and a user that is neither it nor root.
const NOBODY: u32 = 65534;
const ANOTHER: u32 = 1;

/// Who runs the commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Person {
    /// Who runs the tests: root, or a plain user.
    Tester,
    /// A plain user, where root runs the tests.
    Nobody,
}

/// Folders in which one command after the other runs.
pub(super) struct Place {
    folder: TempDir,
    person: Person,
    is_root: bool,
}

/// The models that commands succeed with, and the families of their contents.
const MODELS: [(&str, &str); 2] = [("input.safetensors", "sd15"), ("edit.safetensors", "sd15-pix2pix")];

/// The contents of most images and safetensors files that are there.
fn contents(extension: &str) -> &'static [u8] {
    static IMAGE: OnceLock<Vec<u8>> = OnceLock::new();
    static MODEL: OnceLock<Vec<u8>> = OnceLock::new();
    match extension {
        "png" => IMAGE.get_or_init(image),
        _ => MODEL.get_or_init(|| synthetic("lora-sd15-kohya")),
    }
}

/// An image that the program drew, which it can draw again.
fn image() -> Vec<u8> {
    let room = Room::new();
    let size = ["--width=8", "--height=8", "--steps=1"];
    room.succeeds(&[&["txt2img", "a cat", "-s", "1", "-o", "a.png"], &size[..]].concat());
    std::fs::read(room.path("a.png")).unwrap()
}

/// Names of odd things for a flag that takes files with an extension, with what they are. All exist, except where that is
/// what is odd.
pub(super) fn odd_paths(extension: &str) -> Vec<(&'static str, OsString)> {
    let named = |name: &str| OsString::from(format!("{name}.{extension}"));
    let mut not_utf8 = vec![b'b', 0xff, b'.'];
    not_utf8.extend_from_slice(extension.as_bytes());
    vec![
        ("nothing", OsString::new()),
        ("this folder", ".".into()),
        ("the folder above", "..".into()),
        ("the root", "/".into()),
        ("an empty folder", named("folder")),
        ("a full folder", named("full")),
        ("a file in place of a folder", named("letter.txt/x")),
        ("a missing folder", named("missing/x")),
        ("a new name", named("fresh")),
        ("a long name", named(&"n".repeat(300))),
        ("a line break", named("line\nbreak")),
        ("right to left", named("right\u{202e}left")),
        ("not UTF-8", OsString::from_vec(not_utf8)),
        ("a dash in front", named("-dash")),
        ("only an extension", format!(".{extension}").into()),
        ("a pipe", named("pipe")),
        ("a socket", named("socket")),
        ("a link to a file", named("link")),
        ("a link to nothing", named("dangling")),
        ("a link in a circle", named("circle")),
        ("a link to a folder", named("link-to-folder")),
        ("a device", named("device")),
        ("a link to a device", named("link-to-device")),
        ("a link to a pipe", named("link-to-pipe")),
        ("a file to be read only", named("read-only")),
        ("a folder to be read only", named("read-only-folder/x")),
        ("another person's file", named("another's")),
        ("the input", named("input")),
        ("a sparse file of 5 GB", named("sparse")),
        ("an empty file", named("empty")),
        ("text", named("text")),
        ("standard input or output", "-".into()),
    ]
}

impl Place {
    pub(super) fn new(person: Person) -> Place {
        let folder = TempDir::new().unwrap();
        allow(folder.path(), 0o755);
        let is_root = std::fs::metadata(folder.path()).unwrap().uid() == 0 && person == Person::Tester;
        let place = Place { folder, person, is_root };
        std::fs::create_dir(place.folder.path().join("models")).unwrap();
        for (name, family) in MODELS {
            std::fs::write(place.folder.path().join("models").join(name), synthetic(family)).unwrap();
        }
        place.build();
        place
    }

    /// The folder that all is in which may not change.
    pub(super) fn around(&self) -> PathBuf {
        self.folder.path().canonicalize().unwrap().join("around")
    }

    /// The folder that commands run in.
    pub(super) fn room(&self) -> PathBuf {
        self.around().join("room")
    }

    pub(super) fn tree(&self) -> Tree {
        tree(&self.around())
    }

    /// What a command prints, beside all.
    pub(super) fn printed(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Makes all anew.
    pub(super) fn build(&self) {
        let (around, room) = (self.around(), self.room());
        if around.exists() {
            // A command may have removed it.
            let _ = std::fs::set_permissions(room.join("read-only-folder"), PermissionsExt::from_mode(0o755));
            std::fs::remove_dir_all(&around).unwrap();
        }
        for folder in
            ["room", "home/photos", "home/.local/share/latent", "home/.cache", "temporary", "letters"]
        {
            std::fs::create_dir_all(around.join(folder)).unwrap();
        }
        for file in
            ["home/thesis.txt", "home/photos/a.png", "home/.profile", "letters/one.txt", "neighbour.png"]
        {
            std::fs::write(around.join(file), file).unwrap();
        }
        for folder in ["folder", "read-only-folder"] {
            std::fs::create_dir(room.join(folder)).unwrap();
        }
        std::fs::write(room.join("letter.txt"), "a letter").unwrap();
        image::GrayImage::from_pixel(8, 8, image::Luma([255])).save(room.join("mask.png")).unwrap();
        for extension in ["png", "safetensors"] {
            self.odd_things(&room, extension);
        }
        for (name, _) in MODELS {
            // They are large. What writes into one changes its time.
            let _ = std::fs::remove_file(room.join(name));
            std::fs::hard_link(self.folder.path().join("models").join(name), room.join(name)).unwrap();
        }
        if self.person == Person::Nobody {
            let others = tree(&around);
            let others = others.keys().filter(|path| !name(path).as_bytes().starts_with(b"another's"));
            others.for_each(|path| lchown(path, Some(NOBODY), Some(NOBODY)).unwrap());
        }
        allow(&room.join("read-only-folder"), 0o555);
    }

    fn odd_things(&self, room: &Path, extension: &str) {
        let path = |name: &str| room.join(format!("{name}.{extension}"));
        let write = |path: PathBuf| std::fs::write(path, contents(extension));
        for name in
            ["input", "read-only", "another's", "line\nbreak", "right\u{202e}left", "-dash", "target", ""]
        {
            write(path(name)).unwrap();
        }
        // Where the file system takes such names: macOS does not.
        let mut not_utf8 = vec![b'b', 0xff, b'.'];
        not_utf8.extend_from_slice(extension.as_bytes());
        let _ = write(room.join(OsStr::from_bytes(&not_utf8)));
        std::fs::write(path("empty"), "").unwrap();
        std::fs::write(path("text"), "a letter to a friend\n".repeat(50)).unwrap();
        std::fs::File::create(path("sparse")).unwrap().set_len(SPARSE).unwrap();
        for (folder, file) in [("folder", None), ("full", Some("thesis.docx")), ("below", Some("diary.txt"))]
        {
            std::fs::create_dir(path(folder)).unwrap();
            file.into_iter().for_each(|file| std::fs::write(path(folder).join(file), "words").unwrap());
        }
        write(room.join("read-only-folder").join(format!("x.{extension}"))).unwrap();
        let links = [
            ("link", "target"),
            ("dangling", "nowhere"),
            ("circle", "circle"),
            ("link-to-folder", "full"),
            ("link-to-device", "device"),
            ("link-to-pipe", "pipe"),
        ];
        for (from, to) in links {
            symlink(format!("{to}.{extension}"), path(from)).unwrap();
        }
        // The name of a socket may be too long where the folder of temporary files is deep.
        let _ = UnixListener::bind(path("socket"));
        assert!(runs(Command::new("mkfifo").arg(path("pipe"))));
        if !self.is_root {
            symlink("/dev/null", path("device")).unwrap();
        } else if !runs(Command::new("mknod").arg(path("device")).args(["c", "1", "3"])) {
            // A container may make none. Root must not be led to the system's own.
            std::fs::write(path("device"), "").unwrap();
        }
        if self.is_root {
            lchown(path("another's"), Some(ANOTHER), Some(ANOTHER)).unwrap();
        }
        allow(&path("read-only"), 0o444);
        allow(&path("another's"), if self.person == Person::Nobody || self.is_root { 0o600 } else { 0o000 });
    }
}

fn name(path: &Path) -> &OsStr {
    path.file_name().unwrap_or_default()
}

fn allow(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn runs(command: &mut Command) -> bool {
    command.stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// A command of a person, who is at home beside the folder that it runs in.
pub(super) fn command(place: &Place, program: &Path) -> Command {
    let around = place.around();
    let mut command = Command::new(program);
    command.current_dir(place.room()).env_clear().stdin(Stdio::null());
    command.env("HOME", around.join("home")).env("TMPDIR", around.join("temporary"));
    command.env("XDG_RUNTIME_DIR", env!("CARGO_TARGET_TMPDIR")).env("LATENT_DEVICE", "cpu");
    if place.person == Person::Nobody {
        use std::os::unix::process::CommandExt;
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}
