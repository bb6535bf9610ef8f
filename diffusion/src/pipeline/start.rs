//! What the sampling begins with, and in which order random numbers are drawn.
//!
//! diffusers draws the latent of an image from the distribution that the VAE gives, before the noise, and that of a masked
//! image after it. In the webui and in ComfyUI the first numbers of a seed are the noise; here a latent is the middle of
//! its distribution then.

use super::prepare::{self, Shown, ShownLatents, Walked};
use super::{Fill, Latents, Pipeline, PreparedTask, Settings};
use crate::Error;
use crate::families::NetworkInput;
use crate::rng::Noise;
use crate::schedule::{Convention, Schedule, add_noise};
use crate::vae::Moments;

/// What the sampling begins with.
pub(super) struct Start {
    pub(super) schedule: Schedule,
    /// Latents at its first level.
    pub(super) latents: Latents,
    /// What the UNet takes beside them.
    pub(super) beside: Option<Beside>,
    pub(super) keep: Option<Keep>,
    /// Whether it is a second pass, larger than what ControlNets were given.
    pub(super) is_enlarged: bool,
}

impl Start {
    /// Nothing but noise, of which unit normals are given.
    pub(super) fn noise(mut latents: Latents, schedule: Schedule) -> Start {
        schedule.scale_noise(&mut latents.values);
        Start { schedule, latents, beside: None, keep: None, is_enlarged: false }
    }
}

/// What the UNet takes beside the latents.
pub(super) struct Beside {
    /// As many images as there are latents.
    pub(super) latents: Latents,
    /// How closely to keep to the image that they are of, for a model that follows instructions.
    pub(super) guidance: Option<f64>,
}

/// The part of a latent that is kept: an image's, with the noise of each level.
pub(super) struct Keep {
    image: Vec<f32>,
    noise: Vec<f32>,
    /// 1 where it is not kept, `[height, width]`.
    mask: Vec<f32>,
}

impl Keep {
    /// Puts it back into latents of a noise level.
    pub(super) fn apply(&self, latents: &mut [f32], sigma: f64) {
        let kept = add_noise(&self.image, &self.noise, sigma);
        for ((latent, kept), mask) in latents.iter_mut().zip(kept).zip(self.mask.iter().cycle()) {
            if *mask == 0.0 {
                *latent = kept;
            }
        }
    }
}

impl Pipeline {
    /// What the sampling of a source begins with.
    pub(super) fn start(
        &self,
        source: &PreparedTask,
        settings: &Settings,
        noise: &mut dyn Noise,
    ) -> Result<Start, Error> {
        let is_diffusers = settings.convention() == Convention::Diffusers;
        let shape = settings.check(&self.model)?;
        let draw = |moments: &Moments, noise: &mut dyn Noise| {
            if is_diffusers {
                sampled(moments, &shape, noise)
            } else {
                repeated(&moments.mode()?, shape.images)
            }
        };
        // diffusers leaves it to a model for inpainting to keep what is not masked.
        let keeps = source.mask.is_some() && (self.model.input != NetworkInput::Inpaint || !is_diffusers);
        let from = source.image.as_ref();
        let shows = from.is_some_and(|from| source.mask.is_none() || !from.walked.are_all());
        let image = match from.map(|from| &from.latents) {
            Some(ShownLatents::Encoded(moments)) if keeps || shows => Some(draw(moments, noise)?),
            Some(ShownLatents::Drawn(latents)) => Some(fitting(latents, &shape)?),
            _ => None,
        };
        let mut unit = shape.clone();
        noise.normal(&mut unit.values);
        let mut beside = None;
        let mut put = |latents, guidance| beside = Some(Beside { latents, guidance });
        match (&source.beside, from) {
            (prepare::Beside::Masked { mask, masked }, _) => {
                put(under_mask(mask, &draw(masked, noise)?), None);
            }
            (prepare::Beside::Image(Some((moments, guidance))), _) => {
                put(repeated(&moments.mean()?, shape.images)?, Some(*guidance));
            }
            (prepare::Beside::Image(None), _) => put(shape.clone(), None),
            // diffusers encodes the masked image for every model: what is drawn later comes after it.
            (prepare::Beside::Nothing, Some(Shown { latents: ShownLatents::Encoded(moments), .. }))
                if keeps && is_diffusers =>
            {
                drop(draw(moments, noise)?);
            }
            (prepare::Beside::Nothing, _) => {}
        }
        let schedule = settings.schedule(&self.model)?;
        let mut start = match (from, &image) {
            (Some(Shown { walked, .. }), Some(image)) if shows => {
                let skipped = match *walked {
                    Walked::Part(strength) => settings.convention().skipped_steps(settings.steps, strength),
                    Walked::Last(steps) => settings.steps.saturating_sub(steps),
                };
                let schedule = schedule.after(skipped);
                let schedule = schedule
                    .map_err(|error| Error::Setting { name: "strength", reason: error.to_string() })?;
                let values = schedule.add_noise(&filled(source, image, &unit), &unit.values);
                let latents = Latents { values, ..shape };
                Start { schedule, latents, beside: None, keep: None, is_enlarged: false }
            }
            _ => Start::noise(unit.clone(), schedule),
        };
        if let (Some(mask), Some(image), true) = (&source.mask, image, keeps) {
            start.keep = Some(Keep { image: image.values, noise: unit.values, mask: mask.clone() });
        }
        let is_enlarged = matches!(from, Some(Shown { latents: ShownLatents::Drawn(_), .. }));
        Ok(Start { beside, is_enlarged, ..start })
    }
}

