//! What a network predicts.
//!
//! The evidence, in order: the configuration of a folder's scheduler, the metadata, marker tensors, the spread of one small
//! tensor (SD 2.x), the file's name, and what is usual in the family.

use super::evidence::Evidence;
use super::file_words;
use super::index::{TensorIndex, UNET};
use super::variant::ModelVariant;
use crate::families::family::Family;
use crate::samplers::Prediction;
use latent_loader::{Checkpoint, TensorInfo};

/// What a network predicts, and by what that was found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DetectedPrediction {
    /// What it predicts.
    pub prediction: Prediction,
    /// By what that was found out.
    pub evidence: Evidence,
}

/// Tensors, often empty, that mark models which predict the velocity.
const VELOCITY_MARKERS: [&str; 2] = ["v_pred", "edm_vpred.sigma_max"];

/// Maximum values of a bias that are read: a file may claim any size.
const MAX_BIAS: usize = 1 << 16;

impl DetectedPrediction {
    /// What the UNet of a family predicts. One small tensor is read at most.
    pub(super) fn of(
        checkpoint: &Checkpoint,
        index: &TensorIndex,
        family: Option<&'static Family>,
        variant: Option<ModelVariant>,
    ) -> Option<DetectedPrediction> {
        let detected = |prediction, evidence| Some(DetectedPrediction { prediction, evidence });
        let config = checkpoint.config("scheduler").and_then(|c| c.get_str("prediction_type"));
        if let Some(prediction) = config.and_then(named) {
            return detected(prediction, Evidence::SchedulerConfig);
        }
        let metadata = |key| file_words::metadata(checkpoint, key);
        if let Some(prediction) = metadata("modelspec.prediction_type").and_then(|text| named(text)) {
            return detected(prediction, Evidence::Metadata);
        }
        if metadata("modelspec.architecture").is_some_and(|text| text.ends_with("768-v")) {
            return detected(Prediction::V, Evidence::Metadata);
        }
        if VELOCITY_MARKERS.iter().any(|name| checkpoint.get(name).is_some()) {
            return detected(Prediction::V, Evidence::MarkerTensor);
        }
        let family = family?;
        if let Some(rule) = &family.velocity_by_spread
            && index.dim(&format!("{UNET}conv_in.weight"), 1) == Some(family.latent_format.channels)
            && let Some(tensor) = index.get(&format!("{UNET}{}", rule.tensor))
            && let Some(deviation) = standard_deviation(checkpoint, tensor)
        {
            let is_velocity = deviation > rule.max_of_epsilon;
            let prediction = if is_velocity { Prediction::V } else { Prediction::Epsilon };
            return detected(prediction, Evidence::NormSpread);
        }
        let words = file_words::file_name(checkpoint);
        if words.windows(2).any(|pair| pair[0] == "v" && pair[1].starts_with("pred"))
            || words.iter().any(|word| word.contains("vpred"))
        {
            return detected(Prediction::V, Evidence::FileName);
        }
        let usual = match variant {
            Some(ModelVariant::X4Upscaler) => Prediction::V,
            _ => family.prediction,
        };
        detected(usual, Evidence::FamilyDefault)
    }
}

fn named(text: &str) -> Option<Prediction> {
    match text {
        "epsilon" | "eps" => Some(Prediction::Epsilon),
        "v" | "v_prediction" | "v-prediction" | "vpred" | "v_pred" => Some(Prediction::V),
        _ => None,
    }
}

/// The standard deviation of a small tensor's values.
fn standard_deviation(checkpoint: &Checkpoint, tensor: &TensorInfo) -> Option<f64> {
    if tensor.elements() > MAX_BIAS {
        return None;
    }
    let values = checkpoint.read(&tensor.name).ok()?.to_f32().ok()?;
    let count = values.len() as f64;
    let mean = values.iter().map(|x| f64::from(*x)).sum::<f64>() / count;
    let variance = values.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / count;
    Some(variance.sqrt())
}

/// Whether the noise schedule ends in pure noise (zero terminal signal-to-noise ratio).
pub(super) fn zero_terminal_snr(checkpoint: &Checkpoint) -> bool {
    let config = checkpoint.config("scheduler").and_then(|c| c.get_bool("rescale_betas_zero_snr"));
    config.unwrap_or(false) || checkpoint.get("ztsnr").is_some()
}
