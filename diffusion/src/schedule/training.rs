//! The noise levels a model was trained on.
//!
//! At time step t the model saw sqrt(a) x0 + sqrt(1 - a) n, where a is alpha-bar, the running product of 1 -
//! beta (Ho, Jain, Abbeel, "Denoising diffusion probabilistic models", 2020, equation 4). Divided by sqrt(a)
//! this is x0 + sigma n with sigma = sqrt((1 - a) / a): the "variance exploding" convention, in which the samplers
//! here work (Karras et al., "Elucidating the design space of diffusion-based generative models", 2022,
//! appendix C.3.4).

use super::ScheduleError;
use std::sync::Arc;

/// First and last beta and the number of steps that all of Stable Diffusion was trained with.
const BETA_START: f64 = 0.00085;
const BETA_END: f64 = 0.012;
const STEPS: usize = 1000;

/// The last alpha-bar of a schedule with zero terminal SNR in the web UI and ComfyUI, which cannot compute with 0.
pub const ZERO_SNR_WEBUI: f64 = 4.897_345_189_085_343_5e-8;
/// The same in diffusers (Euler, DPM-Solver, UniPC): the smallest f16 above 0.
pub const ZERO_SNR_DIFFUSERS: f64 = 5.960_464_477_539_063e-8;
/// Replaces 0: the signal is under the rounding of f32, and sigma is finite.
const ZERO_SNR: f64 = 1e-16;

/// The table of training noise levels, by time step.
#[derive(Clone, Debug, PartialEq)]
pub struct Training {
    alphas_cumprod: Arc<[f64]>,
    sigmas: Arc<[f64]>,
    log_sigmas: Arc<[f64]>,
}

/// The betas of Stable Diffusion: squares of evenly spaced numbers.
pub(crate) fn scaled_linear_betas() -> impl Iterator<Item = f64> {
    let (first, last) = (BETA_START.sqrt(), BETA_END.sqrt());
    (0..STEPS).map(move |t| (first + (last - first) * t as f64 / (STEPS - 1) as f64).powi(2))
}

impl Training {
    /// The schedule of Stable Diffusion: 1000 steps, the square roots of the betas evenly spaced ("scaled
    /// linear").
    #[must_use]
    pub fn scaled_linear() -> Self {
        let alphas_cumprod = scaled_linear_betas().scan(1.0, |product, beta| {
            *product *= 1.0 - beta;
            Some(*product)
        });
        Self::tables(alphas_cumprod.collect())
    }

    /// The schedule with the given alpha-bar for each time step, as some checkpoints contain it.
    ///
    /// # Errors
    /// [`ScheduleError::AlphasCumprod`] unless there are two values or more, each between 0 and 1 (both
    /// excluded) and below the one before it.
    pub fn from_alphas_cumprod(alphas_cumprod: &[f64]) -> Result<Self, ScheduleError> {
        if alphas_cumprod.len() < 2 {
            return Err(ScheduleError::AlphasCumprod { index: 0, value: None });
        }
        let mut above = 1.0;
        for (index, &value) in alphas_cumprod.iter().enumerate() {
            if !(value > 0.0 && value < above) {
                return Err(ScheduleError::AlphasCumprod { index, value: Some(value) });
            }
            above = value;
        }
        Ok(Self::tables(alphas_cumprod.to_vec()))
    }

    /// Whether the schedule ends in pure noise, up to the number that replaces 0.
    #[must_use]
    pub fn is_zero_terminal_snr(&self) -> bool {
        self.alphas_cumprod.last().is_some_and(|last| *last <= ZERO_SNR_DIFFUSERS)
    }

    /// This schedule with zero terminal SNR: Lin et al., "Common diffusion noise schedules and sample steps are flawed", 2024,
    /// algorithm 1. The square roots of alpha-bar are shifted until the last is 0 and scaled until the first is what it was.
    /// `terminal` is the last alpha-bar, as programs differ in what they take for 0: [`ZERO_SNR_WEBUI`],
    /// [`ZERO_SNR_DIFFUSERS`], or 0 itself, which is replaced by a number too small to make a difference.
    #[must_use]
    pub fn rescale_zero_terminal_snr(&self, terminal: f64) -> Self {
        let roots: Vec<f64> = self.alphas_cumprod.iter().map(|a| a.sqrt()).collect();
        let (first, last) = (roots[0], roots[roots.len() - 1]);
        let mut scaled: Vec<f64> =
            roots.iter().map(|root| ((root - last) * first / (first - last)).powi(2)).collect();
        if let Some(end) = scaled.last_mut() {
            *end = terminal.max(ZERO_SNR);
        }
        Self::tables(scaled)
    }

    fn tables(alphas_cumprod: Vec<f64>) -> Self {
        let sigmas: Arc<[f64]> = alphas_cumprod.iter().map(|a| ((1.0 - a) / a).sqrt()).collect();
        let log_sigmas = sigmas.iter().map(|sigma| sigma.ln()).collect();
        Self { alphas_cumprod: alphas_cumprod.into(), sigmas, log_sigmas }
    }

    /// Alpha-bar of each time step.
    #[must_use]
    pub fn alphas_cumprod(&self) -> &[f64] {
        &self.alphas_cumprod
    }

