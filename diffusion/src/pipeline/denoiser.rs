//! The UNet as a sampler sees it.

use super::control::{Steering, Told};
use super::guidance::Guidance;
use super::now::Now;
use super::start::Beside;
use super::{Conditioning, Latents, Pooled, Settings};
use crate::Error;
use crate::samplers::{Denoiser, Prediction, SampleError};
use crate::schedule::Level;
use crate::unet::{Condition, DeepFeatures, UNet, added_vector};
use latent_tensor::{Tensor, ops};
use std::rc::Rc;
use std::sync::Arc;

/// Predicts the clean latents of a batch under guidance.
pub(super) struct UNetDenoiser {
    unet: Arc<UNet>,
    prediction: Prediction,
    /// Room for what it takes.
    latents: Latents,
    guided: Copies,
    /// What the UNet sees after the last step with guidance, where there is such a step.
    unguided: Option<Copies>,
    /// As [`Settings::guidance_end`].
    guidance_end: f64,
    cache: Cache,
    now: Rc<Now>,
}

/// A batch as the UNet sees it: as often as its guidance needs.
struct Copies {
    guidance: Guidance,
    /// What each copy of the batch is told, one after the other.
    condition: Condition,
    /// The same, as ControlNets are told it: the states of the text and the added vector.
    told: (Tensor, Option<Tensor>),
    steering: Option<Told>,
    /// What the UNet takes beside the latents of all copies, channels last.
    beside: Option<Tensor>,
}

impl UNetDenoiser {
    /// For latents of the shape of `latents`, whose values do not count, and what the UNet takes beside them. `sizes` are
    /// what SDXL is told of the picture, with the negative prompt and with the prompt. `now` tells which step it is.
    pub(super) fn new(
        (unet, prediction): (Arc<UNet>, Prediction),
        (latents, beside): (&Latents, Option<&Beside>),
        conditioning: &Conditioning,
        settings: &Settings,
        sizes: &[Vec<f32>; 2],
        now: &Rc<Now>,
    ) -> Result<UNetDenoiser, Error> {
        let guidance = Guidance::new(&unet, settings, beside.and_then(|beside| beside.guidance));
        let pictures = latents.pictures;
        let copies = |guidance: Guidance| -> Result<Copies, Error> {
            let copies = guidance.prompted().iter();
            let pick = |negative, positive| {
                copies.clone().map(|told| if *told { positive } else { negative }).collect()
            };
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
            Ok(Copies { guidance, condition, told: (text, added), steering: None, beside })
        };
        let ends = settings.guidance_end < 1.0 && !matches!(guidance, Guidance::None);
        let (guided, unguided) = (copies(guidance)?, ends.then(|| copies(Guidance::None)).transpose()?);
        Ok(UNetDenoiser {
            unet,
            prediction,
            latents: Latents { values: Vec::new(), ..*latents },
            guided,
            unguided,
            guidance_end: settings.guidance_end,
            cache: Cache::new(settings.cache_interval),
            now: now.clone(),
        })
    }

    /// With ControlNets.
    pub(super) fn steered(mut self, steering: &Steering) -> Result<UNetDenoiser, Error> {
        for copies in [Some(&mut self.guided), self.unguided.as_mut()].into_iter().flatten() {
            copies.steering = Some(steering.told(&copies.told.0, copies.told.1.as_ref())?);
        }
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
    fn predict(&mut self, input: &[f32], timestep: f64) -> Result<Vec<f32>, Error> {
        let unguided = self.unguided.as_ref().filter(|_| self.now.part() >= self.guidance_end);
        let seen = unguided.unwrap_or(&self.guided);
        let copies = seen.guidance.prompted().len();
        let latents = Latents {
            values: input.repeat(copies),
            pictures: copies * self.latents.pictures,
            ..self.latents
        };
        let batch = latents.channels_last(0..latents.pictures)?;
        let timesteps = vec![timestep as f32; latents.pictures];
        let output = self.cache.predict(&self.unet, seen, &batch, &timesteps, self.now.step.get())?;
        Ok(Latents::from_channels_last(&seen.guidance.join(&output)?)?.values)
    }
}

impl Copies {
    /// The UNet's input: the latents, and what lies beside them.
    fn input(&self, batch: &Tensor) -> Result<Tensor, Error> {
        match &self.beside {
            Some(beside) => Ok(ops::concat_channels(batch, beside)?),
            None => Ok(batch.clone()),
        }
    }
}

/// The UNet's coarse levels, computed in some steps and taken over in the others.
struct Cache {
    /// As [`Settings::cache_interval`].
    interval: usize,
    /// What the last deep step left, of how many copies of the batch, under which ControlNets.
    kept: Option<(DeepFeatures, usize, Vec<bool>)>,
}

impl Cache {
    fn new(interval: usize) -> Cache {
        Cache { interval, kept: None }
    }

    /// The UNet's output in a step. It goes all the way in every `interval`th, and where another batch or other ControlNets
    /// than in the last deep step are seen.
    fn predict(
        &mut self,
        unet: &UNet,
        seen: &Copies,
        batch: &Tensor,
        timesteps: &[f32],
        step: usize,
    ) -> Result<Tensor, Error> {
        let acting = seen.steering.as_ref().map_or_else(Vec::new, Told::acting);
        let copies = timesteps.len();
        let is_like = |(_, of, by): &&(DeepFeatures, usize, Vec<bool>)| *of == copies && *by == acting;
        if !step.is_multiple_of(self.interval)
            && let Some((deep, ..)) = self.kept.as_ref().filter(is_like)
        {
            return unet.forward_shallow(&seen.input(batch)?, timesteps, &seen.condition, deep);
        }
        // Not in memory while the next ones are computed.
        self.kept = None;
        let steering = seen.steering.as_ref();
        let residuals = steering.map(|steering| steering.residuals(batch, timesteps)).transpose()?.flatten();
        let input = seen.input(batch)?;
        if self.interval == 1 {
            return unet.forward_with(&input, timesteps, &seen.condition, residuals);
        }
        let (output, deep) = unet.forward_deep(&input, timesteps, &seen.condition, residuals)?;
        self.kept = Some((deep, copies, acting));
        Ok(output)
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
