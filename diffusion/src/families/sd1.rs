//! Stable Diffusion 1.x: CLIP-L, 8 heads everywhere, projections as 1x1 convolutions, epsilon prediction.

use super::{Facts, Family, Model, Parts, Published, Sizes, VAE_SCALE, others, published, text};
use crate::unet::{Heads, UNetConfig};
use crate::{Error, preview};
use latent_loader::Checkpoint;
use std::sync::Arc;

/// Heads of every attention of the UNet, at every width.
pub(super) const HEADS: Heads = Heads::Count(8);

pub(super) static FAMILY: Family = Family {
    id: "sd1",
    label: "Stable Diffusion 1.x",
    resolution: 512,
    heads: HEADS,
    vae_scale: VAE_SCALE,
    latent_rgb: preview::SD,
    text: text::SD1,
    matches: |facts: &Facts<'_>| others::plain(facts, 4),
    build,
};

/// The model that all of the family have the sizes of.
pub(super) static SD15: Published = Published {
    id: "sd15",
    label: "Stable Diffusion 1.5",
    aliases: &["sd1", "sd1.5"],
    resolution: 512,
    sizes: || Sizes {
        text: vec![published::CLIP_L],
        unet: UNetConfig {
            in_channels: 4,
            out_channels: 4,
            block_out_channels: vec![320, 640, 1280, 1280],
            layers_per_block: 2,
            transformer_depth: vec![1, 1, 1, 0],
            up_depth: None,
            mid_depth: 1,
            mid_resnets: 2,
            cross_attention_dim: 768,
            added_dim: None,
            time_cond_proj_dim: None,
            heads: HEADS,
        },
        vae: published::vae(VAE_SCALE),
    },
};

fn build(checkpoint: &Arc<Checkpoint>) -> Result<Model, Error> {
    Model::of_parts(Parts::detect(checkpoint)?.with_text()?, checkpoint)
}
