//! Steps that take over most of the network from a step before (Ma et al., DeepCache: Accelerating Diffusion Models for
//! Free, 2024, section 3.2).
//!
//! From one step to the next the coarse levels of a UNet change little. [`UNet::forward_deep`] goes all the way and keeps
//! what comes up from them; [`UNet::forward_shallow`] takes that over, and computes the finest level alone: the first
//! convolution, its layers on the way down and those on the way up. The paper's fastest branch is one layer up only;
//! docs/performance.md compares them.

use super::{Condition, UNet};
use crate::Error;
use crate::controlnet::Residuals;
use latent_tensor::{Tensor, ops};

/// What a shallow step takes over from the deep one before it.
#[derive(Clone, Debug)]
pub struct DeepFeatures {
    /// What comes up to the finest level, `[batch, height, width, channels]`.
    pub(super) features: Tensor,
    /// What ControlNets added to the states of the finest level; empty without them.
    pub(super) residuals: Vec<Tensor>,
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
        let (finest, _) = self.levels_up();
        let mut skips = self.trunk.forward_finest(&x, &time, &mut condition.text.iter())?;
        for (state, more) in skips.iter_mut().zip(&deep.residuals) {
            *state = ops::add(state.clone(), more)?;
        }
        // The last keys and values of the text are those of the finest level on the way up.
        let first = condition.text.len().saturating_sub(finest.text_keys());
        let mut text = condition.text[first..].iter();
        let x = finest.forward(deep.features.clone(), &time, &mut text, &mut skips)?;
        self.out(&x)
    }

    /// What ControlNets add to the states of the finest level.
    pub(super) fn finest_of(&self, residuals: &Residuals) -> Vec<Tensor> {
        residuals.states.iter().take(self.levels_up().0.layers()).cloned().collect()
    }
}
