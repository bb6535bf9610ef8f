//! Every component of a checkpoint, compared with the published one of its sizes.

use super::compare;
use super::missing::ComponentCheck;
use crate::Error;
use crate::families::component::Component;
use crate::families::family::Family;
use crate::families::latent_format::LatentFormat;
use crate::families::probe::Probe;
use crate::families::probe::index::{QWEN3, T5, TEXT, TEXT_2, TRANSFORMER, UNET, VAE};
use crate::families::probe::variant::ModelVariant;
use crate::families::{published, registry, text_encoders};
use crate::params::Params;
use crate::tensor_names::prefixes::{TensorPart, is_byproduct};
use crate::text::{LanguageEncoder, LanguageModelRole, LayerLoading, PartEncoder, TextConfig};
use crate::transformer::TransformerConfig;
use crate::unet::{Heads, UNet, UNetConfig};
use crate::vae::{VaeConfig, VaeDecoder, VaeEncoder};
use latent_loader::{LoadError, Weights};

/// Channels of the published VAE at its finest level.
const VAE_CHANNELS: usize = 128;
/// The heads of all families but SD 1.x, for a UNet of an unknown one.
const USUAL_HEADS: Heads = Heads::Width(64);

impl ComponentCheck {
    /// Compares every component that is there. Only headers are read. Components that no model here reads, of a video model
    /// for example, are left out.
    #[must_use]
    pub fn all(probe: &Probe) -> Vec<ComponentCheck> {
        if probe.is_foreign() {
            return Vec::new();
        }
        let inspection = Inspection { probe, family: probe.supported_family(), weights: probe.weights() };
        let checks = [
            inspection.text(TEXT),
            inspection.text(TEXT_2),
            inspection.language(),
            inspection.unet(),
            inspection.transformer(),
            inspection.vae(),
        ];
        checks.into_iter().flatten().collect()
    }
}

struct Inspection<'a> {
    probe: &'a Probe,
    family: Option<&'static Family>,
    weights: &'a Weights,
}

