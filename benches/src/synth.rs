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
use std::str::FromStr;
use std::thread;

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use crate::error::SynthError;
use crate::manifest::{Content, Entry, EntryDtype, Manifest, Order};
use crate::rule::Rule;
use crate::stream::Stream;

/// Elements that one thread makes at a time: 1 MiB of f32, so the piece stays in the cache while it is encoded.
const PIECE: usize = 1 << 18;

/// Elements converted between two types at a time; the buffer lies on the stack.
const LANE: usize = 1 << 10;

/// The type that the weights of a checkpoint are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WeightDtype {
    /// IEEE half precision.
    F16,
    /// IEEE single precision.
    F32,
    /// The upper half of single precision.
    BF16,
}

impl FromStr for WeightDtype {
    type Err = SynthError;

    fn from_str(name: &str) -> Result<Self, SynthError> {
        match name {
            "f16" | "F16" => Ok(Self::F16),
            "f32" | "F32" => Ok(Self::F32),
            "bf16" | "BF16" => Ok(Self::BF16),
            other => Err(SynthError::Dtype(other.to_owned())),
        }
    }
}

/// The element type of a tensor in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stored {
    F16,
    BF16,
    F32,
    I32,
    I64,
}

impl Stored {
    fn of(entry: &Entry, weights: WeightDtype) -> Self {
        match (entry.dtype, weights) {
            (EntryDtype::Weight, WeightDtype::F16) => Self::F16,
            (EntryDtype::Weight, WeightDtype::BF16) => Self::BF16,
            (EntryDtype::Weight, WeightDtype::F32) | (EntryDtype::F32, _) => Self::F32,
            (EntryDtype::I32, _) => Self::I32,
            (EntryDtype::I64, _) => Self::I64,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::F16 => "F16",
            Self::BF16 => "BF16",
            Self::F32 => "F32",
            Self::I32 => "I32",
            Self::I64 => "I64",
        }
    }

    fn bytes(self) -> usize {
        match self {
            Self::F16 | Self::BF16 => 2,
            Self::F32 | Self::I32 => 4,
            Self::I64 => 8,
        }
    }
}

/// Writes one whole safetensors file.
///
/// # Errors
///
/// Only those of `out`.
pub fn write(entries: &[Entry], seed: u64, weights: WeightDtype, out: &mut dyn Write) -> io::Result<()> {
    let header = header(entries, weights);
    out.write_all(&(header.len() as u64).to_le_bytes())?;
    out.write_all(header.as_bytes())?;
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let mut buffer = Vec::new();
    for entry in entries {
        let stored = Stored::of(entry, weights);
        let source = Source::new(entry, seed);
        let round = threads * PIECE;
        for first in (0..entry.len()).step_by(round) {
            let count = round.min(entry.len() - first);
            buffer.resize(count * stored.bytes(), 0);
            fill_in_parallel(&source, first, stored, &mut buffer);
            out.write_all(&buffer)?;
        }
    }
    Ok(())
}

/// The bytes of one whole safetensors file.
pub fn bytes(entries: &[Entry], seed: u64, weights: WeightDtype) -> Vec<u8> {
    let data: usize = entries.iter().map(|e| e.len() * Stored::of(e, weights).bytes()).sum();
    let mut out = Vec::with_capacity(data + 128 * entries.len() + 64);
    match write(entries, seed, weights, &mut out) {
        Ok(()) => out,
        Err(_) => unreachable!("writing to a vector cannot fail"),
    }
}

/// The elements of one tensor, row-major, rounded to the type they have in the file and widened to `f32`.
pub fn tensor_f32(entry: &Entry, seed: u64, weights: WeightDtype) -> Vec<f32> {
    let mut values = vec![0.0; entry.len()];
    Source::new(entry, seed).fill(0, &mut values);
    match Stored::of(entry, weights) {
        Stored::F16 => values.iter_mut().for_each(|v| *v = f16::from_f32(*v).to_f32()),
        Stored::BF16 => values.iter_mut().for_each(|v| *v = bf16::from_f32(*v).to_f32()),
        Stored::F32 | Stored::I32 | Stored::I64 => {}
    }
    values
}

