//! The number formats of weights.

use crate::q8_0::{self, BLOCK, BLOCK_BYTES, Block};
use std::fmt;

/// How a weight is stored. Arithmetic is always in `f32`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DType {
    /// IEEE 754 single precision.
    F32,
    /// IEEE 754 half precision.
    F16,
    /// bfloat16: the upper half of an `f32`.
    BF16,
    /// Signed bytes in blocks of 32 that share a scale ([`q8_0`]). Only of weights.
    Q8_0,
}

impl DType {
    /// Values of a block: those that stand together. A row of a weight is whole blocks.
    #[must_use]
    pub fn block(self) -> usize {
        match self {
            DType::F32 | DType::F16 | DType::BF16 => 1,
            DType::Q8_0 => BLOCK,
        }
    }

    /// Bytes of a block.
    #[must_use]
    pub fn block_bytes(self) -> usize {
        match self {
            DType::F32 => 4,
            DType::F16 | DType::BF16 => 2,
            DType::Q8_0 => BLOCK_BYTES,
        }
    }

    /// Bytes of so many values, of whole blocks.
    #[must_use]
    pub fn bytes(self, values: usize) -> usize {
        values.div_ceil(self.block()) * self.block_bytes()
    }

    /// Bytes of one value.
    ///
    /// # Panics
    /// Of `Q8_0`, where no value stands alone.
    #[must_use]
    pub fn size(self) -> usize {
        assert_eq!(self.block(), 1, "values of {self} stand in blocks");
        self.block_bytes()
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DType::F32 => "f32",
            DType::F16 => "f16",
            DType::BF16 => "bf16",
            DType::Q8_0 => "q8_0",
        })
    }
}

/// A weight as it lies in a file: little-endian bytes of one number format.
#[derive(Clone, Copy, Debug)]
pub struct WeightBytes<'a> {
    dtype: DType,
    bytes: &'a [u8],
}

impl<'a> WeightBytes<'a> {
    /// # Panics
    /// If the bytes are no whole number of values, or of blocks.
    #[must_use]
    pub fn new(dtype: DType, bytes: &'a [u8]) -> WeightBytes<'a> {
        assert_eq!(
            bytes.len() % dtype.block_bytes(),
            0,
            "{} bytes are no whole number of {dtype}",
            bytes.len()
        );
        WeightBytes { dtype, bytes }
    }

    /// The number format.
    #[must_use]
    pub fn dtype(self) -> DType {
        self.dtype
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// Number of values.
    #[must_use]
    pub fn len(self) -> usize {
        self.bytes.len() / self.dtype.block_bytes() * self.dtype.block()
    }

    /// Whether there is no value.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.bytes.is_empty()
    }

    /// The bits of value `i` of a 16-bit format.
    #[inline]
    pub(crate) fn bits16(self, i: usize) -> u16 {
        u16::from_le_bytes([self.bytes[2 * i], self.bytes[2 * i + 1]])
    }

    /// Value `i`, widened.
    #[inline]
    #[must_use]
    pub fn get(self, i: usize) -> f32 {
        match self.dtype {
            DType::F32 => f32::from_le_bytes([0, 1, 2, 3].map(|b| self.bytes[4 * i + b])),
            DType::F16 => half::f16::from_bits(self.bits16(i)).to_f32(),
            DType::BF16 => half::bf16::from_bits(self.bits16(i)).to_f32(),
            DType::Q8_0 => Block::from_bytes(&self.bytes.as_chunks().0[i / BLOCK]).get(i % BLOCK),
        }
    }

    /// All values, widened.
    #[must_use]
    pub fn to_f32(self) -> Vec<f32> {
        match self.dtype {
            DType::Q8_0 => q8_0::dequantize(self.bytes),
            _ => (0..self.len()).map(|i| self.get(i)).collect(),
        }
    }
}
