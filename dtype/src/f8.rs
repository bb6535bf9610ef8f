//! The 8-bit floats of weights: E4M3, without infinities, and E5M2 (Micikevicius et al. 2022,
//! <https://arxiv.org/abs/2209.05433>).

use crate::DType;

/// An 8-bit float: a sign, an exponent and a mantissa, as `torch.float8_e4m3fn` and `torch.float8_e5m2` have them.
///
/// ```
/// use latent_dtype::{DType, F8};
///
/// let f8 = F8::of(DType::F8E4M3).expect("an 8-bit float");
/// assert_eq!((f8.max(), f8.to_f32(0x38), f8.from_f32(1.06)), (448.0, 1.0, 0x38));
/// assert_eq!(f8.from_f32(1e9), f8.from_f32(448.0));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct F8 {
    /// Bits of the mantissa.
    mantissa: u32,
    /// What is added to the exponent.
    bias: u32,
    /// The byte of the largest value.
    max: u8,
    /// The value of every byte.
    values: &'static [f32; 256],
}

/// `torch.float8_e4m3fn`: 448 at most, no infinities; only the bits `x1111111` are NaN.
static E4M3: F8 = F8 { mantissa: 3, bias: 7, max: 0x7e, values: &values(3, 7, 0x7e) };

/// `torch.float8_e5m2`: the upper half of an IEEE half, 57344 at most.
static E5M2: F8 = F8 { mantissa: 2, bias: 15, max: 0x7b, values: &values(2, 15, 0x7b) };

/// Mantissa bits and the exponent's bias of `f32`.
const F32_MANTISSA: u32 = 23;
const F32_BIAS: u32 = 127;

/// A power of two.
const fn power(exponent: i32) -> f32 {
    f32::from_bits(((F32_BIAS as i32 + exponent) as u32) << F32_MANTISSA)
}

/// The values of all bytes.
const fn values(mantissa: u32, bias: u32, max: u8) -> [f32; 256] {
    let mut values = [0.0; 256];
    let mut byte = 0;
    while byte < 256 {
        let magnitude = byte as u32 & 0x7f;
        let (exponent, fraction) = (magnitude >> mantissa, magnitude & ((1 << mantissa) - 1));
        let is_infinite = magnitude == max as u32 + 1 && fraction == 0;
        let value = if is_infinite {
            f32::INFINITY
        } else if magnitude > max as u32 {
            f32::NAN
        } else if exponent == 0 {
            fraction as f32 * power(1 - (bias + mantissa) as i32)
        } else {
            let bits = (exponent + F32_BIAS - bias) << F32_MANTISSA | fraction << (F32_MANTISSA - mantissa);
            f32::from_bits(bits)
        };
        values[byte] = if byte < 0x80 { value } else { -value };
        byte += 1;
    }
    values
}

