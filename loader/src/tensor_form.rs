//! How the values of a tensor follow from bytes of a file.

use crate::byte_source::ByteSource;
use crate::{DType, RawTensor};
use std::io;

/// How the values of a tensor follow from its bytes in the file.
#[derive(Clone, Debug, Default)]
pub(crate) enum TensorForm {
    /// They are the bytes.
    #[default]
    Plain,
    /// Each is multiplied by a scale.
    Scaled(TensorScale),
    /// They lie apart from each other.
    Strided(Strides),
}

impl TensorForm {
    /// Bytes of the file that the values lie in, where these are not the values themselves.
    pub(crate) fn span(&self) -> Option<usize> {
        match self {
            TensorForm::Strided(strides) => Some(strides.span),
            TensorForm::Plain | TensorForm::Scaled(_) => None,
        }
    }
}

/// Where the scale of a weight is.
#[derive(Clone, Debug)]
pub(crate) struct TensorScale {
    pub(crate) source: usize,
    pub(crate) start: u64,
    pub(crate) len: usize,
    pub(crate) dtype: DType,
}

impl TensorScale {
    /// Its values: one, or one for each row.
    ///
    /// # Errors
    /// Those of reading.
    pub(crate) fn read(&self, sources: &[ByteSource]) -> io::Result<Vec<f32>> {
        let mut data = vec![0; self.len];
        sources[self.source].read_at(self.start, &mut data)?;
        let shape = vec![self.len / self.dtype.size()];
        let raw = RawTensor { dtype: self.dtype, shape, data: data.into() };
        raw.to_f32().map_err(io::Error::other)
    }
}

/// The steps of a tensor whose values do not lie one after the other in row-major order.
#[derive(Clone, Debug)]
pub(crate) struct Strides {
    /// For each dimension, the values from one index to the next.
    pub(crate) steps: Vec<usize>,
    /// Bytes from its first to the end of its last value.
    pub(crate) span: usize,
}

impl Strides {
    /// The values in row-major order: gathered out of the `span` bytes that they are in.
    ///
    /// # Errors
    /// No memory.
    pub(crate) fn gather(&self, bytes: &[u8], shape: &[usize], size: usize) -> io::Result<Vec<u8>> {
        let total = shape.iter().product::<usize>() * size;
        let mut out = Vec::new();
        out.try_reserve_exact(total).map_err(|_| io::ErrorKind::OutOfMemory)?;
        let mut index = vec![0; shape.len()];
        let mut at = 0;
        while out.len() < total {
            out.extend_from_slice(&bytes[at * size..][..size]);
            for ((i, dim), step) in index.iter_mut().zip(shape).zip(&self.steps).rev() {
                *i += 1;
                at += step;
                if *i < *dim {
                    break;
                }
                at -= *i * step;
                *i = 0;
            }
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_gathered_in_row_major_order() {
        let strided = |steps: &[usize], shape: &[usize], bytes: &[u8], size| {
            Strides { steps: steps.to_vec(), span: bytes.len() }.gather(bytes, shape, size).unwrap()
        };
        assert_eq!(strided(&[1, 2], &[2, 3], &[1, 2, 3, 4, 5, 6], 1), [1, 3, 5, 2, 4, 6]);
        assert_eq!(strided(&[0, 2], &[2, 2], &[1, 2, 3, 4, 5, 6], 2), [1, 2, 5, 6, 1, 2, 5, 6]);
        assert_eq!(strided(&[], &[], &[7, 8], 2), [7, 8]);
        assert!(strided(&[1, 1], &[0, 5], &[], 4).is_empty());
    }
}
