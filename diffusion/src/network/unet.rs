//! The UNet as a [`DiffusionNetwork`], with ControlNets and with the cache of its coarse levels.

use super::{BatchInputs, ConditionedNetwork, DiffusionNetwork, PreparedControl, StepPosition};
use crate::Error;
use crate::blocks::BlockCount;
use crate::controlnet::{ControlNet, ControlNetResiduals};
use crate::unet::{Condition, DeepCache, DeepFeatures, UNet, added_vector};
use latent_tensor::{Tensor, ops};
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
        for prompt in inputs.image_prompts {
            let tokens = prompt.tokens(inputs.sees_image_prompts)?;
            self.add_image_prompt(&mut condition, &prompt.adapter, &tokens, prompt.strength as f32)?;
        }
        let spans = inputs.image_prompts.iter().map(|prompt| (prompt.strength, prompt.span)).collect();
        let control = |control: &PreparedControl| {
            let mut control = ActiveControl::new(control, text, added.as_ref())?;
            control.condition.set_token_merging(inputs.token_merging);
            Ok::<_, Error>(control)
        };
        let controls = inputs.controls.iter().map(control).collect::<Result<_, _>>()?;
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
    /// What ControlNets add in this step to the UNet, for latents without extra channels; nothing where none acts.
    fn residuals(
        &self,
        x: &Tensor,
        timesteps: &[f32],
        acting: &[bool],
        count: &mut BlockCount<'_>,
    ) -> Result<Option<ControlNetResiduals>, Error> {
        let mut sum: Option<ControlNetResiduals> = None;
        for (control, _) in self.controls.iter().zip(acting).filter(|(_, acts)| **acts) {
            let own = control.residuals(x, timesteps, count)?;
            sum = Some(match sum {
                Some(sum) => sum.plus(&own)?,
                None => own,
            });
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
        let input = match &self.extra_channels {
            Some(extra) => ops::concat_channels(x, extra)?,
            None => x.clone(),
        };
        if let Some(cached) = self.reused(at, &acting) {
            let cache = (None, DeepCache::Reuse(&cached.deep));
            return self.unet.forward_counted(&input, timesteps, &self.condition, cache, count);
        }
        // Not in memory while the next ones are computed.
        self.cached = None;
        let residuals = self.residuals(x, timesteps, &acting, count)?;
        if self.cache_interval == 1 {
            let cache = (residuals, DeepCache::Off);
            return self.unet.forward_counted(&input, timesteps, &self.condition, cache, count);
        }
        let mut deep = None;
        let cache = (residuals, DeepCache::Keep(&mut deep));
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
        self.unet.blocks() + controls.map(|(control, _)| control.prepared.net.blocks()).sum::<usize>()
    }
}

/// A ControlNet with all that is the same in every step.
struct ActiveControl {
    prepared: PreparedControl,
    /// Its embedded image, once for each of the batch, on the network's device.
    hint: Tensor,
    condition: Condition,
}

impl ActiveControl {
    fn new(
        prepared: &PreparedControl,
        text: &Tensor,
        added: Option<&Tensor>,
    ) -> Result<ActiveControl, Error> {
        let batch = text.dims()[0];
        let net: &ControlNet = &prepared.net;
        let mut dims = prepared.hint.dims().to_vec();
        dims[0] = batch;
        let hint = Tensor::from_f32(&dims, &prepared.hint.f32s()?.repeat(batch))?;
        let mut condition = net.condition(text, added)?;
        if let Some(kind) = prepared.control_type {
            net.set_type(&mut condition, kind, batch)?;
        }
        Ok(ActiveControl {
            condition,
            hint: hint.to(net.device())?,
            prepared: prepared.clone(),
        })
    }

    fn residuals(
        &self,
        x: &Tensor,
        timesteps: &[f32],
        count: &mut BlockCount<'_>,
    ) -> Result<ControlNetResiduals, Error> {
        let PreparedControl { net, strength, control_type, .. } = &self.prepared;
        let hint = net.typed_hint(x, &self.hint, *control_type)?;
        net.forward_counted((x, timesteps), &hint, &self.condition, *strength as f32, count)
    }
}
