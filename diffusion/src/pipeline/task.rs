//! What is to be done with an image.

use super::{Image, Mask, Settings};
use crate::Error;
use crate::families::{Model, NetworkInput};
use crate::names::{self, Named, UnknownName};

/// What a run makes, and what of.
#[derive(Clone, Copy, Debug, Default)]
pub enum Task<'a> {
    /// An image from words alone.
    #[default]
    TextToImage,
    /// An image redrawn.
    ImageToImage {
        /// The image.
        image: &'a Image,
        /// How much of it may change, from 0 to 1: the part of the steps that is walked.
        strength: f64,
    },
    /// A part of an image drawn anew. The rest stays as it is, byte for byte.
    Inpaint {
        /// The image.
        image: &'a Image,
        /// The part, of the image's size.
        mask: &'a Mask,
        /// How much of the part may change, from 0 to 1. At 1 it is drawn from noise alone.
        strength: f64,
        /// What is in the part when the drawing begins.
        fill: Fill,
        /// Softness of the part's edge in pixels, inside of it ([`Mask::feathered`]).
        feather: f64,
    },
    /// An image changed by an instruction, by a model that was trained for that (Brooks et al., InstructPix2Pix, 2023).
    Edit {
        /// The image.
        image: &'a Image,
        /// How closely to keep to the image; 1.5 is usual.
        guidance: f64,
    },
}

/// What a hole is filled with before it is drawn. At strength 1 the drawing begins with noise alone, and this shows in a
/// feathered edge only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fill {
    /// What the image has there.
    #[default]
    Original,
    /// The nearest colours around.
    Nearest,
    /// Latents of noise.
    Noise,
    /// Latents of zeros.
    Zero,
}

impl Fill {
    /// All fillings.
    pub const ALL: &[Fill] = &[Fill::Original, Fill::Nearest, Fill::Noise, Fill::Zero];

    /// The filling of that name.
    ///
    /// # Errors
    /// [`UnknownName`], with the nearest known one.
    pub fn parse(name: &str) -> Result<Fill, UnknownName> {
        names::find("filling", name, Fill::ALL).copied()
    }
}

impl Named for Fill {
    fn name(&self) -> &'static str {
        match self {
            Fill::Original => "original",
            Fill::Nearest => "nearest",
            Fill::Noise => "noise",
            Fill::Zero => "zero",
        }
    }
}

impl<'a> Task<'a> {
    /// The image, if there is one.
    #[must_use]
    pub fn image(&self) -> Option<&'a Image> {
        match *self {
            Task::TextToImage => None,
            Task::ImageToImage { image, .. } | Task::Inpaint { image, .. } | Task::Edit { image, .. } => {
                Some(image)
            }
        }
    }

    /// The settings with the size of the task's image, made larger until the model can draw it. What is too much is cut
    /// off in the end.
    #[must_use]
    pub fn sized(&self, mut settings: Settings, model: &Model) -> Settings {
        if let Some(image) = self.image() {
            let side = |side: usize| Some(side.max(1).next_multiple_of(model.vae.factor()));
            (settings.width, settings.height) = (side(image.width), side(image.height));
        }
        settings
    }

    /// Checks the task and its settings against a model. Settings are to be those of [`Task::sized`].
    ///
    /// # Errors
    /// What the model cannot do, and what it could instead.
    pub fn check(&self, settings: &Settings, model: &Model) -> Result<(), Error> {
        let refuse = |name, reason| Err(Error::Setting { name, reason });
        let latents = settings.check(model)?;
        if let Some(Image { width, height, rgb }) = self.image() {
            let factor = model.vae.factor();
            let drawn = [latents.width, latents.height].map(|side| side * factor);
            if [width, height].map(|side| side.next_multiple_of(factor)) != drawn
                || rgb.len() != 3 * width * height
            {
                let [w, h] = drawn;
                return refuse(
                    "image",
                    format!("{width}x{height} pixels are given, and {w}x{h} are to be drawn"),
                );
            }
        }
        match *self {
            Task::ImageToImage { strength, .. } | Task::Inpaint { strength, .. }
                if !(strength > 0.0 && strength <= 1.0) =>
            {
                refuse("strength", format!("{strength} is not above 0 and at most 1; 0.75 is usual"))
            }
            Task::Inpaint { mask, image, feather, .. } => {
                if !(0.0..=MAX_FEATHER).contains(&feather) {
                    return refuse("mask blur", format!("{feather} is not in 0 to {MAX_FEATHER} pixels"));
                }
                mask.expect_size_of(image)
            }
            Task::Edit { .. } if model.input != NetworkInput::Edit => refuse(
                "model",
                format!(
                    "this is a {} model of {}, which follows no instructions; give one of InstructPix2Pix (8 input \
                     channels, such as instruct-pix2pix-00-22000), or redraw the image by a prompt: img2img",
                    model.family.label,
                    model.input.label()
                ),
            ),
            Task::Edit { guidance, .. } if !(-1000.0..=1000.0).contains(&guidance) => {
                refuse("img cfg scale", format!("{guidance} is not in -1000 to 1000; 1.5 is usual"))
            }
            _ => Ok(()),
        }
    }
}

/// Softest edge of a mask, in pixels.
const MAX_FEATHER: f64 = 64.0;
