//! Why there is no such schedule.

use super::{Convention, Discretization, ScheduleKind};
use crate::names::Named;
use std::fmt;

/// Why a schedule cannot be made.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ScheduleError {
    /// No steps, or more than there are time steps in the training.
    Steps {
        /// The number asked for.
        steps: usize,
        /// The maximum.
        max: usize,
    },
    /// The spacing does not exist in this convention.
    Kind {
        /// The spacing asked for.
        kind: ScheduleKind,
        /// The convention.
        convention: Convention,
        /// What the sampler's time steps are like.
        discretization: Discretization,
    },
    /// Given noise levels that do not fall.
    Sigmas {
        /// The first bad index.
        index: usize,
        /// The value there, if there is one.
        value: Option<f64>,
    },
    /// A strength so small that no step remains.
    NothingLeft {
        /// The steps of the whole schedule.
        steps: usize,
    },
    /// A table of alpha-bar that is not a noise schedule.
    AlphasCumprod {
        /// The first bad index.
        index: usize,
        /// The value there, if there is one.
        value: Option<f64>,
    },
    /// A range of noise levels of EDM that is not one.
    EdmRange {
        /// The lowest level.
        min: f64,
        /// The highest level.
        max: f64,
        /// The standard deviation of the data.
        data: f64,
    },
    /// A shift of flow matching that is not above 0 and finite.
    Shift {
        /// The shift.
        shift: f64,
    },
}

impl fmt::Display for ScheduleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Steps { steps, max } => write!(f, "{steps} steps: give a number from 1 to {max}"),
            Self::Kind { kind, convention, discretization } => {
                let name = kind.name();
                write!(f, "this sampler has no \"{name}\" schedule in the {convention} convention; ")?;
                let names =
                    |kinds: &[ScheduleKind]| kinds.iter().map(Named::name).collect::<Vec<_>>().join(", ");
                let known = convention.kinds(*discretization);
                for other in Convention::ALL.iter().filter(|other| *other != convention) {
                    let others = other.kinds(*discretization);
                    if others.contains(kind) {
                        write!(f, "leave the convention out or choose {other}, or ")?;
                    } else if others.iter().any(|kind| !known.contains(kind)) {
                        write!(f, "without a convention choose one of: {}; or ", names(others))?;
                    }
                }
                write!(f, "choose one of: {}", names(known))
            }
            Self::Sigmas { index, value: Some(value) } => write!(
                f,
                "sigma {} is {value}: each must be above 0 and below the one before it, as in 14.6,7,2.9,0.8,0",
                index + 1
            ),
            Self::Sigmas { value: None, .. } => {
                write!(f, "no sigma is given: one for each step is expected, as in 14.6,7,2.9,0.8,0")
            }
            Self::NothingLeft { steps } => write!(
                f,
                "the strength is so low that none of the {steps} steps is left: raise it or the steps"
            ),
            Self::AlphasCumprod { index, value: Some(value) } => write!(
                f,
                "alphas_cumprod[{index}] is {value}: the values must fall, and lie between 0 and 1 (both excluded)"
            ),
            Self::AlphasCumprod { value: None, .. } => {
                write!(f, "alphas_cumprod has fewer than two values: one for each training step is expected")
            }
            Self::EdmRange { min, max, data } => write!(
                f,
                "noise levels from {min} to {max} for data of deviation {data}: all must be above 0 and finite, and the first the \
                 lowest; 0.002, 80 and 0.5 are usual"
            ),
            Self::Shift { shift } => write!(f, "a shift of {shift} is not above 0 and finite; 3 is usual"),
        }
    }
}

impl std::error::Error for ScheduleError {}
