//! From the input to the output files, tensor by tensor.

use super::dtypes::encode;
use super::planned::{PlannedTensor, TensorOrigin, WeightPiece};
use super::{Conversion, OutputLayout, PlannedFile, TARGET_DTYPES, TooLarge};
use crate::event::notify;
use crate::params::layout::{dequantized, transposed};
use crate::{Error, Event, Listener};
use latent_kernels::parallel;
use latent_loader::{RawTensor, Writer};
use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;

/// About how many values are converted at a time: few enough for the cache, many enough for little overhead.
const VALUES: usize = 1 << 16;
/// Bytes that are collected before they are written.
const BUFFER: usize = 1 << 20;

/// A file that is being written, and the progress of all files.
struct OutputFile<'a, 'l> {
    writer: Writer<BufWriter<std::fs::File>>,
    path: &'a Path,
    written: &'a mut u64,
    total: u64,
    listener: &'a mut Listener<'l>,
}

impl Conversion {
    /// Writes the new model to `path`: a file, or a folder and its files. Nothing may be there yet. When this returns, all
    /// data are on the disk; after an error, the caller removes what was written.
    ///
    /// The listener receives [`Event::Written`].
    ///
    /// # Errors
    /// [`Error::Output`] where a file cannot be written; [`Error::Load`] for weights that cannot be read or are not finite;
    /// [`Error::Unsupported`] for one that is too large for its new dtype; [`Error::Cancelled`].
    pub fn write(&self, path: &Path, listener: &mut Listener<'_>) -> Result<(), Error> {
        for text in &self.texts {
            let path = path.join(&text.path);
            let written = make_folder(&path).and_then(|()| {
                let mut file = std::fs::File::create_new(&path)?;
                file.write_all(text.text.as_bytes())?;
                file.sync_all()
            });
            written.map_err(|error| output(&path, error))?;
        }
        let total = self.bytes().iter().map(|(_, bytes)| bytes).sum();
        let mut written = 0;
        notify(listener, Event::Written { written, total })?;
        for file in &self.files {
            let path = if file.path.is_empty() { path.to_owned() } else { path.join(&file.path) };
            self.write_file(file, &path, &mut written, total, listener)?;
        }
        Ok(())
    }

    fn write_file(
        &self,
        file: &PlannedFile,
        path: &Path,
        written: &mut u64,
        total: u64,
        listener: &mut Listener<'_>,
    ) -> Result<(), Error> {
        let mut headers: Vec<_> = file.tensors.iter().map(PlannedTensor::header).collect();
        let begun = make_folder(path).and_then(|()| {
            let new = BufWriter::with_capacity(BUFFER, std::fs::File::create_new(path)?);
            match self.layout {
                OutputLayout::Gguf => Writer::begin_gguf(new, &file.metadata, &headers),
                _ => Writer::begin(new, &file.metadata, &mut headers),
            }
        });
        let writer = begun.map_err(|error| output(path, error))?;
        let mut out = OutputFile { writer, path, written, total, listener };
        let tensors: BTreeMap<&str, &PlannedTensor> = file.tensors.iter().map(|t| (&*t.name, t)).collect();
        for header in &headers {
            self.write_tensor(tensors[&*header.name], &mut out)?;
        }
        let ended = out.writer.end().and_then(|buffer| {
            let file = buffer.into_inner().map_err(io::IntoInnerError::into_error)?;
            file.sync_all()
        });
        ended.map_err(|error| output(path, error))
    }

    fn write_tensor(&self, tensor: &PlannedTensor, out: &mut OutputFile<'_, '_>) -> Result<(), Error> {
        match &tensor.origin {
            TensorOrigin::Constant(data) => out.bytes(data),
            TensorOrigin::Input(name) => self.convert(&self.checkpoint.read(name)?, tensor, out),
            TensorOrigin::Weights(pieces) => {
                for piece in pieces {
                    self.convert(&self.piece(piece)?, tensor, out)?;
                }
                Ok(())
            }
        }
    }

    /// Reads a piece, with what LoRAs add to it.
    fn piece(&self, piece: &WeightPiece) -> Result<RawTensor, Error> {
        let weights = self.weights.clone().read_on(|count, task| parallel::for_each(count, task));
        let shape = weights.shape(&piece.canonical).unwrap_or_default().to_vec();
        let mut raw = self.merge.apply(&piece.canonical, weights.get(&piece.canonical, &shape)?)?;
        if let Some(part) = piece.part {
            // A fused bias is a row: its parts may end within a block.
            if raw.shape.len() < 2 {
                raw = dequantized(raw)?;
            }
            raw = part.of(raw)?;
        }
        let raw = piece.half_of(raw)?;
        if piece.is_transposed { transposed(raw) } else { Ok(raw) }
    }

    /// Writes values in the dtype that they have in the new file.
    fn convert(
        &self,
        raw: &RawTensor,
        to: &PlannedTensor,
        out: &mut OutputFile<'_, '_>,
    ) -> Result<(), Error> {
        if raw.dtype == to.dtype || !TARGET_DTYPES.contains(&to.dtype) {
            return out.bytes(&raw.data);
        }
        let columns = match &raw.shape[..] {
            [] => 1,
            [values] => *values,
            [_, row @ ..] => row.iter().product(),
        };
        let (of_block, block) = (raw.dtype.block_len(), raw.dtype.block_bytes());
        // So many rows that they are whole blocks also where blocks go on from row to row.
        let aligned = of_block / gcd(of_block, columns.max(1));
        let rows = (VALUES / columns.max(1)).max(1).next_multiple_of(aligned);
        let step = (rows * columns).max(1).div_ceil(of_block) * block;
        let mut bytes = Vec::new();
        for start in (0..raw.data.len()).step_by(step) {
            let len = step.min(raw.data.len() - start);
            let data = raw.data.slice(start as u64, len).expect("a part of it");
            let shape = vec![len / block * of_block];
            let values = RawTensor { dtype: raw.dtype, shape, data }.to_f32()?;
            bytes.clear();
            encode(to.dtype, &values, columns, &mut bytes).map_err(|TooLarge(value)| Error::Unsupported {
                file: self.checkpoint.label().to_owned(),
                reason: format!(
                    "{} holds {value}, which is too large for {}; take bf16 or f32",
                    to.name, to.dtype
                ),
            })?;
            out.bytes(&bytes)?;
        }
        Ok(())
    }
}

impl OutputFile<'_, '_> {
    fn bytes(&mut self, bytes: &[u8]) -> Result<(), Error> {
        for piece in bytes.chunks(BUFFER) {
            self.writer.write(piece).map_err(|error| output(self.path, error))?;
            *self.written += piece.len() as u64;
            notify(self.listener, Event::Written { written: *self.written, total: self.total })?;
        }
        Ok(())
    }
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

fn make_folder(file: &Path) -> io::Result<()> {
    file.parent().map_or(Ok(()), std::fs::create_dir_all)
}

fn output(path: &Path, error: io::Error) -> Error {
    Error::Output { file: path.display().to_string(), error }
}
