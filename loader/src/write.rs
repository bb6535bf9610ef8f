//! Writes safetensors and GGUF files, tensor by tensor, so that a model is never in memory.

use crate::{DType, block_storage, gguf};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Write};

/// Where the values may begin: the header is padded with spaces to a multiple of this, as the format asks of writers.
const ALIGNMENT: usize = 8;

/// A tensor that will be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTensor {
    /// Its name.
    pub name: String,
    /// Its dtype.
    pub dtype: DType,
    /// Its dimensions, outermost first; empty for a single value.
    pub shape: Vec<usize>,
}

impl NewTensor {
    /// Bytes of its values. Packed dtypes of 4 and 6 bits fill whole bytes, and block formats whole blocks.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let values = self.shape.iter().fold(1, |values, dim| values * *dim as u64);
        values.div_ceil(self.dtype.block_len() as u64) * self.dtype.block_bytes() as u64
    }

    /// Dtype and shape as the header has them: a tensor of a block format is one of bytes there.
    fn stored(&self) -> io::Result<(DType, Vec<usize>)> {
        if !self.dtype.is_block_format() {
            return Ok((self.dtype, self.shape.clone()));
        }
        let Some(shape) = block_storage::stored_shape(self.dtype, &self.shape) else {
            let reason =
                format!("rows of {}, {:?}, are not whole blocks of {}", self.name, self.shape, self.dtype);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
        };
        Ok((DType::U8, shape.to_vec()))
    }
}

/// A file that is being written: the header is there, and the tensors' values follow.
///
/// ```
/// use latent_loader::{Checkpoint, DType, NewTensor, Writer};
/// use std::collections::BTreeMap;
///
/// let mut tensors = [NewTensor { name: "bias".to_owned(), dtype: DType::F32, shape: vec![2] }];
/// let mut writer = Writer::begin(Vec::new(), &BTreeMap::new(), &mut tensors)?;
/// writer.write(&1f32.to_le_bytes())?;
/// writer.write(&2f32.to_le_bytes())?;
/// let checkpoint = Checkpoint::from_bytes("new", writer.end()?)?;
/// assert_eq!(checkpoint.read("bias")?.to_f32()?, [1.0, 2.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    /// Bytes that are still to be written.
    left: u64,
    /// Bytes that were written, with what was put between tensors.
    at: u64,
    /// Of a GGUF file, where the tensors end that are still to be written.
    ends: VecDeque<u64>,
}

impl<W: Write> Writer<W> {
    /// Sorts the tensors into the order in which their values must come, and writes the header. Wide dtypes come first,
    /// so that every value is at a multiple of its width; within a dtype tensors are sorted by name. Tensors of block
    /// formats are written as [`block_storage`] describes, with the tables of them among the metadata.
    ///
    /// # Errors
    /// Those of `out`, and a tensor of a block format whose rows are not whole blocks.
    pub fn begin(
        mut out: W,
        metadata: &BTreeMap<String, String>,
        tensors: &mut [NewTensor],
    ) -> io::Result<Writer<W>> {
        tensors.sort_by(|a, b| b.dtype.bits().cmp(&a.dtype.bits()).then_with(|| a.name.cmp(&b.name)));
        let mut header = Map::new();
        let texts = metadata.iter().map(|(key, text)| (key.clone(), Value::from(text.as_str())));
        let mut texts: Map<String, Value> = texts.collect();
        for format in DType::all().filter(|dtype| dtype.is_block_format()) {
            let in_blocks = tensors.iter().filter(|tensor| tensor.dtype == format);
            let in_blocks: Vec<_> = in_blocks.map(|tensor| (&*tensor.name, &*tensor.shape)).collect();
            if !in_blocks.is_empty() {
                texts.insert(block_storage::key(format), block_storage::table(in_blocks).into());
            }
        }
        if !texts.is_empty() {
            header.insert("__metadata__".to_owned(), Value::Object(texts));
        }
        let mut end = 0;
        for tensor in tensors.iter() {
            let start = end;
            end += tensor.bytes();
            let (dtype, shape) = tensor.stored()?;
            let entry = serde_json::json!({
                "dtype": dtype.header_name(), "shape": shape, "data_offsets": [start, end],
            });
            header.insert(tensor.name.clone(), entry);
        }
        let mut text = Value::Object(header).to_string();
        text.extend(std::iter::repeat_n(' ', text.len().next_multiple_of(ALIGNMENT) - text.len()));
        out.write_all(&(text.len() as u64).to_le_bytes())?;
        out.write_all(text.as_bytes())?;
        Ok(Writer { out, left: end, at: 0, ends: VecDeque::new() })
    }

    /// Begins a GGUF file in the dialect of stable-diffusion.cpp: names, shapes and dtypes as they are, and metadata as
    /// texts. A tensor of a block format whose innermost dimension is not whole blocks is stored as a matrix, with its shape
    /// among the metadata, as ComfyUI-GGUF does. The tensors' values come in the order of `tensors`.
    ///
    /// # Errors
    /// Those of `out`, and a tensor that the format cannot hold: of another dtype, with more than four dimensions, with rows
    /// that are not whole blocks.
    pub fn begin_gguf(
        mut out: W,
        metadata: &BTreeMap<String, String>,
        tensors: &[NewTensor],
    ) -> io::Result<Writer<W>> {
        let (header, ends) = gguf::write::header(metadata, tensors)?;
        out.write_all(&header)?;
        let left = tensors.iter().map(NewTensor::bytes).sum();
        Ok(Writer { out, left, at: 0, ends: ends.into() })
    }