impl Inspection<'_> {
    fn text(&self, scope: &'static str) -> Option<ComponentCheck> {
        let table = format!("{scope}text_model.embeddings.token_embedding.weight");
        let role = match self.family {
            Some(family) => family.text_encoders.iter().find(|role| role.scope_with_dot == scope),
            None => registry::text_role(scope, self.probe.index().dim(&table, 1).unwrap_or(0)),
        };
        let (mut is_pooled, mut layers) = (false, 0);
        let load = |params: &Params<'_>| {
            let Some(mut part) = role.map_or(Ok(None), |role| role.part(self.weights))? else {
                return Err(missing(table));
            };
            part.config = published_text(part.config);
            (is_pooled, layers) = (part.pooled, part.config.layers);
            PartEncoder::load(params, &part).map(drop)
        };
        let component = if scope == TEXT { Component::TextEncoder } else { Component::SecondTextEncoder };
        let mut check = self.check(component, scope, load)?;
        // Other programs save these too.
        let projection = format!("{scope}text_projection");
        let last_layer = format!("{scope}text_model.encoder.layers.{layers}.");
        self.tolerate(&mut check, |name| {
            (name.starts_with(&projection) && !is_pooled) || name.starts_with(&last_layer)
        });
        Some(check)
    }

    fn language(&self) -> Option<ComponentCheck> {
        let language = text_encoders::language(self.family?.language_model, self.weights).ok()??;
        let load =
            |params: &Params<'_>| LanguageEncoder::load(params, &language, LayerLoading::AllAtOnce).map(drop);
        let (component, scope) = match language.role {
            LanguageModelRole::T5 { .. } => (Component::T5, T5),
            LanguageModelRole::Qwen3(_) => (Component::Qwen3, QWEN3),
        };
        let mut check = self.check(component, scope, load)?;
        // Layers after the last that is asked for.
        self.tolerate(&mut check, |name| name.starts_with(QWEN3));
        Some(check)
    }

    fn transformer(&self) -> Option<ComponentCheck> {
        let load = |params: &Params<'_>| {
            let weights = self.weights.scope(TRANSFORMER.trim_end_matches('.'));
            TransformerConfig::of_weights(&weights)?.load(params).map(drop)
        };
        self.check(Component::Transformer, TRANSFORMER, load)
    }

    fn unet(&self) -> Option<ComponentCheck> {
        let heads = self.family.and_then(Family::heads).unwrap_or(USUAL_HEADS);
        self.check(Component::UNet, UNET, |params| UNet::load(params, &self.unet_config(heads)?).map(drop))
    }

    /// The published sizes if the file's are of them; else what its shapes show.
    fn unet_config(&self, heads: Heads) -> Result<UNetConfig, Error> {
        let shape = self.probe.unet_shape();
        let is_pruned = self.probe.identity().variant.is_some_and(ModelVariant::is_pruned);
        let is_it = |unet: &UNetConfig| {
            !is_pruned
                && unet.block_out_channels.first() == shape.model_channels.as_ref()
                && Some(unet.cross_attention_dim) == shape.context_dim
                && unet.added_dim == shape.added_dim
        };
        match registry::published().map(|model| model.sizes().unet).find(is_it) {
            Some(unet) => {
                Ok(UNetConfig { in_channels: shape.in_channels.unwrap_or(unet.in_channels), ..unet })
            }
            None => UNetConfig::from_weights(&self.weights.scope("unet"), heads),
        }
    }

    fn vae(&self) -> Option<ComponentCheck> {
        // A tiny VAE in its place is checked when the model is opened.
        if self.probe.index().has("vae.decoder.layers.") {
            return None;
        }
        let has_encoder = self.probe.index().has("vae.encoder.");
        let load = |params: &Params<'_>| {
            let (weights, latents) = (self.weights.scope("vae"), &LatentFormat::SD);
            let dim =
                |name: &str, axis: usize| weights.shape(name).and_then(|shape| shape.get(axis).copied());
            let channels = dim("decoder.conv_norm_out.weight", 0);
            let latent_channels = dim("decoder.conv_in.weight", 1);
            let is_published = channels == Some(VAE_CHANNELS) && latent_channels == Some(latents.channels);
            let config = if is_published {
                published::vae(latents)
            } else {
                VaeConfig::from_weights(&weights, latents.scale)?
            };
            VaeDecoder::load(params, &config)?;
            // A VAE that only decodes is complete.
            if has_encoder {
                VaeEncoder::load(params, &config)?;
            }
            Ok(())
        };
        let mut check = self.check(Component::Vae, VAE, load)?;
        // The encoder's last layer may be left where the encoder was cut off.
        self.tolerate(&mut check, |name| !has_encoder && name.starts_with("vae.quant_conv."));
        Some(check)
    }

    /// Compares a component; `None` if it is not there, or cannot be built for another reason than missing tensors.
    fn check(
        &self,
        component: Component,
        scope: &str,
        load: impl FnOnce(&Params<'_>) -> Result<(), Error>,
    ) -> Option<ComponentCheck> {
        if !self.probe.index().has(scope) {
            return None;
        }
        let weights = self.weights.scope(scope.trim_end_matches('.'));
        let (mut check, built) = compare(&weights, component, load, |_| false);
        built.ok()?;
        let has_first_text = self.probe.index().has(TEXT);
        let unplaced = self.probe.index().unplaced().iter().filter(|(part, tensor)| {
            let scope_of_part = match part {
                TensorPart::UNet if self.probe.index().has_unet() => UNET,
                TensorPart::UNet | TensorPart::Transformer => TRANSFORMER,
                TensorPart::T5 => T5,
                TensorPart::Qwen3 => QWEN3,
                TensorPart::Vae => VAE,
                TensorPart::Text(_) if has_first_text => TEXT,
                TensorPart::Text(_) => TEXT_2,
                _ => return false,
            };
            scope_of_part == scope && !is_byproduct(&tensor.name)
        });
        check.unused.extend(unplaced.map(|(_, tensor)| tensor.name.clone()));
        Some(check)
    }

    /// Takes unused tensors out of a check if a test of their canonical names passes.
    fn tolerate(&self, check: &mut ComponentCheck, is_tolerated: impl Fn(&str) -> bool) {
        let tolerated: Vec<_> = self
            .probe
            .index()
            .tensors()
            .filter(|(name, _)| is_tolerated(name))
            .map(|(_, tensor)| tensor.name.as_str())
            .collect();
        check.unused.retain(|name| !tolerated.contains(&name.as_str()));
    }
}

/// The sizes of the published encoder of that width, if there is one.
fn published_text(found: TextConfig) -> TextConfig {
    let same =
        registry::text_roles().map(|role| &role.published).find(|published| published.width == found.width);
    // OpenCLIP H comes with its last layer and without it.
    same.map_or(found.clone(), |same| TextConfig { layers: same.layers.max(found.layers), ..same.clone() })
}

fn missing(tensor: String) -> Error {
    Error::Load(LoadError::MissingTensor { file: String::new(), tensor, name_in_file: None })
}
