//! Files whose header is damaged or hostile. Each is refused with one line that says what is wrong.

use crate::bad_files::{VALID, name, refused};
use crate::common::{file, file_claiming, ones, tensors};
use latent_loader::{
    Checkpoint, DType, HeaderProblem, LoadError, MAX_METADATA_ENTRIES, MAX_NAME_BYTES, MAX_RANK, MAX_TENSORS,
};

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
