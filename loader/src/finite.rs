//! Finds values that are NaN or infinite.

use latent_dtype::{DType, F8, block};

/// Bytes that are tested together, about: small enough for the first-level cache.
const CHUNK: usize = 8192;

/// Index of the first value that is NaN or infinite, counted from 0; `None` if there is none, and for every dtype but
/// `f32`, `f16`, `bf16`, `f64`, `f8_e4m3`, `f8_e5m2` and the block formats. Of a block whose scale is NaN or infinite, it is the first value.
pub(crate) fn find_non_finite(dtype: DType, data: &[u8]) -> Option<usize> {
    // A float is finite unless all bits of its exponent are set.
    match dtype {
        DType::F32 => find(data, |b: &[u8; 4]| u32::from_le_bytes(*b) & 0x7F80_0000 == 0x7F80_0000),
        DType::F16 => find(data, |b: &[u8; 2]| u16::from_le_bytes(*b) & 0x7C00 == 0x7C00),
        DType::BF16 => find(data, |b: &[u8; 2]| u16::from_le_bytes(*b) & 0x7F80 == 0x7F80),
        DType::F64 => find(data, |b: &[u8; 8]| !f64::from_le_bytes(*b).is_finite()),
        dtype => match F8::of(dtype) {
            Some(f8) => find(data, |[byte]: &[u8; 1]| !f8.is_finite(*byte)),
            None => block::codec(dtype)?.find_non_finite(data),
        },
    }
}

/// Index of the first value that is bad. Each chunk is first tested as a whole, without a branch per value, which the
/// compiler vectorizes.
fn find<const WIDTH: usize>(data: &[u8], bad: impl Fn(&[u8; WIDTH]) -> bool) -> Option<usize> {
    let any = |chunk: &[u8]| chunk.as_chunks().0.iter().fold(false, |any, value| any | bad(value));
    let size = CHUNK / WIDTH * WIDTH;
    let start = data.chunks(size).position(any)? * size;
    let inside = data[start..].as_chunks().0.iter().position(&bad)?;
    Some(start / WIDTH + inside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_test_agrees_with_the_values_for_every_bit_pattern() {
        for byte in 0..=u8::MAX {
            for dtype in [DType::F8E4M3, DType::F8E5M2] {
                let is_finite = F8::of(dtype).unwrap().to_f32(byte).is_finite();
                assert_eq!(find_non_finite(dtype, &[0, byte]), (!is_finite).then_some(1), "{byte:02x}");
            }
        }
        for bits in 0..=u16::MAX {
            let data = bits.to_le_bytes();
            let bad = |dtype| find_non_finite(dtype, &data) == Some(0);
            assert_eq!(bad(DType::F16), !half::f16::from_bits(bits).is_finite());
            assert_eq!(bad(DType::BF16), !half::bf16::from_bits(bits).is_finite());
            // Only the scale counts: the bytes after it are finite whatever they are.
            let blocks = [data, [0xFF; 2], [0x7C; 2]].concat().repeat(17);
            let found = find_non_finite(DType::Q8_0, &[&[0; 34], &blocks[..34]].concat());
            assert_eq!(found, (!half::f16::from_bits(bits).is_finite()).then_some(32));
        }
    }

    #[test]
    fn the_first_bad_value_is_found_at_any_place() {
        let values = 3 * CHUNK / 4 + 5;
        for index in [0, 1, CHUNK / 4 - 1, CHUNK / 4, CHUNK / 2 + 3, values - 1] {
            for bad in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let mut singles = vec![f32::MAX; values];
                singles[index] = bad;
                singles[values - 1] = bad;
                let data: Vec<u8> = singles.iter().flat_map(|x| x.to_le_bytes()).collect();
                assert_eq!(find_non_finite(DType::F32, &data), Some(index));
            }
        }
        let wide: Vec<u8> = [0.0, f64::MAX, f64::NAN].iter().flat_map(|x| x.to_le_bytes()).collect();
        assert_eq!(find_non_finite(DType::F64, &wide), Some(2));
        assert_eq!(find_non_finite(DType::I32, &[0xFF; 64]), None);
        assert_eq!(find_non_finite(DType::F32, &[]), None);
    }
}
