//! What the shapes of tensors say of an upscaler.

use super::RGB;
use latent_loader::Weights;

/// Outputs and inputs of a 3x3 convolution, or why it is not one.
pub(super) fn conv_shape(weights: &Weights, name: &str) -> Result<[usize; 2], String> {
    match weights.shape(name) {
        Some(&[outputs, inputs, 3, 3]) => Ok([outputs, inputs]),
        Some(shape) => Err(format!("its {name} has the shape {shape:?}, which is not a 3x3 convolution")),
        None => Err(format!("it has no {name}")),
    }
}

/// Maximum factor of one step.
const MAX_SHUFFLED_SCALE: usize = 16;

/// The factor of a network whose last convolution makes so many channels: the colours of all pixels that each becomes.
pub(super) fn shuffled_scale(channels: usize) -> Result<usize, String> {
    (1..=MAX_SHUFFLED_SCALE)
        .find(|scale| RGB * scale * scale == channels)
        .ok_or_else(|| format!("its last convolution makes {channels} channels, which are not whole pixels"))
}
