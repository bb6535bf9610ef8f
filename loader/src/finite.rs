//! Looks numbers over for NaN and infinity.

use crate::Dtype;
use crate::q8_0::{self, BLOCK_BYTES};

/// Bytes that are tested together, about: small enough for the first cache.
const BLOCK: usize = 8192;

/// Index of the first value that is NaN or infinite, counted from 0; `None` if there is none, and for every format but
/// `F32`, `F16`, `BF16`, `F64` and `Q8_0`. Of the last, it is the first value of a block whose scale is NaN or infinite.
pub(crate) fn find_non_finite(dtype: Dtype, data: &[u8]) -> Option<usize> {
    // A float is finite unless all bits of its exponent are set.
    match dtype {
        Dtype::F32 => find(data, |b: &[u8; 4]| u32::from_le_bytes(*b) & 0x7F80_0000 == 0x7F80_0000),
        Dtype::F16 => find(data, |b: &[u8; 2]| u16::from_le_bytes(*b) & 0x7C00 == 0x7C00),
        Dtype::BF16 => find(data, |b: &[u8; 2]| u16::from_le_bytes(*b) & 0x7F80 == 0x7F80),
        Dtype::Q8_0 => {
            let has_bad_scale =
                |block: &[u8; BLOCK_BYTES]| u16::from_le_bytes([block[0], block[1]]) & 0x7C00 == 0x7C00;
            find(data, has_bad_scale).map(|block| block * q8_0::BLOCK)
        }
        Dtype::F64 => find(data, |b: &[u8; 8]| !f64::from_le_bytes(*b).is_finite()),
        _ => None,
    }
}

/// Index of the first value that is bad. Each block is first tested as a whole without a branch per value, which the
/// compiler turns into vector instructions.
fn find<const WIDTH: usize>(data: &[u8], bad: impl Fn(&[u8; WIDTH]) -> bool) -> Option<usize> {
    let any = |block: &[u8]| block.as_chunks().0.iter().fold(false, |any, value| any | bad(value));
    let size = BLOCK / WIDTH * WIDTH;
    let block = data.chunks(size).position(any)?;
    let start = block * size;
    let inside = data[start..].as_chunks().0.iter().position(&bad)?;
    Some(start / WIDTH + inside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_test_agrees_with_the_values_for_every_bit_pattern() {
        for bits in 0..=u16::MAX {
            let data = bits.to_le_bytes();
            let bad = |dtype| find_non_finite(dtype, &data) == Some(0);
            assert_eq!(bad(Dtype::F16), !half::f16::from_bits(bits).is_finite());
            assert_eq!(bad(Dtype::BF16), !half::bf16::from_bits(bits).is_finite());
            // Only the scale counts: the bytes behind it are numbers whatever they are.
            let blocks = [data, [0xFF; 2], [0x7C; 2]].concat().repeat(17);
            let found = find_non_finite(Dtype::Q8_0, &[&[0; BLOCK_BYTES], &blocks[..BLOCK_BYTES]].concat());
            assert_eq!(found, (!half::f16::from_bits(bits).is_finite()).then_some(q8_0::BLOCK));
        }
    }

    #[test]
    fn the_first_bad_value_is_found_at_any_place() {
        let values = 3 * BLOCK / 4 + 5;
        for index in [0, 1, BLOCK / 4 - 1, BLOCK / 4, BLOCK / 2 + 3, values - 1] {
            for bad in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let mut numbers = vec![f32::MAX; values];
                numbers[index] = bad;
                numbers[values - 1] = bad;
                let data: Vec<u8> = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
                assert_eq!(find_non_finite(Dtype::F32, &data), Some(index));
            }
        }
        let wide: Vec<u8> = [0.0, f64::MAX, f64::NAN].iter().flat_map(|x| x.to_le_bytes()).collect();
        assert_eq!(find_non_finite(Dtype::F64, &wide), Some(2));
        assert_eq!(find_non_finite(Dtype::I32, &[0xFF; 64]), None);
        assert_eq!(find_non_finite(Dtype::F32, &[]), None);
    }
}
