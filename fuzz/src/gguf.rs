//! A GGUF file: its header, its tensors, and what they seem to be.

use super::assert_one_line;
use super::header::recognise;
use latent_loader::{Checkpoint, LoadError, NewTensor, Writer};

/// Maximum bytes of tensors that are put after a header which claims them.
const MAX_VALUE_BYTES: u64 = 1 << 16;

/// The first byte says whether the rest is a file, or what follows magic and version.
pub fn run(data: &[u8]) {
    let Some((how, rest)) = data.split_first() else { return };
    let start: &[u8] = if how % 4 == 0 { b"GGUF" } else { b"GGUF\x03\0\0\0" };
    let bytes = [start, rest].concat();
    match open(&bytes) {
        Ok(checkpoint) => check(checkpoint, &bytes),
        Err(LoadError::Truncated { expected, .. }) if expected <= bytes.len() as u64 + MAX_VALUE_BYTES => {
            let mut whole = bytes;
            whole.resize(expected as usize, 0x3c);
            match open(&whole) {
                Ok(checkpoint) => check(checkpoint, &whole),
                // What describes a quantization is read when the file is opened, and these bytes describe none.
                Err(LoadError::UnsupportedQuantization { .. }) => {}
                Err(error) => panic!("it was only cut short: {error}"),
            }
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
    let mut sum = 0;
    let mut last: Option<&str> = None;
    for tensor in checkpoint.tensors() {
        assert!(last.is_none_or(|last| last < tensor.name.as_str()), "sorted, each once");
        last = Some(&tensor.name);
        assert_eq!(tensor.dtype.checked_bytes(tensor.elements()), Some(tensor.bytes()));
        let raw = checkpoint.read(&tensor.name).unwrap();
        assert_eq!((raw.data.len(), raw.dtype), (tensor.bytes(), tensor.dtype));
        if let Ok(values) = raw.to_f32() {
            assert_eq!(values.len(), tensor.elements());
        }
        sum += tensor.bytes() as u64;
    }
    assert!(checkpoint.header_bytes() + sum <= bytes.len() as u64);
    assert_eq!(checkpoint.file_bytes(), bytes.len() as u64);
    same_again(&checkpoint);
    recognise(checkpoint, bytes);
}

/// Written by its contents and opened again, it is the same; unless the shape of a tensor is one that is not written.
fn same_again(checkpoint: &Checkpoint) {
    let tensors: Vec<NewTensor> = checkpoint
        .tensors()
        .map(|tensor| NewTensor {
            name: tensor.name.clone(),
            dtype: tensor.dtype,
            shape: tensor.shape.clone(),
        })
        .collect();
    let mut metadata = checkpoint.metadata().clone();
    metadata.retain(|key, _| key != "general.alignment" && !key.starts_with("comfy.gguf."));
    let Ok(mut writer) = Writer::begin_gguf(Vec::new(), &metadata, &tensors) else { return };
    for tensor in &tensors {
        writer.write(&checkpoint.read(&tensor.name).unwrap().data).unwrap();
    }
    let again = open(&writer.end().unwrap()).unwrap();
    assert_eq!(again.metadata(), &metadata);
    assert_eq!(again.tensors().count(), tensors.len());
    for (a, b) in again.tensors().zip(checkpoint.tensors()) {
        assert_eq!((&a.name, a.dtype, a.elements()), (&b.name, b.dtype, b.elements()));
        assert_eq!(again.read(&a.name).unwrap().data, checkpoint.read(&b.name).unwrap().data);
    }
}
