//! The resampler of IP-Adapter Plus: learned tokens attend to the hidden states of an image encoder (Alayrac et al.,
//! Flamingo, 2022, section 2.1).

use super::config::{HEAD_WIDTH, ImageProjectionConfig};
use crate::{Error, params::Params};
use latent_tensor::{LayerNorm, Linear, Tensor, ops};

/// Layers of attention and feed-forward between two linear layers (`Resampler`).
pub(super) struct Resampler {
    /// `[tokens, inner]`
    latents: Vec<f32>,
    proj_in: Linear,
    layers: Vec<ResamplerLayer>,
    proj_out: Linear,
    norm_out: LayerNorm,
}

/// `PerceiverAttention` and `FeedForward`, each added to its input.
struct ResamplerLayer {
    norm1: LayerNorm,
    norm2: LayerNorm,
    to_q: Linear,
    to_kv: Linear,
    to_out: Linear,
    ff_norm: LayerNorm,
    ff_in: Linear,
    ff_out: Linear,
}

impl Resampler {
    pub(super) fn load(
        params: &Params<'_>,
        config: &ImageProjectionConfig,
        context: usize,
    ) -> Result<Resampler, Error> {
        let &ImageProjectionConfig::Resampler { width, inner, tokens, attention, mlp_width, depth } = config
        else {
            unreachable!("it is loaded for a resampler")
        };
        let layer = |i| {
            let layer = params.scope("layers").scope(i);
            ResamplerLayer::load(&layer, [inner, attention, mlp_width])
        };
        Ok(Resampler {
            latents: params.values("latents", &[1, tokens, inner])?,
            proj_in: params.linear("proj_in", inner, width)?,
            layers: (0..depth).map(layer).collect::<Result<_, _>>()?,
            proj_out: params.linear("proj_out", context, inner)?,
            norm_out: params.layer_norm("norm_out", context)?,
        })
    }

    /// `states` `[images, n, width]`; the result `[images, tokens, context]`.
    pub(super) fn forward(&self, states: &Tensor) -> Result<Tensor, Error> {
        let (images, inner) = (states.dims()[0], self.proj_in.outputs());
        let x = ops::linear(states, &self.proj_in)?;
        let dims = [images, self.latents.len() / inner, inner];
        let mut latents = Tensor::from_f32(&dims, &self.latents.repeat(images))?;
        for layer in &self.layers {
            latents = layer.forward(&x, latents)?;
        }
        Ok(ops::layer_norm(&ops::linear(&latents, &self.proj_out)?, &self.norm_out)?)
    }
}

impl ResamplerLayer {
    fn load(params: &Params<'_>, [inner, attention, mlp]: [usize; 3]) -> Result<ResamplerLayer, Error> {
        let (perceiver, ff) = (params.scope("0"), params.scope("1"));
        Ok(ResamplerLayer {
            norm1: perceiver.layer_norm("norm1", inner)?,
            norm2: perceiver.layer_norm("norm2", inner)?,
            to_q: perceiver.linear_without_bias("to_q", attention, inner)?,
            to_kv: perceiver.linear_without_bias("to_kv", 2 * attention, inner)?,
            to_out: perceiver.linear_without_bias("to_out", inner, attention)?,
            ff_norm: ff.layer_norm("0", inner)?,
            ff_in: ff.linear_without_bias("1", mlp, inner)?,
            ff_out: ff.linear_without_bias("3", inner, mlp)?,
        })
    }

    /// The learned tokens attend to the image's and to themselves.
    fn forward(&self, x: &Tensor, latents: Tensor) -> Result<Tensor, Error> {
        let own = ops::layer_norm(&latents, &self.norm2)?;
        let q = ops::linear(&own, &self.to_q)?;
        let seen = rows_joined(&ops::layer_norm(x, &self.norm1)?, &own)?;
        let [keys, values] = halves(&ops::linear(&seen, &self.to_kv)?)?;
        let heads = self.to_q.outputs() / HEAD_WIDTH;
        let hidden = ops::attention(&q, &keys, &values, heads, false)?;
        let latents = ops::linear_add(&hidden, &self.to_out, latents)?;
        let hidden = ops::linear(&ops::layer_norm(&latents, &self.ff_norm)?, &self.ff_in)?;
        Ok(ops::linear_add(&ops::gelu(hidden)?, &self.ff_out, latents)?)
    }
}

/// Two sequences `[batch, n, width]` one after the other.
fn rows_joined(a: &Tensor, b: &Tensor) -> Result<Tensor, Error> {
    let (a_dims, b_dims) = (a.dims(), b.dims());
    let [batch, width] = [a_dims[0], a_dims[2]];
    let mut values = Vec::with_capacity(batch * (a_dims[1] + b_dims[1]) * width);
    let parts = a.f32s()?.chunks_exact(a_dims[1] * width).zip(b.f32s()?.chunks_exact(b_dims[1] * width));
    for (a, b) in parts {
        values.extend_from_slice(a);
        values.extend_from_slice(b);
    }
    Ok(Tensor::from_f32(&[batch, a_dims[1] + b_dims[1], width], &values)?)
}

/// The first and the second half of the channels of `[batch, n, channels]`.
fn halves(x: &Tensor) -> Result<[Tensor; 2], Error> {
    let &[batch, n, channels] = x.dims() else { unreachable!("a sequence") };
    let values = x.f32s()?;
    let half = |start: usize| {
        let rows = values.chunks_exact(channels).flat_map(|row| &row[start..start + channels / 2]);
        Tensor::from_f32(&[batch, n, channels / 2], &rows.copied().collect::<Vec<_>>())
    };
    Ok([half(0)?, half(channels / 2)?])
}
