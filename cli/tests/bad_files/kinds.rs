//! What people give in place of a checkpoint: files of other kinds, downloads that failed, things that are no file.

use crate::case::{Case, FILE};

const LFS: &str = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 2132625612\n";

/// Name, beginning of the file, what is said.
const KINDS: &[(&str, &[u8], &str)] = &[
    ("an empty file", b"", "is empty; download it again"),
    ("one byte", b"\x01", "ends inside its header"),
    ("seven bytes", b"\x10\0\0\0\0\0\0", "ends inside its header"),
    ("a Git LFS pointer", LFS.as_bytes(), "run `git lfs pull` or download the file (2132625612 bytes)"),
    (
        "a Git LFS pointer with Windows line ends",
        b"version https://git-lfs.github.com/spec/v1\r\noid sha256:4d7a\r\nsize 12\r\n",
        "Git LFS pointer",
    ),
    ("a Git LFS pointer without a size", b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
    ("a web page", b"<!DOCTYPE html>\n<html><body>Sign in</body></html>", "is a web page"),
    ("a web page behind a byte order mark", b"\xEF\xBB\xBF\n <html>404</html>", "is a web page"),
    ("an XML error of a store", b"<?xml version=\"1.0\"?><Error>AccessDenied</Error>", "is a web page"),
    (
        "a pickle of protocol 2",
        b"\x80\x02}q\x00(X\x0a\x00\x00\x00state_dictq\x01}q\x02u.",
        "is a PyTorch pickle",
    ),
    ("a pickle of protocol 4", b"\x80\x04\x95\x0b\0\0\0\0\0\0\0}\x94.", "is a PyTorch pickle"),
    (
        "a zip archive of PyTorch",
        b"PK\x03\x04\0\0\x08\x08\0\0archive/data.pkl",
        "its zip archive has no directory",
    ),
    (
        "an empty zip archive",
        b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        "it is a zip archive without a data.pkl",
    ),
    ("a GGUF model", b"GGUF\x03\0\0\0\x7B\0\0\0\0\0\0\0", "ends inside its header"),
    ("a GGML model", b"lmgg\x01\0\0\0\0\0\0\0", "is a GGML model"),
    ("a GGML model of the second kind", b"tjgg\x03\0\0\0\0\0\0\0", "is a GGML model"),
    ("a PNG image", b"\x89PNG\r\n\x1a\n\0\0\0\x0DIHDR", "is an image (PNG)"),
    ("a JPEG image", b"\xFF\xD8\xFF\xE0\0\x10JFIF\0", "is an image (JPEG)"),
    ("a WebP image", b"RIFF\x24\0\0\0WEBPVP8 ", "is an image (WebP)"),
    ("a GIF image", b"GIF89a\x01\0\x01\0", "is an image (GIF)"),
    ("a gzip archive", b"\x1F\x8B\x08\0\0\0\0\0\0\x03abc", "is a gzip archive"),
    ("a zstd archive", b"\x28\xB5\x2F\xFD\x04\0\0\0\0\0", "is a zstd archive"),
    ("an xz archive", b"\xFD7zXZ\0\0\x04\0\0", "is a xz archive"),
    ("a bzip2 archive", b"BZh91AY&SY\0\0", "is a bzip2 archive"),
    ("a 7z archive", b"7z\xBC\xAF\x27\x1C\0\x04\0\0", "is a 7z archive"),
    ("a rar archive", b"Rar!\x1A\x07\x01\0\0\0", "is a rar archive"),
    ("a Keras model", b"\x89HDF\r\n\x1a\n\0\0\0\0", "is a Keras model (HDF5)"),
    ("a PDF document", b"%PDF-1.7\n%\xE2\xE3\xCF\xD3\n", "is a PDF document"),
    ("a program", b"\x7fELF\x02\x01\x01\0\0\0\0\0", "is a program"),
    ("a program of Windows", b"MZ\x90\0\x03\0\0\0\x04\0\0\0", "is a program"),
    ("a configuration", b"{\n  \"_class_name\": \"UNet2DConditionModel\"\n}", "is a JSON text"),
    ("a JSON list", b"[1, 2, 3, 4, 5]", "is a JSON text"),
    ("a JSON text behind a byte order mark", b"\xEF\xBB\xBF{\"error\": \"not found\"}", "is a JSON text"),
    ("a message of a server", b"Access denied\nAsk the owner.", "begins with \"Access denied\""),
    ("a message that is one line", b"Entry not found", "begins with \"Entry not found\""),
    ("a text with escapes of a terminal", b"\x1b[2J\x1b[H is not shown", "is not a safetensors file"),
    ("text of UTF-16", b"\xFF\xFE<\0h\0t\0m\0l\0>\0", "is not a safetensors file"),
    ("a message of protocol buffers", b"\x08\x07\x12\x07pytorch\x1a\x05\x31.0", "is not a safetensors file"),
];

pub(crate) fn all() -> Vec<Case> {
    const GROUP: &str = "Files of other kinds";
    let kind = |(name, bytes, says): &(&str, &'static [u8], &str)| {
        let bytes = *bytes;
        Case::file(GROUP, name, move || bytes.to_vec(), &[says])
    };
    let mut cases: Vec<_> = KINDS.iter().map(kind).collect();
    let zeros = "begins with zeros: a download that was not finished";
    cases.push(Case::file(GROUP, "zeros", || vec![0; 4096], &[zeros]));
    cases.push(Case::file(GROUP, "a tar archive", tar, &["is a tar archive"]));
    cases.push(Case::file(GROUP, "noise", noise, &["is not a safetensors file"]));
    let none = |_: &crate::Room| ();
    cases.push(Case::path(GROUP, "a missing file", "no.safetensors", none, &["there is no such file"]));
    cases.push(Case::path(GROUP, "an empty name", "", none, &["a value is required"]));
    #[cfg(unix)]
    cases.extend(not_files(GROUP));
    cases
}

#[cfg(unix)]
fn not_files(group: &'static str) -> Vec<Case> {
    let link = |target: &'static str| {
        move |room: &crate::Room| std::os::unix::fs::symlink(target, room.path(FILE)).unwrap()
    };
    let pipe = |room: &crate::Room| {
        assert!(std::process::Command::new("mkfifo").arg(room.path(FILE)).status().unwrap().success());
    };
    let device = "is a pipe, a device or a socket";
    let none = |_: &crate::Room| ();
    vec![
        Case::path(
            group,
            "a link to nowhere",
            FILE,
            link("gone/x.safetensors"),
            &["is a link to gone/x.safe"],
        ),
        Case::path(group, "a link to itself", FILE, link(FILE), &["cannot open it"]),
        Case::path(group, "a pipe", FILE, pipe, &[device]),
        Case::path(group, "a device without an end", "/dev/zero", none, &[device]),
        Case::path(group, "a device without a beginning", "/dev/null", none, &[device]),
        Case::path(
            group,
            "a name that steers the terminal",
            "a\u{1b}[2J\n.safetensors",
            none,
            &["a\\u{1b}[2J\\n"],
        ),
    ]
}

fn tar() -> Vec<u8> {
    let mut bytes = vec![0; 1024];
    bytes[..9].copy_from_slice(b"unet/file");
    bytes[257..262].copy_from_slice(b"ustar");
    bytes
}

fn noise() -> Vec<u8> {
    (0..2000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8 | 0xC0).collect()
}
