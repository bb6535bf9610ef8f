//! How a model was trained to see noise, and the maps between noisy latents, clean latents and predictions.
//!
//! x0 are clean latents, n is unit noise, sigma a noise level. Samplers hold noisy latents x in the coordinates of their
//! noise model:
//!
//! | noise model | x | input of the network | estimate of x0 from the output |
//! |---|---|---|---|
//! | variance preserving | x0 + sigma n | x / sqrt(sigma^2 + 1) | epsilon: x - sigma out; v: x / (sigma^2 + 1) - sigma out / sqrt(sigma^2 + 1) |
//! | EDM | x0 + sigma n | x / sqrt(sigma^2 + d^2) | d^2 x / (sigma^2 + d^2) ± sigma d out / sqrt(sigma^2 + d^2); d is sigma_data |
//! | flow matching | (1 - sigma) x0 + sigma n | x | x - sigma out |
//!
//! In all, x - x0 is proportional to sigma, so one formula of a solver serves both: with D the estimate of x0, the
//! direction in which x changes with sigma is (x - D) / sigma. Where a formula counts in signal and noise (in log-SNR, or as it
//! adds noise), a noise model says what part of x is signal: all of x0, or for flow matching (1 - sigma) of it.

use super::{EdmTraining, NoiseLevel, Prediction, ScheduleError, Training};
use std::sync::Arc;

/// Time steps that flow matching models are given for sigma 1.
const FLOW_TIMESTEPS: usize = 1000;

/// How noise was added to the latents that a model was trained on, and what it predicts of them.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum NoiseModel {
    /// Diffusion at discrete time steps (Ho, Jain, Abbeel, "Denoising diffusion probabilistic models", 2020): the network
    /// sees sqrt(a) x0 + sqrt(1 - a) n. Divided by sqrt(a) this is x0 + sigma n, the form that samplers work in.
    VariancePreserving {
        /// The noise levels of the training.
        training: Training,
        /// What the network predicts.
        prediction: Prediction,
    },
    /// Diffusion at any level of a range, with the preconditioning of Karras et al. 2022, section 5 (CosXL, Playground 2.5).
    Edm {
        /// The noise levels of the training.
        training: EdmTraining,
        /// What the network predicts: with [`Prediction::V`] its output counts negatively.
        prediction: Prediction,
    },
    /// Rectified flow: the network sees (1 - sigma) x0 + sigma n and predicts the velocity n - x0.
    FlowMatching(FlowMatching),
}

/// Rectified flow (Liu, Gong, Liu, "Flow straight and fast", 2022; Lipman et al., "Flow matching for generative modeling",
/// 2022), with the shift of Esser et al., "Scaling rectified flow transformers for high-resolution image synthesis", 2024,
/// section 5.3.2.
#[derive(Clone, Debug, PartialEq)]
pub struct FlowMatching {
    shift: f64,
    sigmas: Arc<[f64]>,
}

impl FlowMatching {
    /// A model whose noise levels are moved towards noise by `shift`: 1 for none, 3 for Stable Diffusion 3.
    ///
    /// # Errors
    /// [`ScheduleError::Shift`] unless it is above 0 and finite.
    pub fn new(shift: f64) -> Result<FlowMatching, ScheduleError> {
        if !(shift > 0.0 && shift.is_finite()) {
            return Err(ScheduleError::Shift { shift });
        }
        let even = (1..=FLOW_TIMESTEPS).map(|step| step as f64 / FLOW_TIMESTEPS as f64);
        Ok(FlowMatching { shift, sigmas: even.map(|sigma| shifted(sigma, shift)).collect() })
    }

    /// The shift.
    #[must_use]
    pub fn shift(&self) -> f64 {
        self.shift
    }

    /// A noise level, moved by the shift.
    #[must_use]
    pub fn shifted(&self, sigma: f64) -> f64 {
        shifted(sigma, self.shift)
    }
}

fn shifted(sigma: f64, shift: f64) -> f64 {
    shift * sigma / (1.0 + (shift - 1.0) * sigma)
}

