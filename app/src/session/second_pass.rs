//! The second pass of a job, at a larger size.

use super::record::RecordedSetting;
use crate::AppError;
use crate::job::{HiresOptions, JobTask, LATENT_UPSCALERS, Txt2imgTask};
use crate::upscale::{Enlarger, scaled};
use latent_diffusion::families::Model;
use latent_diffusion::tensor::Device;
use latent_diffusion::{Hires, HiresUpscaler, Image, Listener, Settings};
use std::path::Path;

/// Side of an upscaler's tiles in pixels.
const TILE: usize = 512;
/// How many times as wide and high, if nothing is given.
const DEFAULT_SCALE: f64 = 2.0;
/// How much may change, if nothing is given.
const DEFAULT_STRENGTH: f64 = 0.7;

/// A second pass that was asked for.
pub(super) struct SecondPass {
    /// Width and height in pixels.
    size: (usize, usize),
    steps: Option<usize>,
    strength: f64,
    scale: f64,
    way: Enlarging,
}

/// How the first pass is enlarged.
enum Enlarging {
    Bilinear,
    Nearest,
    Pixels(Enlarger),
}

impl Enlarging {
    fn open(name: Option<&Path>, models_dir: Option<&Path>) -> Result<Enlarging, AppError> {
        let [latent, nearest] = LATENT_UPSCALERS.map(Path::new);
        Ok(match name {
            None => Enlarging::Bilinear,
            Some(name) if name == latent => Enlarging::Bilinear,
            Some(name) if name == nearest => Enlarging::Nearest,
            Some(name) => Enlarging::Pixels(Enlarger::open(Some(name), models_dir, TILE)?),
        })
    }

    /// As the webui names it.
    fn name(&self) -> &str {
        match self {
            Enlarging::Bilinear => "Latent",
            Enlarging::Nearest => "Latent (nearest)",
            Enlarging::Pixels(enlarger) => enlarger.name(),
        }
    }
}

impl SecondPass {
    /// What a task asks for, checked against the first pass.
    pub(super) fn of(
        task: &JobTask,
        first: &Settings,
        model: &Model,
        models_dir: Option<&Path>,
    ) -> Result<Option<SecondPass>, AppError> {
        let JobTask::Txt2img(Txt2imgTask { hires, .. }) = task else { return Ok(None) };
        if !hires.enabled {
            return Ok(None);
        }
        let HiresOptions { scale, steps, strength, upscaler, .. } = hires;
        let scale = scale.unwrap_or(DEFAULT_SCALE);
        let (width, height) = scaled("hires scale", first.size(model)?, scale)?;
        let factor = model.size_multiple();
        let second = SecondPass {
            size: (width / factor * factor, height / factor * factor),
            steps: *steps,
            strength: strength.unwrap_or(DEFAULT_STRENGTH),
            scale,
            way: Enlarging::open(upscaler.as_deref(), models_dir)?,
        };
        second.settings(first, model)?;
        Ok(Some(second))
    }

    /// Settings of the second pass.
    pub(super) fn settings(&self, first: &Settings, model: &Model) -> Result<Settings, AppError> {
        Ok(self.hires(HiresUpscaler::Bilinear).settings(first, model)?)
    }

    /// Steps of the second pass that are walked.
    pub(super) fn steps(&self, first: &Settings) -> usize {
        self.hires(HiresUpscaler::Bilinear).run_steps(first)
    }

    fn hires<'a>(&self, enlarge: HiresUpscaler<'a>) -> Hires<'a> {
        let (width, height) = self.size;
        Hires { steps: self.steps, strength: self.strength, enlarge, ..Hires::new(width, height) }
    }

    /// Has something done with it, on a device where an upscaler is to run.
    pub(super) fn with<R>(&self, device: &Device, act: impl FnOnce(&Hires<'_>) -> R) -> R {
        let enlarger = match &self.way {
            Enlarging::Bilinear => return act(&self.hires(HiresUpscaler::Bilinear)),
            Enlarging::Nearest => return act(&self.hires(HiresUpscaler::Nearest)),
            Enlarging::Pixels(enlarger) => enlarger,
        };
        let enlarge = |image: &Image, size: (usize, usize), listener: &mut Listener<'_>| {
            enlarger.enlarge(image, size, device, listener)
        };
        act(&self.hires(HiresUpscaler::Pixels(&enlarge)))
    }

    /// Bytes that enlarging a first pass of that size takes.
    pub(super) fn memory(&self, (width, height): (usize, usize)) -> u64 {
        match &self.way {
            Enlarging::Pixels(enlarger) => enlarger.memory(width, height),
            Enlarging::Bilinear | Enlarging::Nearest => 0,
        }
    }

    /// What metadata record of it, as the webui does.
    pub(super) fn recorded(&self) -> Vec<RecordedSetting> {
        let mut recorded = vec![
            RecordedSetting::new("Denoising strength", "hires_strength", self.strength),
            RecordedSetting::new("Hires upscale", "hires_scale", self.scale),
        ];
        recorded.extend(self.steps.map(|steps| RecordedSetting::new("Hires steps", "hires_steps", steps)));
        recorded.push(RecordedSetting::new("Hires upscaler", "hires_upscaler", self.way.name()));
        recorded
    }
}
