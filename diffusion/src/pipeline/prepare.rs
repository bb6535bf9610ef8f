//! The pictures of a task, encoded: the stage between the words and the sampling.

use super::event::tell;
use super::{Event, Fill, Latents, Listener, Mask, Memory, Picture, Pipeline, Settings, Task};
use crate::Error;
use crate::families::Input;
use crate::params::Params;
use crate::schedule::Form;
use crate::vae::{Moments, VaeEncoder};
use latent_tensor::{Device, Tensor};

/// A task whose pictures are encoded: for any number of runs ([`Pipeline::sample_source`]).
#[derive(Default)]
pub struct Source {
    /// The picture to start from.
    pub(super) picture: Option<Shown>,
    /// The elements of a latent that are drawn, `[height, width]`: all where there is none.
    pub(super) mask: Option<Vec<f32>>,
    /// What they are when the drawing begins.
    pub(super) fill: Fill,
    /// What the UNet takes beside the latent.
    pub(super) beside: Beside,
    finish: Option<Finish>,
}

/// A picture to start from.
pub(super) struct Shown {
    pub(super) latents: ShownLatents,
    /// How much of it may change.
    pub(super) walked: Walked,
}

/// The latents of a picture to start from.
pub(super) enum ShownLatents {
    /// Those of one picture for all that are drawn.
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
    /// A mask `[height, width]`, and the picture without what it covers.
    Masked { mask: Vec<f32>, masked: Moments },
    /// The picture to be changed, and how closely to keep to it; or none.
    Picture(Option<(Moments, f64)>),
}

/// What becomes of a decoded picture.
struct Finish {
    width: usize,
    height: usize,
    /// The part that was drawn, and the picture under it.
    over: Option<(Mask, Picture)>,
}

impl Pipeline {
    /// Encodes the pictures of a task. The encoder leaves memory at the end.
    ///
    /// # Errors
    /// A task that the model cannot do (found before anything is read), unreadable weights, a cancelled run.
    pub fn prepare(
        &mut self,
        task: &Task<'_>,
        settings: &Settings,
        listener: &mut Listener<'_>,
    ) -> Result<Source, Error> {
        self.check_controls(settings)?;
        self.prepare_alone(task, settings, listener)
    }

    /// As [`Pipeline::prepare`], whatever ControlNets see.
    pub(super) fn prepare_alone(
        &mut self,
        task: &Task<'_>,
        settings: &Settings,
        listener: &mut Listener<'_>,
    ) -> Result<Source, Error> {
        task.check(settings, &self.model)?;
        let (factor, form, input) = (self.model.vae.factor(), settings.form(), self.model.input);
        let (width, height) = settings.size(&self.model)?;
        let mut source = Source { finish: Finish::of(task)?, ..Source::default() };
        let picture = shown(task)?.map(|picture| picture.padded_to(factor).to_tensor()).transpose()?;
        // All is drawn where nothing is said of a part.
        let mut mask = Mask::filled(width, height, 255);
        if let Task::Inpaint { mask: part, fill, .. } = task {
            mask = part.padded_to(factor);
            (source.mask, source.fill) = (Some(mask.of_latent(factor, form)), *fill);
        }
        let mut pixels = Vec::new();
        if input == Input::Inpaint {
            pixels.push(match &picture {
                Some(picture) => without(picture, &mask, form)?,
                None => Tensor::zeros(&[1, height, width, 3])?,
            });
        }
        pixels.extend(picture);
        let mut moments = self.encode_pixels(&pixels, listener)?.into_iter();
        source.beside = match input {
            Input::Latent => Beside::Nothing,
            Input::Edit => Beside::Picture(None),
            Input::Inpaint => match moments.next() {
                Some(masked) => Beside::Masked { mask: mask.of_latent(factor, form), masked },
                None => unreachable!("it stands before the picture"),
            },
        };
        if let Some(picture) = moments.next() {
            match *task {
                Task::Edit { guidance, .. } => source.beside = Beside::Picture(Some((picture, guidance))),
                Task::ImageToImage { strength, .. } | Task::Inpaint { strength, .. } => {
                    let (latents, walked) = (ShownLatents::Encoded(picture), Walked::Part(strength));
                    source.picture = Some(Shown { latents, walked });
                }
                Task::TextToImage => unreachable!("it has no picture"),
            }
        }
        Ok(source)
    }