impl From<Training> for NoiseModel {
    /// A variance preserving model that predicts the noise.
    fn from(training: Training) -> NoiseModel {
        NoiseModel::VariancePreserving { training, prediction: Prediction::Epsilon }
    }
}

impl NoiseModel {
    /// Stable Diffusion's: [`Training::scaled_linear`], predicting the noise.
    #[must_use]
    pub fn scaled_linear() -> NoiseModel {
        Training::scaled_linear().into()
    }

    /// The network's input for latents `x` at a noise level.
    #[must_use]
    pub fn network_input(&self, x: &[f32], sigma: f64) -> Vec<f32> {
        match self {
            NoiseModel::VariancePreserving { .. } | NoiseModel::Edm { .. } => {
                let scale = self.input_divisor(sigma).recip();
                x.iter().map(|x| (f64::from(*x) * scale) as f32).collect()
            }
            NoiseModel::FlowMatching(_) => x.to_vec(),
        }
    }

    /// What latents at a noise level are divided by to be the network's input.
    #[must_use]
    pub fn input_divisor(&self, sigma: f64) -> f64 {
        match self {
            NoiseModel::VariancePreserving { .. } => sigma.hypot(1.0),
            NoiseModel::Edm { training, .. } => sigma.hypot(training.sigma_data()),
            NoiseModel::FlowMatching(_) => 1.0,
        }
    }

    /// Makes the network's `output` for latents `x` at a noise level the estimate of the clean latents.
    pub fn to_denoised(&self, x: &[f32], output: &mut [f32], sigma: f64) {
        let [from_x, from_output] = self.denoised_factors(sigma);
        for (out, x) in output.iter_mut().zip(x) {
            *out = (from_x * f64::from(*x) + from_output * f64::from(*out)) as f32;
        }
    }

    /// The factors of the latents at a noise level and of the network's output, whose sum is the estimate of the clean latents.
    #[must_use]
    pub fn denoised_factors(&self, sigma: f64) -> [f64; 2] {
        match self {
            NoiseModel::VariancePreserving { prediction: Prediction::Epsilon, .. }
            | NoiseModel::FlowMatching(_) => [1.0, -sigma],
            NoiseModel::VariancePreserving { prediction: Prediction::V, .. } => {
                [(sigma * sigma + 1.0).recip(), -sigma / sigma.hypot(1.0)]
            }
            NoiseModel::Edm { training, prediction } => {
                let data = training.sigma_data();
                let from_output = sigma * data / sigma.hypot(data);
                let sign = if *prediction == Prediction::V { -1.0 } else { 1.0 };
                [data * data / (sigma * sigma + data * data), sign * from_output]
            }
        }
    }

    /// The factors of clean latents and of unit noise, whose sum are latents of a noise level.
    #[must_use]
    pub fn noised_factors(&self, sigma: f64) -> [f64; 2] {
        match self {
            NoiseModel::VariancePreserving { .. } | NoiseModel::Edm { .. } => [1.0, sigma],
            NoiseModel::FlowMatching(_) => [1.0 - sigma, sigma],
        }
    }

    /// Clean `latents` with `noise` of a level, elementwise.
    #[must_use]
    pub fn add_noise(&self, latents: &[f32], noise: &[f32], sigma: f64) -> Vec<f32> {
        let [signal, amount] = self.noised_factors(sigma);
        let pairs = latents.iter().zip(noise);
        pairs.map(|(x, n)| (signal * f64::from(*x) + amount * f64::from(*n)) as f32).collect()
    }

    /// The ratio of noise to signal of a level, infinite where there is no signal.
    #[must_use]
    pub fn noise_ratio(&self, sigma: f64) -> f64 {
        match self {
            NoiseModel::VariancePreserving { .. } | NoiseModel::Edm { .. } => sigma,
            NoiseModel::FlowMatching(_) => sigma / (1.0 - sigma),
        }
    }

    /// The level with a ratio of noise to signal.
    #[must_use]
    pub fn sigma_of_ratio(&self, ratio: f64) -> f64 {
        match self {
            NoiseModel::VariancePreserving { .. } | NoiseModel::Edm { .. } => ratio,
            NoiseModel::FlowMatching(_) => ratio / (1.0 + ratio),
        }
    }

