//! Weights of 8 bits: floats as they are, and floats and integers with scales in tensors beside them.

use crate::common::{self, f32s, tensors};
use latent_loader::{Checkpoint, CheckpointPart, DType, F8, LoadError, RawTensor, Weights};
use std::collections::BTreeMap;
use std::sync::Arc;

type Entry<'a> = (&'a str, &'a str, &'a [usize], Vec<u8>);

fn open(list: &[Entry<'_>]) -> Result<Checkpoint, LoadError> {
    Checkpoint::from_bytes("f8", tensors(list))
}

fn names(checkpoint: &Checkpoint) -> Vec<&str> {
    checkpoint.tensors().map(|info| info.name.as_str()).collect()
}

/// Values of a weight by both ways: whole, and in parts that the caller multiplies.
fn values(checkpoint: Checkpoint, name: &str, shape: &[usize]) -> (Vec<f32>, RawTensor, Vec<f32>) {
    let weights = Weights::new(Arc::new(checkpoint));
    let whole = weights.get(name, shape).unwrap();
    let (raw, scales) = weights.get_parts(name, shape).unwrap();
    (whole.to_f32().unwrap(), raw, scales)
}

#[test]
fn every_byte_of_an_8_bit_float_is_read_exactly() {
    for dtype in [DType::F8E4M3, DType::F8E5M2] {
        let f8 = F8::of(dtype).unwrap();
        let bytes: Vec<u8> = (0..=u8::MAX).filter(|byte| f8.is_finite(*byte)).collect();
        let checkpoint = open(&[("w", dtype.header_name(), &[bytes.len()], bytes.clone())]).unwrap();
        let (whole, raw, scales) = values(checkpoint, "w", &[bytes.len()]);
        assert_eq!((raw.dtype, &*raw.data, scales.len()), (dtype, &bytes[..], 0));
        assert!(whole.iter().zip(&bytes).all(|(value, byte)| value.to_bits() == f8.to_f32(*byte).to_bits()));
    }
}

#[test]
fn an_8_bit_float_that_is_nan_or_infinite_is_refused() {
    for (dtype, byte) in [("F8_E4M3", 0x7f), ("F8_E4M3", 0xff), ("F8_E5M2", 0x7c), ("F8_E5M2", 0xfe)] {
        let checkpoint = Arc::new(open(&[("w", dtype, &[4], vec![0x38, 0, byte, 1])]).unwrap());
        let error = Weights::new(checkpoint).get("w", &[4]).unwrap_err();
        assert!(matches!(error, LoadError::NonFinite { index: 2, .. }), "{error:?}");
    }
}

#[test]
fn scaled_weights_are_multiplied_and_their_scales_are_not_seen() {
    for (scale, input) in [("scale_weight", "scale_input"), ("weight_scale", "input_scale")] {
        let (scale, input) = (format!("unet.a.{scale}"), format!("unet.a.{input}"));
        let list: &[Entry<'_>] = &[
            ("unet.a.bias", "F16", &[1], vec![0, 0x3c]),
            ("unet.a.weight", "F8_E4M3", &[2, 2], vec![0x38, 0xb8, 0x40, 0x30]),
            (&scale, "F32", &[], f32s(&[0.3])),
            (&input, "F32", &[1], f32s(&[2.0])),
            ("unet.scaled_fp8", "F8_E4M3", &[2], vec![0, 0]),
        ];
        let checkpoint = open(list).unwrap();
        assert_eq!(names(&checkpoint), ["unet.a.bias", "unet.a.weight"]);
        let info = checkpoint.get("unet.a.weight").unwrap();
        assert!(info.is_scaled() && info.bytes() == 4);
        assert_eq!((info.dtype, info.read_dtype()), (DType::F8E4M3, DType::F32));
        assert_eq!(checkpoint.read("unet.a.weight").unwrap().dtype, DType::F32);
        let (whole, raw, scales) = values(checkpoint, "unet.a.weight", &[2, 2]);
        assert_eq!((whole, scales), (vec![0.3, -0.3, 0.6, 0.15], vec![0.3]));
        assert_eq!((raw.dtype, raw.data.len()), (DType::F8E4M3, 4));
    }
    // An empty marker, as one of the forms has it.
    assert_eq!(
        names(&open(&[("a", "F32", &[1], f32s(&[1.0])), ("scaled_fp8", "F32", &[0], vec![])]).unwrap()),
        ["a"]
    );
}

/// A layer as ComfyUI stores it: a format, a weight and its scales.
fn layer(
    format: &str,
    dtype: &str,
    rows: usize,
    scale: (&str, &[usize], Vec<u8>),
) -> Result<Checkpoint, LoadError> {
    let format = format.as_bytes();
    open(&[
        ("l.comfy_quant", "U8", &[format.len()], format.to_vec()),
        ("l.weight", dtype, &[rows, 2], [3, 0xfd].repeat(rows)),
        ("l.weight_scale", scale.0, scale.1, scale.2),
    ])
}

#[test]
fn layers_name_their_format_and_have_scales_of_rows() {
    let int8 = r#"{"format": "int8_tensorwise"}"#;
    let rows = layer(int8, "I8", 2, ("F32", &[2, 1], f32s(&[0.5, 2.0]))).unwrap();
    assert_eq!(names(&rows), ["l.weight"]);
    let (whole, raw, scales) = values(rows, "l.weight", &[2, 2]);
    assert_eq!((whole, scales), (vec![1.5, -1.5, 6.0, -6.0], vec![0.5, 2.0]));
    assert_eq!(raw.dtype, DType::I8);
    let one = layer(int8, "I8", 2, ("BF16", &[1], vec![0, 0x40])).unwrap();
    assert_eq!(values(one, "l.weight", &[2, 2]).0, [6.0, -6.0, 6.0, -6.0]);
    let f8 = r#"{"format": "float8_e4m3fn", "full_precision_matrix_mult": true, "convrot": false}"#;
    let f8 = layer(f8, "F8_E4M3", 2, ("F32", &[], f32s(&[0.5]))).unwrap();
    assert_eq!(values(f8, "l.weight", &[2, 2]).2, [0.5]);
    assert!(layer(r#"{"format":"float8_e5m2"}"#, "F8_E5M2", 1, ("F32", &[], f32s(&[0.5]))).is_ok());
}

#[test]
fn other_quantisations_are_refused_by_name() {
    let scale = || ("F32", [].as_slice(), f32s(&[0.5]));
    let of = |format: &str| layer(format, "I8", 2, scale());
    let of_4_bits: &[Entry<'_>] = &[
        ("l.weight", "U8", &[8, 1], vec![0; 8]),
        ("l.weight.absmax", "F32", &[1], f32s(&[1.0])),
        ("l.weight.quant_map", "F32", &[16], f32s(&[0.0; 16])),
        ("l.weight.quant_state.bitsandbytes__nf4", "U8", &[2], vec![b'{', b'}']),
    ];
    let without: &[Entry<'_>] = &[
        ("l.comfy_quant", "U8", &[28], br#"{"format":"int8_tensorwise"}"#.to_vec()),
        ("l.weight", "I8", &[1], vec![1]),
    ];
    for (result, text) in [
        (of(r#"{"format":"nvfp4"}"#), "quantised as nvfp4 (tensor \"l.comfy_quant\")"),
        (of(r#"{"format":"mxfp8","group":32}"#), "quantised as mxfp8"),
        (of(r#"{"format":"int8_tensorwise","convrot":true}"#), "int8_tensorwise with rotated rows (convrot)"),
        (of("not json"), "a format that is not named"),
        (
            layer(r#"{"format":"int8_tensorwise"}"#, "I8", 4, ("F32", &[2], f32s(&[1.0; 2]))),
            "with scales of F32 [2]",
        ),
        (open(of_4_bits), "quantised as nf4 of bitsandbytes"),
        (open(without), "int8 without a scale"),
    ] {
        let error = result.map(|_| ()).expect_err(text);
        let line = common::line(&error);
        assert!(
            line.contains(text) && line.starts_with("f8: ") && line.contains("which is not read"),
            "{line}"
        );
        assert!(matches!(error, LoadError::UnsupportedQuantization { .. }) && error.is_bad_input());
    }
}

#[test]
fn a_scale_that_is_not_finite_is_found() {
    let rows =
        layer(r#"{"format":"int8_tensorwise"}"#, "I8", 2, ("F32", &[2], f32s(&[0.5, f32::NAN]))).unwrap();
    let error = Weights::new(Arc::new(rows)).get_parts("l.weight", &[2, 2]).unwrap_err();
    assert!(matches!(error, LoadError::NonFinite { index: 2, .. }), "{error:?}");
}

#[test]
fn integers_without_a_scale_are_not_weights_and_other_scales_are_tensors() {
    let checkpoint =
        open(&[("a.weight", "I8", &[1], vec![1]), ("b.scale_weight", "F32", &[], f32s(&[1.0]))]).unwrap();
    assert_eq!(names(&checkpoint), ["a.weight", "b.scale_weight"]);
    let error = Weights::new(Arc::new(checkpoint)).get("a.weight", &[1]).unwrap_err();
    assert!(matches!(error, LoadError::UnsupportedDType { dtype: DType::I8, .. }), "{error:?}");
}

#[test]
fn a_scale_stays_with_its_weight_where_files_are_joined() {
    let other = open(&[("x", "F32", &[1], f32s(&[9.0]))]).unwrap();
    let scaled =
        open(&[("a.scale_weight", "F32", &[], f32s(&[4.0])), ("a.weight", "F8_E5M2", &[1], vec![0x3c])]);
    let part = |checkpoint, (new, old): (&str, &str)| CheckpointPart {
        checkpoint,
        tensors: BTreeMap::from([(new.to_owned(), old.to_owned())]),
        configs: BTreeMap::new(),
    };
    let parts = vec![part(other, ("x", "x")), part(scaled.unwrap(), ("w", "a.weight"))];
    let joined = Checkpoint::joined(parts);
    assert_eq!(joined.read("w").unwrap().to_f32().unwrap(), [4.0]);
}
