//! The block of one sequence whose attention and MLP run beside each other (the single blocks of Flux; Dehghani et al., Scaling
//! Vision Transformers to 22 Billion Parameters, 2023, section 2).

use super::attention::{AttentionContext, AttentionShape, Projections, attend};
use super::joint_block::Modulator;
use super::mlp::MlpShape;
use super::modulation::{Modulation, SubLayer};
use crate::{Error, params::Params};
use latent_tensor::{Linear, Precision, Tensor, ops};

/// How files call the layers of a single block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SingleBlockNames {
    /// The MLP's first layer, where it stands alone beside `attn.to_q`, `attn.to_k` and `attn.to_v`.
    pub(crate) mlp: Option<&'static str>,
    /// All first layers in one.
    pub(crate) fused: &'static str,
    /// The last layer, of attention and MLP side by side.
    pub(crate) out: &'static str,
}

/// A single block.
pub(crate) struct SingleBlock {
    modulation: Option<Modulation>,
    projections: Projections,
    mlp: Linear,
    out: Linear,
    shape: AttentionShape,
    mlp_shape: MlpShape,
    precision: Precision,
}

impl SingleBlock {
    /// `modulates` says whether it makes its modulation itself.
    pub(crate) fn load(
        params: &Params<'_>,
        names: SingleBlockNames,
        (shape, mlp_shape): (AttentionShape, MlpShape),
        modulates: bool,
    ) -> Result<SingleBlock, Error> {
        let (width, has_bias) = (shape.width(), shape.has_bias);
        let first = mlp_shape.first_outputs();
        let has = |name: &str| params.contains(&format!("{name}.weight"));
        let attn = params.scope("attn");
        let alone = names.mlp.filter(|_| has("attn.to_q") || !has(names.fused));
        let (projections, mlp) = match alone {
            Some(mlp) => {
                (Projections::load(&attn, shape)?, params.linear_layer(mlp, first, width, has_bias)?)
            }
            None => {
                let rows = [width, width, width, first];
                let [q, k, v, mlp] = params.linear_rows(names.fused, rows, width, has_bias)?;
                (Projections::of_layers(&attn, [q, k, v], shape)?, mlp)
            }
        };
        let modulation = || Modulation::load(params, "norm.linear", (3, width), has_bias);
        Ok(SingleBlock {
            modulation: modulates.then(modulation).transpose()?,
            projections,
            mlp,
            out: params.linear_layer(names.out, width, width + mlp_shape.hidden, has_bias)?,
            shape,
            mlp_shape,
            precision: params.precision(),
        })
    }

    /// `[batch, tokens, width]`; the result as `x`.
    pub(crate) fn forward(
        &self,
        x: Tensor,
        modulator: Modulator<'_, SubLayer>,
        context: AttentionContext<'_>,
    ) -> Result<Tensor, Error> {
        let own = match (modulator, &self.modulation) {
            (Modulator::Vector(vector), Some(layer)) => SubLayer::of(&layer.forward(vector)?),
            (Modulator::Given(given), _) => given,
            (Modulator::Vector(_), None) => unreachable!("the network gives the modulation of this block"),
        };
        let normed = own.norm(&x)?;
        let qkv = self.projections.forward(&normed)?;
        let attended = attend(qkv, self.shape.heads, context, self.precision)?;
        let hidden = self.mlp_shape.activated(&normed, &self.mlp)?;
        drop(normed);
        let both = ops::concat_channels(&attended, &hidden)?;
        drop((attended, hidden));
        own.add(x, &ops::linear(&both, &self.out)?)
    }
}
