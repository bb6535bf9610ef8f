//! A checkpoint that can draw.

use super::family::{AddedVector, Family};
use super::model_parts::ModelParts;
use super::network_input::NetworkInput;
use super::probe::{self, Distillation, ModelVariant, Probe};
use crate::network::NetworkConfig;
use crate::samplers::Prediction;
use crate::schedule::{EdmTraining, Training, ZERO_SNR_DIFFUSERS};
use crate::text::{LanguageModel, TextLayout, TextPart};
use crate::vae::VaeConfig;
use crate::{Error, MAX_SIDE};
use latent_loader::{Checkpoint, Weights};
use std::sync::Arc;

/// A checkpoint that can draw: the sizes of its parts, and where their weights are.
#[derive(Clone, Debug)]
pub struct Model {
    /// Its family.
    pub family: &'static Family,
    /// Width and height of its images when none is asked for.
    pub resolution: (usize, usize),
    /// Its text encoders of CLIP.
    pub text: Vec<TextPart>,
    /// Its large text encoder.
    pub language: Option<LanguageModel>,
    /// How the network reads their hidden states.
    pub text_layout: TextLayout,
    /// Sizes of the denoiser network.
    pub network: NetworkConfig,
    /// What the network takes besides the latents.
    pub input: NetworkInput,
    /// Sizes of the VAE.
    pub vae: VaeConfig,
    /// Whether a tiny VAE (TAESD) takes the place of the VAE, as in SDXS.
    pub has_tiny_vae: bool,
    /// What the network predicts.
    pub prediction: Prediction,
    /// Whether zeros take the place of a negative prompt that is not given, and not an empty prompt.
    pub zero_negative: bool,
    /// The noise schedule that it was trained with.
    pub training: Training,
    /// The noise levels of EDM, for a model that was trained with those: then they count and not [`Model::training`].
    pub edm: Option<EdmTraining>,
    /// Whether its added vector contains an aesthetic score in place of the size to draw (SDXL's refiner).
    pub takes_score: bool,
    /// How it was distilled to draw in few steps.
    pub distillation: Option<Distillation>,
    /// Whether it draws in a single step alone (SDXS).
    pub is_single_step: bool,
    /// Steps for which the checkpoint was made, by its name or title ("4step").
    pub named_steps: Option<usize>,
    /// All weights by canonical names: `text_encoder.`, `text_encoder_2.`, `unet.`, `vae.`
    pub weights: Weights,
}

impl Model {
    /// Probes a checkpoint and reads the sizes of its parts. No weight is read.
    ///
    /// # Errors
    /// A file that is not a model, or of a variant that cannot draw, or that lacks a part.
    pub fn detect(checkpoint: &Arc<Checkpoint>) -> Result<Model, Error> {
        Model::of(&Probe::of(checkpoint))
    }

    /// The model in a probed checkpoint.
    ///
    /// # Errors
    /// As [`Model::detect`].
    pub fn of(probe: &Probe) -> Result<Model, Error> {
        let family = probe.require_family()?;
        let checkpoint = probe.checkpoint();
        let parts = ModelParts::of(probe)?.require_text()?;
        let ModelParts { text, language, text_layout, network, vae, has_tiny_vae, weights, .. } = parts;
        let identity = probe.identity();
        let input = NetworkInput::of(network.in_channels(), vae.latent_channels, vae.factor());
        // A control image looks like an image to be edited.
        let Some(input) = input.filter(|_| identity.variant != Some(ModelVariant::FluxControl)) else {
            return Err(probe.refuse(unknown_input(family, &network)));
        };
        let training = (family.training)();
        let side = family.resolution;
        Ok(Model {
            family,
            input,
            resolution: named_resolution(checkpoint, vae.factor() * network.patch()).unwrap_or((side, side)),
            text,
            language,
            text_layout,
            network,
            vae,
            has_tiny_vae,
            prediction: identity
                .prediction
                .as_ref()
                .map_or(family.prediction, |detected| detected.prediction),
            zero_negative: family.zero_negative,
            training: if identity.zero_terminal_snr {
                training.rescale_zero_terminal_snr(ZERO_SNR_DIFFUSERS)
            } else {
                training
            },
            edm: probe::edm::training(checkpoint)?.filter(|_| identity.variant == Some(ModelVariant::Edm)),
            takes_score: family.added_vector == AddedVector::AestheticScore,
            distillation: identity.distillation.map(|detected| detected.distillation),
            is_single_step: identity.variant == Some(ModelVariant::Sdxs),
            named_steps: probe::named_steps(checkpoint),
            weights,
        })
    }
}

/// What is said of a model whose network takes other channels than those that are known.
fn unknown_input(family: &Family, network: &NetworkConfig) -> String {
    let channels = network.in_channels();
    match network {
        NetworkConfig::UNet(_) => format!(
            "is a {} checkpoint whose UNet takes {channels} channels, which is not supported; 4 (latents), 9 (inpainting) and 8 \
             (InstructPix2Pix) are",
            family.label
        ),
        NetworkConfig::Transformer(_) => format!(
            "is a {} checkpoint whose transformer takes {channels} channels, which is not supported (a model of a control image, \
             such as Canny or Depth?); those that take the latents alone, and Fill, are",
            family.label
        ),
    }
}

/// Width and height that a checkpoint names: `modelspec.resolution` in its metadata ("512x768"), or the sample size
/// of the UNet's configuration times the VAE's `factor`.
fn named_resolution(checkpoint: &Checkpoint, factor: usize) -> Option<(usize, usize)> {
    let good = |side: &usize| (1..=MAX_SIDE).contains(side) && side.is_multiple_of(factor);
    if let Some((width, height)) =
        probe::metadata(checkpoint, "modelspec.resolution").and_then(|s| s.split_once('x'))
    {
        let sides = (width.trim().parse().ok()?, height.trim().parse().ok()?);
        return Some(sides).filter(|(width, height)| good(width) && good(height));
    }
    let side = checkpoint.config("unet")?.get_u64("sample_size")?;
    let side = usize::try_from(side).ok()?.checked_mul(factor)?;
    Some((side, side)).filter(|_| good(&side))
}
