//! Files of upscalers.

use super::mix::WeightMix;
use super::{SpanConfig, SwinIrConfig, Tiling, UpscaledPart, Upscaler, UpscalerConfig};
use crate::families::completeness::check_component;
use crate::families::{Component, ModelKind, Probe};
use crate::params::{Params, WeightEdit};
use crate::tensor_names::{esrgan, upscalers};
use crate::{Error, Image, Listener, LoadedNetwork, loading};
use latent_loader::{Checkpoint, Quoted, Weights};
use latent_tensor::{Device, Precision};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What to do where a file is not an upscaler that can be used.
const ADVICE: &str = "give an ESRGAN such as RealESRGAN_x4plus, a Compact such as realesr-general-x4v3, a SPAN or a light SwinIR";

/// An opened file of an upscaler, found complete. Its weights are read when they are needed.
#[derive(Debug)]
pub struct UpscalerFile {
    weights: Weights,
    config: UpscalerConfig,
    mix: Option<Arc<WeightMix>>,
}

impl UpscalerFile {
    /// Reads names and shapes, of any of the usual layouts, and checks that all tensors are there.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a file of something else, and what it is; [`Error::Incomplete`] for one with gaps.
    pub fn open(checkpoint: impl Into<Arc<Checkpoint>>) -> Result<UpscalerFile, Error> {
        UpscalerFile::of(&Probe::of(&checkpoint.into()))
    }

    /// As [`UpscalerFile::open`], for a checkpoint that was probed.
    ///
    /// # Errors
    /// As [`UpscalerFile::open`].
    pub fn of(probe: &Probe) -> Result<UpscalerFile, Error> {
        let checkpoint = probe.checkpoint();
        let refuse = |reason: String| Err(probe.refuse(format!("{reason}; {ADVICE}")));
        if probe.identity().kind != ModelKind::Upscaler {
            return refuse(match probe.identity().kind {
                ModelKind::Unknown => "holds no upscaler".to_owned(),
                kind => kind.instead_of("an upscaler"),
            });
        }
        let own = upscalers::own_names(checkpoint);
        let architecture = match upscalers::architecture(&own) {
            Ok(architecture) => architecture,
            Err(other) => {
                return refuse(format!("is an upscaler of the kind {other}, which is not supported"));
            }
        };
        let kind = architecture.name();
        let names = esrgan::canonical(&own);
        let weights = Weights::renamed(checkpoint.clone(), names.clone());
        let config = match UpscalerConfig::from_weights(architecture, &weights) {
            Ok(config) => config,
            Err(what) => return refuse(format!("is not an upscaler of the kind {kind}: {what}")),
        };
        let file = UpscalerFile { weights, config, mix: None };
        let load = |params: &Params<'_>| Upscaler::load(params, &file.config).map(drop);
        let is_spare = |name: &str| SpanConfig::is_spare(name) || SwinIrConfig::is_spare(name);
        check_component(&file.weights, (Component::Upscaler, kind), load, is_spare)?;
        // A network with more layers gives another image.
        let known: BTreeSet<&String> =
            names.iter().filter(|(name, _)| file.config.has_tensor(name)).map(|(_, name)| name).collect();
        match own.iter().find(|name| !known.contains(&(**name).to_owned())) {
            Some(strange) => {
                let what = Quoted(strange);
                refuse(format!("is not an upscaler of the kind {kind}: it has a tensor {what}"))
            }
            None => Ok(file),
        }
    }

    /// The network between this one and another of the same sizes: each weight is that much the other's, 0 to 1. So the
    /// general model of Real-ESRGAN and its sibling that keeps noise give any strength of denoising.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a network of other sizes, or a part that is not 0 to 1.
    pub fn mixed(self, other: &UpscalerFile, part: f64) -> Result<UpscalerFile, Error> {
        let refuse = |reason| Err(Error::Unsupported { file: other.label().to_owned(), reason });
        if other.config != self.config {
            let (own, other) = (&self.config, &other.config);
            return refuse(format!("cannot be mixed with {}: it is {other}, and that {own}", self.label()));
        }
        if !(0.0..=1.0).contains(&part) {
            return refuse(format!("cannot be {part} of a network; give a part of 0 to 1"));
        }
        Ok(UpscalerFile { mix: Some(Arc::new(WeightMix { other: other.weights.clone(), part })), ..self })
    }

    /// What error messages call it.
    #[must_use]
    pub fn label(&self) -> &str {
        self.weights.label()
    }

    /// Its sizes.
    #[must_use]
    pub fn config(&self) -> &UpscalerConfig {
        &self.config
    }

    /// Its weights, by their canonical names.
    #[must_use]
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// Reads the network for a device, and reports progress to the listener.
    ///
    /// # Errors
    /// Unreadable weights, a cancelled run.
    pub fn load(&self, device: &Device, listener: &mut Listener<'_>) -> Result<Upscaler, Error> {
        let mix = self.mix.clone().map(|mix| mix as Arc<dyn WeightEdit>);
        let load = |params: &Params<'_>| Upscaler::load(&params.clone().edited(mix), &self.config);
        loading::load(
            LoadedNetwork::Upscaler,
            self.weights.clone(),
            (device, Precision::F32),
            None,
            load,
            listener,
        )
    }

    /// Enlarges an image by [`UpscalerConfig::scale`] on a device. A network whose values exceed the largest `f16` on a GPU
    /// runs again in `f32` there.
    ///
    /// # Errors
    /// As [`UpscalerFile::load`] and [`Upscaler::upscale`].
    pub fn upscale(
        &self,
        image: &Image,
        device: &Device,
        tiling: Tiling,
        listener: &mut Listener<'_>,
    ) -> Result<Image, Error> {
        self.config.check(image)?;
        let whole = self.config.whole((image.width, image.height));
        self.upscale_part(image, &whole, device, tiling, listener)
    }

    /// The same for a part of the enlarged image. `seen` are the pixels that it depends on, of [`UpscalerConfig::seen`].
    ///
    /// # Errors
    /// As [`UpscalerFile::load`] and [`Upscaler::upscale_part`].
    pub fn upscale_part(
        &self,
        seen: &Image,
        part: &UpscaledPart,
        device: &Device,
        tiling: Tiling,
        listener: &mut Listener<'_>,
    ) -> Result<Image, Error> {
        let large = self.load(device, listener)?.upscale_part(seen, part, tiling, listener);
        let large = match (large, device.more_exact()) {
            (Err(Error::NotFinite { .. }), Some(exact)) => {
                self.load(&exact, listener)?.upscale_part(seen, part, tiling, listener)
            }
            (large, _) => large,
        };
        device.trim();
        large
    }
}
