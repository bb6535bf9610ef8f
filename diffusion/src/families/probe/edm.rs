//! Models that were trained with the noise levels of EDM: CosXL and Playground 2.5.
//!
//! The marks are ComfyUI's tensors at the top of a file, `edm_vpred.sigma_max` (CosXL) or `edm_mean` with `edm_std` (Playground),
//! or the class of a folder's scheduler.

use crate::Error;
use crate::schedule::EdmTraining;
use crate::vae::LatentStatistics;
use latent_loader::Checkpoint;

/// The lowest level of all of them.
const SIGMA_MIN: f64 = 0.002;
/// CosXL's highest level, where its mark is empty, and the deviation of its data.
const COSXL_SIGMA_MAX: f64 = 120.0;
const COSXL_SIGMA_DATA: f64 = 1.0;
/// The highest level of Playground 2.5 and of diffusers' schedulers, and the deviation of their data.
const SIGMA_MAX: f64 = 80.0;
const SIGMA_DATA: f64 = 0.5;
/// Statistics of Playground 2.5's latents, and the factor after them.
const PLAYGROUND_MEAN: [f32; 4] = [-1.6574, 1.886, -1.383, 2.5155];
const PLAYGROUND_DEVIATION: [f32; 4] = [8.4927, 5.9022, 6.5498, 5.2299];
const PLAYGROUND_SCALE: f32 = 0.5;

const COSXL_MAX: &str = "edm_vpred.sigma_max";
const COSXL_MIN: &str = "edm_vpred.sigma_min";
const PLAYGROUND: [&str; 2] = ["edm_mean", "edm_std"];

/// Maximum number of values that are read of a mark.
const MAX_VALUES: usize = 64;

/// Whether a checkpoint was trained with the noise levels of EDM.
pub(super) fn is_edm(checkpoint: &Checkpoint) -> bool {
    has_statistics(checkpoint) || checkpoint.get(COSXL_MAX).is_some() || is_scheduler(checkpoint)
}

fn has_statistics(checkpoint: &Checkpoint) -> bool {
    PLAYGROUND.iter().all(|name| checkpoint.get(name).is_some())
}

/// Whether the class of a folder's scheduler is one of EDM.
fn is_scheduler(checkpoint: &Checkpoint) -> bool {
    let class = checkpoint.config("scheduler").and_then(|config| config.get_str("_class_name"));
    class.is_some_and(|class| class.starts_with("EDM"))
}

/// The values of a small tensor; none if it is empty or not there.
fn values(checkpoint: &Checkpoint, name: &str) -> Vec<f32> {
    let is_small = checkpoint.get(name).is_some_and(|tensor| tensor.elements() <= MAX_VALUES);
    let read = || checkpoint.read(name).ok()?.to_f32().ok();
    is_small.then(read).flatten().map_or(Vec::new(), |values| values.to_vec())
}

/// The noise levels of a checkpoint that was trained with those of EDM.
///
/// # Errors
/// Levels that are not a range.
pub(crate) fn training(checkpoint: &Checkpoint) -> Result<Option<EdmTraining>, Error> {
    let level = |name: &str| values(checkpoint, name).first().map(|value| f64::from(*value));
    let (range, data) = if has_statistics(checkpoint) {
        ([SIGMA_MIN, SIGMA_MAX], SIGMA_DATA)
    } else if checkpoint.get(COSXL_MAX).is_some() {
        let max = level(COSXL_MAX).unwrap_or(COSXL_SIGMA_MAX);
        ([level(COSXL_MIN).unwrap_or(SIGMA_MIN), max], COSXL_SIGMA_DATA)
    } else if is_scheduler(checkpoint) {
        let number = |key: &str, usual: f64| {
            checkpoint.config("scheduler").and_then(|config| config.get_f64(key)).unwrap_or(usual)
        };
        let range = [number("sigma_min", SIGMA_MIN), number("sigma_max", SIGMA_MAX)];
        (range, number("sigma_data", SIGMA_DATA))
    } else {
        return Ok(None);
    };
    let training = EdmTraining::new(range, data).map_err(|error| Error::Unsupported {
        file: checkpoint.label().to_owned(),
        reason: format!("is marked as a model of EDM with {error}"),
    })?;
    Ok(Some(training))
}

/// The statistics of the latents of a single file, and the factor after them.
pub(crate) fn statistics(checkpoint: &Checkpoint, channels: usize) -> Option<(LatentStatistics, f32)> {
    if !has_statistics(checkpoint) {
        return None;
    }
    let [mean, deviation] = PLAYGROUND.map(|name| values(checkpoint, name));
    let own = LatentStatistics::checked(mean, deviation, channels);
    let published =
        || LatentStatistics::checked(PLAYGROUND_MEAN.to_vec(), PLAYGROUND_DEVIATION.to_vec(), channels);
    Some((own.or_else(published)?, PLAYGROUND_SCALE))
}
