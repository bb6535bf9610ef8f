//! The VAE, both ways.

use latent_diffusion::Picture;
use latent_diffusion::vae::{VaeDecoder, VaeEncoder};

use super::{Engine, nchw, nhwc};
use crate::machinery::case::Case;
use crate::machinery::compare::Outcome;
use crate::machinery::context::Context;

pub(crate) fn run(case: &Case, context: &Context) -> Outcome {
    let Some(engine) = Engine::supporting(case, context) else { return Outcome::Unsupported };
    super::attempt(case, context, |comparison| {
        let params = engine?.params("vae");
        let config = &params.model.vae;
        let encoder = VaeEncoder::load(&params.get(), config).map_err(|e| e.to_string())?;
        let moments = encoder.encode(&nhwc(case, context, "image")?).map_err(|e| e.to_string())?;
        comparison.tensor("moments", &nchw(moments.values())?);
        let decoder = VaeDecoder::load(&params.get(), config).map_err(|e| e.to_string())?;
        let decoded = decoder.decode(&nhwc(case, context, "latent")?).map_err(|e| e.to_string())?;
        comparison.tensor("decoded", &nchw(&decoded)?);
        let pictures = Picture::from_tensor(&decoded).map_err(|e| e.to_string())?;
        let bytes: Vec<u8> = pictures.into_iter().flat_map(|picture| picture.rgb).collect();
        comparison.picture("decoded_u8", &bytes);
        Ok(())
    })
}
