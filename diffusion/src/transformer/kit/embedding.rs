//! Embeddings of what a network is conditioned on by a vector: the time step, the guidance scale, the pooled text.

use crate::unet::timestep_embedding;
use crate::{Error, params::Params};
use latent_tensor::{Device, Linear, Tensor, ops};

/// Sinusoids of a time step or a guidance scale.
pub(crate) const SINUSOIDS: usize = 256;

/// Two linear layers with SiLU between (`TimestepEmbedding`, `PixArtAlphaTextProjection`).
pub(crate) struct EmbeddingMlp {
    linear_1: Linear,
    linear_2: Linear,
}

impl EmbeddingMlp {
    /// `[inputs, hidden, outputs]`; `names` are those of both layers.
    pub(crate) fn load(
        params: &Params<'_>,
        names: [&str; 2],
        [inputs, hidden, outputs]: [usize; 3],
        has_bias: bool,
    ) -> Result<EmbeddingMlp, Error> {
        Ok(EmbeddingMlp {
            linear_1: params.linear_layer(names[0], hidden, inputs, has_bias)?,
            linear_2: params.linear_layer(names[1], outputs, hidden, has_bias)?,
        })
    }

    /// With the names of diffusers, and hidden layers as wide as the output.
    pub(crate) fn load_named(
        params: &Params<'_>,
        [inputs, outputs]: [usize; 2],
        has_bias: bool,
    ) -> Result<EmbeddingMlp, Error> {
        EmbeddingMlp::load(params, ["linear_1", "linear_2"], [inputs, outputs, outputs], has_bias)
    }

    /// Width of its input.
    pub(crate) fn inputs(&self) -> usize {
        self.linear_1.inputs()
    }

    /// `[.., inputs]` to `[.., outputs]`.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor, Error> {
        let hidden = ops::silu(ops::linear(x, &self.linear_1)?)?;
        Ok(ops::linear(&hidden, &self.linear_2)?)
    }
}

/// The embedding of a number for each of a batch, `[batch, outputs]`: its sinusoids through two layers.
pub(crate) fn embedded_time(mlp: &EmbeddingMlp, times: &[f32], device: &Device) -> Result<Tensor, Error> {
    mlp.forward(&timestep_embedding(times, SINUSOIDS)?.to(device)?)
}
