//! Q8_0: blocks of 32 values, each a signed byte, that share a scale of 16 bits. 8.5 bits a value.

use super::BlockFormat;
use crate::DType;
use half::f16;

/// Q8_0, the layout of `block_q8_0` in ggml.
///
/// A block is 34 bytes: the scale, a little-endian IEEE half, then 32 signed bytes; `value = scale * byte`.
///
/// The scale is `max |x| / 127`, rounded to 16 bits, and each value is rounded to the nearest multiple of the rounded scale,
/// so that no value is off by more than half a scale. A product of 11 and 7 bits is exact in `f32`: every way to dequantize a
/// weight gives the same bits, and a product with a quantized weight is that with the dequantized one.
#[derive(Clone, Copy, Debug)]
pub struct Q8_0;

impl Q8_0 {
    /// Bytes of the scale, which come before the values.
    pub const SCALE_BYTES: usize = 2;
    /// Largest byte, and, with its sign, the smallest: -128 is never written.
    pub const MAX_BYTE: f32 = 127.0;

    /// The scale of a block whose largest magnitude this is: the half that is nearest to a 127th of it or, where halves lie
    /// so far apart that it could not be reached, the next one up.
    #[must_use]
    pub fn scale_of(largest: f32) -> f16 {
        let nearest = f16::from_f32(largest / Q8_0::MAX_BYTE);
        let reaches = largest <= (Q8_0::MAX_BYTE + 0.5) * nearest.to_f32();
        f16::from_bits(nearest.to_bits() + u16::from(!reaches))
    }

    /// The scale of a block.
    ///
    /// # Panics
    /// If `block` is shorter than a scale.
    #[inline]
    #[must_use]
    pub fn scale(block: &[u8]) -> f16 {
        f16::from_le_bytes([block[0], block[1]])
    }
}

impl BlockFormat for Q8_0 {
    const DTYPE: DType = DType::Q8_0;
    const BLOCK: usize = 32;
    const BYTES: usize = Q8_0::SCALE_BYTES + Q8_0::BLOCK;
    /// 127 times the largest half.
    const MAX: f32 = Q8_0::MAX_BYTE * 65504.0;

    fn quantize_block(values: &[f32], block: &mut [u8]) {
        assert_eq!((values.len(), block.len()), (Q8_0::BLOCK, Q8_0::BYTES), "a block");
        let largest = values.iter().fold(0f32, |largest, value| largest.max(value.abs()));
        let half = Q8_0::scale_of(largest);
        let scale = half.to_f32();
        block.fill(0);
        block[..Q8_0::SCALE_BYTES].copy_from_slice(&half.to_le_bytes());
        if scale > 0.0 {
            for (byte, value) in block[Q8_0::SCALE_BYTES..].iter_mut().zip(values) {
                let nearest = (value / scale).round_ties_even().clamp(-Q8_0::MAX_BYTE, Q8_0::MAX_BYTE);
                *byte = (nearest as i8).cast_unsigned();
            }
        }
    }

    #[inline]
    fn value(block: &[u8], i: usize) -> f32 {
        let values = &block[Q8_0::SCALE_BYTES..Q8_0::BYTES];
        Q8_0::scale(block).to_f32() * f32::from(values[i].cast_signed())
    }

    /// As the trait does it, with the scale converted once.
    fn dequantize_block(block: &[u8], values: &mut [f32]) {
        let (scale, bytes) = (Q8_0::scale(block).to_f32(), &block[Q8_0::SCALE_BYTES..Q8_0::BYTES]);
        assert!(values.len() <= Q8_0::BLOCK, "{} values of a block", values.len());
        for (value, byte) in values.iter_mut().zip(bytes) {
            *value = scale * f32::from(byte.cast_signed());
        }
    }

    /// Only the scale can be: its bytes are finite whatever they are. So it is the first value or none.
    #[inline]
    fn find_non_finite(block: &[u8]) -> Option<usize> {
        (!Q8_0::scale(block).is_finite()).then_some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::codec;

    fn quantized(values: &[f32]) -> Vec<u8> {
        codec(DType::Q8_0).unwrap().quantize(values, values.len()).unwrap()
    }

    #[test]
    fn a_block_has_the_layout_of_the_format() {
        let mut bytes = [0; Q8_0::BYTES];
        // 0.5 as an IEEE half, then 1, -1, .., -128.
        bytes[..4].copy_from_slice(&[0x00, 0x38, 1, 0xFF]);
        bytes[33] = 0x80;
        assert_eq!(Q8_0::scale(&bytes).to_f32(), 0.5);
        assert_eq!([0, 1, 2, 31].map(|i| Q8_0::value(&bytes, i)), [0.5, -0.5, 0.0, -64.0]);
    }

    #[test]
    fn the_largest_value_of_a_block_becomes_127() {
        let mut values = [0.0; Q8_0::BLOCK];
        values[3] = -127.0;
        values[4] = 63.4;
        values[5] = 0.5;
        values[6] = 1.5;
        let block = quantized(&values);
        assert_eq!(Q8_0::scale(&block).to_f32(), 1.0);
        assert_eq!(block[5..9], [-127i8, 63, 0, 2].map(i8::cast_unsigned));
        assert_eq!(quantized(&[0.0; Q8_0::BLOCK]), [0; Q8_0::BYTES]);
    }

    #[test]
    fn bytes_are_in_units_of_the_scale() {
        for scale in [0x3800u16, 0xC000, 1, 0x7BFF, 0, 0x8000, 0x3555, 0x2E66] {
            for first in 0..8 {
                let bytes: Vec<u8> = (32 * first..=32 * first + 31).collect();
                let block = [&scale.to_le_bytes(), &bytes[..]].concat();
                let mut values = [f32::NAN; Q8_0::BLOCK];
                Q8_0::dequantize_block(&block, &mut values);
                for (value, byte) in values.iter().zip(bytes) {
                    assert_eq!(*value, f16::from_bits(scale).to_f32() * f32::from(byte as i8));
                }
            }
        }
    }

    #[test]
    fn a_block_is_finite_if_its_scale_is() {
        for bits in 0..=u16::MAX {
            let mut block = [0xFF; Q8_0::BYTES];
            block[..2].copy_from_slice(&bits.to_le_bytes());
            let is_finite = f16::from_bits(bits).is_finite();
            assert_eq!(Q8_0::find_non_finite(&block), (!is_finite).then_some(0));
        }
    }

    /// Also where the scale is a subnormal half, or nothing at all.
    #[test]
    fn no_value_is_off_by_more_than_half_a_scale() {
        for exponent in -40..22 {
            let size = (exponent as f32).exp2();
            // A fixed sequence in -1..1 (an additive one with the golden ratio).
            let values: Vec<f32> =
                (0..640).map(|i| (2.0 * ((i as f32 * 0.618_034) % 1.0) - 1.0) * size).collect();
            for (block, values) in quantized(&values).chunks(Q8_0::BYTES).zip(values.chunks(Q8_0::BLOCK)) {
                let scale = Q8_0::scale(block).to_f32();
                for (i, value) in values.iter().enumerate() {
                    let got = Q8_0::value(block, i);
                    let error = (f64::from(got) - f64::from(*value)).abs();
                    // The division rounds too.
                    assert!(
                        error <= f64::from(scale) * (0.5 + 1e-5),
                        "{value:e} became {got:e} in {scale:e}"
                    );
                }
            }
        }
    }
}
