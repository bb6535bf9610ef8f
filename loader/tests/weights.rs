//! Weights by name, scope by scope: what is handed out, and what is refused when it is asked for.

use crate::common::{Folder, f32s, line, tensors};
use half::{bf16, f16};
use latent_loader::{Checkpoint, DType, LoadError, RawTensor, Weights};
use std::collections::BTreeMap;
use std::sync::Arc;

fn f16s(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| f16::from_f32(*value).to_le_bytes()).collect()
}

fn bf16s(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| bf16::from_f32(*value).to_le_bytes()).collect()
}

fn small_model() -> Arc<Checkpoint> {
    let bytes = tensors(&[
        ("down.0.conv.weight", "F32", &[2, 3], f32s(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])),
        ("down.0.conv.bias", "F16", &[2], f16s(&[0.5, -0.5])),
        ("down.10.conv.bias", "BF16", &[2], bf16s(&[1.5, -2.0])),
        ("down.0x.bias", "F32", &[1], f32s(&[7.0])),
        ("position_ids", "I64", &[1, 2], vec![0; 16]),
        ("alpha", "F32", &[], f32s(&[0.25])),
    ]);
    Arc::new(Checkpoint::from_bytes("small model", bytes).unwrap())
}

fn weights() -> Weights {
    Weights::new(small_model())
}

/// Weights under other names than in the file.
fn renamed(names: &[(&str, &str)]) -> Weights {
    let table = names.iter().map(|(name, in_file)| ((*name).to_owned(), (*in_file).to_owned()));
    Weights::renamed(small_model(), table.collect())
}

/// A file of one tensor `net.weight`, seen as `layer.w`.
fn one_tensor(dtype: &str, shape: &[usize], bytes: Vec<u8>) -> Weights {
    let checkpoint = Checkpoint::from_bytes("one", tensors(&[("net.weight", dtype, shape, bytes)])).unwrap();
    let table = BTreeMap::from([("layer.w".to_owned(), "net.weight".to_owned())]);
    Weights::renamed(Arc::new(checkpoint), table).scope("layer")
}

// What is handed out.

