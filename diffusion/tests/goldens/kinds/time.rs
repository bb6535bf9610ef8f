//! Sinusoidal embeddings of time steps.

use latent_diffusion::unet::timestep_embedding;

use crate::machinery::case::Case;
use crate::machinery::compare::Outcome;
use crate::machinery::context::Context;

pub(crate) fn run(case: &Case, context: &Context) -> Outcome {
    super::attempt(case, context, |comparison| {
        let timesteps = context.f32s(case, "t")?;
        let width = case.tensors["emb"][1];
        let embedding = timestep_embedding(&timesteps, width).map_err(|e| e.to_string())?;
        comparison.tensor("emb", embedding.f32s().map_err(|e| e.to_string())?);
        Ok(())
    })
}
