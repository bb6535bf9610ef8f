//! Which instruction set to use: detection, [`Isa::set`], the variable `LATENT_ISA`, and running a generic kernel.

use super::{Avx2, Avx512, Neon, Scalar, Simd};
use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};

/// Environment variable that chooses an instruction set where the program has not called [`Isa::set`], for tests and bug
/// reports.
pub const ISA_VARIABLE: &str = "LATENT_ISA";

/// An instruction set that kernels are compiled for, slowest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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

/// An instruction set that this CPU lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IsaUnavailable(pub Isa);

impl fmt::Display for IsaUnavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "this CPU lacks {}; available: {}", self.0, available_names())
    }
}

impl std::error::Error for IsaUnavailable {}

/// What [`Isa::set`] chose, as one more than its place in [`Isa::ALL`]; 0 before that.
static CHOSEN: AtomicU8 = AtomicU8::new(0);

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

    /// Whether a CPU with this instruction set also runs code for `other`.
    #[must_use]
    pub fn includes(self, other: Isa) -> bool {
        self == other || other == Isa::Scalar || (self, other) == (Isa::Avx512, Isa::Avx2)
    }

    /// The instruction sets that this CPU has, slowest first. Never empty.
    pub fn available() -> impl Iterator<Item = Isa> {
        Isa::ALL.iter().copied().filter(|isa| isa.is_available())
    }

    /// Chooses the instruction set of all kernels that start from now on, in this process. It takes precedence over
    /// [`ISA_VARIABLE`].
    ///
    /// # Errors
    /// This CPU lacks it.
    pub fn set(isa: Isa) -> Result<(), IsaUnavailable> {
        let index = Isa::ALL.iter().position(|other| *other == isa).filter(|_| isa.is_available());
        let index = index.ok_or(IsaUnavailable(isa))?;
        CHOSEN.store(index as u8 + 1, Ordering::Relaxed);
        Ok(())
    }

    /// The one to use: what [`Isa::set`] chose, else what [`ISA_VARIABLE`] names, else the fastest available. The variable is
    /// read once.
    ///
    /// A name that is unknown or not available is ignored here; a program that wants to report it calls
    /// [`Isa::from_environment`] first.
    #[must_use]
    pub fn best() -> Isa {
        static DEFAULT: OnceLock<Isa> = OnceLock::new();
        let chosen = usize::from(CHOSEN.load(Ordering::Relaxed)).checked_sub(1);
        chosen.and_then(|index| Isa::ALL.get(index).copied()).unwrap_or_else(|| {
            *DEFAULT.get_or_init(|| match Isa::from_environment() {
                Ok(Some(isa)) => isa,
                _ => Isa::available().last().unwrap_or(Isa::Scalar),
            })
        })
    }

    /// What [`ISA_VARIABLE`] names, if it is set.
    ///
    /// # Errors
    /// One line, if the name is unknown or this CPU lacks the instruction set.
    pub fn from_environment() -> Result<Option<Isa>, String> {
        let Ok(name) = std::env::var(ISA_VARIABLE) else { return Ok(None) };
        match Isa::ALL.iter().find(|isa| isa.name().eq_ignore_ascii_case(&name)) {
            Some(isa) if isa.is_available() => Ok(Some(*isa)),
            Some(_) => {
                Err(format!("{ISA_VARIABLE}={name}: this CPU lacks it; available: {}", available_names()))
            }
            None => Err(format!(
                "{ISA_VARIABLE}={name:?} is not an instruction set of this build; available: {}",
                available_names()
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
            Isa::Neon => Neon::new().expect("this CPU is not a 64-bit Arm").run(op),
        }
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

fn available_names() -> String {
    Isa::available().map(Isa::name).collect::<Vec<_>>().join(", ")
}
