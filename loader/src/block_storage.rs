//! How weights of block formats ([`DType::is_block_format`]) are stored in a safetensors file.
//!
//! Safetensors headers have no name for these formats, so such a tensor is stored as bytes, which every reader opens, and the
//! metadata say what they are:
//!
//! - The tensor, under its own name, has the dtype `U8` and the shape `[rows, blocks of a row, bytes of a block]`. For
//!   `q8_0` that is `[rows, columns / 32, 34]`: blocks of 34 bytes, each the scale of 32 values (a little-endian IEEE half)
//!   and then the values in units of it (signed bytes), which is `block_q8_0` of ggml.
//! - An entry of `__metadata__` for each format, `latent.q8_0` for `q8_0`, is a JSON table of all its tensors and their shapes:
//!   `{"conv_in.weight": [320, 32, 3, 3]}`. The first dimension is the rows, all others together are the columns, whole
//!   blocks of them. A tensor of one dimension is one row.
//!
//! A file whose table names a tensor that is not there, or whose bytes do not have the shape that follows from the table, is
//! refused. In the opened file, a tensor of the table has the block format as its dtype, and the shape of the table;
//! the table itself is then not among the [metadata](crate::Checkpoint::metadata).
//!
//! ```
//! use latent_loader::{Checkpoint, DType, block_storage};
//!
//! let stored = block_storage::stored_shape(DType::Q8_0, &[1, 8, 2, 2]).expect("whole blocks");
//! assert_eq!(stored, [1, 1, 34]);
//! let table = block_storage::table([("conv.weight", &[1usize, 8, 2, 2][..])]);
//! let header = format!(
//!     r#"{{"__metadata__":{{"{}":{table:?}}},"conv.weight":{{"dtype":"U8","shape":{stored:?},"data_offsets":[0,34]}}}}"#,
//!     block_storage::key(DType::Q8_0),
//! );
//! let mut file = (header.len() as u64).to_le_bytes().to_vec();
//! file.extend_from_slice(header.as_bytes());
//! file.extend_from_slice(&[0x00, 0x38]); // 0.5, the scale
//! file.extend_from_slice(&[3; 32]);
//!
//! let checkpoint = Checkpoint::from_bytes("tiny", file)?;
//! let tensor = checkpoint.read("conv.weight")?;
//! assert_eq!((tensor.dtype, tensor.shape.as_slice()), (DType::Q8_0, &[1, 8, 2, 2][..]));
//! assert_eq!(tensor.to_f32()?, [1.5; 32]);
//! # Ok::<(), latent_loader::LoadError>(())
//! ```

use latent_dtype::DType;
use std::collections::BTreeMap;

/// The entry of the metadata that lists the tensors of a block format: `latent.q8_0` for `q8_0`.
#[must_use]
pub fn key(dtype: DType) -> String {
    format!("latent.{dtype}")
}

/// The shape of the bytes of a tensor of a block format: `[rows, blocks of a row, bytes of a block]`. `None` if the tensor has
/// no dimension or no value, if its columns are not whole blocks, or if it is larger than any memory.
#[must_use]
pub fn stored_shape(dtype: DType, shape: &[usize]) -> Option<[usize; 3]> {
    let (rows, columns) = match shape {
        [] => return None,
        [columns] => (1, std::slice::from_ref(columns)),
        [rows, columns @ ..] => (*rows, columns),
    };
    let columns = columns.iter().try_fold(1usize, |product, dim| product.checked_mul(*dim))?;
    let values = rows.checked_mul(columns).filter(|values| *values > 0)?;
    dtype.checked_bytes(values)?;
    let block = dtype.block_len();
    columns.is_multiple_of(block).then_some([rows, columns / block, dtype.block_bytes()])
}

/// The table of some tensors and their shapes, to be written under the [`key`] of their format.
#[must_use]
pub fn table<'a>(tensors: impl IntoIterator<Item = (&'a str, &'a [usize])>) -> String {
    let tensors: BTreeMap<&str, &[usize]> = tensors.into_iter().collect();
    serde_json::json!(tensors).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_whole_blocks() {
        let stored = |shape: &[usize]| stored_shape(DType::Q8_0, shape);
        assert_eq!(stored(&[320, 640]), Some([320, 20, 34]));
        assert_eq!(stored(&[320, 32, 3, 3]), Some([320, 9, 34]));
        assert_eq!(stored(&[64]), Some([1, 2, 34]));
        for shape in
            [&[][..], &[32, 16], &[320, 4, 3, 3], &[0, 32], &[4, 0], &[usize::MAX, 32], &[usize::MAX - 31]]
        {
            assert_eq!(stored(shape), None, "{shape:?}");
        }
    }

    #[test]
    fn a_format_has_its_own_key() {
        assert_eq!(key(DType::Q8_0), "latent.q8_0");
    }
}
