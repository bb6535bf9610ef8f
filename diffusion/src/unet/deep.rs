//! Steps that take over most of the network from a step before (Ma et al., DeepCache: Accelerating Diffusion Models for
//! Free, 2024, section 3.2).
//!
//! From one step to the next the coarse levels of a UNet change little. [`UNet::forward_deep`] goes all the way and keeps
//! what comes out of them, [`UNet::forward_shallow`] takes that over and computes anew only the last layers of the finest
//! level and the states of the way down that these need.

use super::blocks::UpBlock;
use super::{Condition, UNet};
use crate::Error;
use crate::controlnet::Residuals;
use latent_tensor::{Tensor, ops};

/// Layers of the way up that a shallow step computes, where the finest level has so many; the way down has one less, and
/// the first convolution. One of them is the paper's fastest, and misses half of the finest level's attention to the text.
const SHALLOW: usize = 2;

/// What a shallow step takes over from the deep one before it.
#[derive(Clone, Debug)]
pub struct DeepFeatures {
    /// The input of the first layer that is computed anew, `[batch, height, width, channels]`.
    pub(super) features: Tensor,
    /// What ControlNets added to the states that are computed anew; empty without them.
    pub(super) residuals: Vec<Tensor>,
}

fn shallow() -> usize {
    std::env::var("LATENT_SHALLOW").ok().and_then(|s| s.parse().ok()).unwrap_or(SHALLOW)
}

impl UNet {
    /// As [`UNet::forward_with`], with the same bits, and what [`UNet::forward_shallow`] can take over.
    ///
    /// # Errors
    /// As [`UNet::forward_with`].
    pub fn forward_deep(
        &self,
        x: &Tensor,
        timesteps: &[f32],
        condition: &Condition,
        residuals: Option<Residuals>,
    ) -> Result<(Tensor, DeepFeatures), Error> {
        let mut deep = None;
        let output = self.run(x, timesteps, condition, residuals, Some(&mut deep))?;
        Ok((output, deep.expect("a run that keeps them")))
    }

    /// Predicts as [`UNet::forward`], with the coarse levels of another step of the same batch, and what ControlNets said
    /// in it.
    ///
    /// # Errors
    /// As [`UNet::forward`], and features of another batch or size.
    pub fn forward_shallow(
        &self,
        x: &Tensor,
        timesteps: &[f32],
        condition: &Condition,
        deep: &DeepFeatures,
    ) -> Result<Tensor, Error> {
        let x = x.to(self.trunk.device())?;
        let time = self.trunk.time(timesteps, condition)?;
        let (finest, deeper) = (self.levels_up().0, self.deeper_layers());
        let count = finest.layers() - deeper;
        let mut skips = self.trunk.forward_first(count, &x, &time, &mut condition.text.iter())?;
        for (state, more) in skips.iter_mut().zip(&deep.residuals) {
            *state = ops::add(state.clone(), more)?;
        }
        // The last keys and values of the text are those of the last layers.
        let last = condition.text.len().saturating_sub(finest.text_keys(deeper));
        let (features, layers) = (deep.features.clone(), deeper..finest.layers());
        let mut text = condition.text[last..].iter();
        let x = finest.forward_layers(layers, features, &time, &mut text, &mut skips)?;
        self.out(&x)
    }

    /// The finest level on the way up, and those before it.
    pub(super) fn levels_up(&self) -> (&UpBlock, &[UpBlock]) {
        self.up_blocks.split_last().expect("a UNet has levels")
    }

    /// Layers of the finest level on the way up that a shallow step takes over.
    pub(super) fn deeper_layers(&self) -> usize {
        self.levels_up().0.layers().saturating_sub(shallow())
    }

    /// What ControlNets add to the states that a shallow step computes.
    pub(super) fn shallow_of(&self, residuals: &Residuals) -> Vec<Tensor> {
        residuals.states.iter().take(shallow()).cloned().collect()
    }
}
