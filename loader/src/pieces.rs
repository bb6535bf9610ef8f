//! Reads a tensor in pieces, on several threads where the caller has them.
//!
//! Each piece is searched for NaN right after it was read, while it is in the cache. Tensors are read one after the
//! other: a large one gives work to every thread, and which error comes first does not depend on how many there are.
//! Where the file has a sum of a tensor, that of each piece is taken at the same time.

use crate::byte_source::ByteSource;
use crate::finite::find_non_finite;
use crate::read_buffer::ReadBuffer;
use crate::{Bytes, DType, TensorInfo};
use crc32fast::Hasher as Crc32;
use std::io;
use std::sync::{Mutex, PoisonError};

/// Maximum bytes of a piece: large enough that calls do not count, small enough to stay in the second-level cache.
const MAX_PIECE: usize = 1 << 20;

/// Bytes of a piece: whole values, or whole blocks of them.
fn piece_bytes(dtype: DType) -> usize {
    let bytes = dtype.block_bytes();
    MAX_PIECE / bytes * bytes
}

/// Calls `task(0)`, …, `task(count - 1)`, each once, in any order and on any threads, and returns when all are done.
pub type RunTasks = fn(count: usize, task: &(dyn Fn(usize) + Sync));

/// One after the other, on the thread that asks.
pub(crate) fn in_order(count: usize, task: &(dyn Fn(usize) + Sync)) {
    (0..count).for_each(task);
}

/// What was found in a piece: the index of the first value that is NaN or infinite, and the sum, where one is wanted.
type Outcome = io::Result<(Option<usize>, Option<Crc32>)>;

/// The bytes of a tensor.
#[derive(Debug)]
pub(crate) struct ReadPieces {
    pub(crate) bytes: Bytes,
    /// Index of the first value that is NaN or infinite.
    pub(crate) non_finite: Option<usize>,
    /// Their CRC-32, if the file has one of them.
    pub(crate) crc32: Option<u32>,
}

/// The `len` bytes at `offset` of a source, which a tensor's values are or lie in.
pub(crate) fn read(
    source: &ByteSource,
    offset: u64,
    len: usize,
    tensor: &TensorInfo,
    run: RunTasks,
) -> io::Result<ReadPieces> {
    let (dtype, size) = (tensor.dtype, piece_bytes(tensor.dtype));
    let look = |piece: &[u8]| {
        let sum = tensor.crc32.map(|_| {
            let mut sum = Crc32::new();
            sum.update(piece);
            sum
        });
        Ok((find_non_finite(dtype, piece), sum))
    };
    let (bytes, (found, sum)) = match source.in_place(offset, len)? {
        Some(bytes) => {
            let found = for_each(bytes.chunks(size), run, |_, piece| look(piece))?;
            (bytes, found)
        }
        None => {
            let mut buffer = ReadBuffer::new(len)?;
            let found = for_each(buffer.as_mut().chunks_mut(size), run, |i, piece| {
                source.read_at(offset + (i * size) as u64, piece)?;
                look(piece)
            })?;
            (Bytes::new(buffer), found)
        }
    };
    let non_finite = found.map(|found| found.value_index(dtype));
    Ok(ReadPieces { bytes, non_finite, crc32: tensor.crc32.map(|_| sum.finalize()) })
}

/// The place of a value that is NaN or infinite.
struct NonFiniteAt {
    piece: usize,
    index: usize,
}

impl NonFiniteAt {
    /// Counted from the start of the tensor.
    fn value_index(&self, dtype: DType) -> usize {
        self.piece * (piece_bytes(dtype) / dtype.block_bytes() * dtype.block_len()) + self.index
    }
}

