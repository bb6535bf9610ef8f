//! The weight format Q8_0: blocks of 32 values, each a signed byte, that share a scale of 16 bits. 8.5 bits a value.
//!
//! A block is 34 bytes: the scale, a little-endian IEEE half, then the 32 bytes; `value = scale * byte`. That is the
//! layout of `block_q8_0` in ggml. Blocks lie along the rows of a weight, whose length is a multiple of 32: a matrix
//! `[out, in]` has rows of `in` values, a convolution `[out, in, kernel, kernel]` rows of `in * kernel * kernel`.
//!
//! [`quantize`] takes `max |x| / 127` as scale, rounded to 16 bits, and rounds each value to the nearest multiple of what
//! was rounded, so that no value is off by more than half a scale. A product of 11 and 7 bits is exact in `f32`: every way
//! to widen a weight gives the same bits, and a product with a quantized weight is that with the widened one.

mod panel;
pub mod reference;
mod simd;
#[cfg(test)]
mod tests;

use crate::parallel;
use crate::simd::Isa;
use std::fmt;

pub(crate) use panel::widen_panel;

/// Values of a block.
pub const BLOCK: usize = 32;
/// Bytes of a block.
pub const BLOCK_BYTES: usize = SCALE_BYTES + BLOCK;

/// Bytes before the values.
const SCALE_BYTES: usize = 2;
/// Largest byte, and, with its sign, the smallest: -128 is never written.
const LARGEST_BYTE: f32 = 127.0;
/// Largest magnitude that a block can hold: 127 times the largest half.
const LARGEST: f32 = LARGEST_BYTE * 65504.0;
/// Blocks that a thread takes at once: quarter a megabyte of values.
const GRAIN: usize = 2048;

/// A block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// The bits of the scale, an IEEE half.
    pub scale: u16,
    /// The values, in units of the scale.
    pub values: [i8; BLOCK],
}

impl Block {
    /// As it lies in memory.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; BLOCK_BYTES]) -> Block {
        let mut values = [0; BLOCK];
        values.iter_mut().zip(&bytes[SCALE_BYTES..]).for_each(|(value, byte)| *value = byte.cast_signed());
        Block { scale: u16::from_le_bytes([bytes[0], bytes[1]]), values }
    }

    /// Its bytes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; BLOCK_BYTES] {
        let mut bytes = [0; BLOCK_BYTES];
        bytes[..SCALE_BYTES].copy_from_slice(&self.scale.to_le_bytes());
        let to = bytes[SCALE_BYTES..].iter_mut();
        to.zip(self.values).for_each(|(byte, value)| *byte = value.cast_unsigned());
        bytes
    }

    /// The scale, widened.
    #[must_use]
    pub fn scale(self) -> f32 {
        half::f16::from_bits(self.scale).to_f32()
    }

    /// Value `i`, widened.
    #[inline]
    #[must_use]
    pub fn get(self, i: usize) -> f32 {
        self.scale() * f32::from(self.values[i])
    }
}

/// A value that no block can hold: NaN, infinite, or larger than 127 times the largest half.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NotQuantizable {
    /// Which one.
    pub index: usize,
    /// Its value.
    pub value: f32,
}

impl fmt::Display for NotQuantizable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "q8_0 cannot hold value {}, {:e}: the largest is {LARGEST:e}", self.index, self.value)
    }
}

impl std::error::Error for NotQuantizable {}

/// Quantizes rows of `row` values to blocks, on the fastest instruction set.
///
/// # Errors
/// The first value that no block can hold.
///
/// # Panics
/// If `row` is 0 or no multiple of [`BLOCK`], or `values` are no whole rows.
pub fn quantize(values: &[f32], row: usize) -> Result<Vec<u8>, NotQuantizable> {
    quantize_with(Isa::best(), values, row)
}

/// As [`quantize`], on a given instruction set.
///
/// # Errors
/// As [`quantize`].
///
/// # Panics
/// As [`quantize`], and if the CPU lacks the instruction set.
pub fn quantize_with(isa: Isa, values: &[f32], row: usize) -> Result<Vec<u8>, NotQuantizable> {
    check(values, row)?;
    let mut bytes = vec![0; values.len() / BLOCK * BLOCK_BYTES];
    parallel::chunks_mut(&mut bytes, GRAIN * BLOCK_BYTES, |index, bytes| {
        let values = &values[index * GRAIN * BLOCK..][..bytes.len() / BLOCK_BYTES * BLOCK];
        isa.run(simd::Quantize { values, bytes });
    });
    Ok(bytes)
}

/// The values of blocks, on the fastest instruction set.
///
/// # Panics
/// If the bytes are no whole blocks.
#[must_use]
pub fn dequantize(bytes: &[u8]) -> Vec<f32> {
    dequantize_with(Isa::best(), bytes)
}

/// As [`dequantize`], on a given instruction set.
///
/// # Panics
/// As [`dequantize`], and if the CPU lacks the instruction set.
#[must_use]
pub fn dequantize_with(isa: Isa, bytes: &[u8]) -> Vec<f32> {
    assert!(bytes.len().is_multiple_of(BLOCK_BYTES), "{} bytes are no whole blocks", bytes.len());
    let mut values = vec![0.0; bytes.len() / BLOCK_BYTES * BLOCK];
    parallel::chunks_mut(&mut values, GRAIN * BLOCK, |index, values| {
        let bytes = &bytes[index * GRAIN * BLOCK_BYTES..][..values.len() / BLOCK * BLOCK_BYTES];
        isa.run(simd::Dequantize { bytes, values });
    });
    values
}

fn check(values: &[f32], row: usize) -> Result<(), NotQuantizable> {
    assert!(row > 0 && row.is_multiple_of(BLOCK), "rows of {row} values are no whole blocks of {BLOCK}");
    assert!(values.len().is_multiple_of(row), "{} values are no whole rows of {row}", values.len());
    let fits = |value: &f32| value.abs() <= LARGEST;
    match values.iter().position(|value| !fits(value)) {
        Some(index) => Err(NotQuantizable { index, value: values[index] }),
        None => Ok(()),
    }
}

/// The scale of a block whose largest magnitude this is, in bits of a half: the nearest to a 127th of it, or, where halves
/// lie so far apart that it could not be reached, the next one up.
fn scale_of(largest: f32) -> u16 {
    let nearest = half::f16::from_f32(largest / LARGEST_BYTE);
    let reaches = largest <= (LARGEST_BYTE + 0.5) * nearest.to_f32();
    nearest.to_bits() + u16::from(!reaches)
}
