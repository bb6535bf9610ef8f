//! The second pass of an image: its flags, and what its file tells of it.

use super::Fact;
use crate::args::HiresArgs;
use latent_app::AppError;
use latent_app::upscale::{Enlarger, scaled};
use latent_diffusion::families::Model;
use latent_diffusion::tensor::Device;
use latent_diffusion::{Hires, HiresUpscaler, Image, Listener, Settings};
use serde_json::json;
use std::path::Path;

/// Side of an upscaler's tiles.
const TILE: usize = 512;

/// A second pass that was asked for.
pub(super) struct Second {
    /// Width and height in pixels.
    size: (usize, usize),
    steps: Option<usize>,
    strength: f64,
    scale: f64,
    by: By,
}

/// Ways to enlarge that are no files, as `--hires-upscaler` names them.
pub(super) const OWN_WAYS: [&str; 3] = ["latent", "latent-nearest", "lanczos"];

/// How the first pass is enlarged.
enum By {
    Bilinear,
    Nearest,
    Pixels(Enlarger),
}

impl By {
    fn open(name: &Path, models_dir: Option<&Path>) -> Result<By, AppError> {
        Ok(match name.to_str() {
            Some("latent") => By::Bilinear,
            Some("latent-nearest") => By::Nearest,
            Some("lanczos") => By::Pixels(Enlarger::open(None, None, TILE)?),
            _ => By::Pixels(Enlarger::open(Some(name), models_dir, TILE)?),
        })
    }

    /// As the webui names it.
    fn name(&self) -> &str {
        match self {
            By::Bilinear => "Latent",
            By::Nearest => "Latent (nearest)",
            By::Pixels(enlarger) => enlarger.name(),
        }
    }
}

impl Second {
    /// What the flags ask for, checked against the first pass.
    pub(super) fn of(
        args: Option<&HiresArgs>,
        first: &Settings,
        model: &Model,
        models_dir: Option<&Path>,
    ) -> Result<Option<Second>, AppError> {
        let Some(args) = args.filter(|args| args.hires) else { return Ok(None) };
        let (width, height) = scaled("hires scale", first.size(model)?, args.hires_scale)?;
        let factor = model.vae.factor();
        let second = Second {
            size: (width / factor * factor, height / factor * factor),
            steps: args.hires_steps,
            strength: args.hires_strength,
            scale: args.hires_scale,
            by: By::open(&args.hires_upscaler, models_dir)?,
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
        let enlarger = match &self.by {
            By::Bilinear => return act(&self.hires(HiresUpscaler::Bilinear)),
            By::Nearest => return act(&self.hires(HiresUpscaler::Nearest)),
            By::Pixels(enlarger) => enlarger,
        };
        let enlarge = |image: &Image, size: (usize, usize), listener: &mut Listener<'_>| {
            enlarger.enlarge(image, size, device, listener)
        };
        act(&self.hires(HiresUpscaler::Pixels(&enlarge)))
    }

    /// Bytes that enlarging a first pass of that size takes.
    pub(super) fn memory(&self, width: usize, height: usize) -> u64 {
        match &self.by {
            By::Pixels(enlarger) => enlarger.memory(width, height),
            By::Bilinear | By::Nearest => 0,
        }
    }

    /// What an image's file tells of it, as the webui does.
    pub(super) fn facts(&self) -> Vec<Fact> {
        let mut facts = vec![
            Fact { label: "Denoising strength", key: "hires_strength", value: json!(self.strength) },
            Fact { label: "Hires upscale", key: "hires_scale", value: json!(self.scale) },
        ];
        if let Some(steps) = self.steps {
            facts.push(Fact { label: "Hires steps", key: "hires_steps", value: json!(steps) });
        }
        facts.push(Fact { label: "Hires upscaler", key: "hires_upscaler", value: json!(self.by.name()) });
        facts
    }
}
