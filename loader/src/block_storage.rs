//! Weights of Q8_0 in a safetensors file.
//!
//! The format of the files has no name for it, so a tensor of Q8_0 lies there as bytes, which every reader opens, and the
//! metadata tell what they are:
//!
//! - The tensor, under its own name, has the number format `U8` and the shape `[rows, columns / 32, 34]`: blocks of 34
//!   bytes, each the scale of 32 values (a little-endian IEEE half) and then the values in units of it (signed bytes). That
//!   is `block_q8_0` of ggml.
//! - The entry `latent.q8_0` of `__metadata__` is a JSON table of all such tensors and their shapes:
//!   `{"conv_in.weight": [320, 32, 3, 3]}`. The first dimension is the rows, all others together are the columns, a
//!   multiple of 32. A tensor of one dimension is one row.
//!
//! A file whose table names a tensor that is not there, or whose bytes do not have the shape that follows from the table,
//! is refused. A tensor of the table is [`Dtype::Q8_0`] to whoever opens the file, with the shape of the table, which is
//! then no part of the [metadata](crate::Checkpoint::metadata) any more.
//!
//! ```
//! use latent_loader::{Checkpoint, Dtype, q8_0};
//!
//! let stored = q8_0::stored_shape(&[1, 8, 2, 2]).expect("whole blocks");
//! assert_eq!(stored, [1, 1, 34]);
//! let table = q8_0::table([("conv.weight", &[1usize, 8, 2, 2][..])]);
//! let header = format!(
//!     r#"{{"__metadata__":{{"{}":{table:?}}},"conv.weight":{{"dtype":"U8","shape":{stored:?},"data_offsets":[0,34]}}}}"#,
//!     q8_0::KEY,
//! );
//! let mut file = (header.len() as u64).to_le_bytes().to_vec();
//! file.extend_from_slice(header.as_bytes());
//! file.extend_from_slice(&[0x00, 0x38]); // 0.5, the scale
//! file.extend_from_slice(&[3; 32]);
//!
//! let checkpoint = Checkpoint::from_bytes("tiny", file)?;
//! let tensor = checkpoint.read("conv.weight")?;
//! assert_eq!((tensor.dtype, tensor.shape.as_slice()), (Dtype::Q8_0, &[1, 8, 2, 2][..]));
//! assert_eq!(tensor.to_f32()?, [1.5; 32]);
//! # Ok::<(), latent_loader::LoadError>(())
//! ```

use crate::header::{Header, MAX_NAME_BYTES, MAX_RANK, MAX_TENSORS};
use crate::{Dtype, HeaderProblem};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use std::collections::BTreeMap;
use std::fmt;

/// The entry of the metadata that lists the tensors.
pub const KEY: &str = "latent.q8_0";
/// Values of a block.
pub const BLOCK: usize = 32;
/// Bytes of a block.
pub const BLOCK_BYTES: usize = 34;

/// The shape of the bytes of a tensor: `[rows, columns / 32, 34]`. `None` if it has no dimension or no value, if its columns
/// are no whole blocks, or if it is larger than any memory.
#[must_use]
pub fn stored_shape(shape: &[usize]) -> Option<[usize; 3]> {
    let (rows, columns) = match shape {
        [] => return None,
        [columns] => (1, std::slice::from_ref(columns)),
        [rows, columns @ ..] => (*rows, columns),
    };
    let columns = columns.iter().try_fold(1usize, |product, dim| product.checked_mul(*dim))?;
    let values = rows.checked_mul(columns).filter(|values| *values > 0)?;
    Dtype::Q8_0.bytes_of(values)?;
    columns.is_multiple_of(BLOCK).then_some([rows, columns / BLOCK, BLOCK_BYTES])
}

/// The table of some tensors and their shapes, to be written as [`KEY`].
#[must_use]
pub fn table<'a>(tensors: impl IntoIterator<Item = (&'a str, &'a [usize])>) -> String {
    let tensors: BTreeMap<&str, &[usize]> = tensors.into_iter().collect();
    serde_json::json!(tensors).to_string()
}

