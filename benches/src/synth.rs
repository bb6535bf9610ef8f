//! Writes a synthetic checkpoint in the safetensors format.
//!
//! The file is eight bytes of header length (little endian), the JSON header padded with spaces to a multiple of
//! eight, and the tensors without gaps in the order of the manifest. Every value is made in `f64`, rounded to `f32`
//! and, where asked for, from there to 16 bits, to nearest even each time.
//!
//! Tensors are made in pieces, so the largest checkpoint needs a few megabytes; the pieces of one round are made by
//! several threads and written in order. Elements do not depend on each other, hence neither does the result on the
//! number of threads.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::thread;

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use crate::error::SynthError;
use crate::manifest::{Content, Manifest, Order, TensorEntry};
use crate::rule::FillRule;
use crate::stream::RandomStream;
use latent_dtype::DType;

/// Elements that one thread makes at a time: 1 MiB of f32, so the piece stays in the cache while it is encoded.
const PIECE: usize = 1 << 18;

/// Elements converted between two dtypes at a time; the buffer is on the stack.
const LANE: usize = 1 << 10;

/// The dtypes that the weights of a checkpoint can be written in.
pub const WEIGHT_DTYPES: [DType; 3] = [DType::F16, DType::BF16, DType::F32];

/// The dtype of [`WEIGHT_DTYPES`] of that name, in upper or lower case.
///
/// # Errors
/// [`SynthError::DType`] for any other name.
pub fn parse_dtype(name: &str) -> Result<DType, SynthError> {
    let known = DType::from_name(name).filter(|dtype| WEIGHT_DTYPES.contains(dtype));
    known.ok_or_else(|| SynthError::DType(name.to_owned()))
}

/// The dtype of a tensor in the file, where weights have the dtype `weights`.
fn stored(entry: &TensorEntry, weights: DType) -> DType {
    assert!(WEIGHT_DTYPES.contains(&weights), "weights are not written in {weights}");
    entry.dtype.unwrap_or(weights)
}

/// Writes one whole safetensors file.
///
/// # Errors
/// Only those of `out`.
///
/// # Panics
/// If `weights` is not one of [`WEIGHT_DTYPES`].
pub fn write(entries: &[TensorEntry], seed: u64, weights: DType, out: &mut dyn Write) -> io::Result<()> {
    let header = header(entries, weights);
    out.write_all(&(header.len() as u64).to_le_bytes())?;
    out.write_all(header.as_bytes())?;
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let mut buffer = Vec::new();
    for entry in entries {
        let dtype = stored(entry, weights);
        let source = TensorSource::new(entry, seed);
        let round = threads * PIECE;
        for first in (0..entry.len()).step_by(round) {
            let count = round.min(entry.len() - first);
            buffer.resize(count * dtype.size(), 0);
            fill_in_parallel(&source, first, dtype, &mut buffer);
            out.write_all(&buffer)?;
        }
    }
    Ok(())
}

/// The bytes of one whole safetensors file.
pub fn bytes(entries: &[TensorEntry], seed: u64, weights: DType) -> Vec<u8> {
    let data: usize = entries.iter().map(|e| e.len() * stored(e, weights).size()).sum();
    let mut out = Vec::with_capacity(data + 128 * entries.len() + 64);
    match write(entries, seed, weights, &mut out) {
        Ok(()) => out,
        Err(_) => unreachable!("writing to a vector cannot fail"),
    }
}

/// The elements of one tensor, row-major, rounded to the dtype they have in the file and widened to `f32`.
pub fn tensor_f32(entry: &TensorEntry, seed: u64, weights: DType) -> Vec<f32> {
    let mut values = vec![0.0; entry.len()];
    TensorSource::new(entry, seed).fill(0, &mut values);
    match stored(entry, weights) {
        DType::F16 => values.iter_mut().for_each(|v| *v = f16::from_f32(*v).to_f32()),
        DType::BF16 => values.iter_mut().for_each(|v| *v = bf16::from_f32(*v).to_f32()),
        _ => {}
    }
    values
}

/// Writes a whole checkpoint: a single file at `path` for the single-file layout; for the folder layout the folder
/// `path` with every safetensors file and the JSON files beside them (`model_index.json` and one
/// configuration for each component). The vocabulary of the tokenizer is not written.
///
/// # Errors
///
/// Where a file or folder cannot be made or written.
pub fn write_checkpoint(manifest: &Manifest, seed: u64, weights: DType, path: &Path) -> io::Result<()> {
    let single = manifest.configs().is_empty() && manifest.files().len() == 1;
    for (name, entries) in manifest.files() {
        let mut file = create(&if single { path.to_owned() } else { path.join(name) })?;
        write(entries, seed, weights, &mut file)?;
        file.flush()?;
    }
    for (name, config) in manifest.configs() {
        let mut file = create(&path.join(name))?;
        serde_json::to_writer_pretty(&mut file, config)?;
        file.flush()?;
    }
    Ok(())
}

fn create(path: &Path) -> io::Result<BufWriter<File>> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    Ok(BufWriter::new(File::create(path)?))
}

