//! What a run makes: an image from text, or another one of an image.

use super::Settings;
use super::settings::GUIDANCE;
use crate::Error;
use crate::families::Model;
use crate::image::Image;
use crate::mask::Mask;
use crate::names::{self, Named, UnknownName};
use crate::setting::{Bounds, Setting, SettingProblem};

/// What a run makes, and from what.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Task<'a> {
    /// An image from text alone.
    #[default]
    TextToImage,
    /// An image redrawn.
    ImageToImage {
        /// The image.
        image: &'a Image,
        /// How much of it may change, above 0 and at most 1: the fraction of the steps that is run.
        strength: f64,
    },
    /// A part of an image redrawn. The rest stays as it is, byte for byte.
    Inpaint {
        /// The image.
        image: &'a Image,
        /// The part, of the image's size.
        mask: &'a Mask,
        /// How much of the part may change, above 0 and at most 1. At 1 it is drawn from noise alone.
        strength: f64,
        /// What is in the part when the sampling begins.
        fill: Fill,
        /// Softness of the part's edge in pixels, 0 to 64, inside of the part ([`Mask::feathered`]).
        feather: f64,
    },
    /// An image changed by an instruction, by a model that was trained for that: InstructPix2Pix (Brooks et al. 2023), Flux.1
    /// Kontext.
    Edit {
        /// The image.
        image: &'a Image,
        /// How closely to keep to the image; 1.5 is usual. Flux.1 Kontext has no use for it
        /// ([`Model::refers_to_images`]).
        guidance: f64,
    },
}

/// What the part under a mask is filled with before it is redrawn. At strength 1 the sampling begins with noise alone, and
/// this shows in a feathered edge only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fill {
    /// The image itself.
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
    /// All of them.
    pub const ALL: &[Fill] = &[Fill::Original, Fill::Nearest, Fill::Noise, Fill::Zero];

    /// The fill of that name.
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

    /// The settings with the size of the task's image, rounded up to a size that the model can draw; the excess is cut off
    /// in the end. [`Pipeline::run`](crate::Pipeline::run) and [`Pipeline::draw`](crate::Pipeline::draw) do this
    /// themselves.
    #[must_use]
    pub fn sized(&self, mut settings: Settings, model: &Model) -> Settings {
        if let Some(image) = self.image() {
            let side = |side: usize| Some(side.max(1).next_multiple_of(model.size_multiple()));
            (settings.width, settings.height) = (side(image.width), side(image.height));
        }
        settings
    }

    /// Checks the task and its settings, which are those of [`Task::sized`], against a model.
    ///
    /// # Errors
    /// [`Error::Setting`]: what the model cannot do, and what it can do instead.
    pub fn check(&self, settings: &Settings, model: &Model) -> Result<(), Error> {
        let within = |setting, value, bounds, usual| {
            SettingProblem::check_range(value, bounds, usual)
                .map_err(|problem| Error::setting(setting, problem))
        };
        let latents = settings.check(model)?;
        if let Some(Image { width, height, rgb }) = self.image() {
            let factor = model.vae.factor();
            let expected = [latents.width, latents.height].map(|side| side * factor);
            let given = [*width, *height];
            let multiple = model.size_multiple();
            if given.map(|side| side.next_multiple_of(multiple)) != expected
                || rgb.len() != 3 * width * height
            {
                return Err(Error::setting(Setting::Image, SettingProblem::SizeMismatch { given, expected }));
            }
        }
        match *self {
            Task::TextToImage => Ok(()),
            Task::ImageToImage { strength, .. } => {
                within(Setting::Strength, strength, STRENGTH, Some("0.75"))
            }
            Task::Inpaint { strength, mask, image, feather, .. } => {
                within(Setting::Strength, strength, STRENGTH, Some("0.75"))?;
                within(Setting::MaskBlur, feather, FEATHER, Some("4"))?;
                mask.expect_size_of(image)
            }
            Task::Edit { .. } if !model.follows_instructions() => {
                let reason = format!(
                    "this is a {} model of {}, which follows no instructions; give one of InstructPix2Pix (8 input \
                     channels, such as instruct-pix2pix-00-22000) or Flux.1 Kontext, or redraw the image by a prompt: img2img",
                    model.family.label,
                    model.input.label()
                );
                Err(Error::setting(Setting::Model, SettingProblem::Unsupported(reason)))
            }
            Task::Edit { guidance, .. } => within(Setting::ImageGuidance, guidance, GUIDANCE, Some("1.5")),
        }
    }
}

/// How much of an image may change.
const STRENGTH: Bounds = Bounds::new(0.0, 1.0).above_min();
/// Softness of a mask's edge in pixels.
const FEATHER: Bounds = Bounds::new(0.0, 64.0);

/// A [`Task`] with its own images: it can be kept and sent to another thread.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum OwnedTask {
    /// As [`Task::TextToImage`].
    #[default]
    TextToImage,
    /// As [`Task::ImageToImage`].
    ImageToImage {
        /// The image.
        image: Image,
        /// How much of it may change.
        strength: f64,
    },
    /// As [`Task::Inpaint`].
    Inpaint {
        /// The image.
        image: Image,
        /// The part that is redrawn.
        mask: Mask,
        /// How much of the part may change.
        strength: f64,
        /// What is in the part when the sampling begins.
        fill: Fill,
        /// Softness of the part's edge in pixels.
        feather: f64,
    },
    /// As [`Task::Edit`].
    Edit {
        /// The image.
        image: Image,
        /// How closely to keep to the image.
        guidance: f64,
    },
}

impl OwnedTask {
    /// The task, borrowed.
    #[must_use]
    pub fn as_task(&self) -> Task<'_> {
        match self {
            OwnedTask::TextToImage => Task::TextToImage,
            OwnedTask::ImageToImage { image, strength } => Task::ImageToImage { image, strength: *strength },
            OwnedTask::Inpaint { image, mask, strength, fill, feather } => {
                Task::Inpaint { image, mask, strength: *strength, fill: *fill, feather: *feather }
            }
            OwnedTask::Edit { image, guidance } => Task::Edit { image, guidance: *guidance },
        }
    }
}
