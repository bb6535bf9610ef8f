//! A tensor's values as they are stored in the file.

use crate::finite::find_non_finite;
use crate::{Bytes, DType, LoadError};
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use latent_dtype::{F8, block};

/// One tensor, read: little-endian values in row-major order (the last dimension varies fastest).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawTensor {
    /// Dtype of the values.
    pub dtype: DType,
    /// Dimensions, outermost first; empty for a single value.
    pub shape: Vec<usize>,
    /// The values. `data.len()` is [`DType::bytes`] of the product of the shape; the address is not aligned to their width.
    pub data: Bytes,
}

impl RawTensor {
    /// The values as `f32`: exact, for the dtypes of weights.
    ///
    /// # Errors
    /// [`LoadError::NotAFloat`] for every dtype but those of weights ([`DType::is_weight`]).
    pub fn to_f32(&self) -> Result<Vec<f32>, LoadError> {
        match self.dtype {
            DType::F32 => Ok(self.data.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect()),
            DType::F16 => Ok(self.halves(|halves: &[f16], wide| halves.convert_to_f32_slice(wide))),
            DType::BF16 => Ok(self.halves(|halves: &[bf16], wide| halves.convert_to_f32_slice(wide))),
            dtype => match (F8::of(dtype), block::codec(dtype)) {
                (Some(f8), _) => Ok(self.data.iter().map(|byte| f8.to_f32(*byte)).collect()),
                (None, Some(codec)) => Ok(codec.dequantize(&self.data)),
                (None, None) => Err(LoadError::NotAFloat { dtype }),
            },
        }
    }

    /// The only value of a tensor of one value, of any dtype of plain numbers; `None` for several values and for other dtypes.
    #[must_use]
    pub fn to_number(&self) -> Option<f64> {
        if self.shape.iter().product::<usize>() != 1 {
            return None;
        }
        let bytes = &self.data[..];
        Some(match self.dtype {
            DType::F64 => f64::from_le_bytes(bytes.try_into().ok()?),
            DType::I64 => i64::from_le_bytes(bytes.try_into().ok()?) as f64,
            DType::U64 => u64::from_le_bytes(bytes.try_into().ok()?) as f64,
            DType::I32 => i32::from_le_bytes(bytes.try_into().ok()?).into(),
            DType::U32 => u32::from_le_bytes(bytes.try_into().ok()?).into(),
            DType::I16 => i16::from_le_bytes(bytes.try_into().ok()?).into(),
            DType::U16 => u16::from_le_bytes(bytes.try_into().ok()?).into(),
            DType::I8 => i8::from_le_bytes(bytes.try_into().ok()?).into(),
            DType::U8 | DType::Bool => bytes.first().copied()?.into(),
            _ => self.to_f32().ok()?.first().copied()?.into(),
        })
    }

    /// Values of 16 bits, converted a part at a time.
    fn halves<H: From16>(&self, convert: impl Fn(&[H], &mut [f32])) -> Vec<f32> {
        let bits = self.data.as_chunks::<2>().0;
        let (mut halves, mut wide) = ([H::default(); PART], vec![0.0; bits.len()]);
        for (bits, wide) in bits.chunks(PART).zip(wide.chunks_mut(PART)) {
            let halves = &mut halves[..bits.len()];
            halves.iter_mut().zip(bits).for_each(|(half, bytes)| *half = H::from_bytes(*bytes));
            convert(halves, wide);
        }
        wide
    }

    /// Index of the first value that is NaN or infinite, counted in row-major order; `None` if there is none.
    ///
    /// `f32`, `f16`, `bf16`, `f64`, `f8_e4m3`, `f8_e5m2` and the scales of block formats are tested; the other dtypes always give `None`.
    #[must_use]
    pub fn find_non_finite(&self) -> Option<usize> {
        find_non_finite(self.dtype, &self.data)
    }
}

/// Values that are converted at a time: few enough for the first-level cache.
const PART: usize = 1024;

/// A value of 16 bits.
trait From16: Copy + Default {
    fn from_bytes(bytes: [u8; 2]) -> Self;
}

impl From16 for f16 {
    fn from_bytes(bytes: [u8; 2]) -> f16 {
        f16::from_le_bytes(bytes)
    }
}

impl From16 for bf16 {
    fn from_bytes(bytes: [u8; 2]) -> bf16 {
        bf16::from_le_bytes(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(dtype: DType, data: Vec<u8>) -> RawTensor {
        RawTensor { dtype, shape: vec![data.len() / dtype.size()], data: data.into() }
    }

    #[test]
    fn every_half_becomes_the_right_single() {
        let data = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect::<Vec<_>>();
        let f16 = raw(DType::F16, data.clone()).to_f32().unwrap();
        let bf16 = raw(DType::BF16, data).to_f32().unwrap();
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
        let tensor = RawTensor { dtype: DType::Q8_0, shape: vec![2, 128], data: data.into() };
        let exact = blocks.flat_map(|(values, scale)| {
            values.iter().map(move |value| half::f16::from_bits(scale).to_f32() * f32::from(*value as i8))
        });
        assert_eq!(tensor.to_f32().unwrap(), exact.collect::<Vec<_>>());
        assert_eq!(tensor.to_f32().unwrap()[1], 0.5);
    }

    #[test]
    fn a_single_number_has_any_dtype() {
        let number = |dtype, data: &[u8]| raw(dtype, data.to_vec()).to_number();
        assert_eq!(number(DType::I64, &4i64.to_le_bytes()), Some(4.0));
        assert_eq!(number(DType::I32, &(-4i32).to_le_bytes()), Some(-4.0));
        assert_eq!(number(DType::U8, &[200]), Some(200.0));
        assert_eq!(number(DType::F64, &0.5f64.to_le_bytes()), Some(0.5));
        assert_eq!(number(DType::F16, &[0, 0x44]), Some(4.0));
        assert_eq!(number(DType::BF16, &[0x80, 0x40]), Some(4.0));
        assert_eq!((number(DType::F16, &[0; 4]), number(DType::C64, &[0; 8])), (None, None));
    }

    #[test]
    fn integers_are_not_weights() {
        let error = raw(DType::I64, vec![0; 8]).to_f32().unwrap_err();
        assert!(matches!(error, LoadError::NotAFloat { dtype: DType::I64 }));
        assert_eq!(
            error.to_string(),
            "a tensor of I64 does not hold weights; only F32, F16, BF16, F8_E4M3 and F8_E5M2 do"
        );
    }
}
