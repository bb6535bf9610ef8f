//! The UNet as a [`DiffusionNetwork`], with ControlNets and with the cache of its coarse levels.

use super::{
    BatchInputs, ConditionedNetwork, DiffusionNetwork, PreparedControl, PreparedNetwork, StepPosition,
};
use crate::Error;
use crate::blocks::BlockCount;
use crate::controlnet::ControlNet;
use crate::unet::{Condition, DeepCache, DeepFeatures, UNet, UNetAdditions, added_vector};
use latent_tensor::{Device, Tensor, ops};
use std::sync::Arc;

impl DiffusionNetwork for UNet {
    fn takes_guidance(&self) -> bool {
        UNet::takes_guidance(self)
    }

    fn condition(self: Arc<Self>, inputs: &BatchInputs<'_>) -> Result<Box<dyn ConditionedNetwork>, Error> {
        let BatchInputs { text, pooled, sizes, .. } = inputs;
        let batch = text.dims()[0];
        let added = pooled.as_ref().map(|pooled| added_vector(pooled, sizes)).transpose()?;
        let mut condition = UNet::condition(&self, text, added.as_ref())?;
        self.set_guidance(&mut condition, &vec![inputs.guidance; batch])?;
        condition.set_token_merging(inputs.token_merging);
        condition.set_perturbed(inputs.is_perturbed);
        for prompt in inputs.image_prompts {
            let tokens = prompt.tokens(inputs.sees_image_prompts)?;
            let keys_values = prompt.adapter.keys_values(&tokens)?;
            self.add_image_prompt(&mut condition, keys_values, prompt.strength as f32)?;
        }
        let spans = inputs.image_prompts.iter().map(|prompt| (prompt.strength, prompt.span)).collect();
        let device = self.device().clone();
        let control = |control: &PreparedControl| {
            ActiveControl::new(control, (text, added.as_ref()), inputs.token_merging, &device)
        };
        let controls = inputs.controls.iter().map(control).collect::<Result<_, Error>>()?;
        for control in inputs.controls {
            if let PreparedNetwork::Lllite(net, embeddings) = &control.network {
                let blocks = net.blocks(embeddings, batch)?;
                self.add_lllite(&mut condition, blocks, control.strength as f32)?;
            }
        }
        Ok(Box::new(ConditionedUNet {
            unet: self,
            condition,
            controls,
            image_prompts: spans,
            extra_channels: inputs.extra_channels.clone(),
            cache_interval: inputs.cache_interval,
            cached: None,
        }))
    }
}

/// A UNet with all that steers one batch.
struct ConditionedUNet {
    unet: Arc<UNet>,
    condition: Condition,
    controls: Vec<ActiveControl>,
    /// How strongly and when each image prompt of the condition acts.
    image_prompts: Vec<(f64, [f64; 2])>,
    extra_channels: Option<Tensor>,
    cache_interval: usize,
    cached: Option<CachedLevels>,
}

/// What the last whole evaluation left of the coarse levels.
struct CachedLevels {
    deep: DeepFeatures,
    step: usize,
    /// Which ControlNets and image prompts acted.
    acting: Vec<bool>,
}

impl ConditionedUNet {
    /// What ControlNets and T2I-Adapters add in this step to the UNet, for latents without extra channels.
    fn additions(
        &self,
        x: &Tensor,
        timesteps: &[f32],
        acting: &[bool],
        count: &mut BlockCount<'_>,
    ) -> Result<UNetAdditions, Error> {
        let mut sum = UNetAdditions::default();
        for (control, _) in self.controls.iter().zip(acting).filter(|(_, acts)| **acts) {
            let own = control.additions(x, timesteps, count)?;
            sum.residuals = match (sum.residuals, own.residuals) {
                (Some(sum), Some(own)) => Some(sum.plus(&own)?),
                (sum, own) => sum.or(own),
            };
            sum.features = match sum.features.is_empty() {
                true => own.features,
                false => added(sum.features, &own.features)?,
            };
        }
        Ok(sum)
    }

    /// Which ControlNets act in a step, and then which image prompts.
    fn acting(&self, at: StepPosition) -> Vec<bool> {
        let controls = self.controls.iter().map(|control| control.prepared.acts(at));
        let prompts = self.image_prompts.iter().map(|(strength, span)| super::acts(*strength, *span, at));
        controls.chain(prompts).collect()
    }

    /// The coarse levels of an earlier step, where a step takes them.
    fn reused(&self, at: StepPosition, acting: &[bool]) -> Option<&CachedLevels> {
        let (step, interval) = (at.step, self.cache_interval);
        let is_kept = |cached: &&CachedLevels| step - cached.step < interval && cached.acting == acting;
        self.cached.as_ref().filter(|_| !step.is_multiple_of(interval)).filter(is_kept)
    }
}