#[test]
fn scopes_put_their_names_before_those_below() {
    let block = weights().scope("down").scope(0);
    assert_eq!(block.names().collect::<Vec<_>>(), ["conv.bias", "conv.weight"]);
    assert!(block.contains("conv.weight"));
    assert!(!block.contains("down.0.conv.weight"));
    let conv = block.scope("conv");
    assert_eq!(conv.get("weight", &[2, 3]).unwrap().to_f32().unwrap(), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    assert_eq!(weights().scope("down.0.conv").names().collect::<Vec<_>>(), ["bias", "weight"]);
}

#[test]
fn a_scope_ends_at_a_dot() {
    assert_eq!(weights().scope("down").scope(1).names().count(), 0);
    assert_eq!(weights().scope("down").scope(10).names().collect::<Vec<_>>(), ["conv.bias"]);
    assert_eq!(weights().scope("down.0").names().count(), 2);
    assert_eq!(weights().scope("nothing").names().count(), 0);
}

#[test]
fn the_first_scope_names_everything_in_order() {
    let names = [
        "alpha",
        "down.0.conv.bias",
        "down.0.conv.weight",
        "down.0x.bias",
        "down.10.conv.bias",
        "position_ids",
    ];
    assert_eq!(weights().names().collect::<Vec<_>>(), names);
    assert_eq!(weights().label(), "small model");
}

#[test]
fn total_bytes_are_those_below_the_scope() {
    assert_eq!(weights().total_bytes(), 24 + 4 + 4 + 4 + 16 + 4);
    assert_eq!(weights().scope("down").scope(0).total_bytes(), 24 + 4);
    assert_eq!(weights().scope("nothing").total_bytes(), 0);
    assert_eq!(renamed(&[("a", "alpha"), ("gone", "not there")]).total_bytes(), 4);
}

#[test]
fn shapes_and_dimensions_are_told_without_reading() {
    let conv = weights().scope("down.0.conv");
    assert_eq!(conv.shape("weight"), Some([2, 3].as_slice()));
    assert_eq!(conv.shape("scale"), None);
    assert_eq!((conv.dim("weight", 0).unwrap(), conv.dim("weight", 1).unwrap()), (2, 3));
    assert_eq!(weights().shape("alpha"), Some([].as_slice()));
}

#[test]
fn all_three_formats_of_weights_become_f32() {
    let weights = weights();
    let read = |name: &str, shape: &[usize]| weights.get(name, shape).unwrap();
    assert_eq!(read("down.0.conv.bias", &[2]).dtype, DType::F16);
    assert_eq!(read("down.0.conv.bias", &[2]).to_f32().unwrap(), [0.5, -0.5]);
    assert_eq!(read("down.10.conv.bias", &[2]).to_f32().unwrap(), [1.5, -2.0]);
    assert_eq!(read("alpha", &[]).to_f32().unwrap(), [0.25]);
}

#[test]
fn the_smallest_and_largest_numbers_stay_exact() {
    let halves = [f16::MIN_POSITIVE_SUBNORMAL, f16::MAX_SUBNORMAL, f16::MAX, f16::MIN, f16::NEG_ZERO];
    let data = halves.iter().flat_map(|value| value.to_le_bytes()).collect();
    let read = one_tensor("F16", &[5], data).get("w", &[5]).unwrap().to_f32().unwrap();
    let exact = halves.map(f16::to_f32);
    assert_eq!(read.iter().map(|x| x.to_bits()).collect::<Vec<_>>(), exact.map(f32::to_bits));
}

#[test]
fn a_renamed_weight_is_read_under_its_new_name_only() {
    let weights = renamed(&[("unet.in.weight", "down.0.conv.weight"), ("unet.in.bias", "down.0.conv.bias")]);
    assert_eq!(weights.names().collect::<Vec<_>>(), ["unet.in.bias", "unet.in.weight"]);
    let conv = weights.scope("unet").scope("in");
    assert_eq!(conv.get("bias", &[2]).unwrap().to_f32().unwrap(), [0.5, -0.5]);
    assert!(!weights.contains("down.0.conv.weight"));
}

#[test]
fn an_entry_whose_tensor_is_not_there_is_as_if_it_were_not_there() {
    let weights = renamed(&[("a", "alpha"), ("b", "beta")]);
    assert_eq!(weights.names().collect::<Vec<_>>(), ["a"]);
    assert!(!weights.contains("b"));
    assert!(matches!(weights.get("b", &[]), Err(LoadError::MissingTensor { .. })));
}

#[test]
fn a_shape_of_another_rank_is_another_shape() {
    let conv = weights().scope("down.0.conv");
    for shape in [[3, 2].as_slice(), &[6], &[1, 2, 3], &[2, 3, 1, 1]] {
        assert!(matches!(conv.get("weight", shape), Err(LoadError::ShapeMismatch { .. })), "{shape:?}");
    }
}

#[test]
fn a_tensor_of_any_format_can_be_read_as_it_lies_in_the_file() {
    let checkpoint = small_model();
    let ids = checkpoint.read("position_ids").unwrap();
    assert_eq!(ids, RawTensor { dtype: DType::I64, shape: vec![1, 2], data: vec![0; 16].into() });
    assert!(matches!(ids.to_f32(), Err(LoadError::NotAFloat { dtype: DType::I64 })));
}

#[test]
fn a_tensor_longer_than_one_piece_is_read_whole() {
    let values: Vec<f32> = (0..700_000).map(|i| i as f32).collect();
    let folder = Folder::new();
    let bytes = tensors(&[("head", "U8", &[3], vec![9; 3]), ("long", "F32", &[700, 1000], f32s(&values))]);
    let weights = Weights::new(Arc::new(Checkpoint::open(&folder.write("long", bytes)).unwrap()));
    assert_eq!(weights.get("long", &[700, 1000]).unwrap().to_f32().unwrap(), values);
}

// What is refused.

#[test]
fn a_missing_weight_is_named_with_its_scope() {
    let error = weights().scope("down").scope(0).get("conv.scale", &[2]).unwrap_err();
    assert!(matches!(&error, LoadError::MissingTensor { tensor, .. } if tensor == "down.0.conv.scale"));
    let text = "small model: has no tensor \"down.0.conv.scale\"; the file is incomplete or of another kind of model";
    assert_eq!(line(&error), text);
    assert!(matches!(weights().dim("gone", 0), Err(LoadError::MissingTensor { .. })));
    assert!(matches!(small_model().read("gone"), Err(LoadError::MissingTensor { .. })));
}

#[test]
fn another_shape_is_told_with_both_shapes() {
    let error = weights().get("down.0.conv.weight", &[3, 2]).unwrap_err();
    assert!(
        matches!(&error, LoadError::ShapeMismatch { expected, found, .. } if (expected, found) == (&vec![3, 2], &vec![2, 3]))
    );
    let text = "small model: tensor \"down.0.conv.weight\" has shape [2, 3] where [3, 2] is needed";
    assert!(line(&error).starts_with(text), "{error}");
}

#[test]
fn an_error_gives_the_name_in_the_file_too() {
    let error = one_tensor("F32", &[1], f32s(&[1.0])).get("w", &[2]).unwrap_err();
    let text = "one: tensor \"layer.w\" (\"net.weight\" in the file) has shape [1] where [2] is needed";
    assert!(line(&error).starts_with(text), "{error}");
    let same = weights().get("alpha", &[1]).unwrap_err();
    assert!(matches!(same, LoadError::ShapeMismatch { name_in_file: None, .. }));
}

#[test]
fn a_dimension_that_is_not_there_is_an_error() {
    let error = weights().scope("down.0.conv").dim("weight", 2).unwrap_err();
    assert!(matches!(error, LoadError::MissingAxis { axis: 2, .. }));
    assert!(line(&error).contains("has shape [2, 3] where at least 3 dimensions are needed"), "{error}");
    assert!(line(&weights().dim("alpha", usize::MAX).unwrap_err()).contains("has shape []"));
}

#[test]
fn a_format_that_is_none_of_weights_is_named() {
    let error = weights().get("position_ids", &[1, 2]).unwrap_err();
    assert!(matches!(error, LoadError::UnsupportedDType { dtype: DType::I64, .. }));
    let text = "tensor \"position_ids\" has the dtype I64 where weights of F32, F16, BF16, F8_E4M3 or F8_E5M2 are needed";
    assert!(line(&error).contains(text), "{error}");
    for dtype in DType::in_headers().filter(|dtype| !dtype.is_weight()) {
        let weights = one_tensor(dtype.header_name(), &[4], vec![0; dtype.bits() / 2]);
        let error = weights.get("w", &[4]).unwrap_err();
        assert!(line(&error).contains(&format!("has the dtype {} where", dtype.header_name())), "{error}");
    }
}

#[test]
fn a_weight_that_is_not_a_number_is_named_with_its_place() {
    let error =
        one_tensor("F32", &[2, 2], f32s(&[0.0, 1.0, f32::NAN, f32::NAN])).get("w", &[2, 2]).unwrap_err();
    assert!(matches!(error, LoadError::NonFinite { index: 2, .. }));
    let text = "one: tensor \"layer.w\" (\"net.weight\" in the file) is NaN or infinite at index 2; the file is damaged";
    assert!(line(&error).starts_with(text), "{error}");
}

#[test]
fn an_infinite_weight_is_refused_in_every_format() {
    for infinite in [f32::INFINITY, f32::NEG_INFINITY, f32::NAN] {
        let values = [1.0, infinite];
        for (dtype, bytes) in [("F32", f32s(&values)), ("F16", f16s(&values)), ("BF16", bf16s(&values))] {
            let weights = one_tensor(dtype, &[2], bytes);
            let error = weights.get("w", &[2]).unwrap_err();
            assert!(matches!(error, LoadError::NonFinite { index: 1, .. }), "{dtype} {infinite}: {error:?}");
        }
    }
}

#[test]
fn a_hostile_name_is_escaped_in_every_message() {
    let name = "a\u{1b}[2J\nb";
    let error = weights().get(name, &[1]).unwrap_err();
    assert!(line(&error).contains(r#"has no tensor "a\u{1b}[2J\nb";"#), "{error}");
    let label = "label\r\nof a stranger";
    let error = Checkpoint::from_bytes(label, Vec::new()).unwrap_err();
    assert_eq!(line(&error), r"label\r\nof a stranger: is empty; download it again");
}

// Threads.

#[test]
fn several_threads_read_at_once() {
    const THREADS: usize = 8;
    const TENSORS: usize = 24;
    let names: Vec<String> = (0..TENSORS).map(|i| format!("t{i}")).collect();
    let values = |i: usize| vec![i as f32 + 0.5; 1000 + 37 * i];
    let shapes: Vec<[usize; 1]> = (0..TENSORS).map(|i| [values(i).len()]).collect();
    let list: Vec<_> =
        (0..TENSORS).map(|i| (names[i].as_str(), "F32", shapes[i].as_slice(), f32s(&values(i)))).collect();
    let folder = Folder::new();
    let weights = Weights::new(Arc::new(Checkpoint::open(&folder.write("model", tensors(&list))).unwrap()));

    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (weights, names, shapes) = (weights.clone(), &names, &shapes);
            scope.spawn(move || {
                for step in 0..20 * TENSORS {
                    // Every thread goes through the tensors in an order of its own; 24 and these steps share no factor.
                    let i = (step * [1, 5, 7, 11, 13, 17, 19, 23][thread] + thread) % TENSORS;
                    let read = weights.get(&names[i], &shapes[i]).unwrap().to_f32().unwrap();
                    assert!(read == values(i), "tensor {i} in thread {thread}");
                }
            });
        }
    });
}
