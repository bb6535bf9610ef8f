//! The UNet as a sampler sees it.

use super::control::{Steering, Told};
use super::guidance::Guidance;
use super::start::Beside;
use super::{Conditioning, Latents, Pooled, Settings};
use crate::Error;
use crate::samplers::{Denoiser, Prediction, SampleError};
use crate::schedule::Level;
use crate::unet::{Condition, UNet, added_vector};
use latent_tensor::{Tensor, ops};
use std::sync::Arc;

/// Predicts the clean latents of a batch under guidance.
pub(super) struct UNetDenoiser {
    unet: Arc<UNet>,
    /// What each copy of the batch is told, one after the other.
    condition: Condition,
    /// The same, as ControlNets are told it: the states of the text and the added vector.
    told: (Tensor, Option<Tensor>),
    steering: Option<Told>,
    guidance: Guidance,
    /// What the UNet takes beside the latents of all copies, channels last.
    beside: Option<Tensor>,
    prediction: Prediction,
    pictures: usize,
    channels: usize,
    height: usize,
    width: usize,
}

impl UNetDenoiser {
    /// For latents of the shape of `latents`, whose values do not count. `sizes` are what SDXL is told of the picture, with
    /// the negative prompt and with the prompt.
    pub(super) fn new(
        (unet, prediction): (Arc<UNet>, Prediction),
        latents: &Latents,
        beside: Option<&Beside>,
        conditioning: &Conditioning,
        settings: &Settings,
        sizes: &[Vec<f32>; 2],
    ) -> Result<UNetDenoiser, Error> {
        let guidance = Guidance::new(&unet, settings, beside.and_then(|beside| beside.guidance));
        let &Latents { pictures, channels, height, width, .. } = latents;
        let copies = guidance.prompted().iter();
        let pick =
            |negative, positive| copies.clone().map(|told| if *told { positive } else { negative }).collect();
        let text: Vec<&Tensor> = pick(&conditioning.negative, &conditioning.positive);
        let text = repeat(&text, pictures)?;
        let added = match &conditioning.pooled {
            Some(Pooled { positive, negative }) => {
                let pooled = repeat(&pick(negative, positive), pictures)?;
                let sizes: Vec<f32> =
                    copies.clone().flat_map(|told| sizes[usize::from(*told)].repeat(pictures)).collect();
                Some(added_vector(&pooled, &sizes)?)
            }
            None => None,
        };
        let beside = beside.map(|beside| guidance.beside(&beside.latents)).transpose()?;
        let mut condition = unet.condition(&text, added.as_ref())?;
        let told = vec![settings.guidance as f32; guidance.prompted().len() * pictures];
        unet.tell_guidance(&mut condition, &told)?;
        let (told, steering) = ((text, added), None);
        Ok(UNetDenoiser {
            unet,
            condition,
            told,
            steering,
            guidance,
            beside,
            prediction,
            pictures,
            channels,
            height,
            width,
        })
    }

    /// With ControlNets.
    pub(super) fn steered(mut self, steering: Steering) -> Result<UNetDenoiser, Error> {
        self.steering = Some(steering.told(&self.told.0, self.told.1.as_ref())?);
        Ok(self)
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

impl UNetDenoiser {
    /// The network's output under guidance, for its input `[pictures, channels, height, width]`.
    fn predict(&self, input: &[f32], timestep: f64) -> Result<Vec<f32>, Error> {
        let copies = self.guidance.prompted().len();
        let latents = Latents {
            values: input.repeat(copies),
            pictures: copies * self.pictures,
            channels: self.channels,
            height: self.height,
            width: self.width,
        };
        let mut batch = latents.channels_last(0..latents.pictures)?;
        let timesteps = vec![timestep as f32; latents.pictures];
        let steering = self.steering.as_ref();
        let residuals =
            steering.map(|steering| steering.residuals(&batch, &timesteps)).transpose()?.flatten();
        if let Some(beside) = &self.beside {
            batch = ops::concat_channels(&batch, beside)?;
        }
        let output = self.unet.forward_with(&batch, &timesteps, &self.condition, residuals)?;
        Ok(Latents::from_channels_last(&self.guidance.join(&output)?)?.values)
    }
}

impl Denoiser for UNetDenoiser {
    /// `x` holds `[pictures, channels, height, width]`.
    fn denoise(&mut self, x: &[f32], level: Level) -> Result<Vec<f32>, SampleError> {
        let input = Prediction::network_input(x, level.sigma);
        let mut output = self.predict(&input, level.timestep).map_err(SampleError::model)?;
        self.prediction.to_denoised(x, &mut output, level.sigma);
        Ok(output)
    }
}
