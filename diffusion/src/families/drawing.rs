//! Models of SD 2.x and SDXL, and what their UNets predict.

use super::{Family, Model, Parts};
use crate::Error;
use crate::samplers::Prediction;
use latent_loader::{Checkpoint, Weights};
use std::sync::Arc;

/// A bias of SD 2.x whose values are spread wider in the published models that predict the velocity.
const TELLING_BIAS: &str = "unet.up_blocks.3.attentions.2.transformer_blocks.0.norm1.bias";
/// Their standard deviation is above this.
const V_DEVIATION: f64 = 0.09;
/// Channels of a UNet that takes the latent alone.
const LATENT_CHANNELS: usize = 4;

/// SD 2.x.
pub(super) fn sd2(checkpoint: &Arc<Checkpoint>) -> Result<Model, Error> {
    let mut model = whole(checkpoint)?;
    model.prediction = match named(checkpoint) {
        Some(prediction) => prediction,
        None if is_spread(&model.weights)? => Prediction::V,
        None => Prediction::Epsilon,
    };
    Ok(model)
}

/// SDXL, its Turbo and others of its sizes.
pub(super) fn sdxl(checkpoint: &Arc<Checkpoint>) -> Result<Model, Error> {
    if let Some(mark) = ["edm_mean", "edm_vpred.sigma_max"].iter().find(|mark| checkpoint.get(mark).is_some())
    {
        let reason =
            format!("holds {mark}: it was trained with the noise levels of EDM, which cannot draw yet");
        return Err(Error::Unsupported { file: checkpoint.label().to_owned(), reason });
    }
    let mut model = whole(checkpoint)?;
    let is_marked = checkpoint.get("v_pred").is_some();
    let unnamed = if is_marked { Prediction::V } else { Prediction::Epsilon };
    model.prediction = named(checkpoint).unwrap_or(unnamed);
    model.zero_negative = true;
    Ok(model)
}

/// A model of all its parts, whose UNet takes the latent alone.
fn whole(checkpoint: &Arc<Checkpoint>) -> Result<Model, Error> {
    let parts = Parts::detect(checkpoint)?;
    let (Family { label, .. }, channels) = (parts.family, parts.unet.in_channels);
    if channels != LATENT_CHANNELS {
        let reason = format!(
            "is a {label} checkpoint whose UNet takes {channels} channels, which cannot draw yet; those of \
             {LATENT_CHANNELS} can"
        );
        return Err(Error::Unsupported { file: checkpoint.label().to_owned(), reason });
    }
    Ok(Model::of_parts(parts.with_text()?, checkpoint))
}

/// The prediction that a folder's scheduler or a file's metadata names.
fn named(checkpoint: &Checkpoint) -> Option<Prediction> {
    let metadata = checkpoint.metadata().get("modelspec.prediction_type").map(String::as_str);
    let scheduler = || checkpoint.config("scheduler")?.get("prediction_type")?.as_str();
    Prediction::parse(metadata.or_else(scheduler)?).ok()
}

fn is_spread(weights: &Weights) -> Result<bool, Error> {
    if !weights.contains(TELLING_BIAS) {
        return Ok(false);
    }
    let values = weights.get(TELLING_BIAS, &[weights.dim(TELLING_BIAS, 0)?])?.to_f32()?;
    let n = values.len().max(1) as f64;
    let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / n;
    let variance = values.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / n;
    Ok(variance.sqrt() > V_DEVIATION)
}
