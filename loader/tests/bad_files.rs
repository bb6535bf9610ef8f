//! Single files that are no model, or a damaged or hostile one. Each is refused with one line that names the file.

use crate::common::{self, Folder, assert_refused, file, file_claiming, ones, refused_for, tensors};
use latent_loader::{Checkpoint, FileKind, LoadError, MAX_HEADER_BYTES, PickleProblem};
use std::path::Path;

/// Writes a file, asserts that it is refused, and that the same bytes in memory are refused in the same words.
pub(crate) fn refused(bytes: &[u8]) -> (LoadError, String) {
    let folder = Folder::new();
    let path = folder.write("model.safetensors", bytes);
    let (error, line) = refused_for(&path, &path);
    let embedded = Checkpoint::from_bytes(&path.display().to_string(), bytes.to_vec()).unwrap_err();
    assert_eq!(embedded.to_string(), line);
    assert!(error.is_bad_input());
    (error, line)
}

/// The kind that a file which is none of safetensors is taken for.
fn kind_of(bytes: &[u8], text: &str) -> FileKind {
    let (error, line) = refused(bytes);
    assert!(line.contains(text), "{line}");
    match error {
        LoadError::NotSafetensors { kind, .. } => kind,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn name(name: &str) -> String {
    name.to_owned()
}

pub(crate) const VALID: &str = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;

#[test]
fn a_valid_file_opens() {
    let checkpoint = Checkpoint::from_bytes("valid", file(VALID, &[0; 8])).unwrap();
    assert_eq!(checkpoint.tensors().count(), 1);
    assert_eq!(checkpoint.file_bytes(), 8 + VALID.len() as u64 + 8);
    assert_eq!(checkpoint.header_bytes(), 8 + VALID.len() as u64);
}

#[test]
fn a_header_may_end_in_spaces_and_be_without_tensors() {
    let padded = format!("{VALID}      ");
    assert!(Checkpoint::from_bytes("padded", file(&padded, &[0; 8])).is_ok());
    let empty = Checkpoint::from_bytes("no tensors", file("{}", &[])).unwrap();
    assert_eq!(empty.tensors().count(), 0);
}

#[test]
fn tensors_may_be_empty_or_single_numbers() {
    let checkpoint = Checkpoint::from_bytes(
        "odd shapes",
        tensors(&[
            ("empty", "F16", &[0, 4], Vec::new()),
            ("single", "F32", &[], vec![0; 4]),
            ("also empty", "F32", &[3, 0], Vec::new()),
        ]),
    )
    .unwrap();
    assert_eq!(checkpoint.get("single").unwrap().elements(), 1);
    assert_eq!(checkpoint.get("empty").unwrap().elements(), 0);
    assert!(checkpoint.read("also empty").unwrap().data.is_empty());
}

// What is not a file that could be read.

#[test]
fn a_missing_file_is_not_found() {
    let path = Folder::new().path("missing.safetensors");
    assert_refused!(
        path,
        path,
        LoadError::NotFound { link_to: None, .. },
        "there is no such file; check the path"
    );
}

#[cfg(unix)]
#[test]
fn a_link_to_nowhere_tells_where_it_leads() {
    let folder = Folder::new();
    let path = folder.link("model.safetensors", "gone/model.safetensors");
    assert_refused!(
        path,
        path,
        LoadError::NotFound { link_to: Some(_), .. },
        "is a link to gone/model.safetensors"
    );
}

#[cfg(unix)]
#[test]
fn a_link_to_a_file_is_followed() {
    let folder = Folder::new();
    folder.write("blob", ones(&["a"]));
    let path = folder.link("model.safetensors", "blob");
    assert!(Checkpoint::open(&path).unwrap().get("a").is_some());
}

#[test]
fn an_empty_file_is_refused() {
    let (error, line) = refused(&[]);
    assert!(matches!(error, LoadError::EmptyFile { .. }));
    assert!(line.contains("is empty; download it again"));
}

#[test]
fn a_directory_without_a_model_is_refused() {
    let folder = Folder::new();
    folder.write("models/notes.txt", "nothing");
    let path = folder.path("models");
    assert_refused!(path, path, LoadError::NoModelInFolder { .. }, "is a folder without a model");
}

#[cfg(unix)]
#[test]
fn a_pipe_is_refused_and_not_waited_for() {
    let folder = Folder::new();
    let path = folder.pipe("pipe.safetensors");
    common::without_hanging(move || {
        assert_refused!(path, path, LoadError::NotARegularFile { .. }, "is a pipe, a device or a socket");
    });
}

#[cfg(unix)]
#[test]
fn a_device_without_end_is_refused_and_not_read() {
    common::without_hanging(|| {
        let path = Path::new("/dev/zero");
        assert_refused!(path, path, LoadError::NotARegularFile { .. }, "is a pipe, a device or a socket");
    });
}

#[cfg(unix)]
#[test]
fn a_file_name_cannot_steer_the_terminal() {
    let path = Folder::new().path("a\u{1b}[2Jb\n.safetensors");
    let error = Checkpoint::open(&path).unwrap_err();
    assert!(common::line(&error).contains("a\\u{1b}[2Jb\\n.safetensors: there is no such file"));
}

// Files of other kinds.

#[test]
fn a_git_lfs_pointer_is_told_apart_from_the_model() {
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 4265380512\n";
    let kind = kind_of(pointer.as_bytes(), "run `git lfs pull` or download the file (4265380512 bytes)");
    assert_eq!(kind, FileKind::LfsPointer { size: Some(4_265_380_512) });
}

#[test]
fn a_web_page_is_told_apart_from_the_model() {
    let page = b"<!DOCTYPE html>\n<html><body>Sign in to download</body></html>";
    assert_eq!(kind_of(page, "is a web page and not a model"), FileKind::Html);
    assert_eq!(kind_of(b"\xEF\xBB\xBF\n <html>404</html>", "is a web page"), FileKind::Html);
}

/// A folder with a file in it.
fn folder_with(name: &str, bytes: &[u8]) -> (Folder, std::path::PathBuf) {
    let folder = Folder::new();
    let path = folder.write(name, bytes);
    (folder, path)
}

#[test]
fn a_pickle_is_refused_by_name() {
    let pickle = b"\x80\x02}q\x00(X\x06\x00\x00\x00weightq\x01K\x01u.";
    let path = folder_with("model.ckpt", pickle);
    let text = "is a PyTorch pickle that does not begin as PyTorch writes them";
    assert_refused!(path.1, path.1, LoadError::Pickle { problem: PickleProblem::NotPyTorch, .. }, text);
    // Of an upload only the beginning is here.
    let error = Checkpoint::of_header("upload", pickle.to_vec(), 1 << 20).unwrap_err();
    assert!(matches!(error, LoadError::NotSafetensors { kind: FileKind::Pickle, .. }));
    assert!(
        common::line(&error).contains("is a PyTorch pickle, of which only the beginning is here"),
        "{error}"
    );
}

#[test]
fn a_zip_archive_is_taken_for_a_pickle() {
    let archive = b"PK\x03\x04\x00\x00\x08\x08\x00\x00archive/data.pkl";
    let path = folder_with("model.ckpt", archive);
    let text = "is a PyTorch pickle that cannot be read: its zip archive has no directory";
    assert_refused!(path.1, path.1, LoadError::Pickle { .. }, text);
    let error = Checkpoint::of_header("upload", archive.to_vec(), 1 << 20).unwrap_err();
    assert!(
        common::line(&error).contains("is a zip archive, most likely a PyTorch pickle (.ckpt, .pt)"),
        "{error}"
    );
}

#[test]
fn a_picture_is_refused_by_name() {
    let png = b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0DIHDR";
    assert_eq!(kind_of(png, "is an image (PNG)"), FileKind::Image { format: "PNG" });
    let jpeg = b"\xFF\xD8\xFF\xE0\x00\x10JFIF\x00";
    assert_eq!(kind_of(jpeg, "is an image (JPEG)"), FileKind::Image { format: "JPEG" });
}

#[test]
fn a_gzip_archive_is_refused_by_name() {
    assert_eq!(kind_of(b"\x1F\x8B\x08\x00\x00\x00\x00\x00\x00\x03abc", "is a gzip archive"), FileKind::Gzip);
}

#[test]
fn a_configuration_is_told_apart_from_the_model() {
    assert_eq!(
        kind_of(b"{\n  \"_class_name\": \"UNet2DConditionModel\"\n}", "is a JSON text"),
        FileKind::Json
    );
}

#[test]
fn some_other_text_shows_how_it_begins() {
    let kind = kind_of(b"Access denied\nAsk the owner.", "is a text that begins with \"Access denied\"");
    assert_eq!(kind, FileKind::Text { beginning: name("Access denied") });
}

#[test]
fn space_set_aside_for_a_download_is_told_apart() {
    assert_eq!(kind_of(&[0; 4096], "a download that was not finished"), FileKind::Zeros);
}

#[test]
fn noise_is_refused() {
    let noise: Vec<u8> = (0..2000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8 | 0xC0).collect();
    assert_eq!(kind_of(&noise, "is not a safetensors file"), FileKind::Unknown);
}

// Lengths that lie.

#[test]
fn a_header_of_no_length_is_refused() {
    assert_eq!(
        kind_of(&file_claiming(0, VALID.as_bytes(), &[0; 8]), "is not a safetensors file"),
        FileKind::Unknown
    );
}

#[test]
fn a_header_longer_than_any_file_is_refused() {
    for claimed in [1 << 63, u64::MAX, u64::MAX - 7, 1 << 40] {
        let (error, line) = refused(&file_claiming(claimed, VALID.as_bytes(), &[0; 8]));
        assert!(matches!(error, LoadError::HeaderTooLarge { claimed: c, .. } if c == claimed), "{error:?}");
        assert!(line.contains(&format!("claims a header of {claimed} bytes")), "{line}");
    }
}

#[test]
fn a_header_past_the_end_of_the_file_tells_both_sizes() {
    let bytes = file_claiming(VALID.len() as u64 + 9, VALID.as_bytes(), &[0; 8]);
    let (error, line) = refused(&bytes);
    assert!(matches!(error, LoadError::HeaderPastEnd { .. }), "{error:?}");
    let (needed, actual) = (bytes.len() + 1, bytes.len());
    assert!(line.contains(&format!("expected at least {needed} bytes, have {actual}")), "{line}");
}

#[test]
fn a_header_over_the_limit_is_not_read_even_if_it_is_there() {
    let mut header = VALID.to_owned();
    header.extend(std::iter::repeat_n(' ', MAX_HEADER_BYTES as usize + 1 - VALID.len()));
    let (error, line) = refused(&file(&header, &[0; 8]));
    assert!(matches!(error, LoadError::HeaderTooLarge { .. }), "{error:?}");
    assert!(line.contains("more than the 16777216 that are read"), "{line}");

    header.pop();
    assert!(Checkpoint::from_bytes("at the limit", file(&header, &[0; 8])).is_ok());
}

#[test]
fn a_download_cut_short_tells_both_sizes() {
    let bytes = file(VALID, &[0; 7]);
    let (expected, actual) = (bytes.len() as u64 + 1, bytes.len() as u64);
    let (error, line) = refused(&bytes);
    assert!(
        matches!(error, LoadError::Truncated { expected: e, actual: a, .. } if (e, a) == (expected, actual))
    );
    assert!(
        line.contains(&format!("is cut short: expected {expected} bytes, have {actual}; download it again"))
    );
}

#[test]
fn bytes_behind_the_last_tensor_are_refused() {
    let (error, line) = refused(&file(VALID, &[0; 9]));
    assert!(matches!(error, LoadError::TrailingBytes { .. }), "{error:?}");
    let expected = 8 + VALID.len() + 8;
    assert!(line.contains(&format!("expected {expected} bytes, have {}", expected + 1)), "{line}");
}

#[test]
fn a_file_cut_at_any_length_is_refused() {
    let whole = tensors(&[
        ("first.weight", "F16", &[2, 3], vec![1; 12]),
        ("second.weight", "F32", &[4], vec![2; 16]),
        ("third.weight", "U8", &[5], vec![3; 5]),
    ]);
    assert!(Checkpoint::from_bytes("whole", whole.clone()).is_ok());
    let header_end = 8 + u64::from_le_bytes(*whole.first_chunk().unwrap());
    for length in 0..whole.len() {
        let (error, _) = refused(&whole[..length]);
        let told = match error {
            LoadError::Truncated { expected, actual, .. } => {
                length as u64 >= header_end && expected == whole.len() as u64 && actual == length as u64
            }
            LoadError::HeaderPastEnd { needed, actual, .. } => {
                (length as u64) < header_end && needed <= header_end && actual == length as u64
            }
            LoadError::EmptyFile { .. } => length == 0,
            _ => false,
        };
        assert!(told, "{error:?} at {length}");
    }
}

#[test]
fn a_file_that_shrinks_after_it_was_opened_is_an_error_and_no_signal() {
    let folder = Folder::new();
    let path = folder.write("model.safetensors", ones(&["first", "last"]));
    let checkpoint = Checkpoint::open(&path).unwrap();
    let handle = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    handle.set_len(checkpoint.file_bytes() - 1).unwrap();

    assert_eq!(checkpoint.read("first").unwrap().to_f32().unwrap(), [1.0]);
    let error = checkpoint.read("last").unwrap_err();
    assert!(matches!(&error, LoadError::Shrunk { tensor, .. } if tensor == "last"), "{error:?}");
    let line = common::line(&error);
    assert!(line.contains("model.safetensors: became shorter while tensor \"last\" was read"), "{line}");
    assert!(!error.is_bad_input());
}
