//! The list of families, and searches in it.

use super::family::Family;
use super::probe::index::TensorIndex;
use super::published::PublishedModel;
use super::text_encoders::TextEncoderRole;
use super::{flux, flux2, sd1, sd2, sd3, sdxl, sdxl_refiner, z_image};
use crate::names::{self, UnknownName};

/// Every family; where two match a checkpoint, the first counts.
pub static ALL: &[&Family] = &[
    &sd1::FAMILY, //
    &sd2::FAMILY,
    &sdxl::FAMILY,
    &sdxl_refiner::FAMILY,
    &sd3::FAMILY,
    &flux2::KLEIN,
    &flux::DEV,
    &flux::SCHNELL,
    &flux::CHROMA,
    &z_image::FAMILY,
];

/// Families that additions to models mean by other marks than a width.
pub(crate) static SD1: &Family = &sd1::FAMILY;
pub(crate) static SDXL: &Family = &sdxl::FAMILY;
pub(crate) static SDXL_REFINER: &Family = &sdxl_refiner::FAMILY;
pub(crate) static SD3: &Family = &sd3::FAMILY;
pub(crate) static FLUX: &Family = &flux::DEV;
pub(crate) static CHROMA: &Family = &flux::CHROMA;
pub(crate) static Z_IMAGE: &Family = &z_image::FAMILY;

/// Every family.
pub(crate) fn families() -> impl DoubleEndedIterator<Item = &'static Family> {
    ALL.iter().copied()
}

/// The published models of all families.
pub fn published() -> impl Iterator<Item = &'static PublishedModel> {
    families().flat_map(|family| family.published)
}

/// The text encoders of all families.
pub(crate) fn text_roles() -> impl Iterator<Item = &'static TextEncoderRole> {
    families().flat_map(|family| family.text_encoders)
}

/// The family of a denoiser network or ControlNet.
pub(crate) fn of_network(index: &TensorIndex) -> Option<&'static Family> {
    families().find(|family| (family.matches)(index))
}

/// The family whose network reads text of that width.
pub(crate) fn of_context_width(width: usize) -> Option<&'static Family> {
    families().find(|family| family.context_width() == width)
}

/// The first family with a text encoder of that width.
pub(crate) fn of_text_encoder_width(width: usize) -> Option<&'static Family> {
    let has_width = |role: &TextEncoderRole| role.published.width == width;
    families().find(|family| family.text_encoders.iter().any(has_width))
}

/// The role of a text encoder below a scope (which ends in a dot), of a model whose family is not known: that of its width,
/// or else the one of SDXL.
pub(crate) fn text_role(scope: &str, width: usize) -> Option<&'static TextEncoderRole> {
    let has_scope = |role: &&TextEncoderRole| role.scope_with_dot == scope;
    let same = text_roles().find(|role| has_scope(role) && role.published.width == width);
    same.or_else(|| SDXL.text_encoders.iter().find(has_scope))
}

impl PublishedModel {
    /// The model of that name.
    ///
    /// # Errors
    /// [`UnknownName`], which lists the known ones.
    pub fn find(name: &str) -> Result<&'static PublishedModel, UnknownName> {
        names::find("family", name, published())
    }
}
