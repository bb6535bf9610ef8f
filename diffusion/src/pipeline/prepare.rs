//! The images of a task, encoded: the stage between the prompts and the sampling.

use super::{Fill, Pipeline, Settings, Task, VaeTiling};
use crate::blocks::BlockCount;
use crate::event::notify;
use crate::families::{Component, Model, NetworkInput};
use crate::image::Image;
use crate::latents::Latents;
use crate::mask::Mask;
use crate::params::Params;
use crate::schedule::Convention;
use crate::setting::Setting;
use crate::stage::{LoadedNetwork, Stage, expect_finite};
use crate::vae::{Moments, VaeEncoder};
use crate::{Error, Event, Listener};
use latent_tensor::{Device, Tensor};
use std::fmt;

/// A task whose images are encoded: for any number of runs ([`Pipeline::sample_prepared`]).
#[derive(Default)]
pub struct PreparedTask {
    /// The image to start from.
    pub(super) init: Option<InitImage>,
    /// The elements of a latent that are drawn, `[height, width]`: all where there is none.
    pub(super) mask: Option<Vec<f32>>,
    /// What they contain when the sampling begins.
    pub(super) fill: Fill,
    /// The image that the network sees in extra channels.
    pub(super) extra: ExtraImage,
    /// Images that the network sees as further tokens.
    pub(super) references: Vec<Moments>,
    finish: Option<Finish>,
}

impl fmt::Debug for PreparedTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PreparedTask")
            .field("has_image", &self.init.is_some())
            .field("has_mask", &self.mask.is_some())
            .field("fill", &self.fill)
            .finish_non_exhaustive()
    }
}

/// An image to start from.
pub(super) struct InitImage {
    pub(super) latents: InitLatents,
    /// Which steps are run, that is how much of it may change.
    pub(super) steps: StepRange,
}

/// The latents of an image to start from.
pub(super) enum InitLatents {
    /// Those of one image, for all that are drawn.
    Encoded(Moments),
    /// One for each that is drawn, of a first pass.
    FirstPass(Latents),
}

/// The steps that are run.
#[derive(Clone, Copy)]
pub(super) enum StepRange {
    /// A fraction of them, from 0 to 1.
    Strength(f64),
    /// The last ones.
    Last(usize),
}

/// An image that the network sees beside the latents, in extra channels.
#[derive(Default)]
pub(super) enum ExtraImage {
    #[default]
    None,
    /// A mask, and the image without what it covers.
    Masked { mask: MaskChannels, masked: Moments },
    /// The image to be edited, and how closely to keep to it; or none.
    Edit(Option<(Moments, f64)>),
}

/// A mask as channels of a network's input.
pub(super) enum MaskChannels {
    /// One, `[height, width]`, before those of the masked image.
    First(Vec<f32>),
    /// One for each pixel of an element, `[pixels, height, width]`, after those of the masked image (Flux.1 Fill).
    Last(Vec<f32>),
}

impl MaskChannels {
    /// Those of the network of a model.
    fn of(mask: &Mask, model: &Model, convention: Convention) -> MaskChannels {
        let factor = model.vae.factor();
        if model.network.in_channels() == 2 * model.vae.latent_channels + 1 {
            MaskChannels::First(mask.of_latent(factor, convention))
        } else {
            MaskChannels::Last(mask.pixels_of_latent(factor, convention))
        }
    }

    /// The channels of the mask and those of masked images.
    pub(super) fn beside(&self, masked: &Latents) -> Latents {
        let area = (masked.height * masked.width).max(1);
        let each = masked.values.chunks_exact((masked.channels * area).max(1));
        let (MaskChannels::First(mask) | MaskChannels::Last(mask)) = self;
        let joined = |latent: &[f32]| match self {
            MaskChannels::First(mask) => [&mask[..], latent].concat(),
            MaskChannels::Last(mask) => [latent, &mask[..]].concat(),
        };
        Latents {
            values: each.flat_map(joined).collect(),
            channels: masked.channels + mask.len() / area,
            ..*masked
        }
    }
}

/// What becomes of a decoded image.
struct Finish {
    width: usize,
    height: usize,
    /// The part that was drawn, and the image under it.
    over: Option<(Mask, Image)>,
}

impl Pipeline {
    /// Encodes the images of a task, with settings of the task's size ([`Task::sized`]). The encoder leaves memory at the
    /// end.
    ///
    /// # Errors
    /// A task that the model cannot do (found before anything is loaded), unreadable weights, a cancelled run.
    pub fn prepare(
        &mut self,
        task: &Task<'_>,
        settings: &Settings,
        listener: &mut Listener<'_>,
    ) -> Result<PreparedTask, Error> {
        self.check_controls(settings)?;
        self.prepare_unchecked(task, settings, listener)
    }