/// Calls `f` for each piece. An error of any piece comes before all values that are NaN or infinite, and what comes
/// first in the tensor before what comes later. With it comes the sum of all pieces.
fn for_each<T: Send>(
    pieces: impl Iterator<Item = T>,
    run: RunTasks,
    f: impl Fn(usize, T) -> Outcome + Sync,
) -> io::Result<(Option<NonFiniteAt>, Crc32)> {
    let slots: Vec<Mutex<(Option<T>, Option<Outcome>)>> =
        pieces.map(|piece| Mutex::new((Some(piece), None))).collect();
    run(slots.len(), &|i| {
        let (piece, outcome) = &mut *slots[i].lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(piece) = piece.take() {
            *outcome = Some(f(i, piece));
        }
    });
    let (mut first, mut whole) = (None, Crc32::new());
    for (piece, slot) in slots.into_iter().enumerate() {
        let (_, outcome) = slot.into_inner().unwrap_or_else(PoisonError::into_inner);
        let left_out = || Err(io::Error::other("a piece of the tensor was left out"));
        let (found, sum) = outcome.unwrap_or_else(left_out)?;
        first = first.or(found.map(|index| NonFiniteAt { piece, index }));
        if let Some(sum) = sum {
            whole.combine(&sum);
        }
    }
    Ok((first, whole))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor_form::TensorForm;

    /// The last first, each on a thread of its own.
    fn backwards(count: usize, task: &(dyn Fn(usize) + Sync)) {
        for i in (0..count).rev() {
            std::thread::scope(|scope| scope.spawn(|| task(i)).join().unwrap());
        }
    }

    fn source(data: Vec<u8>) -> ByteSource {
        ByteSource::embedded("memory".to_owned(), data.into())
    }

    /// A tensor whose bytes are all of its file.
    fn tensor(dtype: DType, len: usize, crc32: Option<u32>) -> TensorInfo {
        let form = TensorForm::Plain;
        TensorInfo { name: "a".to_owned(), dtype, shape: Vec::new(), source: 0, start: 0, len, form, crc32 }
    }

    #[test]
    fn the_sum_of_the_pieces_is_that_of_the_whole_in_any_order() {
        for len in [0, 1, MAX_PIECE, 2 * MAX_PIECE + 5] {
            let data: Vec<u8> = (0..len).map(|i| ((i * i) >> 5) as u8).collect();
            let whole = crc32fast::hash(&data);
            for run in [in_order as RunTasks, backwards] {
                let of = |sum| read(&source(data.clone()), 0, len, &tensor(DType::U8, len, sum), run);
                assert_eq!(of(Some(1)).unwrap().crc32, Some(whole));
                assert_eq!(of(None).unwrap().crc32, None);
            }
        }
    }

    #[test]
    fn the_first_bad_value_is_found_in_any_order_of_the_pieces() {
        let values = 3 * MAX_PIECE / 4 + 7;
        for index in [0, MAX_PIECE / 4 - 1, MAX_PIECE / 4, MAX_PIECE / 2 + 5, values - 1] {
            let mut singles = vec![1f32; values];
            singles[index] = f32::NAN;
            singles[values - 1] = f32::INFINITY;
            let source = source(singles.iter().flat_map(|x| x.to_le_bytes()).collect());
            for run in [in_order as RunTasks, backwards] {
                let len = 4 * values;
                let found = read(&source, 0, len, &tensor(DType::F32, len, None), run).unwrap();
                assert_eq!((found.bytes.len(), found.non_finite), (len, Some(index)));
            }
        }
    }

    #[test]
    fn an_error_comes_before_what_is_not_finite() {
        for run in [in_order as RunTasks, backwards] {
            let outcome = for_each(0..3, run, |_, piece| match piece {
                0 => Ok((Some(5), None)),
                1 => Err(io::ErrorKind::UnexpectedEof.into()),
                _ => Err(io::ErrorKind::OutOfMemory.into()),
            });
            assert_eq!(outcome.err().unwrap().kind(), io::ErrorKind::UnexpectedEof);
        }
    }

    #[test]
    fn a_runner_that_leaves_pieces_out_is_noticed() {
        let lazy: RunTasks = |count, task| (1..count).for_each(task);
        let error = read(&source(vec![0; 16]), 0, 16, &tensor(DType::F32, 16, None), lazy).err().unwrap();
        assert_eq!(error.to_string(), "a piece of the tensor was left out");
    }

    #[test]
    fn dtypes_of_every_width_have_whole_pieces() {
        for dtype in DType::all() {
            let (values, bytes) = (dtype.block_len(), dtype.block_bytes());
            let size = piece_bytes(dtype);
            assert!(
                size > MAX_PIECE / 2 && dtype.checked_bytes(size / bytes * values) == Some(size),
                "{dtype}"
            );
        }
    }

    #[test]
    fn the_first_bad_block_is_found_after_the_first_piece() {
        let in_piece = piece_bytes(DType::Q8_0) / 34;
        for block in [0, in_piece - 1, in_piece, in_piece + 300] {
            let mut data = vec![0xFF; 34 * (in_piece + 301)];
            data.chunks_mut(34).for_each(|block| block[..2].fill(0));
            data[34 * block..][..2].copy_from_slice(&0x7C00u16.to_le_bytes());
            let len = data.len();
            let found = read(&source(data), 0, len, &tensor(DType::Q8_0, len, None), backwards).unwrap();
            assert_eq!((found.bytes.len(), found.non_finite), (len, Some(32 * block)));
        }
    }
}
