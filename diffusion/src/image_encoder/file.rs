//! Files of CLIP vision encoders.

use super::{ImageEncoder, ImageEncoderConfig};
use crate::Error;
use crate::families::completeness::check_component;
use crate::families::{Component, ModelKind, Probe};
use crate::params::Params;
use crate::tensor_names::clip_vision;
use latent_loader::{Checkpoint, Weights};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The kind of model that messages about missing tensors name.
const LABEL: &str = "CLIP";

/// An opened file of a CLIP vision encoder, found complete. Its weights are read when they are needed.
#[derive(Debug)]
pub struct ImageEncoderFile {
    weights: Weights,
    config: ImageEncoderConfig,
}

impl ImageEncoderFile {
    /// Reads names and shapes, as transformers or OpenCLIP name them, and checks that every tensor is there. A file may also
    /// hold the text encoder of the same CLIP.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a file of something else, and what it is; [`Error::Incomplete`] for one with gaps.
    pub fn open(checkpoint: Checkpoint) -> Result<ImageEncoderFile, Error> {
        let checkpoint = Arc::new(checkpoint);
        if !checkpoint.tensors().any(|tensor| clip_vision::is_image_encoder(&tensor.name)) {
            return Err(Probe::of(&checkpoint).refuse(explain(&checkpoint)));
        }
        let named = |name: &str| Some((clip_vision::to_canonical(name)?, name.to_owned()));
        let names: BTreeMap<_, _> = checkpoint.tensors().filter_map(|tensor| named(&tensor.name)).collect();
        let weights = Weights::renamed(checkpoint, names);
        let config = ImageEncoderConfig::from_weights(&weights)?;
        let load = |params: &Params<'_>| ImageEncoder::load(params, &config).map(drop);
        check_component(&weights, (Component::ImageEncoder, LABEL), load, |_| false)?;
        Ok(ImageEncoderFile { weights, config })
    }

    /// What error messages call it.
    #[must_use]
    pub fn label(&self) -> &str {
        self.weights.label()
    }

    /// Its sizes.
    #[must_use]
    pub fn config(&self) -> &ImageEncoderConfig {
        &self.config
    }

    /// Its weights, by the names of transformers.
    #[must_use]
    pub fn weights(&self) -> &Weights {
        &self.weights
    }
}

/// What a file without an image encoder is.
fn explain(checkpoint: &Arc<Checkpoint>) -> String {
    let what = match Probe::of(checkpoint).identity().kind {
        ModelKind::Unknown => "holds no CLIP vision encoder".to_owned(),
        kind => kind.instead_of("a CLIP vision encoder"),
    };
    format!("{what}; give the one that the IP-Adapter was trained with, such as CLIP-ViT-H-14")
}
