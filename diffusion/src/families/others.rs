//! Families that are known by sight and cannot draw yet: so that an error and the inspector name them.

use super::{Facts, Family};

/// UNet facts common to SD 1.x and SD 2.x: no vector beside the time.
fn plain(facts: &Facts<'_>, rank: usize, in_channels: usize) -> bool {
    facts.in_channels == Some(in_channels) && facts.proj_in_rank == Some(rank) && facts.added_dim.is_none()
}

/// The refiner has one text encoder and another vector (aesthetic score in place of the target size).
fn is_refiner(facts: &Facts<'_>) -> bool {
    let second = ["conditioner.embedders.1.", "text_encoder.", "cond_stage_model."];
    facts.added_dim.is_some()
        && !second.iter().any(|p| facts.has_prefix(p))
        && (facts.has_prefix("conditioner.embedders.0.model.")
            || facts.has_prefix("text_encoder_2.")
            || facts.model_channels == Some(384))
}

const fn known(
    id: &'static str,
    label: &'static str,
    resolution: usize,
    matches: fn(&Facts<'_>) -> bool,
) -> Family {
    Family { id, label, resolution, matches, build: None }
}

/// SD 1.x that fills in parts of a picture: latent, mask and masked picture.
pub(super) static SD1_INPAINT: Family =
    known("sd1-inpaint", "Stable Diffusion 1.x inpainting", 512, |facts| plain(facts, 4, 9));
/// SD 1.x that changes a picture by an instruction: latent and picture.
pub(super) static SD1_PIX2PIX: Family =
    known("sd1-pix2pix", "Stable Diffusion 1.x InstructPix2Pix", 512, |facts| plain(facts, 4, 8));
/// SD 2.x: linear projections, OpenCLIP.
pub(super) static SD2: Family =
    known("sd2", "Stable Diffusion 2.x", 768, |facts| plain(facts, 2, 4) || plain(facts, 2, 9));
/// SDXL: two text encoders, a vector of sizes.
pub(super) static SDXL: Family =
    known("sdxl", "Stable Diffusion XL", 1024, |facts| facts.added_dim.is_some() && !is_refiner(facts));
/// The second model of SDXL.
pub(super) static SDXL_REFINER: Family =
    known("sdxl-refiner", "Stable Diffusion XL refiner", 1024, is_refiner);
