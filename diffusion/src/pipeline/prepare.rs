//! The images of a task, encoded: the stage between the words and the sampling.

use super::event::tell;
use super::{Event, Fill, Image, Latents, Listener, Mask, Pipeline, Settings, Task, VaeTiling};
use crate::Error;
use crate::families::{Component, NetworkInput};
use crate::params::Params;
use crate::schedule::Convention;
use crate::vae::{Moments, VaeEncoder};
use latent_tensor::{Device, Tensor};

/// A task whose images are encoded: for any number of runs ([`Pipeline::sample_prepared`]).
#[derive(Default)]
pub struct PreparedTask {
    /// The image to start from.
    pub(super) image: Option<Shown>,
    /// The elements of a latent that are drawn, `[height, width]`: all where there is none.
    pub(super) mask: Option<Vec<f32>>,
    /// What they are when the drawing begins.
    pub(super) fill: Fill,
    /// What the UNet takes beside the latent.
    pub(super) beside: Beside,
    finish: Option<Finish>,
}

/// An image to start from.
pub(super) struct Shown {
    pub(super) latents: ShownLatents,
    /// How much of it may change.
    pub(super) walked: Walked,
}

/// The latents of an image to start from.
pub(super) enum ShownLatents {
    /// Those of one image for all that are drawn.
    Encoded(Moments),
    /// One for each that is drawn, of a first pass.
    Drawn(Latents),
}

/// The steps that are walked.
#[derive(Clone, Copy)]
pub(super) enum Walked {
    /// A part of them, from 0 to 1.
    Part(f64),
    /// The last ones.
    Last(usize),
}

/// What the UNet takes beside the latent.
#[derive(Default)]
pub(super) enum Beside {
    #[default]
    Nothing,
    /// A mask `[height, width]`, and the image without what it covers.
    Masked { mask: Vec<f32>, masked: Moments },
    /// The image to be changed, and how closely to keep to it; or none.
    Image(Option<(Moments, f64)>),
}

/// What becomes of a decoded image.
struct Finish {
    width: usize,
    height: usize,
    /// The part that was drawn, and the image under it.
    over: Option<(Mask, Image)>,
}

impl Pipeline {
    /// Encodes the images of a task. The encoder leaves memory at the end.
    ///
    /// # Errors
    /// A task that the model cannot do (found before anything is read), unreadable weights, a cancelled run.
    pub fn prepare(
        &mut self,
        task: &Task<'_>,
        settings: &Settings,
        listener: &mut Listener<'_>,
    ) -> Result<PreparedTask, Error> {
        self.check_controls(settings)?;
        self.prepare_alone(task, settings, listener)
    }

    /// As [`Pipeline::prepare`], whatever ControlNets see.
    pub(super) fn prepare_alone(
        &mut self,
        task: &Task<'_>,
        settings: &Settings,
        listener: &mut Listener<'_>,
    ) -> Result<PreparedTask, Error> {
        task.check(settings, &self.model)?;
        let (factor, convention, input) = (self.model.vae.factor(), settings.convention(), self.model.input);
        let (width, height) = settings.size(&self.model)?;
        let mut source = PreparedTask { finish: Finish::of(task)?, ..PreparedTask::default() };
        let image = shown(task)?.map(|image| image.padded_to(factor).to_tensor()).transpose()?;
        // All is drawn where nothing is said of a part.
        let mut mask = Mask::filled(width, height, 255);
        if let Task::Inpaint { mask: part, fill, .. } = task {
            mask = part.padded_to(factor);
            (source.mask, source.fill) = (Some(mask.of_latent(factor, convention)), *fill);
        }
        let mut pixels = Vec::new();
        if input == NetworkInput::Inpaint {
            pixels.push(match &image {
                Some(image) => without(image, &mask, convention)?,
                None => Tensor::zeros(&[1, height, width, 3])?,
            });
        }
        pixels.extend(image);
        let mut moments = self.encode_pixels(&pixels, listener)?.into_iter();
        source.beside = match input {
            NetworkInput::Latent => Beside::Nothing,
            NetworkInput::Edit => Beside::Image(None),
            NetworkInput::Inpaint => match moments.next() {
                Some(masked) => Beside::Masked { mask: mask.of_latent(factor, convention), masked },
                None => unreachable!("it stands before the image"),
            },
        };
        if let Some(image) = moments.next() {
            match *task {
                Task::Edit { guidance, .. } => source.beside = Beside::Image(Some((image, guidance))),
                Task::ImageToImage { strength, .. } | Task::Inpaint { strength, .. } => {
                    let (latents, walked) = (ShownLatents::Encoded(image), Walked::Part(strength));
                    source.image = Some(Shown { latents, walked });
                }
                Task::TextToImage => unreachable!("it has no image"),
            }
        }
        Ok(source)
    }

