//! The refiner of Stable Diffusion XL: four levels, OpenCLIP bigG alone, and a vector with an aesthetic score in place of the
//! size to draw.

use super::family::{AddedVector, DenoiserNetwork, Family, FamilyWords, TextUse};
use super::latent_format::LatentFormat;
use super::probe::unet_shape::UNetShape;
use super::probe::variant::ModelVariant;
use super::sdxl;
use super::text_encoders::OPEN_CLIP_BIG_G;
use crate::samplers::Prediction;
use crate::schedule::Training;

pub(super) static FAMILY: Family = Family {
    id: "sdxl-refiner",
    label: "Stable Diffusion XL refiner",
    resolution: 1024,
    network: DenoiserNetwork::UNet { heads: sdxl::HEADS },
    latent_format: LatentFormat::SDXL,
    matches: |index| sdxl::is_xl(&UNetShape::of(index), true),
    variant_by_depth: |_| ModelVariant::Base,
    text_encoders: &[OPEN_CLIP_BIG_G],
    language_model: None,
    text_use: TextUse::SideBySide,
    added_vector: AddedVector::AestheticScore,
    // A negative prompt that is not given is an empty one, as in its training.
    zero_negative: false,
    prediction: Prediction::Epsilon,
    velocity_by_spread: None,
    flow: None,
    training: Training::scaled_linear,
    words: FamilyWords::NONE,
    published: &[],
};
