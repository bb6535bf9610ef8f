//! ComfyUI's "simple": levels of the training's table, counted from the top.

use crate::schedule::NoiseModel;

/// The level at the top of each of `steps` parts of the table.
pub(in crate::schedule) fn simple(noise: &NoiseModel, steps: usize) -> Vec<f64> {
    let table = noise.sigmas();
    let stride = table.len() as f64 / steps as f64;
    (0..steps).map(|i| table[table.len() - 1 - (i as f64 * stride) as usize]).collect()
}
