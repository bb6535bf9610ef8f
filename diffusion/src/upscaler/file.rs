//! Files of upscalers.

use super::{Tiling, Upscaler, UpscalerConfig};
use crate::families::completeness::check_component;
use crate::families::{Component, ModelKind, Probe};
use crate::params::Params;
use crate::tensor_names::esrgan;
use crate::{Error, Image, Listener, LoadedNetwork, loading};
use latent_loader::{Checkpoint, Quoted, Weights};
use latent_tensor::{Device, Precision};
use std::collections::BTreeSet;
use std::sync::Arc;

/// An opened file of an upscaler, found complete. Its weights are read when they are needed.
#[derive(Debug)]
pub struct UpscalerFile {
    weights: Weights,
    config: UpscalerConfig,
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
        let names = esrgan::canonical(checkpoint);
        let weights = Weights::renamed(checkpoint.clone(), names.clone());
        let refuse = |reason| Err(probe.refuse(reason));
        let advice = "give an ESRGAN, such as RealESRGAN_x4plus";
        if probe.identity().kind != ModelKind::Upscaler {
            let what = match probe.identity().kind {
                ModelKind::Unknown => "holds no upscaler".to_owned(),
                kind => kind.instead_of("an upscaler"),
            };
            return refuse(format!("{what}; {advice}"));
        }
        let config = match UpscalerConfig::from_weights(&weights) {
            Ok(config) => config,
            Err(what) => return refuse(format!("is not an upscaler of the kind ESRGAN: {what}; {advice}")),
        };
        let file = UpscalerFile { weights, config };
        let load = |params: &Params<'_>| Upscaler::load(params, &file.config).map(drop);
        check_component(&file.weights, (Component::Upscaler, "ESRGAN"), load, |_| false)?;
        // A network with more layers gives another image.
        let is_known =
            |name: &str| name.rsplit_once('.').is_some_and(|(path, _)| file.config.has_layer(path));
        let known = file.weights.names().filter(|name| is_known(name)).count();
        if known < checkpoint.tensors().count() {
            let known: BTreeSet<_> =
                names.iter().filter(|(name, _)| is_known(name)).map(|(_, name)| name).collect();
            let strange = checkpoint.tensors().find(|tensor| !known.contains(&tensor.name));
            let what = strange.map_or(String::new(), |tensor| Quoted(&tensor.name).to_string());
            return refuse(format!(
                "is not an upscaler of the kind ESRGAN: it has a tensor {what}; {advice}"
            ));
        }
        Ok(file)
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

    /// Its weights, by the names of Real-ESRGAN.
    #[must_use]
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// Reads the network for a device, and reports progress to the listener.
    ///
    /// # Errors
    /// Unreadable weights, a cancelled run.
    pub fn load(&self, device: &Device, listener: &mut Listener<'_>) -> Result<Upscaler, Error> {
        let load = |params: &Params<'_>| Upscaler::load(params, &self.config);
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
        let large = self.load(device, listener)?.upscale(image, tiling, listener);
        let large = match (large, device.more_exact()) {
            (Err(Error::NotFinite { .. }), Some(exact)) => {
                self.load(&exact, listener)?.upscale(image, tiling, listener)
            }
            (large, _) => large,
        };
        device.trim();
        large
    }
}
