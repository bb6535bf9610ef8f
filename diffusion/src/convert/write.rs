//! From the old files to the new ones, tensor by tensor.

use super::tensors::{From, Piece, Tensor};
use super::{Conversion, File, Numbers, TooLarge};
use crate::event::notify;
use crate::params::without_blocks;
use crate::{Error, Event, Listener};
use latent_kernels::parallel;
use latent_loader::{RawTensor, Writer};
use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;

/// About how many values are converted at a time: few enough for the cache, many enough to be no burden.
const VALUES: usize = 1 << 16;
/// Bytes that are collected before they are written.
const BUFFER: usize = 1 << 20;

/// A file that is written, and how far all files are.
struct Output<'a, 'l> {
    writer: Writer<BufWriter<std::fs::File>>,
    path: &'a Path,
    written: &'a mut u64,
    total: u64,
    listener: &'a mut Listener<'l>,
}

impl Conversion {
    /// Writes the new model to `path`: a file, or a folder with all that is in it. Nothing may be there yet. When it
    /// returns, all is on the disk; after an error, what was written is for the caller to remove.
    ///
    /// The listener hears [`Event::Written`].
    ///
    /// # Errors
    /// [`Error::Output`] where a file cannot be written; [`Error::Load`] for weights that cannot be read or are no numbers;
    /// [`Error::Unsupported`] for one that is too large for its new format; [`Error::Cancelled`].
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
        file: &File,
        path: &Path,
        written: &mut u64,
        total: u64,
        listener: &mut Listener<'_>,
    ) -> Result<(), Error> {
        let mut headers: Vec<_> = file.tensors.iter().map(Tensor::header).collect();
        let begun = make_folder(path).and_then(|()| {
            let new = std::fs::File::create_new(path)?;
            Writer::begin(BufWriter::with_capacity(BUFFER, new), &file.metadata, &mut headers)
        });
        let writer = begun.map_err(|error| output(path, error))?;
        let mut out = Output { writer, path, written, total, listener };
        let tensors: BTreeMap<&str, &Tensor> = file.tensors.iter().map(|t| (&*t.name, t)).collect();
        for header in &headers {
            self.write_tensor(tensors[&*header.name], &mut out)?;
        }
        let ended = out.writer.end().and_then(|buffer| {
            let file = buffer.into_inner().map_err(io::IntoInnerError::into_error)?;
            file.sync_all()
        });
        ended.map_err(|error| output(path, error))
    }

    fn write_tensor(&self, tensor: &Tensor, out: &mut Output<'_, '_>) -> Result<(), Error> {
        match &tensor.from {
            From::Made(data) => out.bytes(data),
            From::Old(name) => self.convert(&self.checkpoint.read(name)?, tensor, out),
            From::Weights(pieces) => {
                for piece in pieces {
                    self.convert(&self.piece(piece)?, tensor, out)?;
                }
                Ok(())
            }
        }
    }

    /// Reads a piece, with what LoRAs add to it.
    fn piece(&self, piece: &Piece) -> Result<RawTensor, Error> {
        let weights = self.weights.clone().read_on(|count, task| parallel::for_each(count, task));
        let shape = weights.shape(&piece.canonical).unwrap_or_default().to_vec();
        let mut raw = self.merge.apply(&piece.canonical, weights.get(&piece.canonical, &shape)?)?;
        if piece.turned || piece.third.is_some() && raw.shape.len() < 2 {
            raw = without_blocks(raw)?;
        }
        if let Some(third) = piece.third {
            let len = raw.data.len() / 3;
            raw.shape[0] /= 3;
            raw.data = raw.data.slice((third * len) as u64, len).expect("a third of it");
        }
        Ok(if piece.turned { turned(raw) } else { raw })
    }

    /// Writes numbers in the format that the new file has them in.
    fn convert(&self, raw: &RawTensor, to: &Tensor, out: &mut Output<'_, '_>) -> Result<(), Error> {
        let numbers = Numbers::of(to.dtype).filter(|_| raw.dtype != to.dtype);
        let Some(numbers) = numbers else { return out.bytes(&raw.data) };
        let columns = match &raw.shape[..] {
            [] => 1,
            [values] => *values,
            [_, row @ ..] => row.iter().product(),
        };
        let (of_block, block) = raw.dtype.block();
        let rows = (VALUES / columns.max(1)).max(1);
        let step = (rows * columns).max(1).div_ceil(of_block) * block;
        let mut bytes = Vec::new();
        for start in (0..raw.data.len()).step_by(step) {
            let len = step.min(raw.data.len() - start);
            let data = raw.data.slice(start as u64, len).expect("a part of it");
            let shape = vec![len / block * of_block];
            let values = RawTensor { dtype: raw.dtype, shape, data }.to_f32()?;
            bytes.clear();
            numbers.rows(&values, columns, &mut bytes).map_err(|TooLarge(value)| Error::Unsupported {
                file: self.checkpoint.label().to_owned(),
                reason: format!(
                    "{} holds {value}, which is too large for {}; take bf16 or f32",
                    to.name,
                    numbers.name()
                ),
            })?;
            out.bytes(&bytes)?;
        }
        Ok(())
    }
}

impl Output<'_, '_> {
    fn bytes(&mut self, bytes: &[u8]) -> Result<(), Error> {
        for piece in bytes.chunks(BUFFER) {
            self.writer.write(piece).map_err(|error| output(self.path, error))?;
            *self.written += piece.len() as u64;
            notify(self.listener, Event::Written { written: *self.written, total: self.total })?;
        }
        Ok(())
    }
}

/// A square matrix whose rows have become columns.
fn turned(raw: RawTensor) -> RawTensor {
    let (rows, size) = (raw.shape.first().copied().unwrap_or(0), raw.dtype.size().unwrap_or(1));
    let columns = raw.data.len() / (rows * size).max(1);
    let mut data = Vec::with_capacity(raw.data.len());
    for column in 0..columns {
        for row in 0..rows {
            data.extend_from_slice(&raw.data[(row * columns + column) * size..][..size]);
        }
    }
    RawTensor { dtype: raw.dtype, shape: vec![columns, rows], data: data.into() }
}

fn make_folder(file: &Path) -> io::Result<()> {
    file.parent().map_or(Ok(()), std::fs::create_dir_all)
}

fn output(path: &Path, error: io::Error) -> Error {
    Error::Output { file: path.display().to_string(), error }
}
