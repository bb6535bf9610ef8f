//! The values of latents, in main memory, for stand-ins of networks.

use latent_diffusion::tensor::{Device, Tensor};

/// Latents of an image that is one row, on a device.
pub(super) fn latents(values: &[f32], device: &Device) -> Tensor {
    let x = Tensor::from_f32(&[1, 1, values.len(), 1], values).expect("there is memory for a golden");
    x.to(&device.in_f32()).expect("a golden fits a GPU")
}

pub(super) fn values(x: &Tensor) -> Vec<f32> {
    let x = x.to(&Device::Cpu).expect("latents can be read");
    x.f32s().expect("latents are `f32`").to_vec()
}

/// Values in the shape of `x` and on its device.
pub(super) fn like(x: &Tensor, values: &[f32]) -> Tensor {
    latents(values, &x.device())
}

/// The estimate under guidance of a scale.
pub(super) fn guided(positive: &Tensor, negative: &[f32], scale: f32) -> Tensor {
    let positives = values(positive);
    let guided: Vec<f32> = positives
        .iter()
        .zip(negative)
        .map(|(value, negative)| negative + scale * (value - negative))
        .collect();
    like(positive, &guided)
}
