//! The number formats that weights can be written in.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use latent_kernels::q8_0;
use latent_loader::{Dtype, q8_0 as stored};

/// A number format of a converted file. To add one: a line in [`Numbers::ALL`] and an arm in each method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Numbers {
    /// Single precision.
    F32,
    /// Half precision: about three decimal digits, up to 65504.
    F16,
    /// The upper half of an `f32`: about two decimal digits, of any size.
    BF16,
    /// Signed bytes in blocks of 32 that share a scale, 8.5 bits a value ([`latent_kernels::q8_0`]). Only of matrices and
    /// convolutions whose rows are whole blocks; all other weights, which are few, keep the format that they have.
    Q8_0,
}

/// A value that a format cannot hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TooLarge(
    /// The value.
    pub f32,
);

impl Numbers {
    /// Every format.
    pub const ALL: &'static [Numbers] = &[Numbers::F32, Numbers::F16, Numbers::BF16, Numbers::Q8_0];

    /// Its name, as a program writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Numbers::F32 => "f32",
            Numbers::F16 => "f16",
            Numbers::BF16 => "bf16",
            Numbers::Q8_0 => "q8_0",
        }
    }

    /// What the loader calls it.
    #[must_use]
    pub fn dtype(self) -> Dtype {
        match self {
            Numbers::F32 => Dtype::F32,
            Numbers::F16 => Dtype::F16,
            Numbers::BF16 => Dtype::BF16,
            Numbers::Q8_0 => Dtype::Q8_0,
        }
    }

    /// The format that a weight of this shape, which was `old`, is written in.
    #[must_use]
    pub fn dtype_of(self, old: Dtype, shape: &[usize]) -> Dtype {
        let has_blocks = shape.len() > 1 && stored::stored_shape(shape).is_some();
        if self == Numbers::Q8_0 && !has_blocks { old } else { self.dtype() }
    }

    /// The format of tensors that a file has in `dtype`; `None` where they are no weights.
    #[must_use]
    pub fn of(dtype: Dtype) -> Option<Numbers> {
        Numbers::ALL.iter().copied().find(|numbers| numbers.dtype() == dtype)
    }

    /// Appends rows of `columns` values each, rounded to the nearest number of this format, halves to even.
    ///
    /// # Errors
    /// [`TooLarge`]: a finite value that would become infinite.
    ///
    /// # Panics
    /// If rows of [`Numbers::Q8_0`] are no whole blocks of 32.
    pub fn rows(self, values: &[f32], columns: usize, out: &mut Vec<u8>) -> Result<(), TooLarge> {
        debug_assert!(columns > 0 && values.len().is_multiple_of(columns));
        match self {
            Numbers::F32 => out.extend(values.iter().flat_map(|value| value.to_le_bytes())),
            Numbers::F16 => {
                let mut halves = vec![f16::ZERO; values.len()];
                halves.convert_from_f32_slice(values);
                check(values, |i| halves[i].is_finite())?;
                out.extend(halves.iter().flat_map(|half| half.to_le_bytes()));
            }
            Numbers::BF16 => {
                let mut halves = vec![bf16::ZERO; values.len()];
                halves.convert_from_f32_slice(values);
                check(values, |i| halves[i].is_finite())?;
                out.extend(halves.iter().flat_map(|half| half.to_le_bytes()));
            }
            Numbers::Q8_0 => {
                out.extend(q8_0::quantize(values, columns).map_err(|error| TooLarge(error.value))?);
            }
        }
        Ok(())
    }
}

/// Finds a finite value that has become infinite.
fn check(values: &[f32], is_finite: impl Fn(usize) -> bool) -> Result<(), TooLarge> {
    let bad = (0..values.len()).find(|i| !is_finite(*i) && values[*i].is_finite());
    bad.map_or(Ok(()), |i| Err(TooLarge(values[i])))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn halves(numbers: Numbers, values: &[f32]) -> Vec<u16> {
        let mut out = Vec::new();
        numbers.rows(values, values.len(), &mut out).unwrap();
        out.as_chunks().0.iter().map(|bytes| u16::from_le_bytes(*bytes)).collect()
    }

    #[test]
    fn values_go_to_the_nearest_number_and_ties_to_even() {
        // Steps of f16 above 1 are 2^-10, of bf16 2^-7.
        let step = |power: i32| 2f32.powi(power);
        let f16s =
            [1.0, 1.0 + step(-11), 1.0 + 3.0 * step(-11), 1.0 + step(-11) + step(-20), 65504.0, -step(-24)];
        assert_eq!(halves(Numbers::F16, &f16s), [0x3c00, 0x3c00, 0x3c02, 0x3c01, 0x7bff, 0x8001]);
        // Half the smallest number is a tie with 0; a little more is not.
        assert_eq!(halves(Numbers::F16, &[step(-25), step(-25) * 1.01, 65519.0]), [0, 1, 0x7bff]);
        let bf16s = [1.0, 1.0 + step(-8), 1.0 + 3.0 * step(-8), 1.0 + step(-8) + step(-20), -0.0];
        assert_eq!(halves(Numbers::BF16, &bf16s), [0x3f80, 0x3f80, 0x3f82, 0x3f81, 0x8000]);
    }

    #[test]
    fn what_does_not_fit_is_told() {
        let mut out = Vec::new();
        assert_eq!(Numbers::F16.rows(&[1.0, 65520.0], 2, &mut out), Err(TooLarge(65520.0)));
        assert_eq!(Numbers::BF16.rows(&[f32::MAX], 1, &mut out), Err(TooLarge(f32::MAX)));
        assert_eq!(Numbers::F32.rows(&[f32::MAX], 1, &mut out), Ok(()));
    }

    #[test]
    fn a_format_is_known_by_its_tensors() {
        for numbers in Numbers::ALL {
            assert_eq!(Numbers::of(numbers.dtype()), Some(*numbers));
        }
        assert_eq!(Numbers::of(Dtype::I64), None);
    }

    #[test]
    fn blocks_are_of_matrices_with_whole_rows() {
        let q8_0 = |shape: &[usize]| Numbers::Q8_0.dtype_of(Dtype::F16, shape) == Dtype::Q8_0;
        assert!(q8_0(&[2, 64]) && q8_0(&[4, 32, 3, 3]) && !q8_0(&[64]) && !q8_0(&[64, 4, 3, 3]));
        assert_eq!(Numbers::BF16.dtype_of(Dtype::F16, &[64]), Dtype::BF16);
        let mut out = Vec::new();
        Numbers::Q8_0.rows(&[1.0; 64], 32, &mut out).unwrap();
        assert_eq!((out.len(), out[2], out[35]), (68, 127, out[1]));
        assert_eq!(Numbers::Q8_0.rows(&[9e6; 32], 32, &mut out), Err(TooLarge(9e6)));
    }
}
