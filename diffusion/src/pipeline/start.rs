//! What the sampling starts from, and in which order random numbers are drawn.
//!
//! diffusers draws the latent of an image from the distribution that the VAE gives, before the noise, and that of a masked
//! image after it. In the webui and in ComfyUI the first numbers of a seed are the noise, and the mode of the distribution
//! is the latent.

use super::prepare::{ExtraImage, InitImage, InitLatents, StepRange};
use super::variation;
use super::{Fill, Pipeline, PreparedTask, Settings};
use crate::Error;
use crate::families::NetworkInput;
use crate::latents::{LatentShape, Latents};
use crate::rng::Noise;
use crate::schedule::{Convention, NoiseModel, Schedule};
use crate::setting::Setting;
use crate::vae::Moments;
use latent_tensor::{Device, Tensor, ops};

/// What the sampling starts from.
pub(super) struct SamplingStart {
    pub(super) schedule: Schedule,
    /// Latents at its first level.
    pub(super) latents: Latents,
    pub(super) extra_channels: Option<ExtraChannels>,
    /// Latents of images that the network sees as further tokens.
    pub(super) references: Vec<Tensor>,
    pub(super) keep: Option<KeepMask>,
    /// Whether it is a second pass, larger than the images of ControlNets.
    pub(super) is_second_pass: bool,
}

impl SamplingStart {
    /// Nothing but noise, for unit normals.
    pub(super) fn noise(mut latents: Latents, schedule: Schedule) -> SamplingStart {
        schedule.scale_noise(&mut latents.values);
        SamplingStart::of(latents, schedule)
    }

    /// Latents at the first level of a schedule, and nothing else.
    fn of(latents: Latents, schedule: Schedule) -> SamplingStart {
        let (extra_channels, references) = (None, Vec::new());
        SamplingStart { schedule, latents, extra_channels, references, keep: None, is_second_pass: false }
    }
}

/// Channels that the network takes beside the latents.
pub(super) struct ExtraChannels {
    /// As many images as there are latents.
    pub(super) latents: Latents,
    /// How closely to keep to the image in them, for a model that follows instructions.
    pub(super) guidance: Option<f64>,
}

/// The region of a latent that is restored after each step: an image's, with the noise of each level.
pub(super) struct KeepMask {
    image: Latents,
    noise: Latents,
    /// 0 where it is kept, `[height, width]`.
    mask: Vec<f32>,
}

/// A [`KeepMask`] on a device, each `[images, height, width, channels]`.
pub(super) struct KeptRegion {
    image: Tensor,
    noise: Tensor,
    mask: Tensor,
}

impl KeepMask {
    pub(super) fn on(&self, device: &Device) -> Result<KeptRegion, Error> {
        let shape = self.image.shape();
        let mask = shape.with_values(self.mask.iter().copied().cycle().take(shape.values()).collect());
        Ok(KeptRegion {
            image: self.image.to_tensor(device)?,
            noise: self.noise.to_tensor(device)?,
            mask: mask.to_tensor(device)?,
        })
    }
}

impl KeptRegion {
    /// Restores it in latents of a noise level.
    pub(super) fn restore(
        &self,
        noise_model: &NoiseModel,
        latents: &mut Tensor,
        sigma: f64,
    ) -> Result<(), Error> {
        let [signal, amount] = noise_model.noised_factors(sigma);
        let kept = ops::linear_combination(&[(signal, &self.image), (amount, &self.noise)])?;
        *latents = ops::select(&self.mask, latents.clone(), &kept)?;
        Ok(())
    }
}

