//! Layouts of matrices in which files differ: transposed ones, and queries, keys and values fused into one tensor.

use crate::Error;
use latent_loader::{DType, RawTensor};
use std::ops::Range;

/// One of the three matrices that a fused attention projection contains one after the other, as
/// `torch.nn.MultiheadAttention` lays them out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum QkvPart {
    Query,
    Key,
    Value,
}

impl QkvPart {
    /// All three, in their order in the tensor.
    pub(crate) const ALL: [QkvPart; 3] = [QkvPart::Query, QkvPart::Key, QkvPart::Value];

    /// The name of its layer in transformers.
    pub(crate) fn name(self) -> &'static str {
        match self {
            QkvPart::Query => "q_proj",
            QkvPart::Key => "k_proj",
            QkvPart::Value => "v_proj",
        }
    }

    /// The part of that name.
    pub(crate) fn named(name: &str) -> Option<QkvPart> {
        QkvPart::ALL.into_iter().find(|part| part.name() == name)
    }

    /// Its range of a fused sequence of `len` items.
    pub(crate) fn range(self, len: usize) -> Range<usize> {
        let third = len / 3;
        self as usize * third..(self as usize + 1) * third
    }

    /// Its rows of a fused tensor `[3 rows, ..]`. Where blocks go on from one part to the next, they become `f32`.
    ///
    /// # Errors
    /// Blocks that cannot be dequantized.
    pub(crate) fn of(self, fused: RawTensor) -> Result<RawTensor, Error> {
        let values: usize = fused.shape.iter().product();
        let is_whole = (values / 3).is_multiple_of(fused.dtype.block_len());
        let fused = if is_whole { fused } else { dequantized(fused)? };
        let range = self.range(fused.data.len());
        let data = fused.data.slice(range.start as u64, range.len()).expect("a third of it");
        let mut shape = fused.shape;
        if let Some(rows) = shape.first_mut() {
            *rows /= 3;
        }
        Ok(RawTensor { dtype: fused.dtype, shape, data })
    }
}

/// A matrix `[rows, columns]` as `[columns, rows]`; one in blocks becomes `f32`.
///
/// # Errors
/// Blocks that cannot be dequantized.
pub(crate) fn transposed(raw: RawTensor) -> Result<RawTensor, Error> {
    let raw = dequantized(raw)?;
    let size = raw.dtype.size();
    let rows = raw.shape.first().copied().unwrap_or(0);
    let columns = raw.data.len() / (rows * size).max(1);
    let data = transpose(&raw.data, [rows, columns], size);
    Ok(RawTensor { dtype: raw.dtype, shape: vec![columns, rows], data: data.into() })
}

/// The transpose of a row-major matrix whose elements are `len` consecutive items each.
pub(crate) fn transpose<T: Copy>(items: &[T], [rows, columns]: [usize; 2], len: usize) -> Vec<T> {
    let mut out = Vec::with_capacity(items.len());
    for column in 0..columns {
        for row in 0..rows {
            out.extend_from_slice(&items[(row * columns + column) * len..][..len]);
        }
    }
    out
}

/// A tensor whose values can be reordered: blocks, which are parts of rows, become `f32`.
///
/// # Errors
/// Blocks that cannot be dequantized.
pub(crate) fn dequantized(raw: RawTensor) -> Result<RawTensor, Error> {
    if !raw.dtype.is_block_format() {
        return Ok(raw);
    }
    let data: Vec<u8> = raw.to_f32()?.iter().flat_map(|value| value.to_le_bytes()).collect();
    Ok(RawTensor { dtype: DType::F32, shape: raw.shape, data: data.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_become_columns() {
        assert_eq!(transpose(&[1, 2, 3, 4, 5, 6], [2, 3], 1), [1, 4, 2, 5, 3, 6]);
        assert_eq!(transpose(b"aabbccdd", [2, 2], 2), b"aaccbbdd");
        let data = vec![1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0].into();
        let raw = transposed(RawTensor { dtype: DType::F16, shape: vec![2, 3], data }).unwrap();
        assert_eq!((raw.shape, &raw.data[..]), (vec![3, 2], &[1, 0, 4, 0, 2, 0, 5, 0, 3, 0, 6, 0][..]));
    }

    #[test]
    fn three_parts_make_the_whole() {
        let data: Vec<u8> = (0..24).collect();
        let fused = RawTensor { dtype: DType::F16, shape: vec![6, 2], data: data.clone().into() };
        let parts = QkvPart::ALL.map(|part| part.of(fused.clone()).unwrap());
        assert!(parts.iter().all(|part| part.shape == [2, 2]));
        assert_eq!(parts.iter().flat_map(|part| part.data.to_vec()).collect::<Vec<_>>(), data);
        assert_eq!(QkvPart::named("v_proj"), Some(QkvPart::Value));
        assert_eq!(QkvPart::Key.range(9), 3..6);
    }
}