/// Takes the table out of a header's metadata, and gives the tensors that it names their number format and shape.
pub(crate) fn apply(header: &mut Header) -> Result<(), HeaderProblem> {
    let Some(text) = header.metadata.remove(KEY) else { return Ok(()) };
    let Table(table) = serde_json::from_str(&text)
        .map_err(|error| HeaderProblem::BadQ8_0Table { message: error.to_string() })?;
    for (tensor, shape) in table {
        // They are sorted by name.
        let Ok(index) = header.entries.binary_search_by(|entry| entry.name.cmp(&tensor)) else {
            return Err(HeaderProblem::Q8_0Missing { tensor });
        };
        let entry = &mut header.entries[index];
        let fits = stored_shape(&shape).is_some_and(|needed| entry.shape == needed);
        if entry.dtype != Dtype::U8 || !fits {
            let (dtype, stored) = (entry.dtype, std::mem::take(&mut entry.shape));
            return Err(HeaderProblem::Q8_0Mismatch { tensor, shape, dtype, stored });
        }
        (entry.dtype, entry.shape) = (Dtype::Q8_0, shape);
    }
    Ok(())
}

/// Tensors and their shapes, no two of the same name.
struct Table(BTreeMap<String, Vec<usize>>);

impl<'de> Deserialize<'de> for Table {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Table, D::Error> {
        deserializer.deserialize_map(TableVisitor)
    }
}

struct TableVisitor;

impl<'de> Visitor<'de> for TableVisitor {
    type Value = Table;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table of shapes")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Table, A::Error> {
        let mut table = BTreeMap::new();
        while let Some((name, Dims(dims))) = map.next_entry::<String, Dims>()? {
            if name.len() > MAX_NAME_BYTES {
                return Err(A::Error::custom("a name is too long"));
            }
            if table.len() == MAX_TENSORS {
                return Err(A::Error::custom("there are too many tensors"));
            }
            if table.insert(name, dims).is_some() {
                return Err(A::Error::custom("a tensor is listed twice"));
            }
        }
        Ok(Table(table))
    }
}

/// The dimensions of a tensor, at most [`MAX_RANK`].
struct Dims(Vec<usize>);

impl<'de> Deserialize<'de> for Dims {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Dims, D::Error> {
        deserializer.deserialize_seq(DimsVisitor)
    }
}

struct DimsVisitor;

impl<'de> Visitor<'de> for DimsVisitor {
    type Value = Dims;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of dimensions")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Dims, A::Error> {
        let mut dims = Vec::with_capacity(4);
        while let Some(dim) = seq.next_element::<u64>()? {
            if dims.len() == MAX_RANK {
                return Err(A::Error::custom("a tensor has too many dimensions"));
            }
            dims.push(usize::try_from(dim).map_err(|_| A::Error::custom("dimension too large"))?);
        }
        Ok(Dims(dims))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_whole_blocks() {
        assert_eq!(stored_shape(&[320, 640]), Some([320, 20, 34]));
        assert_eq!(stored_shape(&[320, 32, 3, 3]), Some([320, 9, 34]));
        assert_eq!(stored_shape(&[64]), Some([1, 2, 34]));
        for shape in
            [&[][..], &[32, 16], &[320, 4, 3, 3], &[0, 32], &[4, 0], &[usize::MAX, 32], &[usize::MAX - 31]]
        {
            assert_eq!(stored_shape(shape), None, "{shape:?}");
        }
    }

    #[test]
    fn a_table_is_read_as_it_was_written() {
        let text = table([("b\"\\", &[32usize, 64][..]), ("a", &[1, 8, 2, 2])]);
        assert_eq!(text, r#"{"a":[1,8,2,2],"b\"\\":[32,64]}"#);
        let Table(read) = serde_json::from_str(&text).unwrap();
        assert_eq!(read.into_values().map(|dims| dims.len()).collect::<Vec<_>>(), [4, 2]);
    }
}
