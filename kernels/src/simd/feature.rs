//! CPU features beyond an instruction set of [`Isa`], and what a micro-kernel requires.

use super::Isa;
#[cfg(target_arch = "x86_64")]
use super::vendor;
use std::fmt;

/// An extension of an instruction set that not every CPU with the set has, so that it has no place in the order of
/// [`Isa`]. The vector trait never uses one; a micro-kernel of the matrix product may require some.
///
/// To add one, add a variant and its lines in `name` and `is_available`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Feature {
    /// Dot products of bf16 pairs, AVX512-BF16.
    Avx512Bf16,
    /// Dot products of 8-bit integers, AVX512-VNNI.
    Avx512Vnni,
    /// Dot products of 8-bit integers in vectors of 256 bits, AVX-VNNI.
    AvxVnni,
    /// Products of tiles of bf16, AMX. On Linux it asks the system for the registers when it is detected.
    AmxBf16,
    /// Dot products of 8-bit integers on Arm, `FEAT_DotProd`.
    NeonDotProd,
    /// Matrix products of bf16 on Arm, `FEAT_BF16`.
    NeonBf16,
    /// Matrix products of 8-bit integers on Arm, `FEAT_I8MM`.
    NeonI8mm,
}

impl Feature {
    /// Every feature, of any architecture.
    pub const ALL: &'static [Feature] = &[
        Feature::Avx512Bf16,
        Feature::Avx512Vnni,
        Feature::AvxVnni,
        Feature::AmxBf16,
        Feature::NeonDotProd,
        Feature::NeonBf16,
        Feature::NeonI8mm,
    ];

    /// The name that Rust's `target_feature` has for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Feature::Avx512Bf16 => "avx512bf16",
            Feature::Avx512Vnni => "avx512vnni",
            Feature::AvxVnni => "avxvnni",
            Feature::AmxBf16 => "amx-bf16",
            Feature::NeonDotProd => "dotprod",
            Feature::NeonBf16 => "bf16",
            Feature::NeonI8mm => "i8mm",
        }
    }

    /// Whether this CPU has it and the operating system supports it.
    #[must_use]
    pub fn is_available(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        match self {
            Feature::Avx512Bf16 => return is_x86_feature_detected!("avx512bf16"),
            Feature::Avx512Vnni => return is_x86_feature_detected!("avx512vnni"),
            Feature::AvxVnni => return is_x86_feature_detected!("avxvnni"),
            Feature::AmxBf16 => return vendor::has_amx_bf16(),
            _ => {}
        }
        #[cfg(target_arch = "aarch64")]
        {
            use std::arch::is_aarch64_feature_detected;
            match self {
                Feature::NeonDotProd => return is_aarch64_feature_detected!("dotprod"),
                Feature::NeonBf16 => return is_aarch64_feature_detected!("bf16"),
                Feature::NeonI8mm => return is_aarch64_feature_detected!("i8mm"),
                _ => {}
            }
        }
        false
    }
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What code needs of a CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Requires {
    /// The instruction set that it is compiled for.
    pub(crate) isa: Isa,
    /// Features beyond it.
    pub(crate) features: &'static [Feature],
}

impl Requires {
    /// An instruction set and nothing beyond it.
    pub(crate) const fn isa(isa: Isa) -> Requires {
        Requires { isa, features: &[] }
    }

    /// Whether this CPU can run it, and `chosen`, the instruction set to use, includes its own.
    pub(crate) fn is_met(&self, chosen: Isa) -> bool {
        chosen.includes(self.isa)
            && self.isa.is_available()
            && self.features.iter().all(|feature| feature.is_available())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_of_another_architecture_are_not_available() {
        let here: &[&str] = if cfg!(target_arch = "x86_64") { &["avx", "amx"] } else { &[] };
        for feature in Feature::ALL {
            assert_eq!(Feature::ALL.iter().filter(|other| other.name() == feature.name()).count(), 1);
            let is_here = here.iter().any(|start| feature.name().starts_with(start));
            if !here.is_empty() && !is_here {
                assert!(!feature.is_available(), "{feature}");
            }
        }
    }

    #[test]
    fn requirements_go_beyond_the_instruction_set() {
        let isa = Isa::available().last().unwrap();
        for chosen in Isa::available() {
            assert!(Requires::isa(Isa::Scalar).is_met(chosen), "{chosen}");
            assert_eq!(Requires::isa(isa).is_met(chosen), chosen == isa, "{chosen}");
        }
        for feature in Feature::ALL {
            let requires = Requires { isa, features: std::slice::from_ref(feature) };
            assert_eq!(requires.is_met(isa), feature.is_available(), "{feature}");
        }
        assert!(!Requires::isa(Isa::Neon).is_met(Isa::Avx512), "no order between architectures");
    }
}
