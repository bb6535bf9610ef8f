//! The VAE, both ways.

use latent_diffusion::Image;
use latent_diffusion::taesd::TaesdFile;
use latent_diffusion::tensor::Device;
use latent_diffusion::vae::{VaeDecoder, VaeEncoder};
use latent_loader::Checkpoint;

use super::{nchw, nhwc};
use crate::machinery::case::Case;
use crate::machinery::compare::{Comparison, Outcome};
use crate::machinery::context::Context;

/// Another network.
const TINY_AUTOENCODER: &str = "vae/taesd";

pub(crate) fn run(case: &Case, context: &Context) -> Outcome {
    if case.group == TINY_AUTOENCODER {
        return super::attempt(case, context, |comparison| tiny(case, context, comparison));
    }
    super::attempt(case, context, |comparison| {
        let parts = super::parts(case, context)?;
        let (config, params) = (&parts.vae, super::params(&parts.weights, "vae", context));
        let encoder = VaeEncoder::load(&params, config).map_err(|e| e.to_string())?;
        let moments = encoder.encode(&nhwc(case, context, "image")?).map_err(|e| e.to_string())?;
        comparison.tensor("moments", &nchw(moments.values())?);
        if case.tensors.contains_key("mode") {
            comparison.tensor("mode", &nchw(&moments.mode().map_err(|e| e.to_string())?)?);
        }
        let decoder = VaeDecoder::load(&params, config).map_err(|e| e.to_string())?;
        let decoded = decoder.decode(&nhwc(case, context, "latent")?);
        let decoded = decoded.and_then(|x| Ok(x.to(&Device::Cpu)?)).map_err(|e| e.to_string())?;
        comparison.tensor("decoded", &nchw(&decoded)?);
        let images = Image::from_tensor(&decoded).map_err(|e| e.to_string())?;
        let bytes: Vec<u8> = images.into_iter().flat_map(|image| image.rgb).collect();
        comparison.image("decoded_u8", &bytes);
        Ok(())
    })
}

fn tiny(case: &Case, context: &Context, comparison: &mut Comparison<'_>) -> Result<(), String> {
    let text = |e: latent_diffusion::Error| e.to_string();
    let path = context.checkpoints.path(&case.checkpoint()?.ok_or("the case has no checkpoint")?)?;
    let file = TaesdFile::open(Checkpoint::open(&path).map_err(|e| e.to_string())?).map_err(text)?;
    let device = &context.target.device;
    let encoder = file.encoder(device).map_err(text)?;
    let latent = encoder.encode(&nhwc(case, context, "image")?).map_err(text)?;
    comparison.tensor("latent_of_image", &nchw(&latent)?);
    let decoder = file.decoder(device).map_err(text)?;
    let decoded = decoder.decode(&nhwc(case, context, "latent")?).map_err(text)?;
    comparison.tensor("decoded", &nchw(&decoded)?);
    Ok(())
}