    /// The level half of the way between two in log-SNR.
    #[must_use]
    pub fn middle(&self, from: f64, to: f64) -> f64 {
        match self {
            NoiseModel::VariancePreserving { .. } | NoiseModel::Edm { .. } => (from * to).sqrt(),
            // From pure noise every level is infinitely far: ComfyUI's choice.
            NoiseModel::FlowMatching(_) if from >= 1.0 => 0.9999_f64.max((1.0 + to) / 2.0),
            NoiseModel::FlowMatching(_) => {
                self.sigma_of_ratio((self.noise_ratio(from) * self.noise_ratio(to)).sqrt())
            }
        }
    }

    /// How latents of the level `from` become those of a level `to` above it: what they are multiplied by, and how much
    /// noise is added then.
    #[must_use]
    pub fn noise_up(&self, from: f64, to: f64) -> (f64, f64) {
        let keep = match self {
            NoiseModel::VariancePreserving { .. } | NoiseModel::Edm { .. } => 1.0,
            NoiseModel::FlowMatching(_) if to <= from => 1.0,
            NoiseModel::FlowMatching(_) => (1.0 - to) / (1.0 - from),
        };
        (keep, (to * to - (keep * from) * (keep * from)).max(0.0).sqrt())
    }

    /// What latents that a step left at the level `from` are multiplied by where the next step begins at another level
    /// `to`, so that the network's input stays the same.
    #[must_use]
    pub fn handover_scale(&self, from: f64, to: f64) -> f64 {
        match self {
            NoiseModel::VariancePreserving { .. } | NoiseModel::Edm { .. } => {
                self.input_divisor(to) / self.input_divisor(from)
            }
            NoiseModel::FlowMatching(_) => 1.0,
        }
    }

    /// The noise levels of the training, rising.
    #[must_use]
    pub fn sigmas(&self) -> &[f64] {
        match self {
            NoiseModel::VariancePreserving { training, .. } => training.sigmas(),
            NoiseModel::Edm { training, .. } => training.sigmas(),
            NoiseModel::FlowMatching(flow) => &flow.sigmas,
        }
    }

    /// Smallest and largest noise level.
    #[must_use]
    pub fn sigma_range(&self) -> (f64, f64) {
        let sigmas = self.sigmas();
        (sigmas[0], sigmas[sigmas.len() - 1])
    }

    /// The last index of [`NoiseModel::sigmas`].
    #[must_use]
    pub fn last_index(&self) -> f64 {
        (self.sigmas().len() - 1) as f64
    }

    /// The index at which even steps in time end, which [`NoiseModel::sigma_at_index`] takes. ComfyUI and diffusers begin with the
    /// shifted levels of a flow matching model as time steps, and shift those again.
    #[must_use]
    pub(super) fn first_index(&self) -> f64 {
        match self {
            NoiseModel::VariancePreserving { .. } | NoiseModel::Edm { .. } => 0.0,
            NoiseModel::FlowMatching(flow) => flow.sigmas[0] * FLOW_TIMESTEPS as f64 - 1.0,
        }
    }

    /// The noise level at an index of [`NoiseModel::sigmas`], with fractions.
    #[must_use]
    pub fn sigma_at_index(&self, index: f64) -> f64 {
        match self {
            NoiseModel::VariancePreserving { training, .. } => training.log_linear_sigma_at(index),
            NoiseModel::Edm { training, .. } => training.sigma_at_index(index),
            NoiseModel::FlowMatching(flow) => {
                shifted((index + 1.0).clamp(1.0, FLOW_TIMESTEPS as f64) / FLOW_TIMESTEPS as f64, flow.shift)
            }
        }
    }

    /// The noise level at a time step, with fractions.
    #[must_use]
    pub fn sigma_at(&self, timestep: f64) -> f64 {
        match self {
            NoiseModel::VariancePreserving { training, .. } => training.sigma_at(timestep),
            NoiseModel::Edm { .. } => EdmTraining::sigma_at(timestep),
            NoiseModel::FlowMatching(_) => timestep / FLOW_TIMESTEPS as f64,
        }
    }

