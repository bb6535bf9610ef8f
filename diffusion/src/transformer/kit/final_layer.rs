//! From the last hidden states to the prediction.

use super::joint_block::ScaleShiftLayer;
use super::modulation::ShiftScale;
use crate::params::PatchShape;
use crate::{Error, params::Params};
use latent_tensor::{Linear, Tensor, ops};

/// A modulated norm and a linear layer (`norm_out` and `proj_out`).
pub(crate) struct FinalLayer {
    /// `None` where the network makes the modulation.
    norm_out: Option<ScaleShiftLayer>,
    proj_out: Linear,
}

impl FinalLayer {
    /// Of patches whose channels the file has pixel by pixel.
    pub(crate) fn load(
        params: &Params<'_>,
        [width, outputs]: [usize; 2],
        has_bias: bool,
    ) -> Result<FinalLayer, Error> {
        Ok(FinalLayer {
            norm_out: Some(ScaleShiftLayer::load(params, "norm_out", width, has_bias)?),
            proj_out: params.exact().linear_layer("proj_out", outputs, width, has_bias)?,
        })
    }

    /// Of patches that the file has channel by channel.
    pub(crate) fn load_patches(
        params: &Params<'_>,
        width: usize,
        patch: PatchShape,
        modulates: bool,
    ) -> Result<FinalLayer, Error> {
        let norm_out = || ScaleShiftLayer::load(params, "norm_out", width, true);
        Ok(FinalLayer {
            norm_out: modulates.then(norm_out).transpose()?,
            proj_out: params.exact().linear_to_patches("proj_out", patch, width, true)?,
        })
    }

    /// `[batch, tokens, width]` to `[batch, tokens, outputs]`, by the activated conditioning `[batch, width]`.
    pub(crate) fn forward(&self, x: &Tensor, activated: &Tensor) -> Result<Tensor, Error> {
        let Some(norm_out) = &self.norm_out else { unreachable!("the network gives the modulation") };
        self.forward_modulated(x, &norm_out.forward(activated)?)
    }

    /// The same with a modulation that was made before.
    pub(crate) fn forward_modulated(&self, x: &Tensor, modulation: &ShiftScale) -> Result<Tensor, Error> {
        Ok(ops::linear(&modulation.norm(x)?, &self.proj_out)?)
    }
}
