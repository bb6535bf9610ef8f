//! Which instruction set to use: detection, the variable `LATENT_ISA`, and running a generic kernel.

use super::{Avx2, Avx512, Neon, Scalar, Simd};
use std::fmt;
use std::sync::OnceLock;

/// Environment variable that forces an instruction set, for tests and bug reports.
pub const ISA_VARIABLE: &str = "LATENT_ISA";

/// An instruction set that kernels are compiled for, slowest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Isa {
    /// Portable code, one lane.
    Scalar,
    /// AVX2 with FMA and F16C, eight lanes.
    Avx2,
    /// AVX-512 (F, BW, DQ and VL), sixteen lanes.
    Avx512,
    /// NEON of 64-bit Arm CPUs, four lanes.
    Neon,
}

/// A kernel: code generic over the vector trait, with its arguments.
///
/// Implementations mark `run` as `#[inline(always)]`; otherwise its body is compiled without the instruction set.
pub trait SimdOp {
    /// What the kernel returns.
    type Output;
    /// The kernel's code.
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

impl Isa {
    /// Every instruction set of this build's architecture, slowest first.
    pub const ALL: &'static [Isa] = if cfg!(target_arch = "x86_64") {
        &[Isa::Scalar, Isa::Avx2, Isa::Avx512]
    } else if cfg!(target_arch = "aarch64") {
        &[Isa::Scalar, Isa::Neon]
    } else {
        &[Isa::Scalar]
    };

    /// The name that [`ISA_VARIABLE`] takes.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Isa::Scalar => "scalar",
            Isa::Avx2 => "avx2",
            Isa::Avx512 => "avx512",
            Isa::Neon => "neon",
        }
    }

    /// Whether this CPU has it.
    #[must_use]
    pub fn is_available(self) -> bool {
        match self {
            Isa::Scalar => true,
            Isa::Avx2 => Avx2::new().is_some(),
            Isa::Avx512 => Avx512::new().is_some(),
            Isa::Neon => Neon::new().is_some(),
        }
    }

    /// The instruction sets that this CPU has, slowest first. Never empty.
    pub fn available() -> impl Iterator<Item = Isa> {
        Isa::ALL.iter().copied().filter(|isa| isa.is_available())
    }

    /// The one to use: what [`ISA_VARIABLE`] names, else the fastest available. Decided once a process.
    ///
    /// A name that is unknown or not available is passed over here; a program that wants to tell its user checks
    /// with [`Isa::from_environment`] first.
    #[must_use]
    pub fn best() -> Isa {
        static BEST: OnceLock<Isa> = OnceLock::new();
        *BEST.get_or_init(|| match Isa::from_environment() {
            Ok(Some(isa)) => isa,
            _ => Isa::available().last().unwrap_or(Isa::Scalar),
        })
    }

    /// What [`ISA_VARIABLE`] asks for, if it is set.
    ///
    /// # Errors
    /// One line, if the name is unknown or this CPU lacks the instruction set.
    pub fn from_environment() -> Result<Option<Isa>, String> {
        let Ok(name) = std::env::var(ISA_VARIABLE) else { return Ok(None) };
        let list = || Isa::available().map(Isa::name).collect::<Vec<_>>().join(", ");
        match Isa::ALL.iter().find(|isa| isa.name().eq_ignore_ascii_case(&name)) {
            Some(isa) if isa.is_available() => Ok(Some(*isa)),
            Some(_) => Err(format!("{ISA_VARIABLE}={name}: this CPU lacks it; available: {}", list())),
            None => Err(format!(
                "{ISA_VARIABLE}={name:?} is no instruction set of this build; available: {}",
                list()
            )),
        }
    }

    /// Runs a kernel compiled for this instruction set.
    ///
    /// # Panics
    /// If this CPU lacks it.
    #[inline]
    pub fn run<O: SimdOp>(self, op: O) -> O::Output {
        match self {
            Isa::Scalar => op.run(Scalar),
            Isa::Avx2 => Avx2::new().expect("this CPU lacks AVX2, FMA or F16C").run(op),
            Isa::Avx512 => Avx512::new().expect("this CPU lacks AVX-512 F, BW, DQ or VL").run(op),
            Isa::Neon => Neon::new().expect("this CPU is no 64-bit Arm").run(op),
        }
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
