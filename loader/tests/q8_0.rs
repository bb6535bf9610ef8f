//! Tensors of block formats: how they are found in a file, and which files are refused.

use crate::common::{self, Folder, assert_refused, f32s, file, line};
use half::f16;
use latent_loader::{
    Access, Checkpoint, DType, HeaderProblem, LoadError, MAX_METADATA_ENTRIES, MAX_NAME_BYTES, Weights,
    block_storage,
};
use std::sync::Arc;

/// A file of one tensor `a` of bytes beside `b` `[1]` of `F32`, with some metadata beside the table.
fn with_table(table: &str, dtype: &str, stored: &[usize], bytes: &[u8]) -> Vec<u8> {
    let end = bytes.len();
    let header = format!(
        r#"{{"__metadata__":{{"format":"pt","{}":{table:?}}},"a":{{"dtype":"{dtype}","shape":{stored:?},"data_offsets":[0,{end}]}},"b":{{"dtype":"F32","shape":[1],"data_offsets":[{end},{}]}}}}"#,
        block_storage::key(DType::Q8_0),
        end + 4
    );
    file(&header, &[bytes, &f32s(&[2.5])].concat())
}

/// A block of the values `first`, `first + 1`, …, in units of `scale`.
fn block(scale: f32, first: i8) -> Vec<u8> {
    let scale = f16::from_f32(scale).to_le_bytes();
    let values = (first..).take(32).map(|value| value.to_le_bytes()[0]);
    scale.into_iter().chain(values).collect()
}

