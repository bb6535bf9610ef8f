//! Files of IP-Adapters.

use super::{ImageProjectionConfig, IpAdapter, IpAdapterConfig};
use crate::Error;
use crate::families::completeness::check_component;
use crate::families::{Component, Model, ModelKind, Probe, of_context_width};
use crate::image_encoder::ImageEncoderFile;
use crate::params::Params;
use latent_loader::{Checkpoint, Weights};
use std::sync::Arc;

/// An opened file of an IP-Adapter, found complete. Its weights are read when they are needed.
#[derive(Debug)]
pub struct IpAdapterFile {
    weights: Weights,
    config: IpAdapterConfig,
}

impl IpAdapterFile {
    /// Reads names and shapes, and checks that every tensor is there.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a file of something else, and what it is, and for an adapter that needs other networks
    /// (FaceID); [`Error::Incomplete`] for one with gaps.
    pub fn open(checkpoint: Checkpoint) -> Result<IpAdapterFile, Error> {
        let checkpoint = Arc::new(checkpoint);
        let probe = Probe::of(&checkpoint);
        if probe.identity().kind != ModelKind::IpAdapter {
            return Err(probe.refuse(explain(&probe)));
        }
        if let Some(name) = needs_faces(&checkpoint) {
            return Err(probe.refuse(format!(
                "is an IP-Adapter FaceID ({name}), which needs a network that recognises faces, and none is here; give an \
                 IP-Adapter, such as ip-adapter-plus-face_sd15"
            )));
        }
        let weights = Weights::new(checkpoint);
        let config = IpAdapterConfig::from_weights(&weights)?;
        let label =
            of_context_width(config.cross_attention_dim).map_or("Stable Diffusion", |family| family.label);
        let load = |params: &Params<'_>| IpAdapter::load(params, &config).map(drop);
        check_component(&weights, (Component::IpAdapter, label), load, |_| false)?;
        Ok(IpAdapterFile { weights, config })
    }

    /// What error messages call it.
    #[must_use]
    pub fn label(&self) -> &str {
        self.weights.label()
    }

    /// Its sizes.
    #[must_use]
    pub fn config(&self) -> &IpAdapterConfig {
        &self.config
    }

    /// Its weights.
    #[must_use]
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// Checks that it was made for the UNet of a model.
    ///
    /// # Errors
    /// [`Error::Unsupported`], which names both families.
    pub fn check_fits(&self, model: &Model) -> Result<(), Error> {
        let refuse = |reason: String| Err(Error::Unsupported { file: self.label().to_owned(), reason });
        let unet = model.require_unet("IP-Adapters for it are not supported")?.cross_attention_dim;
        let own = self.config.cross_attention_dim;
        let label = model.family.label;
        if own != unet {
            let made_for = of_context_width(own).map_or_else(
                || format!("is an IP-Adapter for text of width {own}"),
                |family| format!("is an IP-Adapter for {}", family.label),
            );
            return refuse(format!("{made_for}, and the model is {label}; give one for {label}"));
        }
        let widths: Vec<usize> = self.config.layers.iter().map(|(_, width)| *width).collect();
        if widths != cross_attention_widths(&model.weights.scope("unet")) {
            return refuse(format!(
                "is an IP-Adapter for a UNet of {} cross-attentions of other widths than those of the model; give one for \
                 {label}",
                widths.len()
            ));
        }
        Ok(())
    }

    /// Checks that an image encoder sees what the adapter was trained on.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for the encoder, with the sizes of both.
    pub fn check_encoder(&self, encoder: &ImageEncoderFile) -> Result<(), Error> {
        let config = encoder.config();
        let (what, needs, has) = match self.config.projection {
            ImageProjectionConfig::Linear { embedding, .. } => {
                ("image embeddings", embedding, config.projection)
            }
            ImageProjectionConfig::Mlp { width } | ImageProjectionConfig::Resampler { width, .. } => {
                ("hidden states", width, config.width)
            }
        };
        if needs == has {
            return Ok(());
        }
        Err(Error::Unsupported {
            file: encoder.label().to_owned(),
            reason: format!(
                "is an image encoder with {what} of {has} values, and {} takes {needs}; give {}",
                self.label(),
                match needs {
                    1024 if what == "image embeddings" => "CLIP-ViT-H-14",
                    1280 if what == "hidden states" => "CLIP-ViT-H-14",
                    1280 | 1664 => "CLIP-ViT-bigG-14",
                    _ => "the one that it was trained with",
                }
            ),
        })
    }
}

/// Widths of the cross-attentions of a UNet, in the order in which IP-Adapters number them: those of its down blocks, its up
/// blocks and its mid block, which is that of the modules of diffusers' UNet.
fn cross_attention_widths(unet: &Weights) -> Vec<usize> {
    let place = |name: &str| {
        let block = name.strip_suffix(".attn2.to_k.weight")?;
        let rank = ["down_blocks.", "up_blocks.", "mid_block."].iter().position(|s| block.starts_with(s))?;
        let numbers: Vec<usize> = block.split('.').filter_map(|part| part.parse().ok()).collect();
        Some((rank, numbers, unet.dim(name, 0).ok()?))
    };
    let mut all: Vec<_> = unet.names().filter_map(place).collect();
    all.sort();
    all.into_iter().map(|(_, _, width)| width).collect()
}

/// Length of what a network that recognises faces makes of one (InstantID).
const FACE_EMBEDDING: usize = 512;

/// The name of a tensor that only adapters of faces have.
fn needs_faces(checkpoint: &Checkpoint) -> Option<&str> {
    const FACES: [&str; 3] = [".to_q_lora.", "image_proj.perceiver_resampler.", "image_proj.norm.weight"];
    let is_of_faces = |name: &str| {
        FACES[..2].iter().any(|part| name.contains(part))
            // The plain adapter has one linear layer before that norm, FaceID has two.
            || (name == FACES[2] && checkpoint.get("image_proj.proj.0.weight").is_some())
    };
    let sees_face = |name: &str, shape: &[usize]| {
        name == "image_proj.proj_in.weight" && shape.last() == Some(&FACE_EMBEDDING)
    };
    let mut tensors = checkpoint.tensors();
    let found = tensors.find(|tensor| is_of_faces(&tensor.name) || sees_face(&tensor.name, &tensor.shape));
    found.map(|tensor| tensor.name.as_str())
}

/// What a file without an IP-Adapter is.
fn explain(probe: &Probe) -> String {
    let what = match probe.identity().kind {
        ModelKind::Unknown => probe.unknown("holds no IP-Adapter"),
        kind => kind.instead_of("an IP-Adapter"),
    };
    format!("{what}; give an IP-Adapter, such as ip-adapter_sd15")
}
