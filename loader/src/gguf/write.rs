//! Writes the header of a GGUF file in the dialect of stable-diffusion.cpp.

use super::{DEFAULT_ALIGNMENT, MAGIC, SHAPE_KEY, type_of};
use crate::NewTensor;
use std::collections::BTreeMap;
use std::io;

const VERSION: u32 = 3;

/// The type of a text, of a list and of a signed integer of 32 bits, as metadata have them.
const TEXT: u32 = 8;
const LIST: u32 = 9;
const I32: u32 = 5;

/// Maximum number of dimensions that ggml has.
const MAX_DIMS: usize = 4;

/// The header of a file of these tensors, whose values follow in this order, and the places in the values where the tensors
/// end, without padding.
pub(crate) fn header(
    metadata: &BTreeMap<String, String>,
    tensors: &[NewTensor],
) -> io::Result<(Vec<u8>, Vec<u64>)> {
    let reshaped: Vec<&NewTensor> = tensors.iter().filter(|tensor| is_reshaped(tensor)).collect();
    let mut out = Vec::from(*MAGIC);
    out.extend(VERSION.to_le_bytes());
    out.extend((tensors.len() as u64).to_le_bytes());
    out.extend(((metadata.len() + reshaped.len()) as u64).to_le_bytes());
    for (key, value) in metadata {
        put_text(&mut out, key);
        out.extend(TEXT.to_le_bytes());
        put_text(&mut out, value);
    }
    for tensor in reshaped {
        put_text(&mut out, &format!("{SHAPE_KEY}{}", tensor.name));
        out.extend([LIST, I32].into_iter().flat_map(u32::to_le_bytes));
        out.extend((tensor.shape.len() as u64).to_le_bytes());
        for dim in &tensor.shape {
            let dim =
                i32::try_from(*dim).map_err(|_| invalid(tensor, "has a dimension that is too large"))?;
            out.extend(dim.to_le_bytes());
        }
    }
    let (mut start, mut ends) = (0u64, Vec::new());
    for tensor in tensors {
        put_text(&mut out, &tensor.name);
        let dims = stored_dims(tensor)?;
        out.extend((dims.len() as u32).to_le_bytes());
        out.extend(dims.iter().rev().flat_map(|dim| (*dim as u64).to_le_bytes()));
        let kind = type_of(tensor.dtype).ok_or_else(|| invalid(tensor, "has a dtype that GGUF lacks"))?;
        out.extend(kind.to_le_bytes());
        out.extend(start.to_le_bytes());
        ends.push(start + tensor.bytes());
        start = (start + tensor.bytes()).next_multiple_of(DEFAULT_ALIGNMENT);
    }
    out.resize(out.len().next_multiple_of(DEFAULT_ALIGNMENT as usize), 0);
    Ok((out, ends))
}

/// Zeros after a tensor that ends there.
pub(crate) fn padding(end: u64) -> usize {
    (end.next_multiple_of(DEFAULT_ALIGNMENT) - end) as usize
}

/// Whether the innermost dimension of a tensor, a kernel's, is not whole blocks: such a tensor is written as a matrix, with
/// its shape among the metadata, as ComfyUI-GGUF does.
fn is_reshaped(tensor: &NewTensor) -> bool {
    tensor.shape.last().is_some_and(|dim| !dim.is_multiple_of(tensor.dtype.block_len()))
}

/// The dimensions that are stored, outermost first.
fn stored_dims(tensor: &NewTensor) -> io::Result<Vec<usize>> {
    if !is_reshaped(tensor) {
        return match &tensor.shape[..] {
            [] => Ok(vec![1]),
            shape if shape.len() > MAX_DIMS => Err(invalid(tensor, "has more than four dimensions")),
            shape => Ok(shape.to_vec()),
        };
    }
    let values: usize = tensor.shape.iter().product();
    let rows = tensor.shape[0].max(1);
    if (values / rows).is_multiple_of(tensor.dtype.block_len()) {
        return Ok(vec![rows, values / rows]);
    }
    Err(invalid(tensor, "has rows that are not whole blocks"))
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

fn invalid(tensor: &NewTensor, problem: &str) -> io::Error {
    let reason = format!("{}, {:?} of {}, {problem}", tensor.name, tensor.shape, tensor.dtype);
    io::Error::new(io::ErrorKind::InvalidInput, reason)
}
