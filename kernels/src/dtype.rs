//! The values of a weight as its file has them.

use latent_dtype::{F8, block};

pub use latent_dtype::DType;

/// A weight as its file has it: little-endian bytes of one dtype. Arithmetic with it is always in `f32`.
#[derive(Clone, Copy, Debug)]
pub struct WeightBytes<'a> {
    dtype: DType,
    bytes: &'a [u8],
}

impl<'a> WeightBytes<'a> {
    /// # Panics
    /// If the dtype is neither one of weights ([`DType::is_weight`]) nor `i8`, of which weights with a scale are, or the
    /// bytes are not whole values or blocks of it.
    #[must_use]
    pub fn new(dtype: DType, bytes: &'a [u8]) -> WeightBytes<'a> {
        assert!(dtype.is_weight() || dtype == DType::I8, "{dtype} is not a dtype of weights");
        let len = bytes.len();
        assert!(len.is_multiple_of(dtype.block_bytes()), "{len} bytes are not a whole number of {dtype}");
        WeightBytes { dtype, bytes }
    }

    /// The dtype.
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
        self.bytes.len() / self.dtype.block_bytes() * self.dtype.block_len()
    }

    /// Whether there is no value.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.bytes.is_empty()
    }

    /// The bits of value `i` of a 16-bit dtype.
    #[inline]
    fn bits16(self, i: usize) -> u16 {
        u16::from_le_bytes([self.bytes[2 * i], self.bytes[2 * i + 1]])
    }

    /// Value `i` as `f32`, exact.
    ///
    /// # Panics
    /// If there is no such value.
    #[inline]
    #[must_use]
    pub fn get(self, i: usize) -> f32 {
        match self.dtype {
            DType::F32 => f32::from_le_bytes([0, 1, 2, 3].map(|b| self.bytes[4 * i + b])),
            DType::F16 => half::f16::from_bits(self.bits16(i)).to_f32(),
            DType::BF16 => half::bf16::from_bits(self.bits16(i)).to_f32(),
            DType::I8 => f32::from(self.bytes[i].cast_signed()),
            dtype => match (F8::of(dtype), block::codec(dtype)) {
                (Some(f8), _) => f8.to_f32(self.bytes[i]),
                (None, Some(codec)) => codec.value(self.bytes, i),
                (None, None) => unreachable!("{dtype} is not a dtype of weights, which `new` has checked"),
            },
        }
    }

    /// All values as `f32`, exact.
    #[must_use]
    pub fn to_f32(self) -> Vec<f32> {
        if self.dtype.is_block_format() {
            return crate::quant::dequantize(self.dtype, self.bytes);
        }
        (0..self.len()).map(|i| self.get(i)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_those_of_the_dtype() {
        let halves = [0x00, 0x3C, 0x00, 0xC0];
        assert_eq!(WeightBytes::new(DType::F16, &halves).to_f32(), [1.0, -2.0]);
        assert_eq!(WeightBytes::new(DType::BF16, &[0x80, 0x3F]).get(0), 1.0);
        assert_eq!(WeightBytes::new(DType::F32, &1.5f32.to_le_bytes()).to_f32(), [1.5]);
        assert_eq!(WeightBytes::new(DType::F8E4M3, &[0x38, 0xC4]).to_f32(), [1.0, -3.0]);
        assert_eq!(WeightBytes::new(DType::F8E5M2, &[0x3C, 0xC2]).to_f32(), [1.0, -3.0]);
        assert_eq!(WeightBytes::new(DType::I8, &[1, 0xFD]).to_f32(), [1.0, -3.0]);
        let mut blocks = [0; 68];
        // A second block of scale 0.5, whose last value is -128.
        blocks[34..36].copy_from_slice(&[0x00, 0x38]);
        blocks[67] = 0x80;
        let weight = WeightBytes::new(DType::Q8_0, &blocks);
        assert_eq!((weight.len(), weight.get(63), weight.to_f32()[63]), (64, -64.0, -64.0));
    }

    #[test]
    #[should_panic(expected = "i64 is not a dtype of weights")]
    fn integers_are_not_weights() {
        let _ = WeightBytes::new(DType::I64, &[0; 8]);
    }

    #[test]
    #[should_panic(expected = "3 bytes are not a whole number of f16")]
    fn bytes_are_whole_values() {
        let _ = WeightBytes::new(DType::F16, &[0; 3]);
    }
}
