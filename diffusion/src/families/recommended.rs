//! Settings that a model was made for, where a user gives none.

use super::model::Model;
use super::network_input::NetworkInput;
use super::probe::Distillation;
use crate::samplers::{Ddim, Dpmpp2m, Euler, EulerA, Lcm, Sampler, Tcd};
use crate::schedule::{Convention, ScheduleKind};

/// Steps, guidance and sampler for a model.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct RecommendedSettings {
    /// Sampling steps.
    pub steps: usize,
    /// Classifier-free guidance scale; 1 for none.
    pub guidance: f64,
    /// The sampler.
    pub sampler: &'static dyn Sampler,
    /// How the noise levels are spaced.
    pub schedule: ScheduleKind,
    /// Whose conventions the schedule follows; the sampler's own when `None`.
    pub convention: Option<Convention>,
}

/// What users of the webui expect of a model that is not distilled.
const USUAL: RecommendedSettings = RecommendedSettings {
    steps: 20,
    guidance: 7.0,
    sampler: &Dpmpp2m,
    schedule: ScheduleKind::Karras,
    convention: None,
};

/// The levels of a flow matching model, which has its own steps and guidance.
const FLOW: RecommendedSettings =
    RecommendedSettings { sampler: &Euler, schedule: ScheduleKind::Simple, ..USUAL };

/// Steps and guidance scale of Flux.1 Fill's authors.
const FILL_STEPS: usize = 50;
const FILL_GUIDANCE: f64 = 30.0;
/// Steps of a distilled model whose name contains none.
const FEW_STEPS: usize = 4;
/// Guidance scale that Playground 2.5's authors use.
const PLAYGROUND_GUIDANCE: f64 = 3.0;
/// Guidance scale that an LCM embeds (Luo et al., Latent Consistency Models, 2023, section 5: trained with 2 to 14).
const LCM_GUIDANCE: f64 = 8.0;
/// Guidance scale of Hyper-SD that was distilled with guidance: its authors name 5 to 8.
const HYPER_GUIDANCE: f64 = 5.0;

/// Guidance scale of Hyper-SD3 with guidance, by the number of steps: as its authors name it.
fn hyper_guidance(steps: Option<usize>) -> f64 {
    match steps {
        Some(..=4) => 3.0,
        Some(9..) => 7.0,
        _ => HYPER_GUIDANCE,
    }
}

impl Model {
    /// What it was made for. Models for few steps were trained at the time steps of the "trailing" spacing, an LCM and TCD at their
    /// samplers' own; and without guidance, but for an LCM with an embedding of the guidance scale and Hyper-SD with guidance.
    #[must_use]
    pub fn recommended(&self) -> RecommendedSettings {
        if self.is_single_step {
            let (steps, guidance, convention) = (1, 1.0, Some(Convention::Diffusers));
            return RecommendedSettings {
                steps,
                guidance,
                sampler: &Euler,
                schedule: ScheduleKind::Trailing,
                convention,
            };
        }
        if let Some(flow) = self.family.flow {
            let is_distilled = self.distillation.is_some();
            if self.input == NetworkInput::Inpaint && !is_distilled {
                return RecommendedSettings { steps: FILL_STEPS, guidance: FILL_GUIDANCE, ..FLOW };
            }
            return RecommendedSettings {
                steps: if is_distilled { self.named_steps.unwrap_or(flow.few_steps) } else { flow.steps },
                guidance: match self.distillation {
                    None => flow.guidance,
                    // An input of the network does not go away, whatever else the model was made for.
                    Some(_) if self.network.takes_guidance() => flow.guidance,
                    Some(Distillation::HyperCfg) => hyper_guidance(self.named_steps),
                    Some(_) => 1.0,
                },
                ..FLOW
            };
        }
        let Some(distillation) = self.distillation else {
            // Playground 2.5 was tuned for little guidance.
            let guidance = if self.vae.statistics.is_some() { PLAYGROUND_GUIDANCE } else { USUAL.guidance };
            return RecommendedSettings { guidance, ..USUAL };
        };
        let sampler: &'static dyn Sampler = match distillation {
            Distillation::Turbo => &EulerA,
            Distillation::Lcm | Distillation::Dmd2 => &Lcm,
            Distillation::Hyper | Distillation::HyperCfg => &Ddim,
            Distillation::Tcd => &Tcd,
            Distillation::Lightning | Distillation::StepDistilled => &Euler,
        };
        let (schedule, convention) = match distillation {
            Distillation::Lcm | Distillation::Tcd => (ScheduleKind::Normal, None),
            // The time steps 999, 749, 499 and 249 of its authors, for a sampler that has no "trailing" spacing.
            Distillation::Dmd2 => (ScheduleKind::SgmUniform, None),
            _ => (ScheduleKind::Trailing, Some(Convention::Diffusers)),
        };
        RecommendedSettings {
            steps: self.named_steps.unwrap_or(FEW_STEPS),
            guidance: match distillation {
                Distillation::HyperCfg => HYPER_GUIDANCE,
                _ if self.network.takes_guidance() => LCM_GUIDANCE,
                _ => 1.0,
            },
            sampler,
            schedule,
            convention,
        }
    }
}

impl std::fmt::Debug for RecommendedSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecommendedSettings")
            .field("steps", &self.steps)
            .field("guidance", &self.guidance)
            .field("sampler", &self.sampler.name())
            .field("schedule", &self.schedule)
            .field("convention", &self.convention)
            .finish()
    }
}