impl ConditionedNetwork for ConditionedUNet {
    /// The whole UNet is computed in every `cache_interval`th step, whenever the cached levels are that many steps old, and
    /// when other ControlNets act than when they were cached.
    fn predict(
        &mut self,
        x: &Tensor,
        timesteps: &[f32],
        at: StepPosition,
        count: &mut BlockCount<'_>,
    ) -> Result<Tensor, Error> {
        let acting = self.acting(at);
        self.condition.set_acting(&acting[self.controls.len()..]);
        let controls = self.controls.iter().zip(&acting);
        let lllites = controls.filter(|(control, _)| matches!(control.network, ActiveNetwork::Lllite));
        self.condition.set_lllites_acting(lllites.map(|(_, acts)| *acts));
        let input = match &self.extra_channels {
            Some(extra) => ops::concat_channels(x, extra)?,
            None => x.clone(),
        };
        if let Some(cached) = self.reused(at, &acting) {
            let cache = (UNetAdditions::default(), DeepCache::Reuse(&cached.deep));
            return self.unet.forward_counted(&input, timesteps, &self.condition, cache, count);
        }
        // Not in memory while the next ones are computed.
        self.cached = None;
        let additions = self.additions(x, timesteps, &acting, count)?;
        if self.cache_interval == 1 {
            let cache = (additions, DeepCache::Off);
            return self.unet.forward_counted(&input, timesteps, &self.condition, cache, count);
        }
        let mut deep = None;
        let cache = (additions, DeepCache::Keep(&mut deep));
        let output = self.unet.forward_counted(&input, timesteps, &self.condition, cache, count)?;
        self.cached = deep.map(|deep| CachedLevels { deep, step: at.step, acting });
        Ok(output)
    }

    fn blocks(&self, at: StepPosition) -> usize {
        let acting = self.acting(at);
        if self.reused(at, &acting).is_some() {
            return self.unet.finest_blocks();
        }
        let controls = self.controls.iter().zip(acting).filter(|(_, acts)| *acts);
        self.unet.blocks() + controls.map(|(control, _)| control.blocks()).sum::<usize>()
    }
}

/// The sums of two lists; what one has beyond the other stays.
fn added(sum: Vec<Tensor>, more: &[Tensor]) -> Result<Vec<Tensor>, Error> {
    let pairs = sum.into_iter().enumerate();
    let one = |(i, x): (usize, Tensor)| match more.get(i) {
        Some(more) => Ok(ops::add(x, more)?),
        None => Ok(x),
    };
    pairs.map(one).collect()
}

/// A ControlNet or what steers as one, with all that is the same in every step.
struct ActiveControl {
    prepared: PreparedControl,
    network: ActiveNetwork,
}

enum ActiveNetwork {
    /// With the embedded image, once for each of the batch, on the network's device.
    ControlNet { net: Arc<ControlNet>, hint: Tensor, condition: Box<Condition> },
    /// It is a part of the UNet's condition.
    Lllite,
    /// Features once for each of the batch, on the UNet's device.
    T2iAdapter(Vec<Tensor>),
}

impl ActiveControl {
    fn new(
        prepared: &PreparedControl,
        (text, added): (&Tensor, Option<&Tensor>),
        token_merging: f64,
        device: &Device,
    ) -> Result<ActiveControl, Error> {
        let batch = text.dims()[0];
        let network = match &prepared.network {
            PreparedNetwork::ControlNet(net, hint) => {
                let mut condition = net.condition(text, added)?;
                condition.set_token_merging(token_merging);
                if let Some(kind) = prepared.control_type {
                    net.set_type(&mut condition, kind, batch)?;
                }
                let hint = repeated(hint, batch)?.to(net.device())?;
                let hint = net.typed_hint(hint, prepared.control_type)?;
                ActiveNetwork::ControlNet { net: net.clone(), hint, condition: Box::new(condition) }
            }
            PreparedNetwork::Lllite(..) => ActiveNetwork::Lllite,
            PreparedNetwork::T2iAdapter(features) => {
                let strength = prepared.strength as f32;
                let feature = |feature| Ok(ops::scale(repeated(feature, batch)?, strength)?.to(device)?);
                ActiveNetwork::T2iAdapter(features.iter().map(feature).collect::<Result<_, Error>>()?)
            }
        };
        Ok(ActiveControl { prepared: prepared.clone(), network })
    }

    fn additions(
        &self,
        x: &Tensor,
        timesteps: &[f32],
        count: &mut BlockCount<'_>,
    ) -> Result<UNetAdditions, Error> {
        let strength = self.prepared.strength as f32;
        match &self.network {
            ActiveNetwork::ControlNet { net, hint, condition } => {
                let residuals = net.forward_counted((x, timesteps), hint, condition, strength, count)?;
                Ok(UNetAdditions { residuals: Some(residuals), features: Vec::new() })
            }
            ActiveNetwork::Lllite => Ok(UNetAdditions::default()),
            ActiveNetwork::T2iAdapter(features) => {
                Ok(UNetAdditions { residuals: None, features: features.clone() })
            }
        }
    }

    /// Number of blocks as [`BlockCount`] counts them.
    fn blocks(&self) -> usize {
        match &self.network {
            ActiveNetwork::ControlNet { net, .. } => net.blocks(),
            ActiveNetwork::Lllite | ActiveNetwork::T2iAdapter(_) => 0,
        }
    }
}

/// A tensor of one image for each of a batch.
fn repeated(x: &Tensor, batch: usize) -> Result<Tensor, Error> {
    let mut dims = x.dims().to_vec();
    dims[0] = batch;
    Ok(Tensor::from_f32(&dims, &x.f32s()?.repeat(batch))?)
}
