//! The specification: one value after the other.

use super::{BLOCK, BLOCK_BYTES, Block, NotQuantizable, check, scale_of};

/// As [`super::quantize`].
///
/// # Errors
/// As [`super::quantize`].
///
/// # Panics
/// As [`super::quantize`].
pub fn quantize(values: &[f32], row: usize) -> Result<Vec<u8>, NotQuantizable> {
    check(values, row)?;
    let blocks = values.as_chunks::<BLOCK>().0.iter();
    Ok(blocks.flat_map(|values| quantize_block(values).to_bytes()).collect())
}

/// The block of 32 values that it can hold.
#[must_use]
pub fn quantize_block(values: &[f32; BLOCK]) -> Block {
    let largest = values.iter().fold(0f32, |largest, value| largest.max(value.abs()));
    let mut block = Block { scale: scale_of(largest), values: [0; BLOCK] };
    let scale = block.scale();
    if scale > 0.0 {
        let nearest = |value: f32| (value / scale).round_ties_even().clamp(-127.0, 127.0) as i8;
        block.values = values.map(nearest);
    }
    block
}

/// As [`super::dequantize`].
///
/// # Panics
/// As [`super::dequantize`].
#[must_use]
pub fn dequantize(bytes: &[u8]) -> Vec<f32> {
    let (blocks, rest) = bytes.as_chunks::<BLOCK_BYTES>();
    assert!(rest.is_empty(), "{} bytes are no whole blocks", bytes.len());
    blocks.iter().flat_map(|block| (0..BLOCK).map(|i| Block::from_bytes(block).get(i))).collect()
}
