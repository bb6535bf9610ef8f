//! One evaluation of a UNet, of every family.

use latent_diffusion::unet::{UNet, added_vector};

use super::{nchw, nhwc};
use crate::machinery::case::Case;
use crate::machinery::compare::Outcome;
use crate::machinery::context::Context;

pub(crate) fn run(case: &Case, context: &Context) -> Outcome {
    super::attempt(case, context, |comparison| {
        let parts = super::parts(case, context)?;
        let unet = UNet::load(&super::params(&parts.weights, "unet", context), parts.network.unet().unwrap())
            .map_err(|e| e.to_string())?;
        let x = nhwc(case, context, "x")?;
        let text = super::tensor(case, context, "context")?;
        let timesteps = context.f32s(case, "t")?;
        let added = if parts.network.unet().unwrap().added_dim.is_some() {
            let pooled = super::tensor(case, context, "pooled")?;
            let added = added_vector(&pooled, &context.f32s(case, "time_ids")?).map_err(|e| e.to_string())?;
            comparison.tensor("y", added.f32s().map_err(|e| e.to_string())?);
            Some(added)
        } else {
            None
        };
        let condition = unet.condition(&text, added.as_ref()).map_err(|e| e.to_string())?;
        let out = unet.forward(&x, &timesteps, &condition).map_err(|e| e.to_string())?;
        comparison.tensor("out", &nchw(&out)?);
        Ok(())
    })
}
