//! What a user asks for, beside the words.

use super::{Latents, PictureSizes};
use crate::Error;
use crate::families::Model;
use crate::rng::RngKind;
use crate::samplers::{self, Sampler};
use crate::schedule::{Form, Kind, Schedule};
use crate::text::TextPart;

/// Longest side of a picture in pixels. Attention over a larger one would take days.
pub const MAX_SIDE: usize = 8192;
/// Most pictures in one batch.
const MAX_BATCH: usize = 256;

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
    pub schedule: Kind,
    /// Whose conventions the schedule follows; the sampler's own when `None`.
    pub form: Option<Form>,
    /// The random generator.
    pub rng: RngKind,
    /// How much noise a sampler that adds noise does add; `None` is its usual.
    pub eta: Option<f64>,
    /// One picture for each.
    pub seeds: Vec<u64>,
    /// 1 uses the layers of the text encoder that the model was trained with, 2 leaves out the last, and so on.
    pub clip_skip: usize,
    /// What SDXL is told about the picture's size.
    pub sizes: PictureSizes,
    /// The same for the negative prompt; as for the prompt when `None`.
    pub negative_sizes: Option<PictureSizes>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            width: None,
            height: None,
            steps: 20,
            guidance: 7.0,
            sampler: &samplers::Dpmpp2m,
            schedule: Kind::Karras,
            form: None,
            rng: RngKind::Cuda,
            eta: None,
            seeds: vec![0],
            clip_skip: 1,
            sizes: PictureSizes::default(),
            negative_sizes: None,
        }
    }
}

impl Settings {
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
        if self.seeds.is_empty() || self.seeds.len() > MAX_BATCH {
            return setting(
                "batch",
                format!("{} pictures at once; 1 to {MAX_BATCH} can be", self.seeds.len()),
            );
        }
        let room = |part: &TextPart| (part.config.layers + 1).saturating_sub(part.skip);
        let layers = model.text.iter().map(room).min().unwrap_or(0);
        if self.clip_skip == 0 || self.clip_skip > layers {
            return setting(
                "clip skip",
                format!("{} is not in 1 to {layers}, the text encoder's layers", self.clip_skip),
            );
        }
        self.schedule(model)?;
        let factor = model.vae.factor();
        Ok(Latents::zeros(self.seeds.len(), model.vae.latent_channels, height / factor, width / factor))
    }

    /// Whose conventions the schedule follows.
    #[must_use]
    pub fn form(&self) -> Form {
        self.form.unwrap_or(self.sampler.default_form())
    }

    /// The noise levels.
    ///
    /// # Errors
    /// No steps or too many, a spacing that the form lacks.
    pub fn schedule(&self, model: &Model) -> Result<Schedule, Error> {
        let schedule =
            Schedule::new(&model.training, self.form(), self.schedule, self.sampler.grid(), self.steps);
        schedule.map_err(|error| Error::Setting { name: "schedule", reason: error.to_string() })
    }
}
