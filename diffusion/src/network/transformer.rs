//! Diffusion transformers as [`DiffusionNetwork`]s.

use super::{BatchInputs, ConditionedNetwork, DiffusionNetwork, StepPosition};
use crate::blocks::BlockCount;
use crate::params::Params;
use crate::transformer::{
    DiffusionTransformer, Flux, Flux2, Sd3, TransformerCondition, TransformerConfig, TransformerInputs,
    ZImage,
};
use crate::{Error, Setting};
use latent_tensor::{Tensor, ops};
use std::sync::Arc;

impl<T: DiffusionTransformer + 'static> DiffusionNetwork for T {
    fn takes_guidance(&self) -> bool {
        DiffusionTransformer::takes_guidance(self)
    }

    fn condition(self: Arc<Self>, inputs: &BatchInputs<'_>) -> Result<Box<dyn ConditionedNetwork>, Error> {
        refuse_what_unets_have(inputs)?;
        let condition = DiffusionTransformer::condition(
            &*self,
            &TransformerInputs {
                text: &inputs.text,
                text_lengths: inputs.text_lengths,
                pooled: inputs.pooled.as_ref(),
                guidance: inputs.guidance,
                references: inputs.references,
                skipped_blocks: inputs.skipped_blocks,
            },
        )?;
        let extra_channels = inputs.extra_channels.clone();
        Ok(Box::new(ConditionedTransformer { network: self, condition, extra_channels }))
    }
}

impl TransformerConfig {
    /// Loads the network as a pipeline sees it ([`TransformerConfig::load`]).
    ///
    /// # Errors
    /// A tensor that is missing, mis-shaped or unreadable.
    pub fn load_network(&self, params: &Params<'_>) -> Result<Arc<dyn DiffusionNetwork>, Error> {
        Ok(match self {
            TransformerConfig::Sd3(config) => Arc::new(Sd3::load(params, config)?),
            TransformerConfig::Flux(config) => Arc::new(Flux::load(params, config)?),
            TransformerConfig::Flux2(config) => Arc::new(Flux2::load(params, config)?),
            TransformerConfig::ZImage(config) => Arc::new(ZImage::load(params, config)?),
        })
    }
}

/// Refuses what a UNet would follow and no transformer has.
fn refuse_what_unets_have(inputs: &BatchInputs<'_>) -> Result<(), Error> {
    let asked = [
        (!inputs.controls.is_empty(), Setting::ControlNet, "a ControlNet"),
        (!inputs.image_prompts.is_empty(), Setting::ImagePromptStrength, "an image prompt"),
        (inputs.cache_interval > 1, Setting::CacheInterval, "a cache of levels"),
        (inputs.token_merging > 0.0, Setting::TokenMerging, "merging of tokens"),
        (inputs.is_perturbed, Setting::PagScale, "perturbed-attention guidance"),
    ];
    match asked.into_iter().find(|(is_asked, ..)| *is_asked) {
        Some((_, setting, what)) => {
            let reason =
                format!("{what} is for models with a UNet, and this model has a transformer; leave it out");
            Err(Error::setting(setting, reason))
        }
        None => Ok(()),
    }
}

/// A transformer with all that steers one batch.
struct ConditionedTransformer<T> {
    network: Arc<T>,
    condition: TransformerCondition,
    extra_channels: Option<Tensor>,
}

impl<T: DiffusionTransformer> ConditionedNetwork for ConditionedTransformer<T> {
    fn predict(
        &mut self,
        x: &Tensor,
        timesteps: &[f32],
        _: StepPosition,
        count: &mut BlockCount<'_>,
    ) -> Result<Tensor, Error> {
        let input = match &self.extra_channels {
            Some(extra) => ops::concat_channels(x, extra)?,
            None => x.clone(),
        };
        self.network.forward_counted(&input, timesteps, &mut self.condition, count)
    }

    fn blocks(&self, _: StepPosition) -> usize {
        self.network.blocks(&self.condition)
    }
}
