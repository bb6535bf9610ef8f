//! Image prompts of a job: IP-Adapters and the images that they see.

use super::source::ImageSource;
use crate::AppError;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Maximum number of image prompts.
pub(crate) const MAX_IMAGE_PROMPTS: usize = 8;

/// An image as a prompt, by an IP-Adapter.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ImagePromptOptions {
    /// The adapter's file, or a name in the model folders.
    pub adapter: PathBuf,
    /// The image, of any size; the middle of it is seen.
    pub image: ImageSource,
    /// The CLIP vision encoder that the adapter was trained with: its file, or a name in the model folders.
    pub encoder: Option<PathBuf>,
    /// How strongly it acts; 1 when `None`.
    pub strength: Option<f64>,
    /// The fraction of the steps, 0 to 1, after which it begins; 0 when `None`.
    pub start: Option<f64>,
    /// The fraction of the steps, 0 to 1, after which it ends; 1 when `None`.
    pub end: Option<f64>,
}

pub(super) fn check(all: &[ImagePromptOptions]) -> Result<(), AppError> {
    let refuse = |line: String| Err(AppError::BadInput(line));
    if all.len() > MAX_IMAGE_PROMPTS {
        return refuse(format!("ip adapter: {} are given; the maximum is {MAX_IMAGE_PROMPTS}", all.len()));
    }
    for ImagePromptOptions { adapter, image, encoder, .. } in all {
        if adapter.as_os_str().is_empty() {
            return refuse("ip adapter: give the adapter for the image".into());
        }
        if !image.is_given() {
            return refuse("ip adapter image: give the image that the adapter sees".into());
        }
        if encoder.is_none() {
            return refuse(
                "image encoder: give the CLIP vision encoder that the adapter was trained with, such as CLIP-ViT-H-14"
                    .into(),
            );
        }
    }
    Ok(())
}
