//! What the output of the network means.

use crate::names::{self, Named, UnknownName};

/// What a variance-preserving network was trained to predict. With a = 1 / (sigma^2 + 1):
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prediction {
    /// The noise n (Ho, Jain, Abbeel 2020): SD 1.x, SDXL, some of SD 2.x.
    Epsilon,
    /// The velocity sqrt(a) n - sqrt(1 - a) x0 (Salimans and Ho, "Progressive distillation for fast sampling of diffusion
    /// models", 2022, section 4): SD 2.x at 768 pixels, and fine-tunes with zero terminal SNR.
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

    #[test]
    fn predictions_by_name() {
        assert_eq!(Prediction::parse("eps"), Ok(Prediction::Epsilon));
        assert_eq!(Prediction::parse("v-prediction"), Ok(Prediction::V));
        assert_eq!(Prediction::parse("epsilom").unwrap_err().nearest, Some("epsilon"));
    }
}