    /// Sigma of each time step, rising.
    #[must_use]
    pub fn sigmas(&self) -> &[f64] {
        &self.sigmas
    }

    /// The last time step, 999.
    #[must_use]
    pub fn last_timestep(&self) -> f64 {
        (self.sigmas.len() - 1) as f64
    }

    /// Smallest and largest sigma.
    #[must_use]
    pub fn sigma_range(&self) -> (f64, f64) {
        (self.sigmas[0], self.sigmas[self.sigmas.len() - 1])
    }

    /// Sigma at a time step, fractions by linear interpolation of sigma (diffusers); clamped to the table.
    #[must_use]
    pub fn sigma_at(&self, timestep: f64) -> f64 {
        interpolate(&self.sigmas, timestep)
    }

    /// Sigma at a time step, fractions by linear interpolation of log sigma (k-diffusion); clamped to the
    /// table.
    #[must_use]
    pub fn log_linear_sigma_at(&self, timestep: f64) -> f64 {
        interpolate(&self.log_sigmas, timestep).exp()
    }

    /// The time step, with fraction, of a noise level: the inverse of [`Self::log_linear_sigma_at`].
    #[must_use]
    pub fn timestep_at(&self, sigma: f64) -> f64 {
        let log_sigma = sigma.ln();
        let above = self.log_sigmas.partition_point(|&s| s <= log_sigma).clamp(1, self.log_sigmas.len() - 1);
        let (low, high) = (self.log_sigmas[above - 1], self.log_sigmas[above]);
        (above - 1) as f64 + ((log_sigma - low) / (high - low)).clamp(0.0, 1.0)
    }
}

/// The value of a table at a fractional index, clamped to its ends.
fn interpolate(table: &[f64], index: f64) -> f64 {
    let index = index.clamp(0.0, (table.len() - 1) as f64);
    let low = (index as usize).min(table.len() - 2);
    let part = index - low as f64;
    (1.0 - part) * table[low] + part * table[low + 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_of_the_stable_diffusion_schedule() {
        let training = Training::scaled_linear();
        assert_eq!(training.alphas_cumprod().len(), 1000);
        let (min, max) = training.sigma_range();
        assert!((min - 0.029_167).abs() < 1e-6, "{min}");
        assert!((max - 14.614_64).abs() < 1e-5, "{max}");
        assert!((training.alphas_cumprod()[0] - (1.0 - BETA_START)).abs() < 1e-15);
    }

    #[test]
    fn time_steps_and_sigmas_are_inverses() {
        let training = Training::scaled_linear();
        for t in [0.0, 0.25, 1.0, 500.5, 998.75, 999.0] {
            let back = training.timestep_at(training.log_linear_sigma_at(t));
            assert!((back - t).abs() < 1e-9, "{t} {back}");
        }
        assert_eq!(training.timestep_at(0.001), 0.0);
        assert_eq!(training.timestep_at(100.0), 999.0);
        assert_eq!(training.sigma_at(-5.0), training.sigma_range().0);
        assert_eq!(training.sigma_at(2000.0), training.sigma_range().1);
    }

    #[test]
    fn between_steps_the_two_interpolations_differ() {
        let training = Training::scaled_linear();
        let (linear, log) = (training.sigma_at(999.0 - 0.5), training.log_linear_sigma_at(999.0 - 0.5));
        assert!(linear > log && linear - log < 1e-3);
    }

    #[test]
    fn a_table_of_a_file_gives_the_same_schedule() {
        let own = Training::scaled_linear();
        let read = Training::from_alphas_cumprod(own.alphas_cumprod()).unwrap();
        assert_eq!(own.sigmas(), read.sigmas());
    }

    #[test]
    fn zero_terminal_snr_moves_the_last_level_and_keeps_the_first() {
        let (own, terminals) = (Training::scaled_linear(), [ZERO_SNR_WEBUI, ZERO_SNR_DIFFUSERS, 0.0]);
        for terminal in terminals {
            let zero = own.rescale_zero_terminal_snr(terminal);
            let (had, has) = (own.alphas_cumprod(), zero.alphas_cumprod());
            assert!((has[0] - had[0]).abs() < 1e-15);
            assert_eq!(has[999], terminal.max(ZERO_SNR));
            assert!(has.windows(2).all(|pair| pair[1] < pair[0]));
            assert!((1..999).all(|t| has[t] < had[t]));
            assert!(zero.sigma_range().1.is_finite());
        }
        assert_eq!(ZERO_SNR_DIFFUSERS, 2.0_f64.powi(-24));
    }

    #[test]
    fn bad_tables_are_refused() {
        for (table, index) in [
            (&[][..], 0),
            (&[0.5], 0),
            (&[1.0, 0.5], 0),
            (&[0.9, 0.95], 1),
            (&[0.9, 0.9], 1),
            (&[0.9, 0.0], 1),
            (&[0.9, -0.1], 1),
            (&[0.9, f64::NAN], 1),
            (&[f64::INFINITY, 0.1], 0),
        ] {
            match Training::from_alphas_cumprod(table) {
                Err(ScheduleError::AlphasCumprod { index: at, .. }) => assert_eq!(at, index, "{table:?}"),
                other => panic!("{table:?} gave {other:?}"),
            }
        }
    }
}
