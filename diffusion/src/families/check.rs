//! What the parts of a checkpoint lack, and what they hold that nothing reads.
//!
//! Parts of the published sizes are compared with the published model, so that a missing layer at the end is missed too; of
//! other sizes, with what their own shapes tell.

use super::contents::{Contents, TEXT, TEXT_2, UNET, VAE};
use super::places::{Part, is_surplus};
use super::{Base, Facts, Family, PUBLISHED, VAE_SCALE, anatomy, published, text};
use crate::Error;
use crate::checklist::{Asked, Checklist, Misshaped};
use crate::params::Params;
use crate::text::{PartEncoder, TextConfig};
use crate::unet::{Heads, UNet, UNetConfig};
use crate::vae::{VaeConfig, VaeDecoder, VaeEncoder};
use latent_loader::{Checkpoint, LoadError, Weights};
use std::sync::Arc;

/// Channels of the published VAE at its finest level.
const VAE_CHANNELS: usize = 128;

/// A part of a checkpoint beside what loading it asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartCheck {
    /// "text encoder", "second text encoder", "UNet" or "VAE".
    pub part: &'static str,
    /// Tensors that are not there, by canonical names.
    pub missing: Vec<String>,
    /// Tensors of another shape.
    pub misshaped: Vec<Misshaped>,
    /// Tensors that nothing reads, by their names in the file. Those that other programs save with every such part are none.
    pub extra: Vec<String>,
}

impl PartCheck {
    /// Whether all is as it should be.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.missing.is_empty() && self.misshaped.is_empty() && self.extra.is_empty()
    }

    /// Compares every part that is there. Only headers are looked at. Parts that no model here reads, of a video model for
    /// example, are left out.
    #[must_use]
    pub fn all(checkpoint: &Arc<Checkpoint>) -> Vec<PartCheck> {
        let facts = Facts::of(checkpoint);
        if facts.is_foreign() {
            return Vec::new();
        }
        let contents = Contents::of(checkpoint);
        let check = Check {
            weights: Weights::renamed(checkpoint.clone(), contents.names()),
            family: Family::detect(&facts),
            facts,
            contents,
        };
        let parts = [check.text(TEXT), check.text(TEXT_2), check.unet(), check.vae()];
        parts.into_iter().flatten().collect()
    }
}

struct Check<'a> {
    facts: Facts<'a>,
    family: Option<&'static Family>,
    contents: Contents<'a>,
    weights: Weights,
}