    /// The time step of the last `part` of the levels of the training, 0 to 1: at smaller ones less is left.
    #[must_use]
    pub fn timestep_of_part(&self, part: f64) -> f64 {
        let index = part * self.sigmas().len() as f64;
        match self {
            NoiseModel::Edm { training, .. } => EdmTraining::timestep(training.sigma_at_index(index)),
            NoiseModel::VariancePreserving { .. } | NoiseModel::FlowMatching(_) => index.round(),
        }
    }

    /// A noise level with the time step that the network is given for it.
    #[must_use]
    pub fn level_at(&self, sigma: f64) -> NoiseLevel {
        let timestep = match self {
            NoiseModel::VariancePreserving { training, .. } => training.timestep_at(sigma),
            NoiseModel::Edm { .. } => EdmTraining::timestep(sigma),
            NoiseModel::FlowMatching(_) => sigma * FLOW_TIMESTEPS as f64,
        };
        NoiseLevel { sigma, timestep }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const X0: [f64; 3] = [0.5, -1.25, 2.0];
    const N: [f64; 3] = [1.5, 0.25, -0.75];

    fn f32s(values: [f64; 3]) -> [f32; 3] {
        values.map(|value| value as f32)
    }

    fn assert_near(got: &[f32], want: [f64; 3], what: f64) {
        for (got, want) in got.iter().zip(want) {
            assert!((f64::from(*got) - want).abs() < 1e-5, "{what}: {got} {want}");
        }
    }

    /// For a known x0 and n, both predictions lead back to x0.
    #[test]
    fn both_predictions_give_the_clean_latents_back() {
        for sigma in [0.03_f64, 1.0, 14.6] {
            let a = (sigma * sigma + 1.0).recip();
            let training = Training::scaled_linear();
            let epsilon = NoiseModel::from(training.clone());
            let v = NoiseModel::VariancePreserving { training, prediction: Prediction::V };
            let x = epsilon.add_noise(&f32s(X0), &f32s(N), sigma);
            let mut output = f32s(N);
            epsilon.to_denoised(&x, &mut output, sigma);
            assert_near(&output, X0, sigma);
            let mut output = [0, 1, 2].map(|i| (a.sqrt() * N[i] - (1.0 - a).sqrt() * X0[i]) as f32);
            v.to_denoised(&x, &mut output, sigma);
            assert_near(&output, X0, sigma);
        }
    }

    /// The network's target is what is left of the clean latents, of unit variance at every level.
    #[test]
    fn edm_gives_the_clean_latents_back() {
        for (data, prediction) in [(0.5, Prediction::Epsilon), (1.0, Prediction::V)] {
            let training = EdmTraining::new([0.002, 80.0], data).unwrap();
            let edm = NoiseModel::Edm { training, prediction };
            for sigma in [0.002, 0.5, 3.0, 80.0_f64] {
                let x = edm.add_noise(&f32s(X0), &f32s(N), sigma);
                let total = sigma * sigma + data * data;
                let sign = if prediction == Prediction::V { -1.0 } else { 1.0 };
                let target = |i: usize| {
                    let x = X0[i] + sigma * N[i];
                    sign * (X0[i] - data * data / total * x) * total.sqrt() / (sigma * data)
                };
                let mut output = [0, 1, 2].map(|i| target(i) as f32);
                edm.to_denoised(&x, &mut output, sigma);
                for (got, want) in output.iter().zip(X0) {
                    assert!((f64::from(*got) - want).abs() < 1e-4, "{data} {sigma}: {got} {want}");
                }
                let input = edm.network_input(&x, sigma);
                assert!((f64::from(input[0]) * total.sqrt() - f64::from(x[0])).abs() < 1e-5);
            }
            assert_eq!(edm.level_at(1.0).timestep, 0.0);
            assert!((edm.sigma_at(edm.level_at(7.0).timestep) - 7.0).abs() < 1e-12);
            assert!((edm.sigma_at_index(999.0) - 80.0).abs() < 1e-9 && edm.sigma_range().0 < 0.0020001);
        }
        // With data of unit deviation, EDM is variance preserving diffusion that predicts the velocity.
        let training = Training::scaled_linear();
        let v = NoiseModel::VariancePreserving { training, prediction: Prediction::V };
        let one = EdmTraining::new([0.002, 120.0], 1.0).unwrap();
        let edm = NoiseModel::Edm { training: one, prediction: Prediction::V };
        let [mut a, mut b] = [f32s(N); 2];
        v.to_denoised(&f32s(X0), &mut a, 2.0);
        edm.to_denoised(&f32s(X0), &mut b, 2.0);
        assert_eq!(a, b);
        for bad in [[0.0, 80.0], [2.0, 1.0], [0.1, f64::INFINITY], [f64::NAN, 1.0]] {
            assert!(EdmTraining::new(bad, 0.5).is_err(), "{bad:?}");
        }
        assert!(EdmTraining::new([0.1, 1.0], 0.0).is_err());
    }

    #[test]
    fn the_network_input_preserves_variance() {
        let sd = NoiseModel::scaled_linear();
        assert_eq!(sd.network_input(&[5.0, -10.0], 24.0_f64.sqrt()), [1.0, -2.0]);
        // What the network sees stays the same from one level to another.
        let x = 2.0 * sd.handover_scale(3.0, 7.0);
        assert!((x / sd.input_divisor(7.0) - 2.0 / sd.input_divisor(3.0)).abs() < 1e-12);
    }

    #[test]
    fn a_velocity_of_flow_matching_gives_the_clean_latents_back() {
        let flow = NoiseModel::FlowMatching(FlowMatching::new(3.0).unwrap());
        for sigma in [0.001, 0.25, 0.9, 1.0] {
            let x = flow.add_noise(&f32s(X0), &f32s(N), sigma);
            assert_near(&x, [0, 1, 2].map(|i| (1.0 - sigma) * X0[i] + sigma * N[i]), sigma);
            assert_eq!(flow.network_input(&x, sigma), x);
            let mut velocity = [0, 1, 2].map(|i| (N[i] - X0[i]) as f32);
            flow.to_denoised(&x, &mut velocity, sigma);
            assert_near(&velocity, X0, sigma);
        }
        // At sigma 1 nothing but noise is left, and nothing is rescaled between steps.
        assert_eq!(flow.add_noise(&f32s(X0), &f32s(N), 1.0), f32s(N));
        assert_eq!(flow.handover_scale(0.5, 0.25), 1.0);
    }

    /// The straight line from noise to image is one step of Euler's method, in the coordinates of either model.
    #[test]
    fn one_formula_of_a_solver_serves_both() {
        for (model, from, to) in [
            (NoiseModel::scaled_linear(), 14.0, 3.0),
            (NoiseModel::FlowMatching(FlowMatching::new(1.0).unwrap()), 1.0, 0.4),
        ] {
            let (x, want) =
                (model.add_noise(&f32s(X0), &f32s(N), from), model.add_noise(&f32s(X0), &f32s(N), to));
            let part = to / from;
            let got: Vec<f32> =
                x.iter().zip(X0).map(|(x, x0)| (part * f64::from(*x) + (1.0 - part) * x0) as f32).collect();
            got.iter().zip(want).for_each(|(got, want)| assert!((got - want).abs() < 1e-5, "{got} {want}"));
        }
    }

    #[test]
    fn the_shift_moves_flow_levels_towards_noise() {
        let (plain, shifted) = (FlowMatching::new(1.0).unwrap(), FlowMatching::new(3.0).unwrap());
        let (plain, shifted) = (NoiseModel::FlowMatching(plain), NoiseModel::FlowMatching(shifted));
        assert_eq!((plain.sigmas()[499], plain.sigma_range()), (0.5, (0.001, 1.0)));
        assert!((shifted.sigmas()[499] - 0.75).abs() < 1e-12 && shifted.sigma_range().1 == 1.0);
        assert_eq!(shifted.sigma_at_index(499.0), shifted.sigmas()[499]);
        assert_eq!(shifted.level_at(0.75), NoiseLevel { sigma: 0.75, timestep: 750.0 });
        assert_eq!(shifted.sigma_at(750.0), 0.75);
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(FlowMatching::new(bad).is_err(), "{bad}");
        }
    }
}