fn good() -> Vec<u8> {
    let bytes = [block(0.5, -20), block(0.25, 0), block(2.0, -128), block(0.0, 1)].concat();
    with_table(r#"{"a":[2,16,2,2]}"#, "U8", &[2, 2, 34], &bytes)
}

fn exact() -> Vec<f32> {
    let blocks = [(0.5, -20), (0.25, 0), (2.0, -128), (0.0, 1)];
    blocks.iter().flat_map(|(scale, first)| (0..32).map(move |i| scale * (first + i) as f32)).collect()
}

fn problem_of(bytes: Vec<u8>, text: &str) -> HeaderProblem {
    let folder = Folder::new();
    let path = folder.write("model.safetensors", bytes);
    assert_refused!(path, path, LoadError::Header { .. }, text);
    match Checkpoint::open(&path) {
        Err(LoadError::Header { problem, .. }) => problem,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_tensor_is_told_and_read_in_its_shape_and_format() {
    let folder = Folder::new();
    let path = folder.write("model.safetensors", good());
    for access in [Access::Read, Access::Map] {
        let checkpoint = Arc::new(Checkpoint::open_with(&path, access).unwrap());
        let info = checkpoint.get("a").unwrap();
        assert_eq!((info.dtype, info.shape.as_slice()), (DType::Q8_0, &[2, 16, 2, 2][..]));
        assert_eq!((info.bytes(), info.elements()), (4 * 34, 128));
        let weights = Weights::new(checkpoint.clone());
        let tensor = weights.get("a", &[2, 16, 2, 2]).unwrap();
        assert_eq!((tensor.dtype, tensor.data.len()), (DType::Q8_0, 4 * 34));
        assert_eq!(tensor.to_f32().unwrap(), exact());
        assert_eq!(weights.get("b", &[1]).unwrap().to_f32().unwrap(), [2.5]);
        weights.check_dtype("a").unwrap();
        let keys: Vec<_> = checkpoint.metadata().keys().collect();
        assert_eq!(keys, ["format"], "the table is no part of what the file says of itself");
    }
}

/// Another reader opens the file and finds the bytes.
#[test]
fn any_reader_opens_the_file() {
    let bytes = good();
    let judge = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let tensor = judge.tensor("a").unwrap();
    assert_eq!((tensor.dtype(), tensor.shape()), (safetensors::Dtype::U8, &[2, 2, 34][..]));
    assert_eq!(tensor.data()[..34], block(0.5, -20));
}

#[test]
fn a_tensor_of_one_dimension_is_one_row() {
    let bytes = with_table(r#"{"a":[64]}"#, "U8", &[1, 2, 34], &[block(1.0, 0), block(1.0, 32)].concat());
    let weights = Weights::new(Arc::new(Checkpoint::from_bytes("one", bytes).unwrap()));
    let values = weights.get("a", &[64]).unwrap().to_f32().unwrap();
    assert_eq!(values, (0..64).map(|i| i as f32).collect::<Vec<_>>());
}

#[test]
fn tables_that_are_written_are_read() {
    let table = block_storage::table([("a", &[2, 16, 2, 2][..])]);
    assert_eq!(block_storage::stored_shape(DType::Q8_0, &[2, 16, 2, 2]), Some([2, 2, 34]));
    let checkpoint = Checkpoint::from_bytes("m", with_table(&table, "U8", &[2, 2, 34], &[0; 136])).unwrap();
    assert_eq!(checkpoint.get("a").unwrap().dtype, DType::Q8_0);
}

#[test]
fn without_the_table_they_are_bytes() {
    let other = String::from_utf8_lossy(&good()).find("latent.q8_0").unwrap();
    let mut bytes = good();
    bytes[other] = b'L';
    let checkpoint = Arc::new(Checkpoint::from_bytes("m", bytes).unwrap());
    assert_eq!(checkpoint.get("a").unwrap().dtype, DType::U8);
    let error = Weights::new(checkpoint).get("a", &[2, 2, 34]).unwrap_err();
    assert!(matches!(error, LoadError::UnsupportedDType { dtype: DType::U8, .. }), "{error}");
}

#[test]
fn folders_have_a_table_in_each_file() {
    let folder = Folder::new();
    folder.write("unet/config.json", "{}");
    folder.write("unet/diffusion_pytorch_model.safetensors", good());
    folder.write("model_index.json", r#"{"unet":["diffusers","UNet2DConditionModel"]}"#);
    let checkpoint = Checkpoint::open(&folder.path("")).unwrap();
    let tensor = checkpoint.read("unet.a").unwrap();
    assert_eq!((tensor.dtype, tensor.to_f32().unwrap()), (DType::Q8_0, exact()));
    assert!(checkpoint.metadata().keys().all(|key| !key.contains("q8_0")));
}

#[test]
fn a_scale_that_is_not_a_number_is_named_with_its_place() {
    for scale in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let bytes = [block(0.5, -20), block(0.25, 0), block(scale, 0), block(f32::NAN, 1)].concat();
        let bytes = with_table(r#"{"a":[2,64]}"#, "U8", &[2, 2, 34], &bytes);
        let weights = Weights::new(Arc::new(Checkpoint::from_bytes("m", bytes).unwrap()));
        let error = weights.get("a", &[2, 64]).unwrap_err();
        assert!(matches!(error, LoadError::NonFinite { index: 64, .. }), "{error:?}");
        assert!(line(&error).starts_with("m: tensor \"a\" is NaN or infinite at index 64"), "{error}");
    }
}

#[test]
fn another_shape_than_asked_for_is_told_in_that_of_the_table() {
    let weights = Weights::new(Arc::new(Checkpoint::from_bytes("m", good()).unwrap()));
    let error = weights.get("a", &[2, 2, 34]).unwrap_err();
    assert!(line(&error).contains("has shape [2, 16, 2, 2] where [2, 2, 34] is needed"), "{error}");
}

// Files that are refused.

#[test]
fn a_table_of_another_form_is_refused() {
    let long = format!("{{{:?}:[32]}}", "x".repeat(MAX_NAME_BYTES + 1));
    for (table, text) in [
        ("", "EOF"),
        ("[]", "invalid type"),
        ("null", "invalid type"),
        (r#"{"a":34}"#, "invalid type"),
        (r#"{"a":["32"]}"#, "invalid type"),
        (r#"{"a":[2,-64]}"#, "invalid value"),
        (r#"{"a":[2,64.0]}"#, "invalid type"),
        (r#"{"a":[2,18446744073709551616]}"#, "invalid type"),
        (r#"{"a":[1,1,1,1,1,1,1,1,128]}"#, "too many dimensions"),
        (r#"{"a":[2,64],"a":[2,64]}"#, "listed twice"),
        (r#"{"a":[2,64]} "#, ""),
        (r#"{"a":[2,64]}{}"#, "trailing"),
        (&long, "too long"),
    ] {
        let bytes = with_table(table, "U8", &[2, 2, 34], &[0; 136]);
        if text.is_empty() {
            Checkpoint::from_bytes("m", bytes).unwrap();
            continue;
        }
        let problem = problem_of(bytes, "has metadata \"latent.q8_0\" that are not a table of shapes: ");
        assert!(
            matches!(&problem, HeaderProblem::BadBlockTable { message, .. } if message.contains(text)),
            "{problem:?}"
        );
    }
}

#[test]
fn a_tensor_that_is_listed_and_not_there_is_refused() {
    for name in ["c", "", "__metadata__", "A"] {
        let table = format!(r#"{{"a":[2,64],{name:?}:[2,64]}}"#);
        let text = format!("lists tensor {name:?} in the metadata \"latent.q8_0\" and does not have it");
        let problem = problem_of(with_table(&table, "U8", &[2, 2, 34], &[0; 136]), &text);
        assert_eq!(
            problem,
            HeaderProblem::BlockTensorMissing { format: DType::Q8_0, tensor: name.to_owned() }
        );
    }
}

#[test]
fn bytes_of_another_shape_or_format_are_refused() {
    let cases: [(&str, &str, &[usize]); 10] = [
        ("[2,64]", "U8", &[136]),
        ("[2,64]", "U8", &[2, 68]),
        ("[2,64]", "U8", &[4, 1, 34]),
        ("[2,64]", "U8", &[2, 2, 34, 1]),
        ("[4,32]", "U8", &[2, 2, 34]),
        ("[2,96]", "U8", &[2, 2, 34]),
        ("[2,64]", "I8", &[2, 2, 34]),
        ("[2,64]", "F16", &[2, 2, 17]),
        ("[2,64]", "F32", &[1, 1, 34]),
        ("[128]", "U8", &[2, 2, 34]),
    ];
    for (shape, dtype, stored) in cases {
        let problem = problem_of(
            with_table(&format!(r#"{{"a":{shape}}}"#), dtype, stored, &[0; 136]),
            &format!("gives tensor \"a\" the bytes {dtype} {stored:?} where Q8_0 "),
        );
        assert!(matches!(problem, HeaderProblem::BlockTensorMismatch { .. }), "{problem:?}");
    }
    let text = "gives tensor \"a\" the bytes U8 [136] where Q8_0 [2, 64] needs U8 [2, 2, 34]";
    problem_of(with_table(r#"{"a":[2,64]}"#, "U8", &[136], &[0; 136]), text);
}

#[test]
fn shapes_that_are_no_whole_blocks_are_refused() {
    for shape in [
        "[]",
        "[2,63]",
        "[64,2]",
        "[0,64]",
        "[2,0]",
        "[4294967296,4294967296,32]",
        "[2,18446744073709551584]",
    ] {
        let bytes = with_table(&format!(r#"{{"a":{shape}}}"#), "U8", &[2, 2, 34], &[0; 136]);
        let problem = problem_of(bytes, "which no tensor of Q8_0 has");
        assert!(matches!(problem, HeaderProblem::BlockTensorMismatch { .. }), "{problem:?}");
    }
}

#[test]
fn no_file_names_the_format_itself() {
    let bytes = common::tensors(&[("a", "Q8_0", &[2, 64], vec![0; 136])]);
    let problem = problem_of(bytes, "the unknown dtype \"Q8_0\"");
    assert!(matches!(problem, HeaderProblem::UnknownDType { .. }));
}

/// As many tensors in the table as there are in the file, and no entry of the metadata for each.
#[test]
fn a_table_may_be_longer_than_the_metadata() {
    const TENSORS: usize = MAX_METADATA_ENTRIES + 1;
    let names: Vec<String> = (0..TENSORS).map(|i| format!("t{i}")).collect();
    let table = block_storage::table(names.iter().map(|name| (name.as_str(), &[32usize][..])));
    let entries: String = (0..TENSORS)
        .map(|i| {
            format!(
                r#","t{i}":{{"dtype":"U8","shape":[1,1,34],"data_offsets":[{},{}]}}"#,
                34 * i,
                34 * i + 34
            )
        })
        .collect();
    let header =
        format!(r#"{{"__metadata__":{{"{}":{table:?}}}{entries}}}"#, block_storage::key(DType::Q8_0));
    let checkpoint = Checkpoint::from_bytes("m", file(&header, &vec![0; 34 * TENSORS])).unwrap();
    assert_eq!(checkpoint.tensors().filter(|tensor| tensor.dtype == DType::Q8_0).count(), TENSORS);
}
