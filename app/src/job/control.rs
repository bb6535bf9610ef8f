//! ControlNets of a job.

use super::field::OptionField;
use super::source::ImageSource;
use super::text::OptionText;
use crate::AppError;
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
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

/// The networks of all ControlNets, as an option that takes a list.
pub(super) struct ControlNets<'a>(pub(super) &'a mut Vec<ControlOptions>);

impl OptionField for ControlNets<'_> {
    fn texts(&self) -> Vec<String> {
        self.0.iter().map(|one| one.net.to_text()).collect()
    }

    fn set(&mut self, texts: &[&OsStr]) -> Result<(), String> {
        self.0.resize_with(texts.len(), ControlOptions::default);
        for (one, text) in self.0.iter_mut().zip(texts) {
            one.net = PathBuf::from_os(text)?;
        }
        Ok(())
    }
}

/// A setting of all ControlNets, as an option: given once it is for all of them, else for one after the other.
pub(super) struct EachControl<'a> {
    pub(super) all: &'a mut Vec<ControlOptions>,
    /// What holds for those of several that have no value of their own.
    pub(super) default: &'static str,
    pub(super) field: fn(&mut ControlOptions) -> &mut dyn OptionField,
}

impl OptionField for EachControl<'_> {
    fn texts(&self) -> Vec<String> {
        let own = |one: &ControlOptions| (self.field)(&mut one.clone()).texts().pop();
        let texts: Vec<Option<String>> = self.all.iter().map(own).collect();
        match texts.first() {
            Some(first) if texts.iter().all(|text| text == first) => first.iter().cloned().collect(),
            _ => texts.into_iter().map(|text| text.unwrap_or_else(|| self.default.to_owned())).collect(),
        }
    }

    fn set(&mut self, texts: &[&OsStr]) -> Result<(), String> {
        let count = self.all.len();
        if texts.len() > 1 && texts.len() != count {
            return Err(format!(
                "{} are given for {count} ControlNets; give one for all, or one for each",
                texts.len()
            ));
        }
        if count == 0 {
            return Err("there is no ControlNet".into());
        }
        for (i, one) in self.all.iter_mut().enumerate() {
            let own = texts.get(i).or(texts.first());
            (self.field)(one).set(own.map_or(&[], std::slice::from_ref))?;
        }
        Ok(())
    }
}
