//! The parts of a checkpoint of any family: text encoders, UNet and VAE.

use super::component::Component;
use super::family::{Family, TextUse};
use super::probe::{Probe, edm};
use super::{published, text_encoders};
use crate::Error;
use crate::network::NetworkConfig;
use crate::text::{LanguageModel, LanguageModelRole, TextLayout, TextPart};
use crate::vae::{LatentStatistics, VaeConfig};
use latent_loader::{Checkpoint, Weights};
use std::sync::Arc;

/// Text encoders, UNet and VAE of a checkpoint, also of one that lacks text encoders.
#[derive(Clone, Debug)]
pub struct ModelParts {
    /// Its family.
    pub family: &'static Family,
    /// Its text encoders of CLIP, as far as they are there.
    pub text: Vec<TextPart>,
    /// Its large text encoder, if it is there.
    pub language: Option<LanguageModel>,
    /// How the network reads their hidden states.
    pub text_layout: TextLayout,
    /// Sizes of the denoiser network.
    pub network: NetworkConfig,
    /// Sizes of the VAE.
    pub vae: VaeConfig,
    /// Whether a tiny VAE (TAESD) takes the place of the VAE, as in SDXS.
    pub has_tiny_vae: bool,
    /// Their weights by canonical names: `text_encoder.`, `text_encoder_2.`, `unet.`, `vae.`
    pub weights: Weights,
}

impl ModelParts {
    /// Probes a checkpoint and reads the sizes of its parts. No weight is read.
    ///
    /// # Errors
    /// A file that is not a model, or that lacks a part.
    pub fn detect(checkpoint: &Arc<Checkpoint>) -> Result<ModelParts, Error> {
        ModelParts::of(&Probe::of(checkpoint))
    }

    /// The sizes of the parts of a probed checkpoint.
    ///
    /// # Errors
    /// As [`ModelParts::detect`].
    pub fn of(probe: &Probe) -> Result<ModelParts, Error> {
        let family = probe.require_family()?;
        let weights = probe.weights().clone();
        let has_tiny_vae = !has_vae(&weights) && weights.contains("vae.decoder.layers.0.weight");
        if !has_vae(&weights) && !has_tiny_vae {
            return Err(missing_components(family, &weights));
        }
        let scale = named_scale(probe.checkpoint()).unwrap_or(family.latent_format.scale);
        let mut vae = if has_tiny_vae {
            published::vae(&family.latent_format)
        } else {
            VaeConfig::from_weights(&weights.scope("vae"), scale)?
        };
        // A VAE of these latents without its convolutions is not complete.
        vae.has_quant_conv |= family.latent_format.has_quant_conv;
        vae.shift_factor = named_shift(probe.checkpoint()).unwrap_or(family.latent_format.shift);
        vae.statistics = named_statistics(probe.checkpoint(), vae.latent_channels);
        if let Some((statistics, scale)) = edm::statistics(probe.checkpoint(), vae.latent_channels) {
            (vae.statistics, vae.scaling_factor) = (Some(statistics), scale);
        }
        let network = NetworkConfig::from_weights(&weights, family.network)?;
        let text = text_encoders::parts(family.text_encoders, &weights)?;
        let language = text_encoders::language(family.language_model, &weights)?;
        Ok(ModelParts {
            family,
            text_layout: network.text_layout(family.text_use, family.language_model),
            text,
            language,
            network,
            vae,
            has_tiny_vae,
            weights,
        })
    }

    /// Refuses a checkpoint that lacks a text encoder of its family. Layers that are never used are left out (SD 2.x: the
    /// last one), so that they are not read.
    pub(super) fn require_text(mut self) -> Result<ModelParts, Error> {
        let has_language = self.language.is_some() || self.family.language_model.is_none();
        let is_whole = match self.family.text_use {
            TextUse::AnyInSequence => !self.text.is_empty() || has_language,
            TextUse::SideBySide | TextUse::Language => {
                self.text.len() == self.family.text_encoders.len() && has_language
            }
        };
        if is_whole {
            self.check_language()?;
            self.text.iter_mut().for_each(TextPart::leave_out_unused);
            return Ok(self);
        }
        Err(missing_components(self.family, &self.weights))
    }
}

impl ModelParts {
    /// Refuses a large text encoder of another size than the network reads.
    fn check_language(&self) -> Result<(), Error> {
        let (Some(language), Some(wanted)) = (&self.language, self.text_layout.language_width()) else {
            return Ok(());
        };
        let found = language.width();
        if found == wanted {
            return Ok(());
        }
        let (file, label) = (self.weights.label().to_owned(), self.family.label);
        let name = match language.role {
            LanguageModelRole::T5 { .. } => Component::T5,
            LanguageModelRole::Qwen3(_) => Component::Qwen3,
        };
        let reason = format!(
            "its {name} gives texts of width {found}, and this {label} reads {wanted}; give the size of \
             encoder that the transformer was trained with"
        );
        Err(Error::Unsupported { file, reason })
    }
}

fn has_vae(weights: &Weights) -> bool {
    weights.contains("vae.decoder.conv_in.weight")
}

/// The error with all components that a family has and these weights lack.
fn missing_components(family: &Family, weights: &Weights) -> Error {
    let mut components = text_encoders::missing(family.text_encoders, family.language_model, weights);
    if !has_vae(weights) {
        components.push(Component::Vae);
    }
    Error::MissingComponent { file: weights.label().to_owned(), components }
}

/// The scale of latents in the VAE's configuration, in a model's folder or its own.
pub(super) fn named_scale(checkpoint: &Checkpoint) -> Option<f32> {
    let scale = checkpoint.config("vae").or_else(|| checkpoint.config(""))?.get_f64("scaling_factor")?;
    (scale.is_finite() && scale > 0.0).then_some(scale as f32)
}

/// The mean of latents in the VAE's configuration, in a model's folder or its own.
fn named_shift(checkpoint: &Checkpoint) -> Option<f32> {
    let shift = checkpoint.config("vae").or_else(|| checkpoint.config(""))?.get_f64("shift_factor")?;
    shift.is_finite().then_some(shift as f32)
}

/// Mean and deviation of latents in the VAE's configuration, in a model's folder or its own.
fn named_statistics(checkpoint: &Checkpoint, channels: usize) -> Option<LatentStatistics> {
    let config = checkpoint.config("vae").or_else(|| checkpoint.config(""))?;
    let values = |key: &str| -> Option<Vec<f32>> {
        Some(config.get_f64s(key)?.into_iter().map(|value| value as f32).collect())
    };
    LatentStatistics::checked(values("latents_mean")?, values("latents_std")?, channels)
}
