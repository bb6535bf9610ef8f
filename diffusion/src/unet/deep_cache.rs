//! Steps that reuse most of the network from an earlier step (Ma et al., DeepCache: Accelerating Diffusion Models for Free,
//! 2024, section 3.2).
//!
//! From one step to the next the coarse levels of a UNet change little. A pass with [`DeepCache::Keep`] computes the whole
//! network and keeps what enters the finest up block; a pass with [`DeepCache::Reuse`] starts from that and computes the
//! finest level alone: the first convolution, the layers of its down block and those of its up block. The paper's fastest
//! branch keeps one layer of the up block only; docs/performance.md compares them.

use super::{Condition, ControlNetResiduals, UNet};
use crate::Error;
use crate::blocks::BlockCount;
use latent_tensor::{Tensor, ops};

/// Which hidden states a forward pass keeps or reuses.
#[derive(Debug, Default)]
pub enum DeepCache<'a> {
    /// Neither: the whole network is computed.
    #[default]
    Off,
    /// The whole network is computed, with the same bits, and what a later pass can reuse is written here.
    Keep(&'a mut Option<DeepFeatures>),
    /// The coarse levels are taken from an earlier pass of the same batch.
    Reuse(&'a DeepFeatures),
}

/// Hidden states of the coarse levels that later passes can reuse.
#[derive(Clone, Debug)]
pub struct DeepFeatures {
    /// Input of the finest up block, `[batch, height, width, channels]`.
    pub(super) features: Tensor,
    /// Residuals of ControlNets for the finest level; empty without ControlNets.
    pub(super) residuals: Vec<Tensor>,
    /// What T2I-Adapters add to the finest level.
    pub(super) adapter: Option<Tensor>,
}

impl UNet {
    /// The finest level alone, on the coarse levels of an earlier pass.
    pub(super) fn forward_finest(
        &self,
        x: &Tensor,
        time: &Tensor,
        condition: &Condition,
        deep: &DeepFeatures,
        count: &mut BlockCount<'_>,
    ) -> Result<Tensor, Error> {
        let (finest, _) = self.finest_up_block();
        let mut skips =
            self.encoder.forward_finest(x, deep.adapter.as_ref(), time, &mut condition.text(), count)?;
        for (skip, more) in skips.iter_mut().zip(&deep.residuals) {
            *skip = ops::add(skip.clone(), more)?;
        }
        // The finest up block has the last keys and values of the text.
        let mut text = condition.text_of_last(finest.text_keys(), finest.transformer_blocks());
        let x = finest.forward(deep.features.clone(), time, &mut text, &mut skips, count)?;
        self.out(&x)
    }

    /// Number of blocks that a pass with [`DeepCache::Reuse`] computes.
    pub(crate) fn finest_blocks(&self) -> usize {
        self.encoder.finest_blocks() + self.finest_up_block().0.layers()
    }

    /// Residuals of the finest level.
    pub(super) fn finest_of(&self, residuals: &ControlNetResiduals) -> Vec<Tensor> {
        residuals.down_blocks.iter().take(self.finest_up_block().0.layers()).cloned().collect()
    }
}
