//! The web UI's "DDIM" and ComfyUI's "ddim_uniform": levels of the training's table, counted from the bottom, whole
//! intervals apart, as DDIM's paper has them (Song, Meng, Ermon 2021, appendix D.2). Where the interval does not divide the
//! table, those programs take more steps than were asked for; here it is the lowest ones, and as many as were asked for.

use crate::schedule::NoiseModel;

/// Time step 1 and those whole intervals above it.
pub(in crate::schedule) fn ddim(noise: &NoiseModel, steps: usize) -> Vec<f64> {
    let table = noise.sigmas();
    let stride = table.len() / steps;
    (0..steps).rev().map(|i| table[(1 + i * stride).min(table.len() - 1)]).collect()
}
