//! ControlNets of a job.

use super::source::ImageSource;
use super::text::OptionText;
use crate::AppError;
use latent_diffusion::controlnet::ControlType;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Maximum number of ControlNets.
pub(crate) const MAX_CONTROLS: usize = 8;

/// A ControlNet, and how it acts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ControlOptions {
    /// Its file, or a name in the model folders.
    pub net: PathBuf,
    /// The image that it sees, which is brought to the drawn size.
    pub image: ImageSource,
    /// What the image is, for a network that sees several kinds (ControlNet-Union).
    pub control_type: Option<ControlTypeName>,
    /// How strongly it acts; 1 when `None`.
    pub strength: Option<f64>,
    /// The fraction of the steps, 0 to 1, after which it begins; 0 when `None`.
    pub start: Option<f64>,
    /// The fraction of the steps, 0 to 1, after which it ends; 1 when `None`.
    pub end: Option<f64>,
    /// What is done with the image before the network sees it.
    pub preprocess: Option<ControlPreprocessor>,
    /// Contrast of a line that continues an edge, for [`ControlPreprocessor::Canny`]; 100 when `None`.
    pub canny_low: Option<f64>,
    /// Contrast of a line that begins an edge, for [`ControlPreprocessor::Canny`]; 200 when `None`.
    pub canny_high: Option<f64>,
}

/// A kind of control images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ControlTypeName(pub ControlType);

impl TryFrom<String> for ControlTypeName {
    type Error = String;

    fn try_from(text: String) -> Result<ControlTypeName, String> {
        ControlTypeName::from_text(&text)
    }
}

impl From<ControlTypeName> for String {
    fn from(name: ControlTypeName) -> String {
        name.to_text()
    }
}

impl OptionText for ControlTypeName {
    fn from_text(text: &str) -> Result<ControlTypeName, String> {
        let known = || ControlType::ALL.map(ControlType::id).join(", ");
        ControlType::named(text).map(ControlTypeName).ok_or_else(|| format!("give one of {}", known()))
    }

    fn to_text(&self) -> String {
        self.0.id().to_owned()
    }
}

/// What is done with an image before a ControlNet sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ControlPreprocessor {
    /// Nothing: the image is such as the network was trained on.
    None,
    /// Its edges, white on black.
    Canny,
}

impl OptionText for ControlPreprocessor {
    fn from_text(text: &str) -> Result<ControlPreprocessor, String> {
        match text {
            "none" => Ok(ControlPreprocessor::None),
            "canny" => Ok(ControlPreprocessor::Canny),
            _ => Err("give none or canny".into()),
        }
    }

    fn to_text(&self) -> String {
        match self {
            ControlPreprocessor::None => "none".into(),
            ControlPreprocessor::Canny => "canny".into(),
        }
    }
}

pub(super) fn check(all: &[ControlOptions]) -> Result<(), AppError> {
    if all.len() > MAX_CONTROLS {
        let line = format!("control net: {} are given; the maximum is {MAX_CONTROLS}", all.len());
        return Err(AppError::BadInput(line));
    }
    match all.iter().find(|one| one.net.as_os_str().is_empty() || !one.image.is_given()) {
        Some(one) if one.image.is_given() => {
            Err(AppError::BadInput("control net: give the network for the image".into()))
        }
        Some(_) => Err(AppError::BadInput("control image: give the image that the network sees".into())),
        None => Ok(()),
    }
}