    /// Encodes a picture to the distribution of its latents. The encoder leaves memory at the end.
    ///
    /// # Errors
    /// Sides that are no multiples of the VAE's factor, unreadable weights, values that are no numbers.
    pub fn encode_picture(
        &mut self,
        picture: &Picture,
        listener: &mut Listener<'_>,
    ) -> Result<Moments, Error> {
        let factor = self.model.vae.factor();
        let Picture { width, height, .. } = *picture;
        if width == 0 || height == 0 || !width.is_multiple_of(factor) || !height.is_multiple_of(factor) {
            let reason =
                format!("{width}x{height} pixels cannot be encoded; sides must be multiples of {factor}");
            return Err(Error::Setting { name: "picture", reason });
        }
        let mut moments = self.encode_pixels(&[picture.to_tensor()?], listener)?;
        Ok(moments.swap_remove(0))
    }

    /// Encodes pictures one at a time. As in decoding, an encoder whose values pass the largest `f16` of a GPU goes on in
    /// `f32`.
    pub(super) fn encode_pixels(
        &mut self,
        pictures: &[Tensor],
        listener: &mut Listener<'_>,
    ) -> Result<Vec<Moments>, Error> {
        if pictures.is_empty() {
            return Ok(Vec::new());
        }
        let memory = self.memory;
        let mut encoder = self.load_encoder(&self.device, listener)?;
        let (mut all, total) = (Vec::new(), pictures.len());
        tell(listener, Event::Encoded { picture: 0, total })?;
        for (picture, pixels) in pictures.iter().enumerate() {
            let encode = |encoder: &VaeEncoder| match memory {
                Memory::Plenty => encoder.encode(pixels),
                Memory::Little => encoder.encode_in_bands(pixels),
            };
            let mut moments = encode(&encoder)?;
            let is_finite = moments.values().f32s()?.iter().all(|value| value.is_finite());
            if let Some(exact) = encoder.device().more_exact().filter(|_| !is_finite) {
                encoder = self.load_encoder(&exact, listener)?;
                moments = encode(&encoder)?;
            }
            super::decode::expect_finite("VAE encoder", moments.values().f32s()?)?;
            all.push(moments);
            tell(listener, Event::Encoded { picture: picture + 1, total })?;
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
                components: vec!["encoder in its VAE"],
            });
        }
        let load = |params: &Params<'_>| VaeEncoder::load(params, &self.model.vae);
        self.load_part("VAE", "vae", device, load, listener)
    }
}

impl Source {
    /// Finishes decoded pictures: cuts them to the size of the task's picture, and puts back what its mask keeps.
    ///
    /// # Errors
    /// None for pictures of this source.
    pub fn finish(&self, pictures: Vec<Picture>) -> Result<Vec<Picture>, Error> {
        let Some(finish) = &self.finish else { return Ok(pictures) };
        let one = |picture: Picture| {
            let picture = picture.cropped(0, 0, finish.width, finish.height);
            match &finish.over {
                Some((mask, under)) => mask.compose(&picture, under),
                None => Ok(picture),
            }
        };
        pictures.into_iter().map(one).collect()
    }
}

impl Finish {
    fn of(task: &Task<'_>) -> Result<Option<Finish>, Error> {
        let Some(picture) = task.picture() else { return Ok(None) };
        let over = match *task {
            // What was there shines through a soft edge only if it is to be kept at all.
            Task::Inpaint { picture, mask, fill: Fill::Original, feather, .. } => {
                Some((mask.feathered(feather), picture.clone()))
            }
            Task::Inpaint { picture, mask, feather, .. } => {
                Some((mask.feathered(feather), picture.with_nearest(mask)?))
            }
            _ => None,
        };
        Ok(Some(Finish { width: picture.width, height: picture.height, over }))
    }
}

/// The picture that a task starts from.
fn shown(task: &Task<'_>) -> Result<Option<Picture>, Error> {
    Ok(match *task {
        Task::Inpaint { picture, mask, fill: Fill::Nearest, .. } => Some(picture.with_nearest(mask)?),
        _ => task.picture().cloned(),
    })
}

/// A picture with zeros, middle grey, where the mask hides it.
fn without(picture: &Tensor, mask: &Mask, form: Form) -> Result<Tensor, Error> {
    let mut picture = picture.clone();
    for (pixel, value) in picture.f32s_mut()?.chunks_exact_mut(3).zip(&mask.values) {
        if Mask::hides(*value, form) {
            pixel.fill(0.0);
        }
    }
    Ok(picture)
}
