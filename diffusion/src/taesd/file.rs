//! Files of TAESD.

use super::{FACTOR, TaesdDecoder, TaesdEncoder};
use crate::Error;
use crate::families::completeness::check_component;
use crate::families::{Component, LatentFormat, Model, ModelKind, Probe};
use crate::params::Params;
use crate::tensor_names::taesd;
use latent_loader::{Checkpoint, Weights};
use std::sync::Arc;

/// Channels of the latents of Stable Diffusion 1.x to SDXL.
const SD_CHANNELS: usize = LatentFormat::SD.channels;

/// Sizes of a TAESD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaesdConfig {
    /// Channels of its convolutions: 64.
    pub channels: usize,
    /// Channels of a latent: 4, or 16 of those for transformers (TAESD3, TAEF1).
    pub latent_channels: usize,
}

/// An opened file of a TAESD, with one half or both, found complete. Its weights are read when they are needed.
#[derive(Debug)]
pub struct TaesdFile {
    weights: Weights,
    config: TaesdConfig,
}

impl TaesdFile {
    /// Reads names and shapes, of any layout, and checks that each half that is there is complete.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a file of something else, and what it is; [`Error::Incomplete`] for one with gaps.
    pub fn open(checkpoint: Checkpoint) -> Result<TaesdFile, Error> {
        let checkpoint = Arc::new(checkpoint);
        let probe = Probe::of(&checkpoint);
        let kind = probe.identity().kind;
        let weights = Weights::renamed(checkpoint.clone(), taesd::canonical(&checkpoint));
        let mut config = None;
        if let Some(&[channels, latent_channels, _, _]) = weights.shape("decoder.layers.0.weight") {
            config = Some(TaesdConfig { channels, latent_channels });
        } else if let Some(&[channels, _, _, _]) = weights.shape("encoder.layers.0.weight") {
            let latent_channels = weights.dim("encoder.layers.14.weight", 0)?;
            config = Some(TaesdConfig { channels, latent_channels });
        }
        let Some(config) = config.filter(|_| matches!(kind, ModelKind::TinyVae | ModelKind::Unknown)) else {
            let what = match kind {
                ModelKind::Unknown | ModelKind::TinyVae => "holds no TAESD".to_owned(),
                kind => kind.instead_of("a TAESD"),
            };
            return Err(probe.refuse(format!("{what}; give a tiny VAE, such as taesd_decoder")));
        };
        TaesdFile { weights, config }.complete()
    }

    /// The tiny VAE that takes the place of a model's.
    ///
    /// # Errors
    /// [`Error::Incomplete`] for one with gaps.
    pub(crate) fn of_model(model: &Model) -> Result<TaesdFile, Error> {
        let weights = model.weights.scope("vae");
        let [channels, latent_channels] =
            [weights.dim("decoder.layers.0.weight", 0)?, weights.dim("decoder.layers.0.weight", 1)?];
        TaesdFile { weights, config: TaesdConfig { channels, latent_channels } }.complete()
    }

    /// The file, if each half that is there is complete.
    fn complete(self) -> Result<TaesdFile, Error> {
        let file = self;
        if file.has("decoder") {
            file.check(Component::TaesdDecoder, |params| TaesdDecoder::load(params, &file.config).map(drop))?;
        }
        if file.has("encoder") {
            file.check(Component::TaesdEncoder, |params| TaesdEncoder::load(params, &file.config).map(drop))?;
        }
        Ok(file)
    }

    fn has(&self, half: &str) -> bool {
        self.weights.scope(half).names().next().is_some()
    }

    fn check(
        &self,
        half: Component,
        load: impl FnOnce(&Params<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        // The other half is checked by itself.
        check_component(&self.weights, (half, "TAESD"), load, |name| !name.starts_with(half.name()))
    }

    /// What error messages call it.
    #[must_use]
    pub fn label(&self) -> &str {
        self.weights.label()
    }

    /// Its sizes.
    #[must_use]
    pub fn config(&self) -> &TaesdConfig {
        &self.config
    }

    /// Its weights, by the names of diffusers.
    #[must_use]
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// Checks that it decodes the latents of a model.
    ///
    /// # Errors
    /// [`Error::Unsupported`]: an encoder alone, or one of other latents.
    pub fn check_fits(&self, model: &Model) -> Result<(), Error> {
        let refuse = |reason: String| Err(Error::Unsupported { file: self.label().to_owned(), reason });
        if !self.has("decoder") {
            return refuse("is the encoder of a TAESD alone; give the decoder, such as taesd_decoder".into());
        }
        let (own, latents) = (self.config.latent_channels, model.vae.latent_channels);
        if own != latents || model.vae.factor() != FACTOR {
            let label = model.family.label;
            return refuse(format!(
                "is a TAESD for latents of {own} channels, and those of {label} have {latents}"
            ));
        }
        let format = model.family.latent_format;
        // Those of 4 channels may have any name: SD and SDXL are told apart by it alone, too, and are not refused for it.
        let named = LatentFormat::of_tiny_vae(self.label())
            .filter(|named| named.channels == own && own != SD_CHANNELS);
        if let Some(named) = named.filter(|named| named.tiny_vae != format.tiny_vae) {
            let (label, wanted) = (model.family.label, format.tiny_vae);
            return refuse(format!(
                "is a {}, whose latents are not those of {label}; give {wanted}",
                named.tiny_vae
            ));
        }
        if model.vae.statistics.is_some() {
            return refuse("is a TAESD, and this model's latents have another mean and deviation".into());
        }
        Ok(())
    }

    /// Reads the decoder for a device. It is small: 5 MB.
    ///
    /// # Errors
    /// Unreadable weights, a file without a decoder.
    pub fn decoder(&self, device: &latent_tensor::Device) -> Result<TaesdDecoder, Error> {
        self.decoder_wrapping(device, [false; 2])
    }

    /// As [`TaesdFile::decoder`], with convolutions that continue images by what is on their other side, or not.
    pub(crate) fn decoder_wrapping(
        &self,
        device: &latent_tensor::Device,
        wraps: [bool; 2],
    ) -> Result<TaesdDecoder, Error> {
        let params = Params::new(self.weights.clone(), &|_| ()).on(device).wrapping(wraps);
        TaesdDecoder::load(&params, &self.config)
    }

    /// Reads the encoder for a device.
    ///
    /// # Errors
    /// Unreadable weights, a file without an encoder.
    pub fn encoder(&self, device: &latent_tensor::Device) -> Result<TaesdEncoder, Error> {
        TaesdEncoder::load(&Params::new(self.weights.clone(), &|_| ()).on(device), &self.config)
    }
}
