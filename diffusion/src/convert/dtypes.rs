//! The dtypes that weights can be written in.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use latent_kernels::quant;
use latent_loader::block_storage::stored_shape;
use latent_loader::{DType, F8};

/// The dtypes that a converted model can have. To add one that is not a block format: its line here, and an arm in `encode`.
///
/// A block format is only for matrices and convolutions whose rows are whole blocks, and an 8-bit float only for matrices and
/// convolutions; all other weights, which are few, keep the dtype that they have.
pub const TARGET_DTYPES: &[DType] =
    &[DType::F32, DType::F16, DType::BF16, DType::F8E4M3, DType::F8E5M2, DType::Q8_0];

/// A value that a dtype cannot hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TooLarge(
    /// The value.
    pub f32,
);

/// The dtype that a weight of this shape, which was `old`, is written in where `target` is asked for.
pub(super) fn dtype_of(target: DType, old: DType, shape: &[usize]) -> DType {
    let has_blocks = shape.len() > 1 && stored_shape(target, shape).is_some();
    let fits = if target.is_block_format() { has_blocks } else { shape.len() > 1 || !target.is_f8() };
    if fits { target } else { old }
}

/// Appends rows of `columns` values each, rounded to the nearest value of the dtype, halves to even. What is too large for an
/// 8-bit float becomes its largest value.
///
/// # Errors
/// [`TooLarge`]: a finite value that would become infinite.
///
/// # Panics
/// If `dtype` is not one of weights, or rows of a block format are not whole blocks.
pub(super) fn encode(
    dtype: DType,
    values: &[f32],
    columns: usize,
    out: &mut Vec<u8>,
) -> Result<(), TooLarge> {
    debug_assert!(columns > 0 && values.len().is_multiple_of(columns));
    match dtype {
        DType::F32 => out.extend(values.iter().flat_map(|value| value.to_le_bytes())),
        DType::F16 => {
            let mut halves = vec![f16::ZERO; values.len()];
            halves.convert_from_f32_slice(values);
            check(values, |i| halves[i].is_finite())?;
            out.extend(halves.iter().flat_map(|half| half.to_le_bytes()));
        }
        DType::BF16 => {
            let mut halves = vec![bf16::ZERO; values.len()];
            halves.convert_from_f32_slice(values);
            check(values, |i| halves[i].is_finite())?;
            out.extend(halves.iter().flat_map(|half| half.to_le_bytes()));
        }
        DType::F8E4M3 | DType::F8E5M2 => {
            let f8 = F8::of(dtype).expect("an 8-bit float");
            out.extend(values.iter().map(|value| f8.from_f32(*value)));
        }
        // It panics for what is not a block format.
        blocks => {
            out.extend(quant::quantize(blocks, values, columns).map_err(|error| TooLarge(error.value))?);
        }
    }
    Ok(())
}

/// Finds a finite value that has become infinite.
fn check(values: &[f32], is_finite: impl Fn(usize) -> bool) -> Result<(), TooLarge> {
    let bad = (0..values.len()).find(|i| !is_finite(*i) && values[*i].is_finite());
    bad.map_or(Ok(()), |i| Err(TooLarge(values[i])))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn halves(dtype: DType, values: &[f32]) -> Vec<u16> {
        let mut out = Vec::new();
        encode(dtype, values, values.len(), &mut out).unwrap();
        out.as_chunks().0.iter().map(|bytes| u16::from_le_bytes(*bytes)).collect()
    }

    #[test]
    fn values_go_to_the_nearest_number_and_ties_to_even() {
        // Steps of f16 above 1 are 2^-10, of bf16 2^-7.
        let step = |power: i32| 2f32.powi(power);
        let f16s =
            [1.0, 1.0 + step(-11), 1.0 + 3.0 * step(-11), 1.0 + step(-11) + step(-20), 65504.0, -step(-24)];
        assert_eq!(halves(DType::F16, &f16s), [0x3c00, 0x3c00, 0x3c02, 0x3c01, 0x7bff, 0x8001]);
        // Half the smallest number is a tie with 0; a little more is not.
        assert_eq!(halves(DType::F16, &[step(-25), step(-25) * 1.01, 65519.0]), [0, 1, 0x7bff]);
        let bf16s = [1.0, 1.0 + step(-8), 1.0 + 3.0 * step(-8), 1.0 + step(-8) + step(-20), -0.0];
        assert_eq!(halves(DType::BF16, &bf16s), [0x3f80, 0x3f80, 0x3f82, 0x3f81, 0x8000]);
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let mut out = Vec::new();
        assert_eq!(encode(DType::F16, &[1.0, 65520.0], 2, &mut out), Err(TooLarge(65520.0)));
        assert_eq!(encode(DType::BF16, &[f32::MAX], 1, &mut out), Err(TooLarge(f32::MAX)));
        assert_eq!(encode(DType::F32, &[f32::MAX], 1, &mut out), Ok(()));
    }

    #[test]
    fn targets_are_weights() {
        assert!(TARGET_DTYPES.iter().all(|dtype| dtype.is_weight()));
        // Every block format can be written.
        assert!(DType::all().all(|dtype| !dtype.is_block_format() || TARGET_DTYPES.contains(&dtype)));
    }

    #[test]
    fn blocks_are_of_matrices_with_whole_rows() {
        let q8_0 = |shape: &[usize]| dtype_of(DType::Q8_0, DType::F16, shape) == DType::Q8_0;
        assert!(q8_0(&[2, 64]) && q8_0(&[4, 32, 3, 3]) && !q8_0(&[64]) && !q8_0(&[64, 4, 3, 3]));
        assert_eq!(dtype_of(DType::BF16, DType::F16, &[64]), DType::BF16);
        let mut out = Vec::new();
        encode(DType::Q8_0, &[1.0; 64], 32, &mut out).unwrap();
        assert_eq!((out.len(), out[2], out[35]), (68, 127, out[1]));
        assert_eq!(encode(DType::Q8_0, &[9e6; 32], 32, &mut out), Err(TooLarge(9e6)));
    }
}
