//! The samplers and schedules that there are, as plain data.

use latent_diffusion::names::Named;
use latent_diffusion::samplers::{ALL, FlowMatchingSupport};
use latent_diffusion::schedule::ScheduleKind;
use serde::Serialize;

/// Every sampler and schedule. It serialises as the JSON of `latent samplers --json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SamplerList {
    /// The samplers.
    pub samplers: Vec<SamplerEntry>,
    /// The schedules.
    pub schedules: Vec<ScheduleEntry>,
}

/// A sampler.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SamplerEntry {
    /// Its short name.
    pub name: &'static str,
    /// Its name in the webui.
    pub label: &'static str,
    /// Other spellings of its name.
    pub aliases: &'static [&'static str],
    /// When to use it, in a few words.
    pub about: &'static str,
    /// The schedule that it is used with unless another is asked for.
    pub scheduler: &'static str,
    /// The convention for schedules that it follows unless another is asked for.
    pub compat: &'static str,
    /// Evaluations of the UNet in a step.
    pub evaluations: usize,
    /// Whether it works with flow matching models: `full`, `without_eta` (with an eta of 0 alone) or `none`.
    pub flow_matching: &'static str,
}

/// A schedule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ScheduleEntry {
    /// Its short name.
    pub name: &'static str,
    /// Its name in the webui.
    pub label: &'static str,
    /// Other spellings of its name.
    pub aliases: &'static [&'static str],
    /// When to use it, in a few words.
    pub about: &'static str,
}

/// Lists all samplers and schedules, in the order in which they are shown.
#[must_use]
pub fn list() -> SamplerList {
    let samplers = ALL.iter().map(|sampler| SamplerEntry {
        name: sampler.name(),
        label: sampler.label(),
        aliases: sampler.aliases(),
        about: sampler.about(),
        scheduler: sampler.default_kind().name(),
        compat: sampler.default_convention().name(),
        evaluations: sampler.evaluations(),
        flow_matching: match sampler.flow_matching() {
            FlowMatchingSupport::Full => "full",
            FlowMatchingSupport::WithoutEta => "without_eta",
            FlowMatchingSupport::None => "none",
        },
    });
    let schedules = ScheduleKind::ALL.iter().map(|kind| ScheduleEntry {
        name: kind.name(),
        label: kind.label(),
        aliases: kind.aliases(),
        about: kind.about(),
    });
    SamplerList { samplers: samplers.collect(), schedules: schedules.collect() }
}
