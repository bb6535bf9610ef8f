//! Models of SD 2.x and SDXL.

use super::{Model, Parts};
use crate::Error;
use latent_loader::Checkpoint;
use std::sync::Arc;

/// SD 2.x.
pub(super) fn sd2(checkpoint: &Arc<Checkpoint>) -> Result<Model, Error> {
    whole(checkpoint)
}

/// SDXL, its Turbo and others of its sizes.
pub(super) fn sdxl(checkpoint: &Arc<Checkpoint>) -> Result<Model, Error> {
    if let Some(mark) = ["edm_mean", "edm_vpred.sigma_max"].iter().find(|mark| checkpoint.get(mark).is_some())
    {
        let reason =
            format!("holds {mark}: it was trained with the noise levels of EDM, which cannot draw yet");
        return Err(Error::Unsupported { file: checkpoint.label().to_owned(), reason });
    }
    let mut model = whole(checkpoint)?;
    model.zero_negative = true;
    Ok(model)
}

/// SDXL's refiner. What is not given as negative prompt is an empty one, as in its training.
pub(super) fn sdxl_refiner(checkpoint: &Arc<Checkpoint>) -> Result<Model, Error> {
    let mut model = whole(checkpoint)?;
    model.takes_score = true;
    Ok(model)
}

/// A model of all its parts.
fn whole(checkpoint: &Arc<Checkpoint>) -> Result<Model, Error> {
    Model::of_parts(Parts::detect(checkpoint)?.with_text()?, checkpoint)
}
