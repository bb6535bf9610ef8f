//! What products multiply in. Activations and results are `f32` in memory whatever it is.

use crate::simd::{Feature, Isa, vendor};
use std::fmt;
use std::str::FromStr;

/// What the values of a product are rounded to before they are multiplied. Sums are `f32`, or exact integers.
///
/// ```
/// use latent_kernels::Precision;
///
/// assert_eq!("bf16".parse(), Ok(Precision::Bf16));
/// assert_eq!(Precision::default().to_string(), "f32");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Precision {
    /// Not rounded.
    #[default]
    F32,
    /// Both sides to bf16, 8 bits of precision: matrix products, convolutions (as direct sums, without Winograd's
    /// transforms) and both products of attention.
    Bf16,
    /// Weights to Q8_0 ([`latent_dtype::block::Q8_0`]) and activations to signed bytes, 32 neighbouring values with a
    /// scale: matrix products and 1x1 convolutions. Other convolutions and attention stay in `f32`.
    Int8,
}

impl Precision {
    /// Every precision, the most exact first.
    pub const ALL: &'static [Precision] = &[Precision::F32, Precision::Bf16, Precision::Int8];

    /// Its name: `f32`, `bf16` or `int8`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Precision::F32 => "f32",
            Precision::Bf16 => "bf16",
            Precision::Int8 => "int8",
        }
    }

    /// Whether this CPU, with the instruction set in use, multiplies more values a second in it than in `f32`. It depends
    /// on the kind of CPU alone; nothing is measured.
    ///
    /// AVX512-BF16 alone does not suffice for bf16: on Intel's CPUs `VDPBF16PS` has half of the multiplications a second
    /// of `VFMADD` with `f32`, on AMD's twice as many.
    #[must_use]
    pub fn is_faster(self) -> bool {
        let isa = Isa::best();
        let has = |needed, feature: Feature| isa.includes(needed) && feature.is_available();
        match self {
            Precision::F32 => false,
            Precision::Bf16 => {
                has(Isa::Avx512, Feature::AmxBf16)
                    || has(Isa::Avx512, Feature::Avx512Bf16) && vendor::is_amd()
                    || has(Isa::Neon, Feature::NeonBf16)
            }
            Precision::Int8 => {
                has(Isa::Avx512, Feature::Avx512Vnni)
                    || has(Isa::Avx2, Feature::AvxVnni)
                    || has(Isa::Neon, Feature::NeonDotProd)
            }
        }
    }
}

impl fmt::Display for Precision {
    /// Its [`name`](Precision::name).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A name that is not one of a [`Precision`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownPrecision(pub String);

impl fmt::Display for UnknownPrecision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = Precision::ALL.iter().map(|precision| precision.name()).collect();
        write!(f, "{:?} is not a precision; use one of {}", self.0, names.join(", "))
    }
}

impl std::error::Error for UnknownPrecision {}

impl FromStr for Precision {
    type Err = UnknownPrecision;

    /// The precision of that [`name`](Precision::name), in upper or lower case.
    fn from_str(name: &str) -> Result<Precision, UnknownPrecision> {
        let found = Precision::ALL.iter().find(|precision| precision.name().eq_ignore_ascii_case(name));
        found.copied().ok_or_else(|| UnknownPrecision(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_precisions_are_read_and_written() {
        for precision in Precision::ALL {
            assert_eq!(precision.name().to_uppercase().parse(), Ok(*precision));
        }
        let error = "f64".parse::<Precision>().unwrap_err().to_string();
        assert_eq!(error, "\"f64\" is not a precision; use one of f32, bf16, int8");
    }

    #[test]
    fn nothing_is_faster_than_f32_by_an_instruction_that_the_cpu_lacks() {
        assert!(!Precision::F32.is_faster());
        let bf16 = [Feature::AmxBf16, Feature::Avx512Bf16, Feature::NeonBf16];
        assert!(!Precision::Bf16.is_faster() || bf16.iter().any(|feature| feature.is_available()));
        // An Intel CPU with AVX512-BF16 and without AMX gains nothing.
        if Feature::Avx512Bf16.is_available() && !Feature::AmxBf16.is_available() && !vendor::is_amd() {
            assert!(!Precision::Bf16.is_faster());
        }
        let int8 = [Feature::Avx512Vnni, Feature::AvxVnni, Feature::NeonDotProd];
        assert!(!Precision::Int8.is_faster() || int8.iter().any(|feature| feature.is_available()));
    }
}