/// The JSON header, padded; keys and numbers without spaces between them.
fn header(entries: &[TensorEntry], weights: DType) -> String {
    let mut json = String::from(r#"{"__metadata__":{"format":"pt"}"#);
    let mut offset = 0;
    for entry in entries {
        let dtype = stored(entry, weights);
        let end = offset + entry.len() * dtype.size();
        let shape: Vec<String> = entry.shape.iter().map(usize::to_string).collect();
        json += &format!(
            r#",{}:{{"dtype":"{}","shape":[{}],"data_offsets":[{offset},{end}]}}"#,
            ascii_json(&entry.name),
            dtype.header_name(),
            shape.join(",")
        );
        offset = end;
    }
    json.push('}');
    let padded = json.len().next_multiple_of(8);
    json.extend(std::iter::repeat_n(' ', padded - json.len()));
    json
}

/// A JSON string in which everything outside printable ASCII is escaped.
fn ascii_json(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    let mut out = String::with_capacity(quoted.len());
    for c in quoted.chars() {
        if matches!(c, ' '..='~') {
            out.push(c);
        } else {
            let mut units = [0; 2];
            c.encode_utf16(&mut units).iter().for_each(|unit| out += &format!("\\u{unit:04x}"));
        }
    }
    out
}

/// Fills `out`, the bytes of consecutive elements from `first` on, one piece for each thread.
fn fill_in_parallel(source: &TensorSource<'_>, first: usize, dtype: DType, out: &mut [u8]) {
    let mut pieces = out.chunks_mut(PIECE * dtype.size()).enumerate();
    let Some((_, own)) = pieces.next() else { return };
    thread::scope(|scope| {
        for (i, piece) in pieces {
            scope.spawn(move || encode(source, first + i * PIECE, dtype, piece));
        }
        encode(source, first, dtype, own);
    });
}

/// Fills `out`, the bytes of consecutive elements from `first` on.
fn encode(source: &TensorSource<'_>, first: usize, dtype: DType, out: &mut [u8]) {
    let mut values = [0.0f32; LANE];
    let mut bits = [0u16; LANE];
    for (i, lane) in out.chunks_mut(LANE * dtype.size()).enumerate() {
        let start = first + i * LANE;
        let count = lane.len() / dtype.size();
        let (values, bits) = (&mut values[..count], &mut bits[..count]);
        if dtype != DType::I64 {
            source.fill(start, values);
        }
        match dtype {
            DType::F16 => to_f16(values, bits),
            DType::BF16 => to_bf16(values, bits),
            _ => {}
        }
        match dtype {
            DType::F16 | DType::BF16 => put(lane, bits.iter().map(|b| b.to_le_bytes())),
            DType::F32 => put(lane, values.iter().map(|v| v.to_le_bytes())),
            DType::I32 => put(lane, values.iter().map(|&v| (v as i32).to_le_bytes())),
            DType::I64 => put(lane, (start..start + count).map(|v| (v as i64).to_le_bytes())),
            _ => unreachable!("no entry of a manifest has the dtype {dtype}"),
        }
    }
}

fn to_f16(values: &[f32], bits: &mut [u16]) {
    let mut halves = [f16::ZERO; LANE];
    let halves = &mut halves[..values.len()];
    halves.convert_from_f32_slice(values);
    bits.iter_mut().zip(halves).for_each(|(b, h)| *b = h.to_bits());
}

fn to_bf16(values: &[f32], bits: &mut [u16]) {
    bits.iter_mut().zip(values).for_each(|(b, &v)| *b = bf16::from_f32(v).to_bits());
}

/// Copies numbers of `N` bytes one after the other.
fn put<const N: usize>(out: &mut [u8], numbers: impl Iterator<Item = [u8; N]>) {
    out.chunks_exact_mut(N).zip(numbers).for_each(|(to, number)| to.copy_from_slice(&number));
}

/// The elements of one tensor, before they are rounded to the dtype in the file.
enum TensorSource<'a> {
    Random { stream: RandomStream, rule: FillRule, order: Order },
    Arange,
    Constant(f32),
    Buffer(&'a [f32]),
}

impl<'a> TensorSource<'a> {
    fn new(entry: &'a TensorEntry, seed: u64) -> Self {
        match &entry.content {
            Content::Random { name, shape, order } => Self::Random {
                stream: RandomStream::new(name, seed),
                rule: FillRule::of(name, shape),
                order: *order,
            },
            Content::Arange => Self::Arange,
            Content::Constant(value) => Self::Constant(*value as f32),
            Content::Buffer(values) => Self::Buffer(values),
        }
    }

    /// Elements `first ..` of the tensor.
    fn fill(&self, first: usize, out: &mut [f32]) {
        match self {
            Self::Random { stream, rule, order } => {
                for (i, v) in out.iter_mut().enumerate() {
                    let index = order.source_index(first + i);
                    *v = rule.value(stream.unit(index as u64), index) as f32;
                }
            }
            Self::Arange => out.iter_mut().enumerate().for_each(|(i, v)| *v = (first + i) as f32),
            Self::Constant(value) => out.fill(*value),
            Self::Buffer(values) => out.copy_from_slice(&values[first..first + out.len()]),
        }
    }
}

impl Order {
    /// The element of the source that is at `index` of the tensor.
    #[inline]
    fn source_index(self, index: usize) -> usize {
        match self {
            Self::From(start) => start + index,
            Self::Transposed { rows, columns } => (index % rows) * columns + index / rows,
            Self::Swapped { elements } => (index + elements / 2) % elements,
        }
    }
}
