//! Fast quantization and dequantization of block formats.
//!
//! The formats are specified in [`latent_dtype::block`]; here are their forms for the vector trait, which give the same bits:
//! the specification itself, compiled for each instruction set, or a file of a format. To add a format: its `impl`, and its
//! line in `with_format`.
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

#[cfg(feature = "gpu")]
pub(crate) mod gpu;
mod q8_0;
#[cfg(test)]
mod tests;

use crate::DType;
use crate::parallel;
use crate::simd::{Isa, Simd, SimdOp, TRANSPOSE_COLUMNS, TRANSPOSE_ROWS};
use latent_dtype::block::{
    self, BlockCodec, BlockFormat, Iq4Nl, Iq4Xs, MAX_BLOCK, Q2K, Q3K, Q4_0, Q4_1, Q4K, Q5_0, Q5_1, Q5K, Q6K,
    Q8_0,
};
use std::marker::PhantomData;

pub use latent_dtype::block::NotQuantizable;

/// Values that a thread takes at once: a quarter of a megabyte of them.
const GRAIN: usize = 1 << 16;

/// Values of sixteen blocks, dequantized row by row before they are transposed.
pub(crate) type WideBlocks = [f32; TRANSPOSE_ROWS * MAX_BLOCK];

/// The fast forms of a block format. All give the bits that the specification gives.
///
/// What is here are the specification's functions, compiled for each instruction set: they are written as loops that the
/// compiler vectorizes. A format may have its own; they mark the functions as `#[inline(always)]`, as [`SimdOp`] asks.
pub(crate) trait BlockKernels: BlockFormat {
    /// Quantizes whole blocks of values that they can hold.
    #[inline(always)]
    fn quantize_blocks<S: Simd>(_: S, values: &[f32], bytes: &mut [u8]) {
        let blocks = bytes.chunks_exact_mut(Self::BYTES);
        for (values, block) in values.chunks_exact(Self::BLOCK).zip(blocks) {
            Self::quantize_block(values, block);
        }
    }

    /// Dequantizes whole blocks.
    #[inline(always)]
    fn dequantize_blocks<S: Simd>(_: S, bytes: &[u8], values: &mut [f32]) {
        let values = values.chunks_exact_mut(Self::BLOCK);
        for (block, values) in bytes.chunks_exact(Self::BYTES).zip(values) {
            Self::dequantize_block(block, values);
        }
    }

    /// Dequantizes a block of each of sixteen rows: column `c` of the blocks becomes the sixteen values at `to[c]`. `wide` may be
    /// written to.
    ///
    /// # Safety
    /// - Each row must be valid for reads of a block; no alignment is needed.
    /// - `to` must have [`BLOCK`](BlockFormat::BLOCK) elements, each valid for writes of sixteen values. Several may be the
    ///   same place, which then holds one of their columns.
    #[inline(always)]
    unsafe fn dequantize_columns<S: Simd>(
        s: S,
        rows: &[*const u8; TRANSPOSE_ROWS],
        to: &[*mut f32],
        wide: &mut WideBlocks,
    ) {
        const { assert!(Self::BLOCK <= MAX_BLOCK && Self::BLOCK.is_multiple_of(TRANSPOSE_COLUMNS)) };
        for (row, values) in rows.iter().zip(wide.chunks_exact_mut(Self::BLOCK)) {
            // SAFETY: the caller guarantees a block of each row.
            let block = unsafe { std::slice::from_raw_parts(*row, Self::BYTES) };
            Self::dequantize_block(block, values);
        }
        let from: [*const u8; TRANSPOSE_ROWS] =
            std::array::from_fn(|r| wide[r * Self::BLOCK..].as_ptr().cast());
        for (eight, to) in to.as_chunks::<TRANSPOSE_COLUMNS>().0.iter().enumerate() {
            // SAFETY: `wide` has sixteen rows of a block, of which these are eight values; the caller guarantees sixteen
            // values at each of `to`.
            unsafe {
                let rows = from.map(|row| row.add(4 * TRANSPOSE_COLUMNS * eight));
                s.transpose_f32(&rows, to);
            }
        }
    }
}

impl BlockKernels for Q4_0 {}
impl BlockKernels for Q4_1 {}
impl BlockKernels for Q5_0 {}
impl BlockKernels for Q5_1 {}
impl BlockKernels for Q2K {}
impl BlockKernels for Q3K {}
impl BlockKernels for Q4K {}
impl BlockKernels for Q5K {}
impl BlockKernels for Q6K {}
impl BlockKernels for Iq4Nl {}
impl BlockKernels for Iq4Xs {}

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
        DType::Q4_0 => Some(visitor.visit::<Q4_0>()),
        DType::Q4_1 => Some(visitor.visit::<Q4_1>()),
        DType::Q5_0 => Some(visitor.visit::<Q5_0>()),
        DType::Q5_1 => Some(visitor.visit::<Q5_1>()),
        DType::Q2_K => Some(visitor.visit::<Q2K>()),
        DType::Q3_K => Some(visitor.visit::<Q3K>()),
        DType::Q4_K => Some(visitor.visit::<Q4K>()),
        DType::Q5_K => Some(visitor.visit::<Q5K>()),
        DType::Q6_K => Some(visitor.visit::<Q6K>()),
        DType::IQ4_NL => Some(visitor.visit::<Iq4Nl>()),
        DType::IQ4_XS => Some(visitor.visit::<Iq4Xs>()),
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
