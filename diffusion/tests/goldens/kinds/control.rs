//! A ControlNet: what it adds, and the UNet's prediction with it and without.

use latent_diffusion::controlnet::{ControlFile, ControlNet};
use latent_diffusion::unet::{DeepCache, UNet};
use latent_loader::Checkpoint;

use super::{nchw, nhwc};
use crate::machinery::case::Case;
use crate::machinery::compare::{Comparison, Outcome};
use crate::machinery::context::Context;

pub(crate) fn run(case: &Case, context: &Context) -> Outcome {
    super::attempt(case, context, |comparison| compare(case, context, comparison))
}

/// The ControlNet of a case.
pub(super) fn open(case: &Case, context: &Context) -> Result<ControlFile, String> {
    let path = context.checkpoints.path(&case.add_on("control")?.ok_or("the case has no ControlNet")?)?;
    ControlFile::open(Checkpoint::open(&path).map_err(|e| e.to_string())?).map_err(|e| e.to_string())
}

fn compare(case: &Case, context: &Context, comparison: &mut Comparison<'_>) -> Result<(), String> {
    let text = |e: latent_diffusion::Error| e.to_string();
    let parts = super::parts(case, context)?;
    let file = open(case, context)?;
    let params = latent_diffusion::params::Params::new(file.weights().clone(), &|_| {});
    let net = ControlNet::load(&params.on(&context.target.device), file.config().ok_or("not a ControlNet")?)
        .map_err(text)?;
    let strength = case.json["control"]["scale"].as_f64().ok_or("the case has no scale")? as f32;
    let (x, timesteps) = (nhwc(case, context, "x")?, context.f32s(case, "t")?);
    let states = super::tensor(case, context, "context")?;
    let hint = net.embed(&nhwc(case, context, "hint")?).map_err(text)?;
    let condition = net.condition(&states, None).map_err(text)?;
    let residuals = net.forward(&x, &timesteps, &hint, &condition, strength).map_err(text)?;
    for (i, state) in residuals.down_blocks.iter().enumerate() {
        comparison.tensor(&format!("down{i}"), &nchw(state)?);
    }
    comparison.tensor("mid", &nchw(&residuals.mid_block)?);
    let unet = UNet::load(&super::params(&parts.weights, "unet", context), parts.network.unet().unwrap())
        .map_err(text)?;
    let condition = unet.condition(&states, None).map_err(text)?;
    comparison.tensor("out_without", &nchw(&unet.forward(&x, &timesteps, &condition).map_err(text)?)?);
    let out = unet.forward_with(&x, &timesteps, &condition, Some(residuals), DeepCache::Off).map_err(text)?;
    comparison.tensor("out", &nchw(&out)?);
    Ok(())
}