impl Walked {
    /// Whether the drawing begins with noise alone.
    fn are_all(self) -> bool {
        matches!(self, Walked::Part(strength) if strength >= 1.0)
    }
}

/// The latents, if they are of this shape.
fn fitting(latents: &Latents, shape: &Latents) -> Result<Latents, Error> {
    let dims = |of: &Latents| [of.images, of.channels, of.height, of.width];
    if dims(latents) == dims(shape) {
        return Ok(latents.clone());
    }
    let reason = format!("latents {:?} are given, and {:?} are drawn", dims(latents), dims(shape));
    Err(Error::Setting { name: "latents", reason })
}

/// A latent for each image, drawn from a distribution.
fn sampled(moments: &Moments, shape: &Latents, noise: &mut dyn Noise) -> Result<Latents, Error> {
    let mut out = shape.clone();
    noise.normal(&mut out.values);
    for image in 0..out.images {
        let latent = moments.sample(&out.channels_last(image..image + 1)?)?;
        let latent = Latents::from_channels_last(&latent)?.values;
        out.values[image * latent.len()..][..latent.len()].copy_from_slice(&latent);
    }
    Ok(out)
}

/// The same latent for each image.
fn repeated(latent: &latent_tensor::Tensor, images: usize) -> Result<Latents, Error> {
    let one = Latents::from_channels_last(latent)?;
    Ok(Latents { values: one.values.repeat(images), images, ..one })
}

/// An image's latent with the source's filling in what is to be drawn.
fn filled(source: &PreparedTask, image: &Latents, noise: &Latents) -> Vec<f32> {
    let mask = source.mask.iter().flatten().cycle();
    let mut values = image.values.clone();
    for ((value, noise), mask) in values.iter_mut().zip(&noise.values).zip(mask) {
        match source.fill {
            Fill::Noise if *mask > 0.0 => *value = *noise,
            Fill::Zero if *mask > 0.0 => *value = 0.0,
            _ => {}
        }
    }
    values
}

/// A mask as a channel before those of the masked image.
fn under_mask(mask: &[f32], masked: &Latents) -> Latents {
    let each = masked.values.chunks_exact((masked.channels * mask.len()).max(1));
    let values = each.flat_map(|latent| mask.iter().chain(latent)).copied().collect();
    Latents { values, channels: masked.channels + 1, ..*masked }
}
