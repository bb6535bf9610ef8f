//! Single files that are no model, or a damaged or hostile one. Each is refused with one line that names the file.

use crate::common::{self, Folder, assert_refused, file, file_claiming, ones, refused_for, tensors};
use latent_loader::{
    Checkpoint, DType, FileKind, HeaderProblem, LoadError, MAX_HEADER_BYTES, MAX_METADATA_ENTRIES,
    MAX_NAME_BYTES, MAX_RANK, MAX_TENSORS,
};
use std::path::Path;

/// Writes a file, asserts that it is refused, and that the same bytes in memory are refused in the same words.
fn refused(bytes: &[u8]) -> (LoadError, String) {
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

/// What is wrong with a header that has `data` bytes behind it.
fn problem_of(header: &str, data: usize, text: &str) -> HeaderProblem {
    let (error, line) = refused(&file(header, &vec![0; data]));
    assert!(line.contains(text), "{line}");
    match error {
        LoadError::Header { problem, .. } => problem,
        other => panic!("{other:?}"),
    }
}

/// The message of a header that is no JSON of the format.
fn bad_json(header: &str, text: &str) {
    let problem = problem_of(header, 8, text);
    assert!(matches!(problem, HeaderProblem::BadJson { .. }), "{problem:?}");
}

fn name(name: &str) -> String {
    name.to_owned()
}

const VALID: &str = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;

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

#[test]
fn a_pickle_is_refused_by_name() {
    let pickle = b"\x80\x02}q\x00(X\x06\x00\x00\x00weightq\x01K\x01u.";
    assert_eq!(kind_of(pickle, "is a PyTorch pickle, which can run code"), FileKind::Pickle);
}

#[test]
fn a_zip_archive_is_taken_for_a_pickle() {
    let archive = b"PK\x03\x04\x00\x00\x08\x08\x00\x00archive/data.pkl";
    assert_eq!(
        kind_of(archive, "is a zip archive, most likely a PyTorch pickle (.ckpt, .pt)"),
        FileKind::Zip
    );
}

#[test]
fn a_gguf_model_is_refused_by_name() {
    let gguf = b"GGUF\x03\x00\x00\x00\x7B\x00\x00\x00\x00\x00\x00\x00";
    assert_eq!(kind_of(gguf, "is a GGUF model, which is not read"), FileKind::Gguf);
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

// Headers that are no JSON, or JSON of another form.

#[test]
fn a_header_that_is_no_text_tells_the_place() {
    let mut header = VALID.as_bytes().to_vec();
    header[5] = 0xFF;
    let (error, line) = refused(&file_claiming(header.len() as u64, &header, &[0; 8]));
    let problem = HeaderProblem::BadUtf8 { offset: 5 };
    assert!(matches!(error, LoadError::Header { problem: p, .. } if p == problem));
    assert!(line.contains("its header is not UTF-8 text at byte 5"), "{line}");
}

#[test]
fn white_space_before_the_header_is_refused() {
    for space in [" ", "\n", "\t", "\r"] {
        let problem =
            problem_of(&format!("{space}{VALID}"), 8, "begins with white space, which the format forbids");
        assert_eq!(problem, HeaderProblem::LeadingWhitespace);
    }
}

#[test]
fn broken_json_tells_the_place() {
    bad_json("{\"a\":", "EOF while parsing");
    bad_json("{\"a\" 1}", "at line 1 column 6");
    bad_json(&VALID[..VALID.len() - 1], "EOF while parsing");
    bad_json("{'a':1}", "key must be a string");
    bad_json(&format!("{VALID}{VALID}"), "trailing characters");
    bad_json(&format!("{VALID}\0\0"), "trailing characters");
}

#[test]
fn json_of_another_form_is_refused() {
    bad_json(r#"{"a":1}"#, "expected a table with dtype, shape and data_offsets");
    bad_json(r#"{"a":["F32",[2],[0,8]]}"#, "expected a table with dtype");
    bad_json(r#"{"a":{"dtype":7,"shape":[2],"data_offsets":[0,8]}}"#, "expected the name of a dtype");
    bad_json(r#"{"a":{"dtype":"F32","shape":2,"data_offsets":[0,8]}}"#, "expected a list of dimensions");
    bad_json(r#"{"a":{"dtype":"F32","shape":["2"],"data_offsets":[0,8]}}"#, "expected u64");
    bad_json(r#"{"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}}"#, "expected u64");
    bad_json(r#"{"a":{"dtype":"F32","shape":[2.0],"data_offsets":[0,8]}}"#, "expected u64");
    bad_json(r#"{"a":{"dtype":"F32","shape":[99999999999999999999],"data_offsets":[0,8]}}"#, "expected u64");
    bad_json(r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":{"0":8}}}"#, "expected a list of two offsets");
}

#[test]
fn what_the_parser_quotes_from_a_hostile_file_is_cut() {
    let long = "x".repeat(1 << 20);
    bad_json(&format!(r#"{{"a":{{"dtype":"F32","shape":"{long}","data_offsets":[0,8]}}}}"#), "invalid type");
    bad_json(&format!(r#"{{"a":"{long}"}}"#), "invalid type");
}

#[test]
fn deep_nesting_ends_at_once() {
    let deep = "[".repeat(1 << 20);
    let tables = r#"{"a":"#.repeat(100_000);
    bad_json(&format!(r#"{{"a":{deep}"#), "invalid type: sequence");
    bad_json(&format!(r#"{{"a":{{"dtype":{deep}"#), "invalid type: sequence");
    bad_json(&format!(r#"{{"a":{{"dtype":"F32","shape":{deep}"#), "invalid type: sequence");
    let problem = problem_of(&format!(r#"{{"a":{{"b":{tables}"#), 0, "unknown field \"b\"");
    assert!(matches!(problem, HeaderProblem::UnknownField { .. }));
    let problem = problem_of(&format!(r#"{{"__metadata__":{{"b":{tables}"#), 0, "metadata \"b\"");
    assert!(matches!(problem, HeaderProblem::MetadataNotText { .. }));
}

// Names and fields.

#[test]
fn an_unknown_number_format_is_named() {
    let header = r#"{"net.weight":{"dtype":"F8_E9M9","shape":[8],"data_offsets":[0,8]}}"#;
    let problem = problem_of(header, 8, "gives tensor \"net.weight\" the unknown dtype \"F8_E9M9\"");
    assert_eq!(problem, HeaderProblem::UnknownDType { tensor: name("net.weight"), dtype: name("F8_E9M9") });
}

#[test]
fn two_tensors_of_one_name_are_refused() {
    let twice = HeaderProblem::DuplicateName { name: name("a") };
    let header = r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},
                     "a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#;
    assert_eq!(problem_of(header, 8, "its header names \"a\" twice"), twice);
}

#[test]
fn a_name_that_is_written_differently_is_still_the_same() {
    let twice = HeaderProblem::DuplicateName { name: name("a") };
    let header = r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},
                     "\u0061":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#;
    assert_eq!(problem_of(header, 8, "its header names \"a\" twice"), twice);
}

#[test]
fn two_tensors_of_one_name_and_place_are_told_by_their_name() {
    let twice = HeaderProblem::DuplicateName { name: name("a") };
    let entry = r#""a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}"#;
    assert_eq!(problem_of(&format!("{{{entry},{entry}}}"), 8, "its header names \"a\" twice"), twice);
}

#[test]
fn two_tables_of_metadata_are_refused() {
    let header = r#"{"__metadata__":{},"__metadata__":{}}"#;
    let problem = problem_of(header, 0, "its header names \"__metadata__\" twice");
    assert_eq!(problem, HeaderProblem::DuplicateName { name: name("__metadata__") });
}

#[test]
fn two_entries_of_the_metadata_of_one_name_are_refused() {
    let problem =
        problem_of(r#"{"__metadata__":{"format":"pt","format":"np"}}"#, 0, "names \"format\" twice");
    assert_eq!(problem, HeaderProblem::DuplicateName { name: name("format") });
}

#[test]
fn an_unknown_field_is_named() {
    let header = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"strides":[1]}}"#;
    let problem = problem_of(header, 8, "gives tensor \"a\" an unknown field \"strides\"");
    assert_eq!(problem, HeaderProblem::UnknownField { tensor: name("a"), field: name("strides") });
}

#[test]
fn a_field_given_twice_is_refused() {
    for (field, value) in [("dtype", r#""F32""#), ("shape", "[2]"), ("data_offsets", "[0,8]")] {
        let header =
            format!(r#"{{"a":{{"dtype":"F32","shape":[2],"data_offsets":[0,8],"{field}":{value}}}}}"#);
        let problem = problem_of(&header, 8, &format!("gives tensor \"a\" two fields \"{field}\""));
        assert_eq!(problem, HeaderProblem::DuplicateField { tensor: name("a"), field });
    }
}

#[test]
fn a_field_left_out_is_named() {
    for (field, header) in [
        ("dtype", r#"{"a":{"shape":[2],"data_offsets":[0,8]}}"#),
        ("shape", r#"{"a":{"dtype":"F32","data_offsets":[0,8]}}"#),
        ("data_offsets", r#"{"a":{"dtype":"F32","shape":[2]}}"#),
    ] {
        let problem = problem_of(header, 8, &format!("gives tensor \"a\" no field \"{field}\""));
        assert_eq!(problem, HeaderProblem::MissingField { tensor: name("a"), field });
    }
}

#[test]
fn metadata_that_are_no_text_are_refused() {
    for (key, header) in [
        ("steps", r#"{"__metadata__":{"format":"pt","steps":20}}"#),
        ("nested", r#"{"__metadata__":{"nested":{"a":"b"}}}"#),
        ("none", r#"{"__metadata__":{"none":null}}"#),
        ("__metadata__", r#"{"__metadata__":"text"}"#),
        ("__metadata__", r#"{"__metadata__":[]}"#),
        ("__metadata__", r#"{"__metadata__":null}"#),
    ] {
        let problem = problem_of(header, 0, &format!("has metadata \"{key}\" that are not text"));
        assert_eq!(problem, HeaderProblem::MetadataNotText { key: name(key) });
    }
}

#[test]
fn too_much_metadata_is_refused() {
    let header = |count: usize| {
        let entries: Vec<_> = (0..count).map(|i| format!("\"{i}\":\"\"")).collect();
        format!("{{\"__metadata__\":{{{}}}}}", entries.join(","))
    };
    let problem = problem_of(&header(MAX_METADATA_ENTRIES + 1), 0, "more than 10000 entries of metadata");
    assert_eq!(problem, HeaderProblem::TooMuchMetadata);
    assert!(Checkpoint::from_bytes("at the limit", file(&header(MAX_METADATA_ENTRIES), &[])).is_ok());
}

#[test]
fn too_many_tensors_are_refused() {
    let header = |count: usize| {
        let entry = r#"{"dtype":"F32","shape":[0],"data_offsets":[0,0]}"#;
        let entries: Vec<_> = (0..count).map(|i| format!("\"{i}\":{entry}")).collect();
        format!("{{{}}}", entries.join(","))
    };
    let problem = problem_of(&header(MAX_TENSORS + 1), 0, "has more than 100000 tensors");
    assert_eq!(problem, HeaderProblem::TooManyTensors);
    assert!(Checkpoint::from_bytes("at the limit", file(&header(MAX_TENSORS), &[])).is_ok());
}

#[test]
fn a_name_over_the_limit_is_refused_and_cut_in_the_message() {
    let (longest, longer) = ("n".repeat(MAX_NAME_BYTES), "n".repeat(MAX_NAME_BYTES + 1));
    assert!(Checkpoint::from_bytes("at the limit", ones(&[&longest])).is_ok());
    let header = format!(r#"{{"{longer}":{{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}}}"#);
    let problem = problem_of(&header, 8, "has a name of 1025 bytes");
    assert_eq!(problem, HeaderProblem::NameTooLong { name: longer.clone() });
    let header = format!(r#"{{"__metadata__":{{"{longer}":""}}}}"#);
    assert_eq!(
        problem_of(&header, 0, "has a name of 1025 bytes"),
        HeaderProblem::NameTooLong { name: longer }
    );
}

#[test]
fn control_characters_in_a_name_are_escaped() {
    let header = r#"{"a\n\u001b[2J\u202eb":{"dtype":"F32","shape":[1],"data_offsets":[0,8]}}"#;
    let problem = problem_of(header, 8, r#"gives tensor "a\n\u{1b}[2J\u{202e}b" 8 bytes"#);
    assert!(matches!(problem, HeaderProblem::WrongSize { tensor, .. } if tensor == "a\n\u{1b}[2J\u{202e}b"));
}

#[test]
fn control_characters_that_the_parser_quotes_are_escaped() {
    bad_json(r#"{"a":"\u001b[2J\r\n"}"#, "invalid type: string");
    bad_json("{\"a\u{1b}\":1}", "control character");
}

// Shapes and places.

#[test]
fn tensors_that_overlap_are_refused() {
    let header = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},
                     "b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}"#;
    let problem = problem_of(header, 12, "makes tensor \"b\" overlap tensor \"a\"");
    assert_eq!(problem, HeaderProblem::Overlap { tensor: name("b"), other: name("a") });

    let header = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},
                     "b":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
    assert!(matches!(problem_of(header, 8, "overlap tensor"), HeaderProblem::Overlap { .. }));
}

#[test]
fn holes_between_tensors_are_refused() {
    let header = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},
                     "b":{"dtype":"F32","shape":[2],"data_offsets":[12,20]}}"#;
    let problem = problem_of(header, 20, "leaves 4 bytes before tensor \"b\" unused");
    assert_eq!(problem, HeaderProblem::Hole { tensor: name("b"), bytes: 4 });

    let header = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}}"#;
    assert_eq!(problem_of(header, 16, "leaves 8 bytes"), HeaderProblem::Hole { tensor: name("a"), bytes: 8 });
}

#[test]
fn a_range_that_ends_before_it_starts_is_refused() {
    let header = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}"#;
    let problem = problem_of(header, 8, "gives tensor \"a\" an end at byte 0, before its start at 8");
    assert_eq!(problem, HeaderProblem::ReversedRange { tensor: name("a"), start: 8, end: 0 });
}

#[test]
fn ranges_at_the_end_of_all_numbers_do_not_overflow() {
    let max = u64::MAX;
    let header = format!(r#"{{"a":{{"dtype":"U8","shape":[0],"data_offsets":[{max},{max}]}}}}"#);
    assert_eq!(problem_of(&header, 0, "leaves"), HeaderProblem::Hole { tensor: name("a"), bytes: max });

    let most = u64::MAX / 8;
    let header = format!(r#"{{"a":{{"dtype":"U8","shape":[{most}],"data_offsets":[0,{most}]}}}}"#);
    let (error, line) = refused(&file(&header, &[]));
    assert!(matches!(error, LoadError::Truncated { .. }), "{error:?}");
    assert!(line.contains("is cut short: expected 23058430092136"), "{line}");
}

#[test]
fn data_offsets_that_are_not_two_are_refused() {
    for offsets in ["[]", "[0]", "[0,4,8]"] {
        let header = format!(r#"{{"a":{{"dtype":"F32","shape":[2],"data_offsets":{offsets}}}}}"#);
        let problem = problem_of(&header, 8, "gives tensor \"a\" data_offsets that are not two numbers");
        assert_eq!(problem, HeaderProblem::BadOffsets { tensor: name("a") });
    }
}

#[test]
fn a_shape_that_does_not_fill_its_range_is_refused() {
    let header = r#"{"a":{"dtype":"F16","shape":[3,2],"data_offsets":[0,8]}}"#;
    let problem = problem_of(header, 8, "gives tensor \"a\" 8 bytes where F16 [3, 2] needs 12");
    let (tensor, dtype, shape) = (name("a"), DType::F16, vec![3, 2]);
    assert_eq!(problem, HeaderProblem::WrongSize { tensor, dtype, shape, needed: Some(12), range: 8 });
}

#[test]
fn a_packed_tensor_that_ends_inside_a_byte_is_refused() {
    let header = r#"{"a":{"dtype":"F4","shape":[3],"data_offsets":[0,2]}}"#;
    let problem = problem_of(header, 2, "the shape [3], which in F4 does not fill whole bytes");
    assert!(matches!(problem, HeaderProblem::WrongSize { needed: None, range: 2, .. }), "{problem:?}");
}

#[test]
fn a_shape_whose_product_overflows_is_refused() {
    for shape in [
        "[4294967296,4294967296]",
        "[4294967296,4294967296,0]",
        "[18446744073709551615]",
        "[1152921504606846976]",
    ] {
        let header = format!(r#"{{"a":{{"dtype":"F32","shape":{shape},"data_offsets":[0,8]}}}}"#);
        let problem = problem_of(&header, 8, "gives tensor \"a\" the shape [");
        assert!(matches!(problem, HeaderProblem::Overflow { .. }), "{problem:?}");
    }
}

#[test]
fn more_than_eight_dimensions_are_refused() {
    assert!(Checkpoint::from_bytes("rank 8", tensors(&[("a", "U8", &[1; MAX_RANK], vec![0])])).is_ok());
    let nine = tensors(&[("a", "U8", &[1; MAX_RANK + 1], vec![0])]);
    let (error, line) = refused(&nine);
    let problem = HeaderProblem::RankTooHigh { tensor: name("a") };
    assert!(matches!(error, LoadError::Header { problem: p, .. } if p == problem));
    assert!(line.contains("gives tensor \"a\" more than 8 dimensions"), "{line}");
}

#[test]
fn a_shape_of_millions_of_dimensions_is_refused_at_the_ninth() {
    // Nothing behind the ninth dimension is looked at: this header is not even closed.
    let header = format!(r#"{{"a":{{"dtype":"F32","shape":[0{}"#, ",0".repeat(4_000_000));
    let problem = problem_of(&header, 0, "more than 8 dimensions");
    assert_eq!(problem, HeaderProblem::RankTooHigh { tensor: name("a") });
}
