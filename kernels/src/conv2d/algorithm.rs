//! The choice between the algorithms of a convolution.

use super::{ConvWeight, winograd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};

/// How a convolution is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// The direct sum, as a matrix product.
    ImplicitGemm,
    /// F(4x4, 3x3): for 3x3 of stride 1.
    Winograd,
}

/// Environment variable that forces an algorithm where the program has not called [`set_algorithm`], for comparisons and
/// bug reports: `direct`, or `winograd` where it applies.
pub const ALGORITHM_VARIABLE: &str = "LATENT_CONV";

/// What [`set_algorithm`] chose: [`UNSET`], [`FASTEST`], [`DIRECT`] or [`WINOGRAD`].
static CHOICE: AtomicU8 = AtomicU8::new(UNSET);
const UNSET: u8 = 0;
const FASTEST: u8 = 1;
const DIRECT: u8 = 2;
const WINOGRAD: u8 = 3;

/// Chooses the algorithm of all convolutions that start from now on, in this process: a given one where it applies, or
/// the faster one for each with `None`. It takes precedence over [`ALGORITHM_VARIABLE`].
pub fn set_algorithm(algorithm: Option<Algorithm>) {
    let choice = match algorithm {
        None => FASTEST,
        Some(Algorithm::ImplicitGemm) => DIRECT,
        Some(Algorithm::Winograd) => WINOGRAD,
    };
    CHOICE.store(choice, Ordering::Relaxed);
}

/// The algorithm that is forced, if there is one. The variable is read once.
fn forced() -> Option<Algorithm> {
    static DEFAULT: OnceLock<Option<Algorithm>> = OnceLock::new();
    match CHOICE.load(Ordering::Relaxed) {
        FASTEST => None,
        DIRECT => Some(Algorithm::ImplicitGemm),
        WINOGRAD => Some(Algorithm::Winograd),
        _ => *DEFAULT.get_or_init(|| Algorithm::from_environment().ok().flatten()),
    }
}

impl Algorithm {
    /// The faster one for a convolution, or what [`set_algorithm`] or else [`ALGORITHM_VARIABLE`] forces. A value of the
    /// variable that is unknown is ignored here; a program that wants to report it calls [`Algorithm::from_environment`]
    /// first.
    #[must_use]
    pub fn best(weight: &ConvWeight) -> Algorithm {
        let fits = winograd::fits(weight);
        if fits && forced() != Some(Algorithm::ImplicitGemm) {
            Algorithm::Winograd
        } else {
            Algorithm::ImplicitGemm
        }
    }

    /// What [`ALGORITHM_VARIABLE`] asks for, if it is set.
    ///
    /// # Errors
    /// One line, if the value is unknown.
    pub fn from_environment() -> Result<Option<Algorithm>, String> {
        match std::env::var(ALGORITHM_VARIABLE).as_deref() {
            Err(_) => Ok(None),
            Ok("direct") => Ok(Some(Algorithm::ImplicitGemm)),
            Ok("winograd") => Ok(Some(Algorithm::Winograd)),
            Ok(other) => Err(format!("{ALGORITHM_VARIABLE}={other:?} is neither direct nor winograd")),
        }
    }
}
