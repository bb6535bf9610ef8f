//! One evaluation of a UNet.

use latent_diffusion::unet::UNet;

use super::{Engine, nchw, nhwc};
use crate::machinery::case::Case;
use crate::machinery::compare::Outcome;
use crate::machinery::context::Context;

pub(crate) fn run(case: &Case, context: &Context) -> Outcome {
    let Some(engine) = Engine::supporting(case, context) else { return Outcome::Unsupported };
    super::attempt(case, context, |comparison| {
        let params = engine?.params("unet");
        let unet = UNet::load(&params.get(), &params.model.unet).map_err(|e| e.to_string())?;
        let x = nhwc(case, context, "x")?;
        let text = super::tensor(case, context, "context")?;
        let timesteps = context.f32s(case, "t")?;
        let out = unet.forward(&x, &timesteps, &text).map_err(|e| e.to_string())?;
        comparison.tensor("out", &nchw(&out)?);
        Ok(())
    })
}
