//! What a UNet predicts.
//!
//! Asked, in this order: the folder's configuration of the scheduler, the metadata, marks among the tensors, the spread of
//! one small tensor (SD 2.x), the file's name, and what is usual in the family.

use super::contents::Contents;
use super::identity::{FILE_NAME, said, words};
use super::{Base, anatomy};
use crate::samplers::Prediction;
use latent_loader::Checkpoint;

/// What a UNet predicts, and how that was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DetectedPrediction {
    /// What it predicts.
    pub prediction: Prediction,
    /// How that was told.
    pub by: &'static str,
}

/// How something was told that a folder's scheduler tells.
const CONFIG: &str = "the scheduler's configuration";

impl DetectedPrediction {
    /// Whether the tensors and their metadata tell it, and neither the file's name nor its neighbours.
    pub(crate) fn is_by_contents(&self) -> bool {
        ![FILE_NAME, CONFIG].contains(&self.by)
    }
}

/// Largest standard deviation of the last transformer block's first bias in SD 2.x models that predict the noise.
const MOST_OF_EPSILON: f64 = 0.09;

/// Tensors, often empty, that mark models which predict the velocity.
const MARKS_OF_V: [&str; 2] = ["v_pred", "edm_vpred.sigma_max"];

/// What the UNet of a family predicts. One small tensor is read at most.
pub(super) fn told(contents: &Contents<'_>, base: Option<Base>) -> Option<DetectedPrediction> {
    let checkpoint = contents.checkpoint;
    let told = |prediction, by| Some(DetectedPrediction { prediction, by });
    let config = checkpoint.config("scheduler").and_then(|c| c.get_str("prediction_type"));
    if let Some(prediction) = config.and_then(named) {
        return told(prediction, CONFIG);
    }
    if let Some(prediction) = said(checkpoint, "modelspec.prediction_type").and_then(|text| named(text)) {
        return told(prediction, "the metadata");
    }
    if said(checkpoint, "modelspec.architecture").is_some_and(|text| text.ends_with("768-v")) {
        return told(Prediction::V, "the metadata");
    }
    if MARKS_OF_V.iter().any(|name| checkpoint.get(name).is_some()) {
        return told(Prediction::V, "a mark among the tensors");
    }
    if base? == Base::Sd2
        && anatomy::in_channels(contents) == Some(4)
        && let Some(deviation) = anatomy::deviation_of_last_norm(contents)
    {
        let prediction = if deviation > MOST_OF_EPSILON { Prediction::V } else { Prediction::Epsilon };
        return told(prediction, "the spread of the last attention's norm");
    }
    let words = words(checkpoint);
    if words.windows(2).any(|pair| pair[0] == "v" && pair[1].starts_with("pred"))
        || words.iter().any(|word| word.contains("vpred"))
    {
        return told(Prediction::V, FILE_NAME);
    }
    let usual = match anatomy::variant(contents) {
        Some(anatomy::UPSCALER) => Prediction::V,
        _ => Prediction::Epsilon,
    };
    told(usual, "what is usual in its family")
}

fn named(text: &str) -> Option<Prediction> {
    match text {
        "epsilon" | "eps" => Some(Prediction::Epsilon),
        "v" | "v_prediction" | "v-prediction" | "vpred" | "v_pred" => Some(Prediction::V),
        _ => None,
    }
}

/// Whether the schedule ends in pure noise.
pub(super) fn zero_terminal_snr(checkpoint: &Checkpoint) -> bool {
    let config = checkpoint.config("scheduler").and_then(|c| c.get_bool("rescale_betas_zero_snr"));
    config.unwrap_or(false) || checkpoint.get("ztsnr").is_some()
}
