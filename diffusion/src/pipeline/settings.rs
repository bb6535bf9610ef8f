//! What a user asks for, beside the words.

use super::{Latents, SizeConditioning};
use crate::Error;
use crate::families::{Model, RecommendedSettings};
use crate::rng::RngKind;
use crate::samplers::{self, Sampler};
use crate::schedule::{Churn, Convention, Schedule, ScheduleKind};
use crate::text::TextPart;

/// Longest side of an image in pixels. Attention over a larger one would take days.
pub const MAX_SIDE: usize = 8192;

/// Most images in one batch.
const MAX_BATCH: usize = 256;

/// Longest interval of the cache: no run has more steps.
const MAX_CACHE_INTERVAL: usize = 1000;

/// Settings of a run. [`Settings::default`] is what users of the webui expect.
#[derive(Clone)]
pub struct Settings {
    /// Width in pixels; the model's own when `None`.
    pub width: Option<usize>,
    /// Height in pixels; the model's own when `None`.
    pub height: Option<usize>,
    /// Sampling steps, 1 to 1000.
    pub steps: usize,
    /// Classifier-free guidance (Ho and Salimans 2022): 1 or less leaves the negative prompt out.
    pub guidance: f64,
    /// The sampler.
    pub sampler: &'static dyn Sampler,
    /// How the noise levels are spaced.
    pub schedule: ScheduleKind,
    /// Whose conventions the schedule follows; the sampler's own when `None`.
    pub convention: Option<Convention>,
    /// The random generator.
    pub rng: RngKind,
    /// How much noise a sampler that adds noise does add; `None` is its usual.
    pub eta: Option<f64>,
    /// One image for each.
    pub seeds: Vec<u64>,
    /// 1 uses the layers of the text encoder that the model was trained with, 2 leaves out the last, and so on.
    pub clip_skip: usize,
    /// What SDXL is told about the image's size.
    pub sizes: SizeConditioning,
    /// The same for the negative prompt; as for the prompt when `None`.
    pub negative_sizes: Option<SizeConditioning>,
    /// Noise that is added on the way beyond the sampler's own, and how strong all of it is.
    pub churn: Churn,
    /// Exponent of the spacings that have one (karras, polyexponential); `None` is their usual.
    pub rho: Option<f64>,
    /// Noise levels given one by one, from high to low, in place of `steps`, `schedule` and `form`.
    pub sigmas: Option<Vec<f64>>,
    /// How much of the contrast that guidance adds is taken back, from 0 to 1 ([`Settings::guidance`]; Lin et al. 2023,
    /// section 3.4). 0.7 is good for models with a zero terminal signal-to-noise ratio.
    pub guidance_rescale: f64,
    /// The part of the steps, from 0 to 1, after which there is no guidance: from then on the UNet sees the prompt alone,
    /// and a step takes half the time (Kynkäänniemi et al., Applying Guidance in a Limited Interval, 2024). 1 guides all
    /// steps.
    pub guidance_end: f64,
    /// Every how many steps the UNet's coarse levels are computed; the steps between take them over from the last one that
    /// did (Ma et al., DeepCache, 2024; [`DeepCache`](crate::unet::DeepCache)). 1 computes them in
    /// all steps.
    pub cache_interval: usize,
    /// How beautiful SDXL's refiner is told that the image is, from 1 to 10, and what the negative prompt stands for.
    pub aesthetic_scores: AestheticScores,
}

/// Scores of the images that SDXL's refiner was trained with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AestheticScores {
    /// With the prompt.
    pub positive: f64,
    /// With the negative prompt.
    pub negative: f64,
}

impl Default for AestheticScores {
    fn default() -> AestheticScores {
        AestheticScores { positive: 6.0, negative: 2.5 }
    }
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            width: None,
            height: None,
            steps: 20,
            guidance: 7.0,
            sampler: &samplers::Dpmpp2m,
            schedule: ScheduleKind::Karras,
            convention: None,
            rng: RngKind::Cuda,
            eta: None,
            seeds: vec![0],
            clip_skip: 1,
            sizes: SizeConditioning::default(),
            negative_sizes: None,
            churn: Churn::default(),
            rho: None,
            sigmas: None,
            guidance_rescale: 0.0,
            guidance_end: 1.0,
            cache_interval: 1,
            aesthetic_scores: AestheticScores::default(),
        }
    }
}

impl Settings {
    /// The settings that a model was made for: few steps without guidance for a distilled one.
    #[must_use]
    pub fn of(model: &Model) -> Settings {
        let RecommendedSettings { steps, guidance, sampler, schedule, convention } = model.recommended();
        Settings { steps, guidance, sampler, schedule, convention, ..Settings::default() }
    }