    /// Encodes an image to the distribution of its latents. The encoder leaves memory at the end.
    ///
    /// # Errors
    /// Sides that are no multiples of the VAE's factor, unreadable weights, values that are no numbers.
    pub fn encode_image(&mut self, image: &Image, listener: &mut Listener<'_>) -> Result<Moments, Error> {
        let factor = self.model.vae.factor();
        let Image { width, height, .. } = *image;
        if width == 0 || height == 0 || !width.is_multiple_of(factor) || !height.is_multiple_of(factor) {
            let reason =
                format!("{width}x{height} pixels cannot be encoded; sides must be multiples of {factor}");
            return Err(Error::Setting { name: "image", reason });
        }
        let mut moments = self.encode_pixels(&[image.to_tensor()?], listener)?;
        Ok(moments.swap_remove(0))
    }

    /// Encodes images one at a time. As in decoding, an encoder whose values pass the largest `f16` of a GPU goes on in
    /// `f32`.
    pub(super) fn encode_pixels(
        &mut self,
        images: &[Tensor],
        listener: &mut Listener<'_>,
    ) -> Result<Vec<Moments>, Error> {
        if images.is_empty() {
            return Ok(Vec::new());
        }
        let memory = self.vae_tiling;
        let mut encoder = self.load_encoder(&self.device, listener)?;
        let (mut all, total) = (Vec::new(), images.len());
        tell(listener, Event::Encoded { image: 0, total })?;
        for (image, pixels) in images.iter().enumerate() {
            let encode = |encoder: &VaeEncoder| match memory {
                VaeTiling::Off => encoder.encode(pixels),
                VaeTiling::Bands => encoder.encode_in_bands(pixels),
            };
            let mut moments = encode(&encoder)?;
            let is_finite = moments.values().f32s()?.iter().all(|value| value.is_finite());
            if let Some(exact) = encoder.device().more_exact().filter(|_| !is_finite) {
                encoder = self.load_encoder(&exact, listener)?;
                moments = encode(&encoder)?;
            }
            super::decode::expect_finite("VAE encoder", moments.values().f32s()?)?;
            all.push(moments);
            tell(listener, Event::Encoded { image: image + 1, total })?;
        }
        drop(encoder);
        self.device.trim();
        Ok(all)
    }

    fn load_encoder(&self, device: &Device, listener: &mut Listener<'_>) -> Result<VaeEncoder, Error> {
        let weights = &self.model.weights;
        if !weights.contains("vae.encoder.conv_in.weight") {
            return Err(Error::MissingComponent {
                file: weights.label().to_owned(),
                components: vec![Component::VaeEncoder],
            });
        }
        let load = |params: &Params<'_>| VaeEncoder::load(params, &self.model.vae);
        self.load_part("VAE", "vae", device, load, listener)
    }
}

impl PreparedTask {
    /// Finishes decoded images: cuts them to the size of the task's image, and puts back what its mask keeps.
    ///
    /// # Errors
    /// None for images of this source.
    pub fn finish(&self, images: Vec<Image>) -> Result<Vec<Image>, Error> {
        let Some(finish) = &self.finish else { return Ok(images) };
        let one = |image: Image| {
            let image = image.cropped(0, 0, finish.width, finish.height);
            match &finish.over {
                Some((mask, under)) => mask.compose(&image, under),
                None => Ok(image),
            }
        };
        images.into_iter().map(one).collect()
    }
}

impl Finish {
    fn of(task: &Task<'_>) -> Result<Option<Finish>, Error> {
        let Some(image) = task.image() else { return Ok(None) };
        let over = match *task {
            // What was there shines through a soft edge only if it is to be kept at all.
            Task::Inpaint { image, mask, fill: Fill::Original, feather, .. } => {
                Some((mask.feathered(feather), image.clone()))
            }
            Task::Inpaint { image, mask, feather, .. } => {
                Some((mask.feathered(feather), image.with_nearest(mask)?))
            }
            _ => None,
        };
        Ok(Some(Finish { width: image.width, height: image.height, over }))
    }
}

/// The image that a task starts from.
fn shown(task: &Task<'_>) -> Result<Option<Image>, Error> {
    Ok(match *task {
        Task::Inpaint { image, mask, fill: Fill::Nearest, .. } => Some(image.with_nearest(mask)?),
        _ => task.image().cloned(),
    })
}

/// An image with zeros, middle grey, where the mask hides it.
fn without(image: &Tensor, mask: &Mask, convention: Convention) -> Result<Tensor, Error> {
    let mut image = image.clone();
    for (pixel, value) in image.f32s_mut()?.chunks_exact_mut(3).zip(&mask.values) {
        if Mask::hides(*value, convention) {
            pixel.fill(0.0);
        }
    }
    Ok(image)
}
