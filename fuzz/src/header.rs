//! A safetensors file: its header, its tensors, and what they seem to be.

use super::assert_one_line;
use super::bytes::file;
use latent_diffusion::families::{Model, Probe};
use latent_diffusion::lora::Lora;
use latent_loader::{Checkpoint, DType, LoadError, block_storage};
use std::sync::Arc;

/// Maximum bytes of tensors that are put after a header which claims them.
const MAX_VALUE_BYTES: u64 = 1 << 16;

/// The first byte says whether the rest is a file, or a header to which length and values are added.
pub fn run(data: &[u8]) {
    let Some((how, rest)) = data.split_first() else { return };
    let bytes = if how % 4 == 0 { rest.to_vec() } else { file(rest, &[]) };
    match open(&bytes) {
        Ok(checkpoint) => check(checkpoint, &bytes),
        Err(LoadError::Truncated { expected, .. }) if expected <= bytes.len() as u64 + MAX_VALUE_BYTES => {
            let mut whole = bytes;
            whole.resize(expected as usize, 0x3c);
            check(open(&whole).expect("it was only cut short"), &whole);
        }
        Err(_) => {}
    }
}

fn open(bytes: &[u8]) -> Result<Checkpoint, LoadError> {
    Checkpoint::from_bytes("fuzz", bytes.to_vec()).inspect_err(|error| {
        assert_one_line(error);
        assert!(error.is_bad_input());
    })
}

fn check(checkpoint: Checkpoint, bytes: &[u8]) {
    // What is known of a header does not hold of a pickle, nor where scales are taken out of the list of tensors.
    let is_header = bytes.get(8) == Some(&b'{') && !bytes.starts_with(b"PK\x03\x04");
    if !is_header || has_scales(bytes) {
        super::pickle::check(&checkpoint);
        return recognise(checkpoint, bytes);
    }
    let mut sum = 0;
    let mut last: Option<&str> = None;
    for tensor in checkpoint.tensors() {
        assert!(last.is_none_or(|last| last < tensor.name.as_str()), "sorted, each once");
        last = Some(&tensor.name);
        assert_eq!(tensor.dtype.checked_bytes(tensor.elements()), Some(tensor.bytes()));
        assert_eq!(checkpoint.get(&tensor.name).unwrap().shape, tensor.shape);
        let raw = checkpoint.read(&tensor.name).unwrap();
        assert_eq!((raw.data.len(), raw.dtype), (tensor.bytes(), tensor.dtype));
        if let Ok(values) = raw.to_f32() {
            assert_eq!(values.len(), tensor.elements());
        }
        sum += tensor.bytes() as u64;
    }
    assert_eq!(checkpoint.header_bytes() + sum, bytes.len() as u64);
    assert_eq!(checkpoint.file_bytes(), bytes.len() as u64);
    same_again(&checkpoint);
    recognise(checkpoint, bytes);
}

/// Whether a header may name scales of 8-bit weights.
fn has_scales(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    ["scale", "comfy_quant", "\\u"].iter().any(|part| text.contains(part))
}

/// Written by its contents and opened again, it is the same.
fn same_again(checkpoint: &Checkpoint) {
    let (mut header, mut values) = (Vec::from(*b"{\"__metadata__\":{"), Vec::new());
    let mut metadata = checkpoint.metadata().clone();
    for format in DType::all().filter(|dtype| dtype.is_block_format()) {
        let quantized = checkpoint.tensors().filter(|tensor| tensor.dtype == format);
        let table =
            block_storage::table(quantized.map(|tensor| (tensor.name.as_str(), tensor.shape.as_slice())));
        if table != "{}" {
            metadata.insert(block_storage::key(format), table);
        }
    }
    for (key, value) in &metadata {
        let comma = if header.ends_with(b"{") { "" } else { "," };
        header.extend(format!("{comma}{}:{}", json(key), json(value)).bytes());
    }
    header.push(b'}');
    for tensor in checkpoint.tensors() {
        let start = values.len();
        values.extend_from_slice(&checkpoint.read(&tensor.name).unwrap().data);
        let (name, end) = (json(&tensor.name), values.len());
        let (dtype, shape) = if tensor.dtype.is_block_format() {
            let stored = block_storage::stored_shape(tensor.dtype, &tensor.shape);
            ("U8", stored.expect("it was read").to_vec())
        } else {
            (tensor.dtype.header_name(), tensor.shape.clone())
        };
        let entry =
            format!(r#",{name}:{{"dtype":"{dtype}","shape":{shape:?},"data_offsets":[{start},{end}]}}"#);
        header.extend(entry.bytes());
    }
    header.push(b'}');
    let again = open(&file(&header, &values)).unwrap();
    assert_eq!(again.metadata(), checkpoint.metadata());
    assert_eq!(again.tensors().count(), checkpoint.tensors().count());
    for (a, b) in again.tensors().zip(checkpoint.tensors()) {
        assert_eq!((&a.name, a.dtype, &a.shape), (&b.name, b.dtype, &b.shape));
        assert_eq!(again.read(&a.name).unwrap().data, checkpoint.read(&b.name).unwrap().data);
    }
}

/// A text as JSON.
fn json(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c < ' ' => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out + "\""
}

/// Whatever it is, it is described, and refused in one line where it is not one of those.
pub fn recognise(checkpoint: Checkpoint, bytes: &[u8]) {
    let checkpoint = Arc::new(checkpoint);
    let probe = Probe::of(&checkpoint);
    let _ = probe.identity().family_label();
    assert_one_line(&probe.explain());
    let counted: usize = probe.components().iter().map(|component| component.tensors).sum();
    assert_eq!(counted, checkpoint.tensors().count());
    match Model::of(&probe) {
        Ok(model) => drop(model.check_complete().inspect_err(|error| assert_one_line(error))),
        Err(error) => assert_one_line(&error),
    }
    if let Ok(again) = Checkpoint::from_bytes("fuzz", bytes.to_vec()) {
        drop(Lora::open(again).inspect_err(|error| assert_one_line(error)));
    }
}
