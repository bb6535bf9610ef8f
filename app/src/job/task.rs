//! What a job's images are made from.

use super::source::ImageSource;
use super::text::as_text;
use crate::AppError;
use crate::image_file::Resize;
use latent_diffusion::Fill;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What the images are made from. In JSON `{"type": "img2img", "image": …}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
#[non_exhaustive]
pub enum JobTask {
    /// Words alone.
    Txt2img(Txt2imgTask),
    /// An image that is redrawn.
    Img2img(Img2imgTask),
    /// An image of which a part is drawn anew.
    Inpaint(InpaintTask),
    /// An image that grows past its edges.
    Outpaint(OutpaintTask),
    /// An image that is changed by an instruction.
    Edit(EditTask),
}

/// Images from words.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Txt2imgTask {
    /// A second pass at a larger size.
    pub hires: HiresOptions,
}

/// A second pass at a larger size.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct HiresOptions {
    /// Whether there is one. The other options need it.
    pub enabled: bool,
    /// How many times as wide and high the second pass is; 2 when `None`.
    pub scale: Option<f64>,
    /// Steps of the second pass; those of the first when `None`.
    pub steps: Option<usize>,
    /// How much the second pass may change, above 0 and at most 1; 0.7 when `None`.
    pub strength: Option<f64>,
    /// How the first pass is enlarged: a name of [`built_in_upscalers`](super::built_in_upscalers), or an upscaler's file or name; `latent` when
    /// `None`.
    pub upscaler: Option<PathBuf>,
}

/// An image redrawn.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Img2imgTask {
    /// The image.
    pub image: ImageSource,
    /// How much of it may change, above 0 and at most 1; 0.75 when `None`.
    pub strength: Option<f64>,
    /// What to do with an image of another shape than the drawn size; [`Resize::Crop`] when `None`.
    #[serde(with = "as_text")]
    pub resize: Option<Resize>,
}

/// A part of an image drawn anew.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct InpaintTask {
    /// The image.
    pub image: ImageSource,
    /// The mask, of the image's size: white is drawn anew. What is transparent in the image when `None`.
    pub mask: Option<ImageSource>,
    /// Draw what the mask keeps, and keep what it draws.
    pub invert: bool,
    /// How much of the part may change, above 0 and at most 1; 1 when `None`.
    pub strength: Option<f64>,
    /// Softness of the mask's edge in pixels; 4 when `None`.
    pub mask_blur: Option<f64>,
    /// What is in the part when the drawing begins; [`Fill::Original`], or [`Fill::Nearest`] without a mask, when `None`.
    #[serde(with = "as_text")]
    pub fill: Option<Fill>,
    /// Draw only the surroundings of the mask, in a size of their own.
    pub only_masked: bool,
    /// Pixels around the mask that `only_masked` shows to the model; 32 when `None`.
    pub padding: Option<usize>,
}

/// An image grown past its edges.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct OutpaintTask {
    /// The image.
    pub image: ImageSource,
    /// Pixels to add on the left.
    pub left: Option<usize>,
    /// Pixels to add on the right.
    pub right: Option<usize>,
    /// Pixels to add above.
    pub top: Option<usize>,
    /// Pixels to add below.
    pub bottom: Option<usize>,
    /// How much of the new part may differ from the image's last colours going on; 1 when `None`.
    pub strength: Option<f64>,
    /// Softness of the seam in pixels; 4 when `None`.
    pub mask_blur: Option<f64>,
}

/// An image changed by an instruction, which is the prompt.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct EditTask {
    /// The image.
    pub image: ImageSource,
    /// How closely to keep to the image; 1.5 when `None`. Flux.1 Kontext has no such scale.
    pub img_cfg_scale: Option<f64>,
    /// What to do with an image of another shape than the drawn size; [`Resize::Crop`] when `None`.
    #[serde(with = "as_text")]
    pub resize: Option<Resize>,
}

/// Makes a task of its image.
macro_rules! of_image {
    ($($task:ident),*) => { $(
        impl $task {
            /// The task with an image and nothing else given.
            #[must_use]
            pub fn new(image: impl Into<ImageSource>) -> $task {
                $task { image: image.into(), ..$task::default() }
            }
        }
    )* };
}

of_image! { Img2imgTask, InpaintTask, OutpaintTask, EditTask }

impl Default for JobTask {
    fn default() -> JobTask {
        JobTask::Txt2img(Txt2imgTask::default())
    }
}

impl JobTask {
    /// Names of all tasks, which are those of the commands.
    pub const NAMES: [&'static str; 5] = ["txt2img", "img2img", "inpaint", "outpaint", "edit"];

    /// The task of that name with nothing given, also without the image that it needs.
    #[must_use]
    pub fn named(name: &str) -> Option<JobTask> {
        Some(match name {
            "txt2img" => JobTask::Txt2img(Txt2imgTask::default()),
            "img2img" => JobTask::Img2img(Img2imgTask::default()),
            "inpaint" => JobTask::Inpaint(InpaintTask::default()),
            "outpaint" => JobTask::Outpaint(OutpaintTask::default()),
            "edit" => JobTask::Edit(EditTask::default()),
            _ => return None,
        })
    }

    /// The task's name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            JobTask::Txt2img(_) => "txt2img",
            JobTask::Img2img(_) => "img2img",
            JobTask::Inpaint(_) => "inpaint",
            JobTask::Outpaint(_) => "outpaint",
            JobTask::Edit(_) => "edit",
        }
    }

    /// The image that the task begins with.
    #[must_use]
    pub fn image(&self) -> Option<&ImageSource> {
        match self {
            JobTask::Txt2img(_) => None,
            JobTask::Img2img(task) => Some(&task.image),
            JobTask::Inpaint(task) => Some(&task.image),
            JobTask::Outpaint(task) => Some(&task.image),
            JobTask::Edit(task) => Some(&task.image),
        }
    }

    pub(super) fn image_mut(&mut self) -> Option<&mut ImageSource> {
        match self {
            JobTask::Txt2img(_) => None,
            JobTask::Img2img(task) => Some(&mut task.image),
            JobTask::Inpaint(task) => Some(&mut task.image),
            JobTask::Outpaint(task) => Some(&mut task.image),
            JobTask::Edit(task) => Some(&mut task.image),
        }
    }

    pub(super) fn check(&self) -> Result<(), AppError> {
        if self.image().is_some_and(|image| !image.is_given()) {
            return Err(AppError::BadInput(format!("image: {} needs one", self.name())));
        }
        if let JobTask::Txt2img(Txt2imgTask { hires }) = self
            && !hires.enabled
            && *hires != HiresOptions::default()
        {
            return Err(AppError::BadInput("hires: its options need the second pass itself".into()));
        }
        Ok(())
    }
}