/// Writes a whole checkpoint: a single file at `path` for the single-file layout; for the folder layout the folder
/// `path` with every safetensors file and the JSON files that stand beside them (`model_index.json` and one
/// configuration a component). The vocabulary of the tokenizer is not written.
///
/// # Errors
///
/// Where a file or folder cannot be made or written.
pub fn write_checkpoint(manifest: &Manifest, seed: u64, weights: WeightDtype, path: &Path) -> io::Result<()> {
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
fn header(entries: &[Entry], weights: WeightDtype) -> String {
    let mut json = String::from(r#"{"__metadata__":{"format":"pt"}"#);
    let mut offset = 0;
    for entry in entries {
        let stored = Stored::of(entry, weights);
        let end = offset + entry.len() * stored.bytes();
        let shape: Vec<String> = entry.shape.iter().map(usize::to_string).collect();
        json += &format!(
            r#",{}:{{"dtype":"{}","shape":[{}],"data_offsets":[{offset},{end}]}}"#,
            ascii_json(&entry.name),
            stored.name(),
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

/// Fills `out`, the bytes of consecutive elements from `first` on, a piece a thread.
fn fill_in_parallel(source: &Source<'_>, first: usize, stored: Stored, out: &mut [u8]) {
    let mut pieces = out.chunks_mut(PIECE * stored.bytes()).enumerate();
    let Some((_, own)) = pieces.next() else { return };
    thread::scope(|scope| {
        for (i, piece) in pieces {
            scope.spawn(move || encode(source, first + i * PIECE, stored, piece));
        }
        encode(source, first, stored, own);
    });
}

/// Fills `out`, the bytes of consecutive elements from `first` on.
fn encode(source: &Source<'_>, first: usize, stored: Stored, out: &mut [u8]) {
    let mut values = [0.0f32; LANE];
    let mut bits = [0u16; LANE];
    for (i, lane) in out.chunks_mut(LANE * stored.bytes()).enumerate() {
        let start = first + i * LANE;
        let count = lane.len() / stored.bytes();
        let (values, bits) = (&mut values[..count], &mut bits[..count]);
        if stored != Stored::I64 {
            source.fill(start, values);
        }
        match stored {
            Stored::F16 => to_f16(values, bits),
            Stored::BF16 => to_bf16(values, bits),
            Stored::F32 | Stored::I32 | Stored::I64 => {}
        }
        match stored {
            Stored::F16 | Stored::BF16 => put(lane, bits.iter().map(|b| b.to_le_bytes())),
            Stored::F32 => put(lane, values.iter().map(|v| v.to_le_bytes())),
            Stored::I32 => put(lane, values.iter().map(|&v| (v as i32).to_le_bytes())),
            Stored::I64 => put(lane, (start..start + count).map(|v| (v as i64).to_le_bytes())),
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

/// Copies numbers of `N` bytes one behind the other.
fn put<const N: usize>(out: &mut [u8], numbers: impl Iterator<Item = [u8; N]>) {
    out.chunks_exact_mut(N).zip(numbers).for_each(|(to, number)| to.copy_from_slice(&number));
}

/// The elements of one tensor, before they are rounded to the type in the file.
enum Source<'a> {
    Random { stream: Stream, rule: Rule, order: Order },
    Arange,
    Constant(f32),
    Buffer(&'a [f32]),
}

impl<'a> Source<'a> {
    fn new(entry: &'a Entry, seed: u64) -> Self {
        match &entry.content {
            Content::Random { name, shape, order } => {
                Self::Random { stream: Stream::new(name, seed), rule: Rule::of(name, shape), order: *order }
            }
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
    /// The element of the source that stands at `index` of the tensor.
    #[inline]
    fn source_index(self, index: usize) -> usize {
        match self {
            Self::From(start) => start + index,
            Self::Transposed { rows, columns } => (index % rows) * columns + index / rows,
        }
    }
}
