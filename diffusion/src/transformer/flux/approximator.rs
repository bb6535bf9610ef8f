//! The network that makes all of Chroma's modulations (`ChromaApproximator`).

use super::config::Approximator;
use crate::transformer::kit::EmbeddingMlp;
use crate::unet::timestep_embedding;
use crate::{Error, params::Params};
use latent_tensor::{Device, Linear, RmsNorm, Tensor, ops};

/// Epsilon of `torch.nn.RMSNorm` where none is given: that of `f32`.
const EPS: f32 = f32::EPSILON;
/// What a modulation's number is multiplied by before it is embedded, as time steps are.
const NUMBER_SCALE: f32 = 1000.0;

/// The modulations of all blocks from the time and a number for each.
pub(super) struct ModulationApproximator {
    in_proj: Linear,
    layers: Vec<(RmsNorm, EmbeddingMlp)>,
    out_proj: Linear,
    /// Modulations that it makes.
    vectors: usize,
}

impl ModulationApproximator {
    /// `vectors` modulations of `outputs` each.
    pub(super) fn load(
        params: &Params<'_>,
        sizes: &Approximator,
        [vectors, outputs]: [usize; 2],
    ) -> Result<ModulationApproximator, Error> {
        let &Approximator { inputs, width, layers } = sizes;
        let layer = |i: usize| {
            let norm = params.rms_norm(&format!("norms.{i}"), width, EPS)?;
            Ok((norm, EmbeddingMlp::load_named(&params.scope("layers").scope(i), [width, width], true)?))
        };
        Ok(ModulationApproximator {
            in_proj: params.linear_layer("in_proj", width, inputs, true)?,
            layers: (0..layers).map(layer).collect::<Result<_, Error>>()?,
            out_proj: params.linear_layer("out_proj", outputs, width, true)?,
            vectors,
        })
    }

    /// The modulations for time steps, `[batch, vectors, outputs]`.
    pub(super) fn forward(&self, timesteps: &[f32], device: &Device) -> Result<Tensor, Error> {
        let mut x = ops::linear(&self.input(timesteps)?.to(device)?, &self.in_proj)?;
        for (norm, layer) in &self.layers {
            let hidden = layer.forward(&ops::rms_norm(&x, norm)?)?;
            x = ops::add(x, &hidden)?;
        }
        Ok(ops::linear(&x, &self.out_proj)?)
    }

    /// For each time step and modulation: sinusoids of the time, of a guidance scale that is always 0, and of the modulation's
    /// number.
    fn input(&self, timesteps: &[f32]) -> Result<Tensor, Error> {
        let width = self.in_proj.inputs();
        let numbers: Vec<f32> = (0..self.vectors).map(|i| i as f32 * NUMBER_SCALE).collect();
        let numbers = timestep_embedding(&numbers, width / 2)?;
        let guidance = timestep_embedding(&[0.0], width / 4)?;
        let times = timestep_embedding(timesteps, width / 4)?;
        let mut values = Vec::with_capacity(timesteps.len() * self.vectors * width);
        for time in times.f32s()?.chunks_exact((width / 4).max(1)) {
            for number in numbers.f32s()?.chunks_exact((width / 2).max(1)) {
                values.extend(time.iter().chain(guidance.f32s()?).chain(number));
            }
        }
        Ok(Tensor::from_f32(&[timesteps.len(), self.vectors, width], &values)?)
    }
}
