//! Fast quantization and dequantization of block formats.
//!
//! The formats are specified in [`latent_dtype::block`]; here are their forms for the vector trait, one file a format, which
//! give the same bits. To add a format: its file, and its line in `with_format`.
//!
//! ```
//! use latent_kernels::{DType, quant};
//!
//! let values: Vec<f32> = (0..64).map(|i| i as f32 / 64.0).collect();
//! let blocks = quant::quantize(DType::Q8_0, &values, 64)?;
//! assert_eq!(blocks.len(), 2 * 34);
//! assert!(quant::dequantize(DType::Q8_0, &blocks).iter().zip(&values).all(|(got, value)| (got - value).abs() < 0.005));
//! # Ok::<(), quant::NotQuantizable>(())
//! ```

mod q8_0;
#[cfg(test)]
mod tests;

use crate::DType;
use crate::parallel;
use crate::simd::{Isa, Simd, SimdOp, TRANSPOSE_ROWS};
use latent_dtype::block::{self, BlockCodec, BlockFormat, Q8_0};
use std::marker::PhantomData;

pub use latent_dtype::block::NotQuantizable;

/// Values that a thread takes at once: a quarter of a megabyte of them.
const GRAIN: usize = 1 << 16;

/// The fast forms of a block format. All give the bits that the specification gives.
///
/// Implementations mark the functions as `#[inline(always)]`, as [`SimdOp`] asks of its own.
pub(crate) trait BlockKernels: BlockFormat {
    /// Quantizes whole blocks of values that they can hold.
    fn quantize_blocks<S: Simd>(s: S, values: &[f32], bytes: &mut [u8]);

    /// Dequantizes whole blocks.
    fn dequantize_blocks<S: Simd>(s: S, bytes: &[u8], values: &mut [f32]);

    /// Dequantizes a block of each of sixteen rows: column `c` of the blocks becomes the sixteen values at `to[c]`.
    ///
    /// # Safety
    /// - Each row must be valid for reads of a block; no alignment is needed.
    /// - `to` must have [`BLOCK`](BlockFormat::BLOCK) elements, each valid for writes of sixteen values. Several may be the
    ///   same place, which then holds one of their columns.
    unsafe fn dequantize_columns<S: Simd>(s: S, rows: &[*const u8; TRANSPOSE_ROWS], to: &[*mut f32]);
}

/// Something to do with the kernels of a format that is known only at run time.
pub(crate) trait FormatVisitor {
    /// What it returns.
    type Output;
    /// Does it.
    fn visit<F: BlockKernels>(self) -> Self::Output;
}

/// Calls a visitor with the format of a dtype; `None` where that is not a block format. This is the registry.
pub(crate) fn with_format<V: FormatVisitor>(dtype: DType, visitor: V) -> Option<V::Output> {
    match dtype {
        DType::Q8_0 => Some(visitor.visit::<Q8_0>()),
        _ => None,
    }
}

/// Quantizes rows of `row` values to blocks, on the fastest instruction set.
///
/// # Errors
/// The first value that no block can hold.
///
/// # Panics
/// If `dtype` is not a block format, `row` is 0 or not a multiple of its block, or `values` are not whole rows.
pub fn quantize(dtype: DType, values: &[f32], row: usize) -> Result<Vec<u8>, NotQuantizable> {
    quantize_with(Isa::best(), dtype, values, row)
}

/// As [`quantize`], on a given instruction set.
///
/// # Errors
/// As [`quantize`].
///
/// # Panics
/// As [`quantize`], and if the CPU lacks the instruction set.
pub fn quantize_with(isa: Isa, dtype: DType, values: &[f32], row: usize) -> Result<Vec<u8>, NotQuantizable> {
    codec(dtype).check(values, row)?;
    let mut bytes = vec![0; dtype.bytes(values.len())];
    parallel::chunks_mut(&mut bytes, dtype.bytes(GRAIN), |index, bytes| {
        let len = bytes.len() / dtype.block_bytes() * dtype.block_len();
        with_format(dtype, Quantize { isa, values: &values[index * GRAIN..][..len], bytes });
    });
    Ok(bytes)
}

/// The values of blocks, on the fastest instruction set.
///
/// # Panics
/// If `dtype` is not a block format, or the bytes are not whole blocks.
#[must_use]
pub fn dequantize(dtype: DType, bytes: &[u8]) -> Vec<f32> {
    dequantize_with(Isa::best(), dtype, bytes)
}

/// As [`dequantize`], on a given instruction set.
///
/// # Panics
/// As [`dequantize`], and if the CPU lacks the instruction set.
#[must_use]
pub fn dequantize_with(isa: Isa, dtype: DType, bytes: &[u8]) -> Vec<f32> {
    let _ = codec(dtype);
    let (len, size) = (dtype.block_len(), dtype.block_bytes());
    assert!(bytes.len().is_multiple_of(size), "{} bytes are not whole blocks of {dtype}", bytes.len());
    let mut values = vec![0.0; bytes.len() / size * len];
    parallel::chunks_mut(&mut values, GRAIN, |index, values| {
        let bytes = &bytes[index * dtype.bytes(GRAIN)..][..dtype.bytes(values.len())];
        with_format(dtype, Dequantize { isa, bytes, values });
    });
    values
}

fn codec(dtype: DType) -> &'static BlockCodec {
    block::codec(dtype).unwrap_or_else(|| panic!("{dtype} is not a block format"))
}

/// Quantizes whole blocks of values that are known to fit.
struct Quantize<'a> {
    isa: Isa,
    values: &'a [f32],
    bytes: &'a mut [u8],
}

impl FormatVisitor for Quantize<'_> {
    type Output = ();
    fn visit<F: BlockKernels>(self) {
        let Quantize { isa, values, bytes } = self;
        isa.run(QuantizeTo::<F> { values, bytes, format: PhantomData });
    }
}

/// As [`Quantize`], to a format.
struct QuantizeTo<'a, F> {
    values: &'a [f32],
    bytes: &'a mut [u8],
    format: PhantomData<F>,
}

impl<F: BlockKernels> SimdOp for QuantizeTo<'_, F> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        F::quantize_blocks(s, self.values, self.bytes);
    }
}

/// Dequantizes whole blocks.
struct Dequantize<'a> {
    isa: Isa,
    bytes: &'a [u8],
    values: &'a mut [f32],
}

impl FormatVisitor for Dequantize<'_> {
    type Output = ();
    fn visit<F: BlockKernels>(self) {
        let Dequantize { isa, bytes, values } = self;
        isa.run(DequantizeFrom::<F> { bytes, values, format: PhantomData });
    }
}

/// As [`Dequantize`], from a format.
struct DequantizeFrom<'a, F> {
    bytes: &'a [u8],
    values: &'a mut [f32],
    format: PhantomData<F>,
}

impl<F: BlockKernels> SimdOp for DequantizeFrom<'_, F> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        F::dequantize_blocks(s, self.bytes, self.values);
    }
}
