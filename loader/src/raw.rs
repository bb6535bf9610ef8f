//! A tensor's numbers as they lie in the file.

use crate::finite::find_non_finite;
use crate::q8_0::BLOCK_BYTES;
use crate::{Bytes, Dtype, LoadError};

/// One tensor, read: little-endian numbers in row-major order (the last dimension varies fastest).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawTensor {
    /// Format of the numbers.
    pub dtype: Dtype,
    /// Dimensions, outermost first; empty for a single number.
    pub shape: Vec<usize>,
    /// The numbers. `data.len()` is [`Dtype::bytes_of`] the product of the shape; the address is not aligned to their width.
    pub data: Bytes,
}

impl RawTensor {
    /// The numbers as `f32`: exact, for the formats of weights.
    ///
    /// # Errors
    /// [`LoadError::NotAFloat`] for every format but `F32`, `F16`, `BF16` and `Q8_0`.
    pub fn to_f32(&self) -> Result<Vec<f32>, LoadError> {
        match self.dtype {
            Dtype::F32 => Ok(self.data.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect()),
            Dtype::F16 => Ok(self.halves().map(f16_to_f32).collect()),
            Dtype::BF16 => Ok(self.halves().map(|bits| f32::from_bits(u32::from(bits) << 16)).collect()),
            Dtype::Q8_0 => Ok(self.data.as_chunks().0.iter().flat_map(widen_block).collect()),
            dtype => Err(LoadError::NotAFloat { dtype }),
        }
    }

    fn halves(&self) -> impl Iterator<Item = u16> {
        self.data.as_chunks().0.iter().map(|b| u16::from_le_bytes(*b))
    }

    /// Index of the first value that is NaN or infinite, counted in row-major order; `None` if there is none.
    ///
    /// `F32`, `F16`, `BF16`, `F64` and the scales of `Q8_0` are looked over; the other formats always give `None`.
    #[must_use]
    pub fn find_non_finite(&self) -> Option<usize> {
        find_non_finite(self.dtype, &self.data)
    }
}

/// IEEE 754 half to single precision, exact.
///
/// The exponent and fraction are moved to their places in an `f32`; multiplying by 2^112 then corrects the exponent's
/// bias (127 - 15) and normalises subnormals. Infinity and NaN keep an exponent of all ones.
fn f16_to_f32(bits: u16) -> f32 {
    const TWO_POW_112: f32 = f32::from_bits((127 + 112) << 23);
    let sign = u32::from(bits & 0x8000) << 16;
    let moved = u32::from(bits & 0x7FFF) << 13;
    let magnitude = if bits & 0x7C00 == 0x7C00 {
        moved | 0x7F80_0000
    } else {
        (f32::from_bits(moved) * TWO_POW_112).to_bits()
    };
    f32::from_bits(sign | magnitude)
}

/// The values of a block of `Q8_0`.
fn widen_block(block: &[u8; BLOCK_BYTES]) -> impl Iterator<Item = f32> {
    let [low, high, values @ ..] = block;
    let scale = f16_to_f32(u16::from_le_bytes([*low, *high]));
    values.iter().map(move |value| scale * f32::from(value.cast_signed()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(dtype: Dtype, data: Vec<u8>) -> RawTensor {
        RawTensor { dtype, shape: vec![data.len() / dtype.size().unwrap()], data: data.into() }
    }

    #[test]
    fn every_half_becomes_the_right_single() {
        let data = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect::<Vec<_>>();
        let f16 = raw(Dtype::F16, data.clone()).to_f32().unwrap();
        let bf16 = raw(Dtype::BF16, data).to_f32().unwrap();
        for bits in 0..=u16::MAX {
            let same = |ours: f32, theirs: f32| {
                ours.to_bits() == theirs.to_bits() || (ours.is_nan() && theirs.is_nan())
            };
            assert!(same(f16[usize::from(bits)], half::f16::from_bits(bits).to_f32()), "f16 {bits:04x}");
            assert!(same(bf16[usize::from(bits)], half::bf16::from_bits(bits).to_f32()), "bf16 {bits:04x}");
        }
    }

    #[test]
    fn bytes_of_a_block_are_in_units_of_its_scale() {
        let bytes: Vec<u8> = (0..=255).collect();
        let blocks = bytes.chunks(32).zip([0x3800u16, 0xC000, 1, 0x7BFF, 0, 0x8000, 0x3555, 0x2E66]);
        let data: Vec<u8> =
            blocks.clone().flat_map(|(values, scale)| [&scale.to_le_bytes(), values].concat()).collect();
        let tensor = RawTensor { dtype: Dtype::Q8_0, shape: vec![2, 128], data: data.into() };
        let exact = blocks.flat_map(|(values, scale)| {
            values.iter().map(move |value| half::f16::from_bits(scale).to_f32() * f32::from(*value as i8))
        });
        assert_eq!(tensor.to_f32().unwrap(), exact.collect::<Vec<_>>());
        assert_eq!(tensor.to_f32().unwrap()[1], 0.5);
    }

    #[test]
    fn whole_numbers_are_no_weights() {
        let error = raw(Dtype::I64, vec![0; 8]).to_f32().unwrap_err();
        assert!(matches!(error, LoadError::NotAFloat { dtype: Dtype::I64 }));
        assert_eq!(error.to_string(), "a tensor of I64 is no tensor of weights; only F32, F16 and BF16 are");
    }
}
