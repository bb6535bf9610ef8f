//! The UNet as a sampler sees it.

use super::{Conditioning, Latents, Pooled};
use crate::Error;
use crate::samplers::{Denoiser, Prediction, SampleError};
use crate::schedule::Level;
use crate::unet::{Condition, UNet, added_vector};
use latent_tensor::{Device, Tensor, ops};

/// Predicts the clean latents of a batch under guidance.
pub(super) struct UNetDenoiser<'a> {
    unet: &'a UNet,
    /// The positive half after the negative one, or alone without guidance.
    condition: Condition,
    guidance: Option<f32>,
    prediction: Prediction,
    pictures: usize,
    channels: usize,
    height: usize,
    width: usize,
}

impl<'a> UNetDenoiser<'a> {
    /// `sizes` are those of the negative half and of the positive one.
    pub(super) fn new(
        unet: &'a UNet,
        latents: &Latents,
        conditioning: &Conditioning,
        guidance: f64,
        prediction: Prediction,
        sizes: [[f32; 6]; 2],
    ) -> Result<UNetDenoiser<'a>, Error> {
        let guidance = (guidance > 1.0).then_some(guidance as f32);
        let &Latents { pictures, channels, height, width, .. } = latents;
        // The negative half first; without guidance the positive one alone.
        let from = usize::from(guidance.is_none());
        let text = repeat(&[&conditioning.negative, &conditioning.positive][from..], pictures)?;
        let added = match &conditioning.pooled {
            Some(Pooled { positive, negative }) => {
                let pooled = repeat(&[negative, positive][from..], pictures)?;
                let sizes: Vec<f32> = sizes[from..].iter().flat_map(|six| six.repeat(pictures)).collect();
                Some(added_vector(&pooled, &sizes)?)
            }
            None => None,
        };
        let condition = unet.condition(&text, added.as_ref())?;
        Ok(UNetDenoiser { unet, condition, guidance, prediction, pictures, channels, height, width })
    }
}

/// Concatenates tensors `[1 or n, ...]`, each repeated to `n` items.
fn repeat(halves: &[&Tensor], n: usize) -> Result<Tensor, Error> {
    let mut values = Vec::new();
    for half in halves {
        let items = half.dims()[0];
        if items != 1 && items != n {
            let reason = format!("{items} prompts for {n} pictures; one for all or one for each can be");
            return Err(Error::Setting { name: "prompt", reason });
        }
        for _ in 0..n / items {
            values.extend_from_slice(half.f32s()?);
        }
    }
    let mut dims = halves[0].dims().to_vec();
    dims[0] = halves.len() * n;
    Ok(Tensor::from_f32(&dims, &values)?)
}

impl UNetDenoiser<'_> {
    /// The network's output under guidance, for its input `[pictures, channels, height, width]`.
    fn predict(&self, input: &[f32], timestep: f64) -> Result<Vec<f32>, Error> {
        let copies = if self.guidance.is_some() { 2 } else { 1 };
        let latents = Latents {
            values: input.repeat(copies),
            pictures: copies * self.pictures,
            channels: self.channels,
            height: self.height,
            width: self.width,
        };
        let batch = latents.channels_last(0..latents.pictures)?;
        let timesteps = vec![timestep as f32; latents.pictures];
        let output = self.unet.forward(&batch, &timesteps, &self.condition)?;
        let output = match self.guidance {
            Some(scale) => ops::guidance(&output, scale)?,
            None => output,
        };
        channels_first(&output.to(&Device::Cpu)?)
    }
}

impl Denoiser for UNetDenoiser<'_> {
    /// `x` holds `[pictures, channels, height, width]`.
    fn denoise(&mut self, x: &[f32], level: Level) -> Result<Vec<f32>, SampleError> {
        let input = Prediction::network_input(x, level.sigma);
        let mut output = self.predict(&input, level.timestep).map_err(SampleError::model)?;
        self.prediction.to_denoised(x, &mut output, level.sigma);
        Ok(output)
    }
}

/// `[n, height, width, channels]` to `[n, channels, height, width]`, flat.
fn channels_first(x: &Tensor) -> Result<Vec<f32>, Error> {
    let &[_, height, width, channels] = x.dims() else { unreachable!("the UNet returns pictures") };
    let area = height * width;
    let mut out = vec![0.0; x.f32s()?.len()];
    for (from, to) in x.f32s()?.chunks_exact(area * channels).zip(out.chunks_exact_mut(area * channels)) {
        for (pixel, values) in from.chunks_exact(channels).enumerate() {
            for (channel, value) in values.iter().enumerate() {
                to[channel * area + pixel] = *value;
            }
        }
    }
    Ok(out)
}