impl Check<'_> {
    fn text(&self, scope: &'static str) -> Option<PartCheck> {
        if !self.contents.has(scope) {
            return None;
        }
        let alone = || match anatomy::base_of_text_encoder(self.contents.checkpoint) {
            Some(Base::Sd2) => text::SD2,
            _ => text::SDXL,
        };
        let roles = self.family.map_or_else(alone, |family| family.text);
        let (mut is_pooled, mut layers) = (false, 0);
        let asked = self.ask(|params| {
            let Some(mut part) = text::part(roles, scope, &self.weights)? else {
                return Err(missing(format!("{scope}text_model.embeddings.token_embedding.weight")));
            };
            part.config = whole_text(part.config);
            (is_pooled, layers) = (part.pooled, part.config.layers);
            PartEncoder::load(&params.scope(part.scope), &part).map(drop)
        });
        let is_usual = |name: &str| {
            let below = name.strip_prefix(scope).unwrap_or(name);
            (below.starts_with("text_projection") && !is_pooled)
                || below.starts_with(&format!("text_model.encoder.layers.{layers}."))
        };
        let part = if scope == TEXT { "text encoder" } else { "second text encoder" };
        Some(self.compare(part, scope, asked?, is_usual))
    }

    fn unet(&self) -> Option<PartCheck> {
        if !self.contents.has(UNET) {
            return None;
        }
        let heads = self.family.map_or(Heads::Width(64), |family| family.heads);
        let asked = self.ask(|params| UNet::load(&params.scope("unet"), &self.unet_config(heads)?).map(drop));
        Some(self.compare("UNet", UNET, asked?, |_| false))
    }

    /// The published sizes if the file's are of them; else what its shapes tell.
    fn unet_config(&self, heads: Heads) -> Result<UNetConfig, Error> {
        let facts = &self.facts;
        let is_whole = !matches!(facts.variant, Some("SSD-1B" | "Vega"));
        let is_it = |unet: &UNetConfig| {
            is_whole
                && unet.block_out_channels.first() == facts.model_channels.as_ref()
                && Some(unet.cross_attention_dim) == facts.context_dim
                && unet.added_dim == facts.added_dim
        };
        let mut published = PUBLISHED.iter().map(|published| published.sizes().unet);
        match published.find(is_it) {
            Some(unet) => {
                Ok(UNetConfig { in_channels: facts.in_channels.unwrap_or(unet.in_channels), ..unet })
            }
            None => UNetConfig::from_weights(&self.weights.scope("unet"), heads),
        }
    }

    fn vae(&self) -> Option<PartCheck> {
        if !self.contents.has(VAE) {
            return None;
        }
        let asked = self.ask(|params| {
            let (params, weights) = (params.scope("vae"), self.weights.scope("vae"));
            let first = weights.shape("decoder.conv_norm_out.weight").and_then(|shape| shape.first());
            let latents = weights.shape("decoder.conv_in.weight").and_then(|shape| shape.get(1));
            let is_published = (first, latents) == (Some(&VAE_CHANNELS), Some(&4));
            let config = if is_published {
                published::vae(VAE_SCALE)
            } else {
                VaeConfig::from_weights(&weights, VAE_SCALE)?
            };
            VaeDecoder::load(&params, &config)?;
            // A VAE that only decodes is in order.
            if self.contents.has("vae.encoder.") {
                VaeEncoder::load(&params, &config)?;
            }
            Ok(())
        });
        // What an encoder ends with may be left where the encoder was cut off.
        let is_rest = |name: &str| !self.contents.has("vae.encoder.") && name.starts_with("vae.quant_conv.");
        Some(self.compare("VAE", VAE, asked?, is_rest))
    }

    /// What a loading asks for. `None` if it fails for another reason than a tensor that is missing.
    fn ask(&self, load: impl FnOnce(&Params<'_>) -> Result<(), Error>) -> Option<Asked> {
        let list = Checklist::of(self.weights.clone());
        match load(&Params::listed(&list, &|_| ())) {
            Ok(()) => {}
            Err(Error::Load(LoadError::MissingTensor { tensor, .. })) => {
                list.asked().missing.insert(tensor);
            }
            Err(_) => return None,
        }
        let asked = std::mem::take(&mut *list.asked());
        Some(asked)
    }

    fn compare(
        &self,
        part: &'static str,
        scope: &str,
        asked: Asked,
        is_usual: impl Fn(&str) -> bool,
    ) -> PartCheck {
        let unread =
            self.contents.tensors.range(scope.to_owned()..).take_while(|(name, _)| name.starts_with(scope));
        let unread = unread.filter(|(name, _)| !asked.found.contains(*name) && !is_usual(name));
        let unknown = self.contents.others.iter().filter(|(part, tensor)| {
            let of = match part {
                Part::Unet => UNET,
                Part::Vae => VAE,
                Part::Text(_) if self.contents.has(TEXT) => TEXT,
                Part::Text(_) => TEXT_2,
                _ => return false,
            };
            of == scope && !is_surplus(&tensor.name)
        });
        let unread = unread.map(|(_, tensor)| tensor.name.clone());
        PartCheck {
            part,
            missing: asked.missing.into_iter().collect(),
            misshaped: asked.misshaped,
            extra: unread.chain(unknown.map(|(_, tensor)| tensor.name.clone())).collect(),
        }
    }
}

/// The published encoder of that width, if there is one.
fn whole_text(found: TextConfig) -> TextConfig {
    let published = [published::CLIP_L, published::OPEN_CLIP_H, published::OPEN_CLIP_BIG_G];
    let same = published.into_iter().find(|p| p.width == found.width);
    // OpenCLIP H comes with its last layer and without it.
    same.map_or(found.clone(), |same| TextConfig { layers: same.layers.max(found.layers), ..same })
}

fn missing(tensor: String) -> Error {
    Error::Load(LoadError::MissingTensor { file: String::new(), tensor, name_in_file: None })
}
