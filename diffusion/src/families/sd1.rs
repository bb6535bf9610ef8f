//! Stable Diffusion 1.x: CLIP-L, 8 heads everywhere, projections as 1x1 convolutions, epsilon prediction.

use super::{Facts, Family, Model, Parts, Published, Sizes, VAE_SCALE, named_resolution, parts, published};
use crate::Error;
use crate::samplers::Prediction;
use crate::schedule::Training;
use crate::text::{TextActivation, TextConfig};
use crate::tokenizer;
use crate::unet::{Heads, UNetConfig};
use latent_loader::{Checkpoint, Weights};
use std::sync::Arc;

/// Heads of every attention of the UNet, at every width.
pub(super) const HEADS: Heads = Heads::Count(8);

pub(super) static FAMILY: Family = Family {
    id: "sd1",
    label: "Stable Diffusion 1.x",
    resolution: 512,
    heads: HEADS,
    vae_scale: VAE_SCALE,
    matches: |facts: &Facts<'_>| {
        facts.in_channels == Some(4) && facts.proj_in_rank == Some(4) && facts.added_dim.is_none()
    },
    build: Some(build),
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
            mid_depth: 1,
            cross_attention_dim: 768,
            added_dim: None,
            heads: HEADS,
        },
        vae: published::vae(VAE_SCALE),
    },
};

fn build(family: &'static Family, checkpoint: &Arc<Checkpoint>) -> Result<Model, Error> {
    let mut names = parts::canonical_names(checkpoint);
    names.extend(checkpoint.tensors().filter_map(|t| Some((text_name(&t.name)?, t.name.clone()))));
    let weights = Weights::renamed(checkpoint.clone(), names);
    if !weights.contains("text_encoder.text_model.embeddings.token_embedding.weight") {
        let file = checkpoint.label().to_owned();
        return Err(Error::MissingComponent { file, component: "text encoder" });
    }
    let text =
        TextConfig::from_weights(&weights.scope("text_encoder.text_model"), TextActivation::QuickGelu)?;
    let Parts { unet, vae, weights, .. } = Parts::of(family, weights)?;
    let side = family.resolution;
    Ok(Model {
        family,
        resolution: named_resolution(checkpoint, vae.factor()).unwrap_or((side, side)),
        text,
        unet,
        vae,
        prediction: Prediction::Epsilon,
        training: Training::scaled_linear(),
        padding_token: tokenizer::END,
        weights,
    })
}

/// Canonical name of a tensor of the text encoder, in single files and folders.
fn text_name(name: &str) -> Option<String> {
    let name =
        ["cond_stage_model.transformer.", "text_encoder."].iter().find_map(|p| name.strip_prefix(p))?;
    Some(format!("text_encoder.text_model.{}", name.strip_prefix("text_model.").unwrap_or(name)))
}
