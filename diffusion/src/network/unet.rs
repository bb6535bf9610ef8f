//! The UNet as a [`DiffusionNetwork`], with ControlNets and with the cache of its coarse levels.

use super::{BatchInputs, ConditionedNetwork, DiffusionNetwork, PreparedControl, StepPosition};
use crate::Error;
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
        let control = |control: &PreparedControl| ActiveControl::new(control, text, added.as_ref());
        let controls = inputs.controls.iter().map(control).collect::<Result<_, _>>()?;
        Ok(Box::new(ConditionedUNet {
            unet: self,
            condition,
            controls,
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
    extra_channels: Option<Tensor>,
    cache_interval: usize,
    cached: Option<CachedLevels>,
}

/// What the last whole evaluation left of the coarse levels.
struct CachedLevels {
    deep: DeepFeatures,
    step: usize,
    /// Which ControlNets acted.
    acting: Vec<bool>,
}

impl ConditionedUNet {
    /// What ControlNets add in this step to the UNet, for latents without extra channels; nothing where none acts.
    fn residuals(
        &self,
        x: &Tensor,
        timesteps: &[f32],
        acting: &[bool],
    ) -> Result<Option<ControlNetResiduals>, Error> {
        let mut sum: Option<ControlNetResiduals> = None;
        for (control, _) in self.controls.iter().zip(acting).filter(|(_, acts)| **acts) {
            let own = control.residuals(x, timesteps)?;
            sum = Some(match sum {
                Some(sum) => sum.plus(&own)?,
                None => own,
            });
        }
        Ok(sum)
    }
}

impl ConditionedNetwork for ConditionedUNet {
    /// The whole UNet is computed in every `cache_interval`th step, whenever the cached levels are that many steps old, and
    /// when other ControlNets act than when they were cached.
    fn predict(&mut self, x: &Tensor, timesteps: &[f32], at: StepPosition) -> Result<Tensor, Error> {
        let acting: Vec<bool> = self.controls.iter().map(|control| control.prepared.acts(at)).collect();
        let input = match &self.extra_channels {
            Some(extra) => ops::concat_channels(x, extra)?,
            None => x.clone(),
        };
        let (step, interval) = (at.step, self.cache_interval);
        if !step.is_multiple_of(interval)
            && let Some(cached) = &self.cached
            && step - cached.step < interval
            && cached.acting == acting
        {
            let cache = DeepCache::Reuse(&cached.deep);
            return self.unet.forward_with(&input, timesteps, &self.condition, None, cache);
        }
        // Not in memory while the next ones are computed.
        self.cached = None;
        let residuals = self.residuals(x, timesteps, &acting)?;
        if interval == 1 {
            return self.unet.forward_with(&input, timesteps, &self.condition, residuals, DeepCache::Off);
        }
        let mut deep = None;
        let cache = DeepCache::Keep(&mut deep);
        let output = self.unet.forward_with(&input, timesteps, &self.condition, residuals, cache)?;
        self.cached = deep.map(|deep| CachedLevels { deep, step, acting });
        Ok(output)
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
        Ok(ActiveControl {
            condition: net.condition(text, added)?,
            hint: hint.to(net.device())?,
            prepared: prepared.clone(),
        })
    }

    fn residuals(&self, x: &Tensor, timesteps: &[f32]) -> Result<ControlNetResiduals, Error> {
        let PreparedControl { net, strength, .. } = &self.prepared;
        net.forward(x, timesteps, &self.hint, &self.condition, *strength as f32)
    }
}