    /// Writes the next values, in little-endian order; a tensor may come in pieces.
    ///
    /// # Errors
    /// Those of `out`, and more bytes than the header has announced.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let left = self.left.checked_sub(bytes.len() as u64);
        self.left = left.ok_or_else(|| io::Error::other("more values than the header announces"))?;
        let mut rest = bytes;
        while let Some(end) = self.ends.front().copied().filter(|end| self.at + rest.len() as u64 >= *end) {
            let (tensor, next) = rest.split_at((end - self.at) as usize);
            self.out.write_all(tensor)?;
            let padding = gguf::write::padding(end);
            self.out.write_all(&[0; 32][..padding])?;
            self.at = end + padding as u64;
            self.ends.pop_front();
            rest = next;
        }
        self.at += rest.len() as u64;
        self.out.write_all(rest)
    }

    /// Ends the file and returns what it was written to, flushed.
    ///
    /// # Errors
    /// Those of `out`, and fewer bytes than the header has announced.
    pub fn end(mut self) -> io::Result<W> {
        if self.left > 0 {
            return Err(io::Error::other("fewer values than the header announces"));
        }
        self.out.flush()?;
        Ok(self.out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Checkpoint;

    fn tensor(name: &str, dtype: DType, shape: &[usize]) -> NewTensor {
        NewTensor { name: name.to_owned(), dtype, shape: shape.to_vec() }
    }

    #[test]
    fn what_is_written_is_read_again_and_aligned() {
        let metadata = BTreeMap::from([("a \"quoted\" key".to_owned(), "line\nline é".to_owned())]);
        let mut tensors = [
            tensor("half", DType::F16, &[3]),
            tensor("empty", DType::F32, &[0]),
            tensor("wide", DType::I64, &[]),
            tensor("single", DType::F32, &[1, 1]),
        ];
        let mut writer = Writer::begin(Vec::new(), &metadata, &mut tensors).unwrap();
        assert_eq!(tensors.each_ref().map(|t| t.name.as_str()), ["wide", "empty", "single", "half"]);
        for bytes in [&7i64.to_le_bytes()[..], &1.5f32.to_le_bytes(), &[0, 0x3c, 0, 0x40, 0, 0x42]] {
            writer.write(bytes).unwrap();
        }
        let bytes = writer.end().unwrap();
        assert!(u64::from_le_bytes(*bytes.first_chunk().unwrap()).is_multiple_of(8));
        let checkpoint = Checkpoint::from_bytes("memory", bytes).unwrap();
        assert_eq!(checkpoint.metadata(), &metadata);
        assert_eq!(checkpoint.read("half").unwrap().to_f32().unwrap(), [1.0, 2.0, 3.0]);
        assert_eq!(checkpoint.read("single").unwrap().to_f32().unwrap(), [1.5]);
        assert_eq!(*checkpoint.read("wide").unwrap().data, 7i64.to_le_bytes());
        assert_eq!(checkpoint.get("empty").unwrap().shape, [0]);
    }

    #[test]
    fn blocks_are_written_as_bytes_and_read_as_what_they_are() {
        let metadata = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
        let mut tensors = [tensor("blocks", DType::Q8_0, &[1, 8, 2, 2]), tensor("bias", DType::F32, &[1])];
        let mut writer = Writer::begin(Vec::new(), &metadata, &mut tensors).unwrap();
        assert_eq!(tensors.each_ref().map(|t| (t.name.as_str(), t.bytes())), [("bias", 4), ("blocks", 34)]);
        writer.write(&2f32.to_le_bytes()).unwrap();
        // The scale 0.5, and the same byte 32 times.
        writer.write(&[&[0, 0x38][..], &[3; 32]].concat()).unwrap();
        let checkpoint = Checkpoint::from_bytes("memory", writer.end().unwrap()).unwrap();
        let blocks = checkpoint.read("blocks").unwrap();
        assert_eq!((blocks.dtype, &blocks.shape[..]), (DType::Q8_0, &[1, 8, 2, 2][..]));
        assert_eq!((blocks.to_f32().unwrap(), checkpoint.metadata()), (vec![1.5; 32], &metadata));
        let error = Writer::begin(Vec::new(), &metadata, &mut [tensor("a", DType::Q8_0, &[2, 31])]);
        assert_eq!(error.err().unwrap().kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn too_many_and_too_few_values_are_errors() {
        let begin =
            || Writer::begin(Vec::new(), &BTreeMap::new(), &mut [tensor("a", DType::F16, &[2])]).unwrap();
        assert!(begin().write(&[0; 5]).unwrap_err().to_string().contains("more"));
        let mut writer = begin();
        writer.write(&[0; 3]).unwrap();
        assert!(writer.end().unwrap_err().to_string().contains("fewer"));
    }
}
