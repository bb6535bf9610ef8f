//! The noise levels of EDM: Karras et al., "Elucidating the design space of diffusion-based generative models", 2022, table 1.
//!
//! There are no time steps in the training: any sigma of a range can be seen, and the network is given ln(sigma) / 4. What the
//! network sees and what its output means follow from the standard deviation of the data, sigma_data.

use super::ScheduleError;
use std::sync::Arc;

/// Entries of the table from which spacings take levels, as ComfyUI has it.
const LEVELS: usize = 1000;

/// The range of noise levels that a model was trained with, and the standard deviation of its data.
#[derive(Clone, Debug, PartialEq)]
pub struct EdmTraining {
    sigma_data: f64,
    sigmas: Arc<[f64]>,
}

impl EdmTraining {
    /// Levels from `min` to `max`, for data of the standard deviation `data`.
    ///
    /// # Errors
    /// [`ScheduleError::EdmRange`] unless `0 < min < max` and `data > 0`, all finite.
    pub fn new([min, max]: [f64; 2], data: f64) -> Result<EdmTraining, ScheduleError> {
        if !(min > 0.0 && min < max && max.is_finite() && data > 0.0 && data.is_finite()) {
            return Err(ScheduleError::EdmRange { min, max, data });
        }
        let (low, high) = (min.ln(), max.ln());
        let level = |i: usize| (low + (high - low) * (i as f64 / (LEVELS - 1) as f64)).exp();
        Ok(EdmTraining { sigma_data: data, sigmas: (0..LEVELS).map(level).collect() })
    }

    /// The standard deviation of the data.
    #[must_use]
    pub fn sigma_data(&self) -> f64 {
        self.sigma_data
    }

    /// Levels evenly spaced in log sigma, rising.
    #[must_use]
    pub fn sigmas(&self) -> &[f64] {
        &self.sigmas
    }

    /// The level at an index of [`EdmTraining::sigmas`], with fractions.
    pub(super) fn sigma_at_index(&self, index: f64) -> f64 {
        let last = (LEVELS - 1) as f64;
        let (low, high) = (self.sigmas[0].ln(), self.sigmas[LEVELS - 1].ln());
        (low + (high - low) * (index.clamp(0.0, last) / last)).exp()
    }

    /// What the network is given for a level.
    pub(super) fn timestep(sigma: f64) -> f64 {
        0.25 * sigma.ln()
    }

    /// The level that the network is given a number for.
    pub(super) fn sigma_at(timestep: f64) -> f64 {
        (4.0 * timestep).exp()
    }
}