    /// Width and height in pixels for a model.
    ///
    /// # Errors
    /// A side of 0, over [`MAX_SIDE`], or no multiple of the VAE's factor; the error names the nearest good one.
    pub fn size(&self, model: &Model) -> Result<(usize, usize), Error> {
        let factor = model.vae.factor();
        let check = |name: &'static str, side: usize| {
            if side > 0 && side <= MAX_SIDE && side.is_multiple_of(factor) {
                return Ok(side);
            }
            let nearest =
                (side.saturating_add(factor / 2) / factor * factor).clamp(factor, MAX_SIDE / factor * factor);
            let reason = format!(
                "{side} is not a size that this model can make (a multiple of {factor}, at most {MAX_SIDE}); the nearest \
                 good one is {nearest}"
            );
            Err(Error::Setting { name, reason })
        };
        let (width, height) = model.resolution;
        Ok((check("width", self.width.unwrap_or(width))?, check("height", self.height.unwrap_or(height))?))
    }

    /// Checks everything against a model; returns room for the latents.
    ///
    /// # Errors
    /// The first setting that the model cannot follow.
    pub fn check(&self, model: &Model) -> Result<Latents, Error> {
        let setting = |name, reason: String| Err(Error::Setting { name, reason });
        let (width, height) = self.size(model)?;
        if !self.guidance.is_finite() || self.guidance.abs() > 1000.0 {
            return setting("cfg scale", format!("{} is not in -1000 to 1000; 7 is usual", self.guidance));
        }
        if !(0.0..=1.0).contains(&self.guidance_rescale) {
            return setting(
                "cfg rescale",
                format!("{} is not in 0 to 1; 0.7 is usual", self.guidance_rescale),
            );
        }
        if !(0.0..=1.0).contains(&self.guidance_end) {
            let reason =
                format!("{} is not in 0 to 1, the part of the steps with guidance", self.guidance_end);
            return setting("cfg end", reason);
        }
        if !(1..=MAX_CACHE_INTERVAL).contains(&self.cache_interval) {
            let reason = format!("{} is not in 1 to {MAX_CACHE_INTERVAL}; 3 is usual", self.cache_interval);
            return setting("cache", reason);
        }
        if self.seeds.is_empty() || self.seeds.len() > MAX_BATCH {
            return setting("batch", format!("{} images at once; 1 to {MAX_BATCH} can be", self.seeds.len()));
        }
        self.check_texts(model)?;
        self.check_noise()?;
        self.schedule(model)?;
        let factor = model.vae.factor();
        Ok(Latents::zeros(self.seeds.len(), model.vae.latent_channels, height / factor, width / factor))
    }

    /// Checks the clip skip against the text encoders of a model, such as a refiner.
    ///
    /// # Errors
    /// A clip skip of 0 or beyond the layers.
    pub fn check_texts(&self, model: &Model) -> Result<(), Error> {
        let room = |part: &TextPart| (part.config.layers + 1).saturating_sub(part.skip);
        let layers = model.text.iter().map(room).min().unwrap_or(0);
        if self.clip_skip == 0 || self.clip_skip > layers {
            return Err(Error::Setting {
                name: "clip skip",
                reason: format!("{} is not in 1 to {layers}, the text encoder's layers", self.clip_skip),
            });
        }
        Ok(())
    }

    /// Whose conventions the schedule follows.
    #[must_use]
    pub fn convention(&self) -> Convention {
        self.convention.unwrap_or(self.sampler.default_convention())
    }

    /// The noise levels.
    ///
    /// # Errors
    /// No steps or too many, a spacing that the form lacks.
    pub fn schedule(&self, model: &Model) -> Result<Schedule, Error> {
        let (training, grid) = (&model.training, self.sampler.grid());
        let kind = match self.schedule {
            // Models that are told an image's size are SDXL's.
            ScheduleKind::AlignYourSteps if model.unet.added_dim.is_some() => ScheduleKind::AlignYourStepsXl,
            kind => kind,
        };
        let schedule = match &self.sigmas {
            Some(sigmas) => Schedule::from_sigmas(training, sigmas),
            None => Schedule::with_rho(training, self.convention(), kind, grid, self.steps, self.rho),
        };
        let name = if self.sigmas.is_some() { "sigmas" } else { "schedule" };
        let schedule = schedule.map_err(|error| Error::Setting { name, reason: error.to_string() })?;
        Ok(schedule.with_churn(self.churn))
    }

    /// Checks the numbers that say how much noise is added.
    fn check_noise(&self) -> Result<(), Error> {
        let within = |name, value: f64, low: f64, high: f64, usual| {
            if (low..=high).contains(&value) {
                return Ok(());
            }
            Err(Error::Setting {
                name,
                reason: format!("{value} is not in {low} to {high}; {usual} is usual"),
            })
        };
        within("eta", self.eta.unwrap_or(0.0), 0.0, 1.0, "0 or 1")?;
        within("s_churn", self.churn.amount, 0.0, 1000.0, "0")?;
        within("s_noise", self.churn.noise, 0.0, 2.0, "1")?;
        within("rho", self.rho.unwrap_or(1.0), 0.1, 100.0, "7 for karras, 1 for polyexponential")
    }
}
