//! What UNets of more than four channels take beside the latent, and one evaluation with it.

use latent_diffusion::Image;
use latent_diffusion::tensor::{Tensor, ops};
use latent_diffusion::unet::UNet;
use latent_diffusion::vae::VaeEncoder;

use super::{nchw, nhwc};
use crate::machinery::case::Case;
use crate::machinery::compare::Outcome;
use crate::machinery::context::Context;

pub(crate) fn run(case: &Case, context: &Context) -> Outcome {
    super::attempt(case, context, |comparison| {
        let text = |e: latent_diffusion::Error| e.to_string();
        let parts = super::parts(case, context)?;
        let encoder =
            VaeEncoder::load(&super::params(&parts.weights, "vae", context), &parts.vae).map_err(text)?;
        let beside = if case.tensors.contains_key("masked_image") {
            let masked = encoder.encode(&nhwc(case, context, "masked_image")?).and_then(|m| m.mode());
            let masked = masked.map_err(text)?;
            comparison.tensor("masked_latent", &nchw(&masked)?);
            ops::concat_channels(&nhwc(case, context, "latent_mask")?, &masked).map_err(|e| e.to_string())?
        } else {
            let latent = encoder.encode(&image(case, context)?).and_then(|m| m.mean()).map_err(text)?;
            comparison.tensor("image_latent", &nchw(&latent)?);
            latent
        };
        let latent = nhwc(case, context, "latent")?;
        let input = ops::concat_channels(&latent, &beside).map_err(|e| e.to_string())?;
        comparison.tensor("unet_input", &nchw(&input)?);
        let unet = UNet::load(&super::params(&parts.weights, "unet", context), parts.network.unet().unwrap())
            .map_err(text)?;
        let condition = unet.condition(&super::tensor(case, context, "context")?, None).map_err(text)?;
        let out = unet.forward(&input, &context.f32s(case, "t")?, &condition).map_err(text)?;
        comparison.tensor("out", &nchw(&out)?);
        Ok(())
    })
}

fn image(case: &Case, context: &Context) -> Result<Tensor, String> {
    let &[height, width, 3] = &case.tensors["image_u8"][..] else {
        return Err("image_u8 is no image".into());
    };
    let image = Image { width, height, rgb: context.u8s(case, "image_u8")? };
    image.to_tensor().map_err(|e| e.to_string())
}
