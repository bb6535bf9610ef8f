//! The block of Z-Image: norms before and after attention and MLP (`ZImageTransformerBlock`).

use crate::transformer::kit::{AttentionContext, AttentionShape, Projections, attend, chunks};
use crate::{Error, params::Params};
use latent_tensor::{Activation, Device, Linear, Precision, RmsNorm, Tensor, ops};

/// Epsilon of all norms.
pub(super) const NORM_EPS: f32 = 1e-5;

/// The sizes of a block.
#[derive(Clone, Copy)]
pub(super) struct BlockSizes {
    pub(super) attention: AttentionShape,
    pub(super) hidden: usize,
    /// Width of what it is modulated by; `None` where it is not modulated.
    pub(super) time_width: Option<usize>,
}

/// A block.
pub(super) struct ZImageBlock {
    /// From the embedded time to scales and gates, in main memory: its product is small, and there is a tanh behind it.
    ada_ln_modulation: Option<Linear>,
    attention_norm1: RmsNorm,
    attention: Projections,
    to_out: Linear,
    attention_norm2: RmsNorm,
    ffn_norm1: RmsNorm,
    w1: Linear,
    w2: Linear,
    w3: Linear,
    ffn_norm2: RmsNorm,
    heads: usize,
    precision: Precision,
}

/// Vectors `[batch, width]` by which a block is modulated.
struct ScaleGate {
    scale: Tensor,
    gate: Tensor,
}

impl ZImageBlock {
    pub(super) fn load(params: &Params<'_>, sizes: BlockSizes) -> Result<ZImageBlock, Error> {
        let BlockSizes { attention, hidden, time_width } = sizes;
        let width = attention.width();
        let norm = |name| params.rms_norm(name, width, NORM_EPS);
        let in_memory = params.exact().on(&Device::Cpu);
        let modulation = |inputs| in_memory.linear_layer("adaLN_modulation.0", 4 * width, inputs, true);
        let (attn, mlp) = (params.scope("attention"), params.scope("feed_forward"));
        Ok(ZImageBlock {
            ada_ln_modulation: time_width.map(modulation).transpose()?,
            attention_norm1: norm("attention_norm1")?,
            attention: Projections::load(&attn, attention)?,
            to_out: attn.linear_layer("to_out.0", width, width, false)?,
            attention_norm2: norm("attention_norm2")?,
            ffn_norm1: norm("ffn_norm1")?,
            w1: mlp.linear_layer("w1", hidden, width, false)?,
            w2: mlp.linear_layer("w2", width, hidden, false)?,
            w3: mlp.linear_layer("w3", hidden, width, false)?,
            ffn_norm2: norm("ffn_norm2")?,
            heads: attention.heads,
            precision: params.precision(),
        })
    }

    /// `x` `[batch, tokens, width]`, by the embedded time `[batch, time width]` in main memory; the result as `x`.
    pub(super) fn forward(
        &self,
        x: Tensor,
        time: Option<&Tensor>,
        context: AttentionContext<'_>,
    ) -> Result<Tensor, Error> {
        let modulation = match (&self.ada_ln_modulation, time) {
            (Some(layer), Some(time)) => Some(modulations(layer, time, &x.device())?),
            _ => None,
        };
        let [of_attention, of_mlp] = match &modulation {
            Some([attention, mlp]) => [Some(attention), Some(mlp)],
            None => [None, None],
        };
        let qkv = self.attention.forward(&normed(&x, &self.attention_norm1, of_attention)?)?;
        let attended = ops::linear(&attend(qkv, self.heads, context, self.precision)?, &self.to_out)?;
        let x = added(x, &ops::rms_norm(&attended, &self.attention_norm2)?, of_attention)?;
        let input = normed(&x, &self.ffn_norm1, of_mlp)?;
        let hidden = ops::linear_gated_by(&input, &self.w3, &self.w1, Activation::Silu)?;
        drop(input);
        added(x, &ops::rms_norm(&ops::linear(&hidden, &self.w2)?, &self.ffn_norm2)?, of_mlp)
    }
}

/// Of attention and MLP: scale, and gate after its tanh.
fn modulations(layer: &Linear, time: &Tensor, device: &Device) -> Result<[ScaleGate; 2], Error> {
    let vectors = chunks(&ops::linear(time, layer)?, layer.outputs() / 4)?;
    let of = |scale: &Tensor, gate: &Tensor| -> Result<ScaleGate, Error> {
        let mut gate = gate.clone();
        gate.f32s_mut()?.iter_mut().for_each(|value| *value = value.tanh());
        Ok(ScaleGate { scale: scale.to(device)?, gate: gate.to(device)? })
    };
    let [attention_scale, attention_gate, mlp_scale, mlp_gate] = &vectors[..] else {
        unreachable!("four vectors of a block")
    };
    Ok([of(attention_scale, attention_gate)?, of(mlp_scale, mlp_gate)?])
}

fn normed(x: &Tensor, norm: &RmsNorm, modulation: Option<&ScaleGate>) -> Result<Tensor, Error> {
    Ok(match modulation {
        Some(modulation) => ops::rms_norm_modulated(x, norm, &modulation.scale)?,
        None => ops::rms_norm(x, norm)?,
    })
}

fn added(x: Tensor, y: &Tensor, modulation: Option<&ScaleGate>) -> Result<Tensor, Error> {
    Ok(match modulation {
        Some(modulation) => ops::add_gated(x, y, &modulation.gate)?,
        None => ops::add(x, y)?,
    })
}