impl Pipeline {
    /// What the sampling of a task starts from.
    pub(super) fn sampling_start(
        &self,
        task: &PreparedTask,
        settings: &Settings,
        noise: &mut dyn Noise,
    ) -> Result<SamplingStart, Error> {
        let is_diffusers = settings.convention() == Convention::Diffusers;
        let draws = is_diffusers && self.model.draws_image_latents();
        let shape = settings.check(&self.model)?;
        // diffusers leaves it to inpainting models to keep what is not masked.
        let keeps = task.mask.is_some() && (self.model.input != NetworkInput::Inpaint || !is_diffusers);
        let init = task.init.as_ref();
        let is_visible = init.is_some_and(|init| task.mask.is_none() || !init.steps.is_all());
        let schedule = settings.schedule(&self.model)?;
        let is_flow = matches!(schedule.noise_model(), NoiseModel::FlowMatching(_));
        // In diffusers' pipelines of flow matching models it is drawn whether it is needed or not.
        let is_drawn = keeps || is_visible || (is_diffusers && is_flow);
        let image = match init.map(|init| &init.latents) {
            Some(InitLatents::Encoded(moments)) if is_drawn => {
                Some(drawn_latents(moments, shape, draws, noise)?)
            }
            Some(InitLatents::FirstPass(latents)) => Some(fitting(latents, shape)?),
            _ => None,
        };
        let mut unit = shape.zeros();
        noise.normal(&mut unit.values);
        if settings.variation_strength > 0.0 {
            variation::mix(&mut unit, settings);
        }
        let extra_channels = extra_channels(task, shape, (draws, keeps), noise)?;
        let mut start = match (init, &image) {
            (Some(InitImage { steps, .. }), Some(image)) if is_visible => {
                let skipped = match *steps {
                    StepRange::Strength(strength) if is_flow => {
                        settings.convention().skipped_flow_steps(settings.steps, strength)
                    }
                    StepRange::Strength(strength) => {
                        settings.convention().skipped_steps(settings.steps, strength)
                    }
                    StepRange::Last(steps) => settings.steps.saturating_sub(steps),
                };
                let schedule =
                    schedule.after(skipped).map_err(|error| Error::setting(Setting::Strength, error))?;
                let values = schedule.add_noise(&filled(task, image, &unit), &unit.values);
                let latents = shape.with_values(values);
                SamplingStart::of(latents, schedule)
            }
            _ => SamplingStart::noise(unit.clone(), schedule),
        };
        if let (Some(mask), Some(image), true) = (&task.mask, image, keeps) {
            start.keep = Some(KeepMask { image, noise: unit, mask: mask.clone() });
        }
        let is_second_pass = matches!(init, Some(InitImage { latents: InitLatents::FirstPass(_), .. }));
        let references = task.references.iter().map(Moments::mode).collect::<Result<_, _>>()?;
        Ok(SamplingStart { extra_channels, references, is_second_pass, ..start })
    }
}

impl StepRange {
    /// Whether the sampling begins with noise alone.
    fn is_all(self) -> bool {
        matches!(self, StepRange::Strength(strength) if strength >= 1.0)
    }
}

/// The extra channels of a task. Where latents of images are drawn, random numbers may be for them.
fn extra_channels(
    task: &PreparedTask,
    shape: LatentShape,
    (draws, keeps): (bool, bool),
    noise: &mut dyn Noise,
) -> Result<Option<ExtraChannels>, Error> {
    let init = task.init.as_ref().map(|init| &init.latents);
    let (latents, guidance) = match (&task.extra, init) {
        (ExtraImage::Masked { mask, masked }, _) => {
            (mask.beside(&drawn_latents(masked, shape, draws, noise)?), None)
        }
        (ExtraImage::Edit(Some((moments, guidance))), _) => {
            (repeated(&moments.mean()?, shape.images)?, Some(*guidance))
        }
        (ExtraImage::Edit(None), _) => (shape.zeros(), None),
        // diffusers encodes the masked image for every model: what is drawn later comes after it.
        (ExtraImage::None, Some(InitLatents::Encoded(moments))) if keeps && draws => {
            drop(drawn_latents(moments, shape, draws, noise)?);
            return Ok(None);
        }
        (ExtraImage::None, _) => return Ok(None),
    };
    Ok(Some(ExtraChannels { latents, guidance }))
}

/// Latents of an image: drawn for each image, or the mode for all.
fn drawn_latents(
    moments: &Moments,
    shape: LatentShape,
    draws: bool,
    noise: &mut dyn Noise,
) -> Result<Latents, Error> {
    if draws { sampled(moments, shape, noise) } else { repeated(&moments.mode()?, shape.images) }
}

/// The latents, if they are of this shape.
fn fitting(latents: &Latents, shape: LatentShape) -> Result<Latents, Error> {
    if latents.shape() == shape {
        return Ok(latents.clone());
    }
    let dims = |of: LatentShape| [of.images, of.channels, of.height, of.width];
    let reason = format!("latents {:?} are given, and {:?} are needed", dims(latents.shape()), dims(shape));
    Err(Error::setting(Setting::Latents, reason))
}

/// A latent for each image, drawn from a distribution.
fn sampled(moments: &Moments, shape: LatentShape, noise: &mut dyn Noise) -> Result<Latents, Error> {
    let mut out = shape.zeros();
    noise.normal(&mut out.values);
    for image in 0..out.images {
        let latent = moments.sample(&out.channels_last(image..image + 1)?)?;
        let latent = Latents::from_channels_last(&latent)?.values;
        out.values[image * latent.len()..][..latent.len()].copy_from_slice(&latent);
    }
    Ok(out)
}

/// The same latent for each image.
fn repeated(latent: &Tensor, images: usize) -> Result<Latents, Error> {
    let one = Latents::from_channels_last(latent)?;
    Ok(Latents { values: one.values.repeat(images), images, ..one })
}

/// An image's latent with the fill of the task in what is to be drawn.
fn filled(task: &PreparedTask, image: &Latents, noise: &Latents) -> Vec<f32> {
    let mask = task.mask.iter().flatten().cycle();
    let mut values = image.values.clone();
    for ((value, noise), mask) in values.iter_mut().zip(&noise.values).zip(mask) {
        match task.fill {
            Fill::Noise if *mask > 0.0 => *value = *noise,
            Fill::Zero if *mask > 0.0 => *value = 0.0,
            _ => {}
        }
    }
    values
}
