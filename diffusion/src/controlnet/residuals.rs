//! What ControlNets add to a UNet.

use crate::Error;
use latent_tensor::{Tensor, ops};

/// What is added to each state that a UNet's way down leaves, and to its middle.
#[derive(Clone, Debug)]
pub struct Residuals {
    /// Finest first, `[batch, height, width, channels]` as the states.
    pub states: Vec<Tensor>,
    /// `[batch, height, width, channels]` as the middle.
    pub middle: Tensor,
}

impl Residuals {
    /// The sums with those of another network (`MultiControlNetModel`).
    ///
    /// # Errors
    /// Those of another kind of UNet, or of another size.
    pub fn plus(self, other: &Residuals) -> Result<Residuals, Error> {
        let (states, middle) = other.clone().add_to(self.states, self.middle)?;
        Ok(Residuals { states, middle })
    }

    /// A UNet's states and middle with these added.
    pub(crate) fn add_to(self, states: Vec<Tensor>, middle: Tensor) -> Result<(Vec<Tensor>, Tensor), Error> {
        if states.len() != self.states.len() {
            let reason = format!("{} states for a UNet of {}", self.states.len(), states.len());
            return Err(Error::setting(crate::Setting::ControlNet, reason));
        }
        let sums = states.into_iter().zip(&self.states).map(|(state, more)| Ok(ops::add(state, more)?));
        Ok((sums.collect::<Result<_, Error>>()?, ops::add(middle, &self.middle)?))
    }
}
