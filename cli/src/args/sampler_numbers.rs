//! The flags that say how a sampler works, and how they are written into images.

use latent_diffusion::Settings;
use latent_diffusion::schedule::{Churn, Convention};
use serde_json::{Value, json};
use std::fmt::Write as _;

/// Numbers of a sampler and of its schedule that few people change.
#[derive(clap::Args)]
pub(crate) struct SamplerNumbers {
    /// How much noise samplers that add noise do add, 0 to 1 [default: 0 for ddim, 0.3 for tcd, 1 for the others]
    #[arg(long, value_name = "PART")]
    pub(crate) eta: Option<f64>,
    /// Noise that euler, heun and dpm2 add on the way
    #[arg(long, value_name = "AMOUNT", default_value_t = 0.0)]
    pub(crate) s_churn: f64,
    /// What all added noise is multiplied with
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    pub(crate) s_noise: f64,
    /// Exponent of the karras and the polyexponential schedule [default: 7 and 1]
    #[arg(long, value_name = "EXPONENT")]
    pub(crate) rho: Option<f64>,
    /// Noise levels, from high to low, in place of steps and schedule: 14.6,7,2.9,0.8,0
    #[arg(long, value_name = "LEVELS", value_delimiter = ',', conflicts_with_all = ["steps", "scheduler", "compat", "rho"])]
    pub(crate) sigmas: Option<Vec<f64>>,
}

impl SamplerNumbers {
    /// The settings with these numbers.
    pub(crate) fn apply(&self, mut settings: Settings) -> Settings {
        settings.eta = self.eta;
        settings.churn = Churn { amount: self.s_churn, noise: self.s_noise };
        settings.rho = self.rho;
        settings.sigmas.clone_from(&self.sigmas);
        if let Some(sigmas) = &self.sigmas {
            settings.steps = sigmas.iter().filter(|sigma| **sigma != 0.0).count();
            settings.convention = Some(Convention::KDiffusion);
        }
        settings
    }
}

/// What differs from the usual, as the webui writes it into images.
pub(crate) fn parameters(settings: &Settings) -> String {
    let mut text = String::new();
    let Churn { amount, noise } = settings.churn;
    let changed = [
        ("Eta", settings.eta),
        ("Sigma churn", Some(amount).filter(|amount| *amount != 0.0)),
        ("Sigma noise", Some(noise).filter(|noise| *noise != 1.0)),
        ("Schedule rho", settings.rho),
    ];
    for (name, value) in changed {
        if let Some(value) = value {
            let _ = write!(text, ", {name}: {value}");
        }
    }
    text
}

/// The same for our own text, where nothing is left out.
pub(crate) fn json(settings: &Settings) -> Value {
    json!({
        "eta": settings.eta,
        "s_churn": settings.churn.amount,
        "s_noise": settings.churn.noise,
        "rho": settings.rho,
        "sigmas": settings.sigmas,
    })
}
