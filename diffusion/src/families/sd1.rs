//! Stable Diffusion 1.x: CLIP-L, 8 heads everywhere, projections as 1x1 convolutions, epsilon prediction.

use super::{Facts, Family, Model, Published, Sizes, named_resolution, names};
use crate::Error;
use crate::samplers::Prediction;
use crate::schedule::Training;
use crate::text::{TextActivation, TextConfig};
use crate::tokenizer;
use crate::unet::{Heads, UNetConfig};
use crate::vae::VaeConfig;
use latent_loader::{Checkpoint, Layout, Weights};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Heads of every attention of the UNet, at every width.
const HEADS: usize = 8;
/// The VAE's latents times this have unit variance.
const VAE_SCALE: f32 = 0.18215;

pub(super) static FAMILY: Family = Family {
    id: "sd1",
    label: "Stable Diffusion 1.x",
    resolution: 512,
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
        text: TextConfig {
            vocabulary: 49_408,
            width: 768,
            layers: 12,
            mlp_width: 3072,
            activation: TextActivation::QuickGelu,
        },
        unet: UNetConfig {
            in_channels: 4,
            out_channels: 4,
            block_out_channels: vec![320, 640, 1280, 1280],
            layers_per_block: 2,
            transformer_depth: vec![1, 1, 1, 0],
            mid_depth: 1,
            cross_attention_dim: 768,
            heads: Heads::Count(HEADS),
        },
        vae: VaeConfig {
            block_out_channels: vec![128, 256, 512, 512],
            layers_per_block: 2,
            latent_channels: 4,
            scaling_factor: VAE_SCALE,
        },
    },
};

fn build(family: &'static Family, checkpoint: &Arc<Checkpoint>) -> Result<Model, Error> {
    let names = canonical_names(checkpoint);
    let weights = Weights::renamed(checkpoint.clone(), names);
    for (component, telling) in [
        ("text encoder", "text_encoder.text_model.embeddings.token_embedding.weight"),
        ("VAE", "vae.decoder.conv_in.weight"),
    ] {
        if !weights.contains(telling) {
            return Err(Error::MissingComponent { file: checkpoint.label().to_owned(), component });
        }
    }
    let text = weights.scope("text_encoder.text_model");
    let vae = VaeConfig::from_weights(&weights.scope("vae"), VAE_SCALE)?;
    let side = family.resolution;
    Ok(Model {
        family,
        resolution: named_resolution(checkpoint, vae.factor()).unwrap_or((side, side)),
        text: TextConfig::from_weights(&text, TextActivation::QuickGelu)?,
        unet: UNetConfig::from_weights(&weights.scope("unet"), Heads::Count(HEADS))?,
        vae,
        prediction: Prediction::Epsilon,
        training: Training::scaled_linear(),
        padding_token: tokenizer::END,
        weights,
    })
}

/// Canonical name of every tensor of the model, and its name in the file.
fn canonical_names(checkpoint: &Checkpoint) -> BTreeMap<String, String> {
    let rename = match checkpoint.layout() {
        Layout::SingleFile => single_file,
        Layout::DiffusersFolder => folder,
    };
    rename(checkpoint).collect()
}

fn single_file(checkpoint: &Checkpoint) -> Box<dyn Iterator<Item = (String, String)> + '_> {
    let names = || checkpoint.tensors().map(|t| t.name.as_str());
    let first_downsampler = names().filter_map(|name| {
        name.strip_prefix("model.diffusion_model.input_blocks.")?
            .strip_suffix(".0.op.weight")?
            .parse::<usize>()
            .ok()
    });
    let layers = first_downsampler.min().unwrap_or(usize::MAX / 2).saturating_sub(1);
    let vae_levels = names().filter_map(|name| {
        name.strip_prefix("first_stage_model.decoder.up.")?.split('.').next()?.parse::<usize>().ok()
    });
    let levels = vae_levels.max().map_or(0, |level| level.saturating_add(1));
    Box::new(checkpoint.tensors().filter_map(move |tensor| {
        let canonical = if let Some(name) = tensor.name.strip_prefix("model.diffusion_model.") {
            format!("unet.{}", names::unet(name, layers)?)
        } else if let Some(name) = tensor.name.strip_prefix("first_stage_model.") {
            format!("vae.{}", names::vae(name, levels)?)
        } else {
            let name = tensor.name.strip_prefix("cond_stage_model.transformer.")?;
            format!("text_encoder.text_model.{}", name.strip_prefix("text_model.").unwrap_or(name))
        };
        Some((canonical, tensor.name.clone()))
    }))
}

fn folder(checkpoint: &Checkpoint) -> Box<dyn Iterator<Item = (String, String)> + '_> {
    Box::new(checkpoint.tensors().map(|tensor| {
        let canonical = if let Some(name) = tensor.name.strip_prefix("vae.") {
            format!("vae.{}", names::vae_of_folder(name))
        } else if let Some(name) = tensor.name.strip_prefix("text_encoder.") {
            format!("text_encoder.text_model.{}", name.strip_prefix("text_model.").unwrap_or(name))
        } else {
            tensor.name.clone()
        };
        (canonical, tensor.name.clone())
    }))
}
