//! Settings that a model was made for, where a user gives none.

use super::{Model, identity};
use crate::samplers::{self, Dpmpp2m, EulerA, Sampler};
use crate::schedule::{Convention, ScheduleKind};
use latent_loader::Checkpoint;

/// Steps, guidance and sampler for a model.
#[derive(Clone, Copy)]
pub struct Defaults {
    /// Sampling steps.
    pub steps: usize,
    /// Classifier-free guidance; 1 for none.
    pub guidance: f64,
    /// The sampler.
    pub sampler: &'static dyn Sampler,
    /// How the noise levels are spaced.
    pub schedule: ScheduleKind,
    /// Whose conventions the schedule follows; the sampler's own when `None`.
    pub convention: Option<Convention>,
}

/// What the webui's users expect of a model that is none of the others.
const USUAL: Defaults = Defaults {
    steps: 20,
    guidance: 7.0,
    sampler: &Dpmpp2m,
    schedule: ScheduleKind::Karras,
    convention: None,
};

/// Steps of a distilled model whose name tells none.
const FEW_STEPS: usize = 4;
/// Most steps that a name is believed.
const MOST_FEW_STEPS: usize = 16;
/// Guidance that an LCM is told of (Luo et al., Latent Consistency Models, 2023, section 5: trained with 2 to 14).
const LCM_GUIDANCE: f64 = 8.0;

impl Model {
    /// What it was made for. Models for few steps were trained at the time steps of the "trailing" spacing, an LCM at its
    /// sampler's own; and without guidance, but for an LCM that is told of it.
    #[must_use]
    pub fn recommended(&self) -> Defaults {
        let Some(kind) = self.distilled else { return USUAL };
        let sampler = match kind {
            "turbo" => "euler_a",
            "lcm" => "lcm",
            "hyper" => "ddim",
            _ => "euler",
        };
        let is_lcm = kind == "lcm";
        Defaults {
            steps: self.named_steps.unwrap_or(FEW_STEPS),
            guidance: if self.unet.time_cond_proj_dim.is_some() { LCM_GUIDANCE } else { 1.0 },
            sampler: samplers::parse(sampler).map_or(&EulerA, |(sampler, _)| sampler),
            schedule: if is_lcm { ScheduleKind::Normal } else { ScheduleKind::Trailing },
            convention: (!is_lcm).then_some(Convention::Diffusers),
        }
    }
}

/// The number in "4step" or "8steps" in the file's name, or else in the title.
pub(super) fn named_steps(checkpoint: &Checkpoint) -> Option<usize> {
    let number = |word: &String| -> Option<usize> {
        word.strip_suffix("steps").or_else(|| word.strip_suffix("step"))?.parse().ok()
    };
    let words = identity::words(checkpoint).into_iter().chain(identity::title(checkpoint));
    words.filter_map(|word| number(&word)).find(|n| (1..=MOST_FEW_STEPS).contains(n))
}
