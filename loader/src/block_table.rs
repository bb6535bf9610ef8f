//! Reads the tables of [`block_storage`] out of a header.

use crate::block_storage::{key, stored_shape};
use crate::header::Header;
use crate::limits::{MAX_NAME_BYTES, MAX_RANK, MAX_TENSORS};
use crate::{DType, HeaderProblem};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use std::collections::BTreeMap;
use std::fmt;

/// Takes the table of each block format out of a header's metadata, and gives the tensors that it names their dtype and shape.
pub(crate) fn apply(header: &mut Header) -> Result<(), HeaderProblem> {
    DType::all().filter(|dtype| dtype.is_block_format()).try_for_each(|format| apply_one(header, format))
}

fn apply_one(header: &mut Header, format: DType) -> Result<(), HeaderProblem> {
    let Some(text) = header.metadata.remove(&key(format)) else { return Ok(()) };
    let BlockTable(table) = serde_json::from_str(&text)
        .map_err(|error| HeaderProblem::BadBlockTable { format, message: error.to_string() })?;
    for (tensor, shape) in table {
        let Some(index) = header.find(&tensor) else {
            return Err(HeaderProblem::BlockTensorMissing { format, tensor });
        };
        let entry = &mut header.entries[index];
        let fits = stored_shape(format, &shape).is_some_and(|needed| entry.shape == needed);
        if entry.dtype != DType::U8 || !fits {
            let (dtype, stored) = (entry.dtype, std::mem::take(&mut entry.shape));
            return Err(HeaderProblem::BlockTensorMismatch { format, tensor, shape, dtype, stored });
        }
        (entry.dtype, entry.shape) = (format, shape);
    }
    Ok(())
}

/// Tensors and their shapes, no two of the same name.
struct BlockTable(BTreeMap<String, Vec<usize>>);

impl<'de> Deserialize<'de> for BlockTable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<BlockTable, D::Error> {
        deserializer.deserialize_map(TableVisitor)
    }
}

struct TableVisitor;

impl<'de> Visitor<'de> for TableVisitor {
    type Value = BlockTable;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table of shapes")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<BlockTable, A::Error> {
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
        Ok(BlockTable(table))
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
    use crate::block_storage::table;

    #[test]
    fn a_table_is_read_as_it_was_written() {
        let text = table([("b\"\\", &[32usize, 64][..]), ("a", &[1, 8, 2, 2])]);
        assert_eq!(text, r#"{"a":[1,8,2,2],"b\"\\":[32,64]}"#);
        let BlockTable(read) = serde_json::from_str(&text).unwrap();
        assert_eq!(read.into_values().map(|dims| dims.len()).collect::<Vec<_>>(), [4, 2]);
    }
}