impl F8 {
    /// That of a dtype; `None` where it is another one.
    #[must_use]
    pub fn of(dtype: DType) -> Option<&'static F8> {
        match dtype {
            DType::F8E4M3 => Some(&E4M3),
            DType::F8E5M2 => Some(&E5M2),
            _ => None,
        }
    }

    /// The largest value.
    #[must_use]
    pub fn max(&self) -> f32 {
        self.to_f32(self.max)
    }

    /// The value of a byte, exact.
    #[inline]
    #[must_use]
    pub fn to_f32(&self, byte: u8) -> f32 {
        self.values[usize::from(byte)]
    }

    /// Whether a byte is neither NaN nor infinite.
    #[inline]
    #[must_use]
    pub fn is_finite(&self, byte: u8) -> bool {
        byte & 0x7f <= self.max
    }

    /// The byte of the nearest value, of two that are as near the even one. What is larger than the largest value becomes
    /// that, with its sign; NaN stays NaN.
    #[must_use]
    pub fn from_f32(&self, value: f32) -> u8 {
        let sign = (value.to_bits() >> 24) as u8 & 0x80;
        let magnitude = value.abs();
        if magnitude.is_nan() {
            return sign | 0x7f;
        }
        let smallest = power(1 - self.bias as i32);
        let byte = if magnitude < smallest {
            // Counted in units of the least value; the next after the largest of these is the smallest normal one.
            (magnitude * power((self.bias + self.mantissa) as i32 - 1)).round_ties_even() as u32
        } else {
            let (bits, drop) = (magnitude.to_bits(), F32_MANTISSA - self.mantissa);
            let is_odd = bits >> drop & 1;
            // It cannot overflow: an infinity has zeros where one is added.
            let rounded = (bits + (1 << (drop - 1)) - 1 + is_odd) >> drop;
            rounded - ((F32_BIAS - self.bias) << self.mantissa)
        };
        sign | byte.min(u32::from(self.max)) as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_its_own_nearest_value() {
        for f8 in [&E4M3, &E5M2] {
            for byte in 0..=u8::MAX {
                let value = f8.to_f32(byte);
                assert_eq!(f8.is_finite(byte), value.is_finite(), "{byte:02x}");
                if value.is_finite() {
                    assert_eq!(f8.from_f32(value), byte, "{value}");
                }
            }
        }
        let values = |f8: &F8, bytes: &[u8]| bytes.iter().map(|byte| f8.to_f32(*byte)).collect::<Vec<_>>();
        assert_eq!(
            values(&E4M3, &[0x00, 0x01, 0x08, 0x38, 0x7e, 0xb8]),
            [0.0, 0.001_953_125, 0.015_625, 1.0, 448.0, -1.0]
        );
        assert_eq!(
            values(&E5M2, &[0x01, 0x04, 0x3c, 0x7b, 0x7c]),
            [power(-16), power(-14), 1.0, 57344.0, f32::INFINITY]
        );
        assert!(E4M3.to_f32(0x7f).is_nan() && E4M3.to_f32(0xff).is_nan() && E5M2.to_f32(0x7d).is_nan());
        assert!(E4M3.to_f32(0x80).is_sign_negative());
    }

    #[test]
    fn a_byte_of_e5m2_is_the_upper_half_of_a_half() {
        for byte in 0..=u8::MAX {
            let half = half::f16::from_bits(u16::from(byte) << 8).to_f32();
            assert!(half.to_bits() == E5M2.to_f32(byte).to_bits() || half.is_nan());
        }
    }

    #[test]
    fn values_go_to_the_nearest_byte_and_ties_to_the_even_one() {
        for f8 in [&E4M3, &E5M2] {
            for byte in 0..f8.max {
                let (low, high) = (f8.to_f32(byte), f8.to_f32(byte + 1));
                let middle = low.midpoint(high);
                let (even, near) = (byte + (byte & 1), f32::EPSILON * middle);
                assert_eq!((f8.from_f32(middle), f8.from_f32(-middle)), (even, even | 0x80), "{middle}");
                assert_eq!((f8.from_f32(middle - near), f8.from_f32(middle + near)), (byte, byte + 1));
            }
            for large in [f8.max() * 1.03, f8.max() * 2.0, f32::MAX, f32::INFINITY] {
                assert_eq!((f8.from_f32(large), f8.from_f32(-large)), (f8.max, f8.max | 0x80));
            }
            assert!(f8.to_f32(f8.from_f32(f32::NAN)).is_nan());
        }
    }

    /// All values of 16 bits but NaN, as `torch` 2 and `ml_dtypes` 0.5 round them, which agree wherever the result is finite.
    /// Where it is not, the largest value takes its place.
    #[test]
    fn every_half_becomes_the_byte_that_torch_gives() {
        // FNV-1a.
        let hash = |f8: &F8, wide: fn(u16) -> f32| {
            let values = (0..=u16::MAX).map(wide).filter(|value| !value.is_nan());
            values.fold(0xcbf2_9ce4_8422_2325, |hash: u64, value| {
                (hash ^ u64::from(f8.from_f32(value))).wrapping_mul(0x0100_0000_01b3)
            })
        };
        let f16 = |bits| half::f16::from_bits(bits).to_f32();
        let bf16 = |bits| half::bf16::from_bits(bits).to_f32();
        assert_eq!(hash(&E4M3, f16), 0xaf47_0900_16b8_1063);
        assert_eq!(hash(&E5M2, f16), 0x26fa_d67d_8c0b_8573);
        assert_eq!(hash(&E4M3, bf16), 0xd126_f2d8_d2ed_16d3);
        assert_eq!(hash(&E5M2, bf16), 0x855d_4049_3170_ce93);
    }
}
