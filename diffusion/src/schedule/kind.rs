//! The names of the spacings, and what each is good for.

use super::{NoiseModel, spacing};
use crate::names::{self, Named, UnknownName};

/// A spacing that is made of noise levels: the given number of them, falling from the largest to the smallest. The last
/// argument is the exponent where the spacing has one; `None` is its usual value.
pub(super) type Sigmas = fn(&NoiseModel, usize, Option<f64>) -> Vec<f64>;

/// How the levels are spaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScheduleKind {
    /// Evenly in time steps, as the sampler's own program has it by default: from 999 to 0 in
    /// [`Convention::KDiffusion`](super::Convention::KDiffusion); [`ScheduleKind::Leading`] in
    /// [`Convention::Diffusers`](super::Convention::Diffusers), the setting of the Stable Diffusion folders.
    Normal,
    /// Evenly in sigma^(1/7): more steps at low noise.
    Karras,
    /// Evenly in log sigma.
    Exponential,
    /// A power of evenly spaced numbers in log sigma.
    Polyexponential,
    /// Evenly in time steps, without the last: ends far above the smallest level. [`ScheduleKind::Trailing`] in diffusers'
    /// convention.
    SgmUniform,
    /// Every k-th of the training's levels, from the top.
    Simple,
    /// Every k-th of the training's levels, from the bottom: [`ScheduleKind::Leading`], whose levels these are, in
    /// diffusers' convention.
    Ddim,
    /// By the quantiles of a beta distribution: most steps at both ends.
    Beta,
    /// Evenly in the arc tangent of sigma.
    KlOptimal,
    /// Levels that were optimised for the models of Stable Diffusion 1.
    AlignYourSteps,
    /// Levels that were optimised for SDXL.
    AlignYourStepsXl,
    /// diffusers' convention: whole intervals from the low end, moved up by one step: 876, 751, … 1 for 8 steps.
    Leading,
    /// diffusers' convention: both ends included: 999, 856.3, … 0.
    Linspace,
    /// diffusers' convention: whole intervals from the high end: 999, 874, … 124. For distilled models.
    Trailing,
}

impl ScheduleKind {
    /// All kinds.
    pub const ALL: &[Self] = &[
        Self::Normal,
        Self::Karras,
        Self::Exponential,
        Self::Polyexponential,
        Self::SgmUniform,
        Self::Simple,
        Self::Ddim,
        Self::Beta,
        Self::KlOptimal,
        Self::AlignYourSteps,
        Self::AlignYourStepsXl,
        Self::Leading,
        Self::Linspace,
        Self::Trailing,
    ];

    /// The kind of that name.
    ///
    /// # Errors
    /// [`UnknownName`], with the nearest known one.
    pub fn parse(name: &str) -> Result<Self, UnknownName> {
        names::find("schedule", name, Self::ALL).copied()
    }

    /// The name that the web UI shows.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Karras => "Karras",
            Self::Exponential => "Exponential",
            Self::Polyexponential => "Polyexponential",
            Self::SgmUniform => "SGM Uniform",
            Self::Simple => "Simple",
            Self::Ddim => "DDIM",
            Self::Beta => "Beta",
            Self::KlOptimal => "KL Optimal",
            Self::AlignYourSteps => "Align Your Steps",
            Self::AlignYourStepsXl => "Align Your Steps XL",
            Self::Leading => "Leading",
            Self::Linspace => "Linspace",
            Self::Trailing => "Trailing",
        }
    }

    /// When to use it, in a line.
    #[must_use]
    pub fn about(self) -> &'static str {
        match self {
            Self::Normal => "the sampler's own; a sound choice with every one",
            Self::Karras => "more steps at low noise: finer detail from 15 to 30 steps",
            Self::Exponential => "still more steps at low noise; smooth, for the SDE samplers",
            Self::Polyexponential => "exponential, bent by rho: over 1 for more steps at low noise",
            Self::SgmUniform => "for Lightning, LCM and other models of few steps",
            Self::Simple => "even steps of the training, from the top; for models of few steps",
            Self::Ddim => "even steps of the training, from the bottom, as DDIM has them",
            Self::Beta => "more steps at both ends: composition and detail; good under 15 steps",
            Self::KlOptimal => "between normal and karras; good from 10 to 20 steps",
            Self::AlignYourSteps => "optimised for 10 steps; SDXL models take the levels made for them",
            Self::AlignYourStepsXl => "the levels for SDXL, whatever the model is",
            Self::Leading => "diffusers' \"leading\"; only in the diffusers convention",
            Self::Linspace => "diffusers' \"linspace\"; only in the diffusers convention",
            Self::Trailing => "diffusers' \"trailing\", for Turbo and Lightning; diffusers convention only",
        }
    }

    /// Its levels, if it is made of levels and not of time steps.
    pub(super) fn sigmas(self) -> Option<Sigmas> {
        match self {
            Self::Karras => Some(spacing::karras),
            Self::Exponential => Some(spacing::exponential),
            Self::Polyexponential => Some(spacing::polyexponential),
            Self::Beta => Some(spacing::beta),
            Self::KlOptimal => Some(spacing::kl_optimal),
            Self::AlignYourSteps => Some(spacing::align_your_steps),
            Self::AlignYourStepsXl => Some(spacing::align_your_steps_xl),
            _ => None,
        }
    }
}

impl Named for ScheduleKind {
    fn name(&self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Karras => "karras",
            Self::Exponential => "exponential",
            Self::Polyexponential => "polyexponential",
            Self::SgmUniform => "sgm_uniform",
            Self::Simple => "simple",
            Self::Ddim => "ddim",
            Self::Beta => "beta",
            Self::KlOptimal => "kl_optimal",
            Self::AlignYourSteps => "align_your_steps",
            Self::AlignYourStepsXl => "align_your_steps_xl",
            Self::Leading => "leading",
            Self::Linspace => "linspace",
            Self::Trailing => "trailing",
        }
    }

    fn aliases(&self) -> &'static [&'static str] {
        match self {
            Self::Normal => &["uniform", "discrete", "automatic"],
            Self::Ddim => &["ddim_uniform"],
            Self::AlignYourSteps => &["ays"],
            Self::AlignYourStepsXl => &["ays_xl", "ays_sdxl"],
            _ => &[],
        }
    }
}
