//! What the number that comes out of the network means.
//!
//! The network sees variance-preserving latents, x / sqrt(sigma^2 + 1), whatever it predicts. Epsilon: the
//! noise n (Ho, Jain, Abbeel 2020). V: sqrt(a) n - sqrt(1 - a) x0, with a = 1 / (sigma^2 + 1) (Salimans and
//! Ho, "Progressive distillation for fast sampling of diffusion models", 2022, section 4).

use crate::names::{self, Named, UnknownName};

/// What the network was trained to predict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prediction {
    /// The noise: SD 1.x, SDXL, some of SD 2.x.
    Epsilon,
    /// The velocity: SD 2.x at 768 pixels, and fine-tunes with zero terminal SNR.
    V,
}

impl Prediction {
    /// All predictions.
    pub const ALL: &[Self] = &[Self::Epsilon, Self::V];

    /// The prediction of that name.
    ///
    /// # Errors
    /// [`UnknownName`], with the nearest known one.
    pub fn parse(name: &str) -> Result<Self, UnknownName> {
        names::find("prediction", name, Self::ALL).copied()
    }

    /// The network's input for latents `x` = x0 + `sigma` n.
    #[must_use]
    pub fn network_input(x: &[f32], sigma: f64) -> Vec<f32> {
        let scale = sigma.hypot(1.0).recip();
        x.iter().map(|x| (f64::from(*x) * scale) as f32).collect()
    }

    /// Turns the network's `output` for latents `x` = x0 + `sigma` n into the estimate of x0.
    pub fn to_denoised(self, x: &[f32], output: &mut [f32], sigma: f64) {
        // x0 = from_x x + from_output output
        let (from_x, from_output) = match self {
            Self::Epsilon => (1.0, -sigma),
            Self::V => ((sigma * sigma + 1.0).recip(), -sigma / sigma.hypot(1.0)),
        };
        for (out, x) in output.iter_mut().zip(x) {
            *out = (from_x * f64::from(*x) + from_output * f64::from(*out)) as f32;
        }
    }
}

impl Named for Prediction {
    fn name(&self) -> &'static str {
        match self {
            Self::Epsilon => "epsilon",
            Self::V => "v",
        }
    }

    fn aliases(&self) -> &'static [&'static str] {
        match self {
            Self::Epsilon => &["eps"],
            Self::V => &["v_prediction", "velocity"],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// For a known x0 and n, both predictions lead back to x0.
    #[test]
    fn both_predictions_give_the_image_back() {
        let (x0, n) = ([0.5, -1.25, 2.0], [1.5, 0.25, -0.75]);
        for sigma in [0.03_f64, 1.0, 14.6] {
            let a = (sigma * sigma + 1.0).recip();
            let x: Vec<f32> = x0.iter().zip(&n).map(|(x0, n)| (x0 + sigma * n) as f32).collect();
            let mut epsilon = n.map(|n| n as f32);
            Prediction::Epsilon.to_denoised(&x, &mut epsilon, sigma);
            let mut v: Vec<f32> =
                x0.iter().zip(&n).map(|(x0, n)| (a.sqrt() * n - (1.0 - a).sqrt() * x0) as f32).collect();
            Prediction::V.to_denoised(&x, &mut v, sigma);
            for i in 0..3 {
                assert!((f64::from(epsilon[i]) - x0[i]).abs() < 1e-5, "{sigma}");
                assert!((f64::from(v[i]) - x0[i]).abs() < 1e-5, "{sigma}");
            }
        }
    }

    #[test]
    fn network_input_preserves_variance() {
        assert_eq!(Prediction::network_input(&[5.0, -10.0], 24.0_f64.sqrt()), [1.0, -2.0]);
    }

    #[test]
    fn predictions_by_name() {
        assert_eq!(Prediction::parse("eps"), Ok(Prediction::Epsilon));
        assert_eq!(Prediction::parse("v-prediction"), Ok(Prediction::V));
        assert_eq!(Prediction::parse("epsilom").unwrap_err().nearest, Some("epsilon"));
    }
}
