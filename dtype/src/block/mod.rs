//! Block formats: a few values that share a scale.
//!
//! Each format is a type that implements [`BlockFormat`] in a file of its own here, and a line in [`CODECS`]. What is here
//! is the specification, one value after the other: sizes, and a block quantized and dequantized. It is what the loader
//! converts with, and what the fast kernels are tested against.

#[cfg(test)]
mod goldens;
mod iq4_nl;
mod iq4_xs;
mod k_scales;
mod parts;
mod q2_k;
mod q3_k;
mod q4_0;
mod q4_1;
mod q4_k;
mod q5_0;
mod q5_1;
mod q5_k;
mod q6_k;
mod q8_0;
mod search;

pub use iq4_nl::Iq4Nl;
pub use iq4_xs::Iq4Xs;
pub use q2_k::Q2K;
pub use q3_k::Q3K;
pub use q4_0::Q4_0;
pub use q4_1::Q4_1;
pub use q4_k::Q4K;
pub use q5_0::Q5_0;
pub use q5_1::Q5_1;
pub use q5_k::Q5K;
pub use q6_k::Q6K;
pub use q8_0::Q8_0;

use crate::DType;
use std::fmt;

/// Maximum values of a block: room for one of any format.
pub const MAX_BLOCK: usize = 256;

/// A block format: how [`BLOCK`](BlockFormat::BLOCK) values become [`BYTES`](BlockFormat::BYTES) bytes, and back.
///
/// Blocks lie along the rows of a weight, whose length is therefore a multiple of a block: a matrix `[out, in]` has rows of
/// `in` values, a convolution `[out, in, kernel, kernel]` rows of `in * kernel * kernel`. A block of zero bytes is one of zeros
/// (of either sign).
pub trait BlockFormat: fmt::Debug + Send + Sync + 'static {
    /// Its dtype.
    const DTYPE: DType;
    /// Values of a block, at most [`MAX_BLOCK`].
    const BLOCK: usize;
    /// Bytes of a block.
    const BYTES: usize;
    /// Largest magnitude that is quantized.
    const MAX: f32;

    /// Quantizes a block of values that it can hold.
    ///
    /// # Panics
    /// If `values` are not [`BLOCK`](BlockFormat::BLOCK), or `block` not [`BYTES`](BlockFormat::BYTES).
    fn quantize_block(values: &[f32], block: &mut [u8]);

    /// Value `i` of a block.
    ///
    /// # Panics
    /// If `block` is too short, or `i` is not below [`BLOCK`](BlockFormat::BLOCK).
    fn value(block: &[u8], i: usize) -> f32;

    /// The index of the first value of a block that is NaN or infinite.
    ///
    /// # Panics
    /// If `block` is too short.
    fn find_non_finite(block: &[u8]) -> Option<usize>;

    /// The values of a block.
    ///
    /// # Panics
    /// If `values` are not [`BLOCK`](BlockFormat::BLOCK), or `block` not [`BYTES`](BlockFormat::BYTES).
    fn dequantize_block(block: &[u8], values: &mut [f32]) {
        for (i, value) in values.iter_mut().enumerate() {
            *value = Self::value(block, i);
        }
    }
}

/// A block format as a value, for code that knows its dtype only when it runs.
#[derive(Clone, Copy, Debug)]
pub struct BlockCodec {
    dtype: DType,
    max: f32,
    quantize_block: fn(&[f32], &mut [u8]),
    dequantize_block: fn(&[u8], &mut [f32]),
    value: fn(&[u8], usize) -> f32,
    find_non_finite: fn(&[u8]) -> Option<usize>,
}

/// Every block format. To add one: its file, and its line here.
pub const CODECS: &[BlockCodec] = &[
    BlockCodec::of::<Q8_0>(),
    BlockCodec::of::<Q4_0>(),
    BlockCodec::of::<Q4_1>(),
    BlockCodec::of::<Q5_0>(),
    BlockCodec::of::<Q5_1>(),
    BlockCodec::of::<Q2K>(),
    BlockCodec::of::<Q3K>(),
    BlockCodec::of::<Q4K>(),
    BlockCodec::of::<Q5K>(),
    BlockCodec::of::<Q6K>(),
    BlockCodec::of::<Iq4Nl>(),
    BlockCodec::of::<Iq4Xs>(),
];

/// The codec of a dtype; `None` where that is not a block format.
#[must_use]
pub fn codec(dtype: DType) -> Option<&'static BlockCodec> {
    CODECS.iter().find(|codec| codec.dtype == dtype)
}

impl BlockCodec {
    /// That of a format, whose sizes are those that its dtype states.
    const fn of<F: BlockFormat>() -> BlockCodec {
        assert!(F::DTYPE.is_block_format() && F::BLOCK <= MAX_BLOCK);
        assert!(F::DTYPE.block_len() == F::BLOCK && F::DTYPE.block_bytes() == F::BYTES);
        BlockCodec {
            dtype: F::DTYPE,
            max: F::MAX,
            quantize_block: F::quantize_block,
            dequantize_block: F::dequantize_block,
            value: F::value,
            find_non_finite: F::find_non_finite,
        }
    }

    /// The dtype.
    #[must_use]
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Value `i` of whole blocks.
    ///
    /// # Panics
    /// If there is no such value.
    #[must_use]
    pub fn value(&self, bytes: &[u8], i: usize) -> f32 {
        let (len, size) = (self.dtype.block_len(), self.dtype.block_bytes());
        (self.value)(&bytes[i / len * size..][..size], i % len)
    }

