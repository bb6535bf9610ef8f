//! What ControlNets add to the hidden states of a UNet.

use crate::Error;
use latent_tensor::{Tensor, ops};

/// Added to each skip connection of a UNet's down blocks, and to the output of its mid block (`down_block_res_samples` and
/// `mid_block_res_sample` of diffusers).
#[derive(Clone, Debug)]
pub struct ControlNetResiduals {
    /// Finest first; each `[batch, height, width, channels]` as its skip connection.
    pub down_blocks: Vec<Tensor>,
    /// `[batch, height, width, channels]` as the output of the mid block.
    pub mid_block: Tensor,
}

/// What other networks add to a UNet in one evaluation.
#[derive(Clone, Debug, Default)]
pub struct UNetAdditions {
    /// What ControlNets add to the skip connections and to the mid block.
    pub residuals: Option<ControlNetResiduals>,
    /// What T2I-Adapters add to the last hidden states of each level, finest first; one more is for the mid block.
    pub features: Vec<Tensor>,
}

impl ControlNetResiduals {
    /// The sums with the residuals of another network (`MultiControlNetModel`).
    ///
    /// # Errors
    /// Residuals of another kind of UNet, or of another size.
    pub fn plus(self, other: &ControlNetResiduals) -> Result<ControlNetResiduals, Error> {
        let (down_blocks, mid_block) = other.clone().add_to(self.down_blocks, self.mid_block)?;
        Ok(ControlNetResiduals { down_blocks, mid_block })
    }

    /// The skip connections and the mid block's output of a UNet with these residuals added.
    pub(super) fn add_to(self, skips: Vec<Tensor>, mid: Tensor) -> Result<(Vec<Tensor>, Tensor), Error> {
        if skips.len() != self.down_blocks.len() {
            let reason = format!(
                "{} residuals for a UNet of {} skip connections",
                self.down_blocks.len(),
                skips.len()
            );
            return Err(Error::setting(crate::Setting::ControlNet, reason));
        }
        let sums = skips.into_iter().zip(&self.down_blocks).map(|(skip, more)| Ok(ops::add(skip, more)?));
        Ok((sums.collect::<Result<_, Error>>()?, ops::add(mid, &self.mid_block)?))
    }
}