    /// As [`Pipeline::prepare`], whatever the sizes of the ControlNets' images are.
    pub(super) fn prepare_unchecked(
        &mut self,
        task: &Task<'_>,
        settings: &Settings,
        listener: &mut Listener<'_>,
    ) -> Result<PreparedTask, Error> {
        task.check(settings, &self.model)?;
        let (factor, convention, input) = (self.model.vae.factor(), settings.convention(), self.model.input);
        let (width, height) = settings.size(&self.model)?;
        let mut prepared = PreparedTask { finish: Finish::of(task)?, ..PreparedTask::default() };
        let multiple = self.model.size_multiple();
        let image = init_image(task)?.map(|image| image.padded_to(multiple).to_tensor()).transpose()?;
        // All is drawn unless the task has a mask.
        let mut mask = Mask::filled(width, height, 255);
        if let Task::Inpaint { mask: part, fill, .. } = task {
            mask = part.padded_to(multiple);
            (prepared.mask, prepared.fill) = (Some(mask.of_latent(factor, convention)), *fill);
        }
        let mut pixels = Vec::new();
        if input == NetworkInput::Inpaint {
            pixels.push(match &image {
                Some(image) => without_masked(image, &mask, convention)?,
                None => Tensor::zeros(&[1, height, width, 3])?,
            });
        }
        pixels.extend(image);
        let mut moments = self.encode_pixels(&pixels, listener)?.into_iter();
        prepared.extra = match input {
            NetworkInput::Latent => ExtraImage::None,
            NetworkInput::Edit => ExtraImage::Edit(None),
            NetworkInput::Inpaint => match moments.next() {
                Some(masked) => {
                    ExtraImage::Masked { mask: MaskChannels::of(&mask, &self.model, convention), masked }
                }
                None => unreachable!("it was encoded before the image"),
            },
        };
        if let Some(image) = moments.next() {
            match *task {
                Task::Edit { .. } if input == NetworkInput::Latent => prepared.references.push(image),
                Task::Edit { guidance, .. } => prepared.extra = ExtraImage::Edit(Some((image, guidance))),
                Task::ImageToImage { strength, .. } | Task::Inpaint { strength, .. } => {
                    let (latents, steps) = (InitLatents::Encoded(image), StepRange::Strength(strength));
                    prepared.init = Some(InitImage { latents, steps });
                }
                Task::TextToImage => unreachable!("it has no image"),
            }
        }
        Ok(prepared)
    }

    /// Encodes an image to the distribution of its latents. The encoder leaves memory at the end.
    ///
    /// # Errors
    /// Sides that are not multiples of the VAE's factor, unreadable weights, [`Error::NotFinite`].
    pub fn encode_image(&mut self, image: &Image, listener: &mut Listener<'_>) -> Result<Moments, Error> {
        let factor = self.model.vae.factor();
        let Image { width, height, .. } = *image;
        if width == 0 || height == 0 || !width.is_multiple_of(factor) || !height.is_multiple_of(factor) {
            let reason =
                format!("{width}x{height} pixels cannot be encoded; sides must be multiples of {factor}");
            return Err(Error::setting(Setting::Image, reason));
        }
        let mut moments = self.encode_pixels(&[image.to_tensor()?], listener)?;
        Ok(moments.swap_remove(0))
    }

    /// Encodes images one at a time. As in decoding, an encoder whose values exceed the largest `f16` on a GPU continues
    /// in `f32`.
    pub(super) fn encode_pixels(
        &mut self,
        images: &[Tensor],
        listener: &mut Listener<'_>,
    ) -> Result<Vec<Moments>, Error> {
        if images.is_empty() {
            return Ok(Vec::new());
        }
        let tiling = self.vae_tiling();
        let mut encoder = self.load_encoder(&self.device, listener)?;
        let (mut all, total) = (Vec::new(), images.len());
        notify(listener, Event::Encoded { image: 0, total })?;
        for (image, pixels) in images.iter().enumerate() {
            let encode = |encoder: &VaeEncoder, listener: &mut Listener<'_>| {
                let is_in_bands = tiling == VaeTiling::Bands;
                let total = if is_in_bands { encoder.band_blocks(pixels) } else { encoder.blocks() };
                let count = &mut BlockCount::new(Stage::ImageEncoding, total, listener);
                if is_in_bands {
                    encoder.encode_in_bands_counted(pixels, count)
                } else {
                    encoder.encode_counted(pixels, count)
                }
            };
            let mut moments = encode(&encoder, listener)?;
            let is_finite = expect_finite(Stage::ImageEncoding, moments.values().f32s()?).is_ok();
            if let Some(exact) = encoder.device().more_exact().filter(|_| !is_finite) {
                encoder = self.load_encoder(&exact, listener)?;
                moments = encode(&encoder, listener)?;
            }
            expect_finite(Stage::ImageEncoding, moments.values().f32s()?)?;
            all.push(moments);
            notify(listener, Event::Encoded { image: image + 1, total })?;
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
        self.load_network((LoadedNetwork::Vae, weights.scope("vae")), device, load, listener)
    }
}

impl PreparedTask {
    /// Finishes decoded images: cuts them to the size of the task's image, and puts back what its mask keeps.
    ///
    /// # Errors
    /// None for images of this task.
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
            // The original shows through a soft edge only if it is to be kept at all.
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
fn init_image(task: &Task<'_>) -> Result<Option<Image>, Error> {
    Ok(match *task {
        Task::Inpaint { image, mask, fill: Fill::Nearest, .. } => Some(image.with_nearest(mask)?),
        _ => task.image().cloned(),
    })
}

/// An image with zeros, middle grey, where the mask hides it.
fn without_masked(image: &Tensor, mask: &Mask, convention: Convention) -> Result<Tensor, Error> {
    let mut image = image.clone();
    for (pixel, value) in image.f32s_mut()?.chunks_exact_mut(3).zip(&mask.values) {
        if Mask::hides(*value, convention) {
            pixel.fill(0.0);
        }
    }
    Ok(image)
}