    /// The index of the first value that is NaN or infinite.
    ///
    /// # Panics
    /// If the bytes are not whole blocks.
    #[must_use]
    pub fn find_non_finite(&self, bytes: &[u8]) -> Option<usize> {
        let found = self.blocks(bytes).map(self.find_non_finite);
        found.enumerate().find_map(|(block, found)| Some(block * self.dtype.block_len() + found?))
    }

    /// Quantizes rows of `row` values, as the specification says: one value after the other.
    ///
    /// # Errors
    /// As [`check`](BlockCodec::check).
    ///
    /// # Panics
    /// As [`check`](BlockCodec::check).
    pub fn quantize(&self, values: &[f32], row: usize) -> Result<Vec<u8>, NotQuantizable> {
        self.check(values, row)?;
        let mut bytes = vec![0; self.dtype.bytes(values.len())];
        let blocks = bytes.chunks_exact_mut(self.dtype.block_bytes());
        for (values, block) in values.chunks_exact(self.dtype.block_len()).zip(blocks) {
            (self.quantize_block)(values, block);
        }
        Ok(bytes)
    }

    /// The values of whole blocks, as the specification says.
    ///
    /// # Panics
    /// If the bytes are not whole blocks.
    #[must_use]
    pub fn dequantize(&self, bytes: &[u8]) -> Vec<f32> {
        let mut values = vec![0.0; bytes.len() / self.dtype.block_bytes() * self.dtype.block_len()];
        for (block, values) in self.blocks(bytes).zip(values.chunks_exact_mut(self.dtype.block_len())) {
            (self.dequantize_block)(block, values);
        }
        values
    }

    /// Whether rows of `row` values can be quantized.
    ///
    /// # Errors
    /// The first value that no block can hold.
    ///
    /// # Panics
    /// If `row` is 0 or not a multiple of a block, or `values` are not whole rows.
    pub fn check(&self, values: &[f32], row: usize) -> Result<(), NotQuantizable> {
        let (dtype, block) = (self.dtype, self.dtype.block_len());
        assert!(row > 0 && row.is_multiple_of(block), "rows of {row} values are not whole blocks of {block}");
        assert!(values.len().is_multiple_of(row), "{} values are not whole rows of {row}", values.len());
        // NaN is not.
        let fits = |value: &f32| value.abs() <= self.max;
        match values.iter().position(|value| !fits(value)) {
            Some(index) => Err(NotQuantizable { dtype, index, value: values[index], max: self.max }),
            None => Ok(()),
        }
    }

    fn blocks<'a>(&self, bytes: &'a [u8]) -> std::slice::ChunksExact<'a, u8> {
        let blocks = bytes.chunks_exact(self.dtype.block_bytes());
        assert!(
            blocks.remainder().is_empty(),
            "{} bytes are not whole blocks of {}",
            bytes.len(),
            self.dtype
        );
        blocks
    }
}

/// A value that no block can hold: NaN, infinite, or larger than its largest.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct NotQuantizable {
    /// The dtype of the blocks.
    pub dtype: DType,
    /// Index of the value, counted from 0.
    pub index: usize,
    /// The value.
    pub value: f32,
    /// Largest magnitude that a block can hold.
    pub max: f32,
}

impl fmt::Display for NotQuantizable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let NotQuantizable { dtype, index, value, max } = self;
        write!(f, "{dtype} cannot hold value {index}, {value:e}: the largest is {max:e}")
    }
}

impl std::error::Error for NotQuantizable {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_block_format_has_a_codec() {
        for dtype in DType::all() {
            assert_eq!(codec(dtype).map(BlockCodec::dtype), dtype.is_block_format().then_some(dtype));
        }
    }

    #[test]
    fn every_codec_gives_its_largest_values_back() {
        for codec in CODECS {
            let (block, bits) = (codec.dtype().block_len(), codec.dtype().bits());
            let most: Vec<f32> =
                (0..3 * block).map(|i| if i % 2 == 0 { codec.max } else { -codec.max }).collect();
            let bytes = codec.quantize(&most, block).unwrap();
            // Numbers from -8 to 7 hold one of the two, and the other nearly.
            let step = if bits == 8 { 0.0 } else { 2.0 * codec.max / (1 << bits) as f32 };
            for (got, wanted) in codec.dequantize(&bytes).iter().zip(&most) {
                assert!((got - wanted).abs() <= step, "{} {wanted} {got}", codec.dtype());
            }
            assert_eq!(codec.find_non_finite(&bytes), None);
        }
    }

    #[test]
    fn what_no_block_can_hold_is_refused_with_its_index() {
        let codec = codec(DType::Q8_0).unwrap();
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 8.4e6] {
            let mut values = vec![1.0; 96];
            values[40] = value;
            values[70] = f32::NAN;
            let error = codec.quantize(&values, 96).unwrap_err();
            assert_eq!((error.index, error.value.to_bits()), (40, value.to_bits()));
        }
        let error = codec.check(&[1.0, 1e9].repeat(16), 32).unwrap_err();
        assert_eq!(error.to_string(), "q8_0 cannot hold value 1, 1e9: the largest is 8.319008e6");
    }

    #[test]
    #[should_panic(expected = "rows of 48 values are not whole blocks of 32")]
    fn rows_are_whole_blocks() {
        drop(codec(DType::Q8_0).unwrap().quantize(&[0.0; 96], 48));
    }

    #[test]
    #[should_panic(expected = "35 bytes are not whole blocks of q8_0")]
    fn bytes_are_whole_blocks() {
        drop(codec(DType::Q8_0).unwrap().dequantize(&[0; 35]));
    }
}
