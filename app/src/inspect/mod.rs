//! What a model file is, from its header alone.

mod json;
mod memory;

pub use memory::MemoryAtSize;

use crate::{AppError, hash};
use latent_diffusion::families::{
    Component, ComponentCheck, ComponentSummary, Identity, Model, ModelKind, Probe,
};
use latent_diffusion::lora::Summary;
use latent_diffusion::network::NetworkConfig;
use latent_diffusion::text::TextConfig;
use latent_diffusion::transformer::TransformerFile;
use latent_diffusion::upscaler::{UpscalerConfig, UpscalerFile};
use latent_diffusion::vae::VaeConfig;
use latent_loader::{Checkpoint, CheckpointLayout, TensorInfo};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// Everything that a model file says about itself. It serialises as the JSON of `latent inspect --json`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ModelReport {
    /// The file as it was named.
    pub file: String,
    /// Whether it is a file or a folder.
    pub layout: CheckpointLayout,
    /// Bytes of all its files.
    pub bytes: u64,
    /// Bytes of their headers.
    pub header_bytes: u64,
    /// Kind, family, variant, prediction and missing parts.
    pub identity: Identity,
    /// The id of the family whose rules fit the file, or else of the one that its UNet looks like.
    pub family: Option<&'static str>,
    /// Why the file cannot draw, or cannot enlarge where it is an upscaler.
    pub problem: Option<String>,
    /// The sizes of a model that can draw.
    pub model: Option<ReportedSizes>,
    /// Its parts.
    pub components: Vec<ComponentSummary>,
    /// Missing, misshaped and unused tensors of each part.
    pub checks: Vec<ComponentCheck>,
    /// An estimate of the memory that drawing takes, for square images of several sizes.
    pub memory: Vec<MemoryAtSize>,
    /// The layers of a LoRA.
    pub lora: Option<Summary>,
    /// The sizes of an upscaler that can be used.
    pub upscaler: Option<UpscalerConfig>,
    /// OutputTexts from the header.
    pub metadata: BTreeMap<String, String>,
    /// Every tensor, sorted by name.
    pub tensors: Vec<TensorInfo>,
    /// Whether the JSON lists the tensors.
    pub lists_tensors: bool,
    /// The SHA-256 of a single file in hexadecimal digits, if it was asked for.
    pub sha256: Option<String>,
}

/// The sizes of a model that can draw.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ReportedSizes {
    /// Width and height in pixels of its images when none is asked for.
    pub resolution: (usize, usize),
    /// What sides are multiples of.
    pub size_multiple: usize,
    /// Those of its denoiser network.
    pub network: NetworkConfig,
    /// Those of its VAE.
    pub vae: VaeConfig,
    /// Those of its text encoders.
    pub text: Vec<TextConfig>,
}

impl ReportedSizes {
    fn of(model: &Model) -> ReportedSizes {
        ReportedSizes {
            resolution: model.resolution,
            size_multiple: model.size_multiple(),
            network: model.network.clone(),
            vae: model.vae.clone(),
            text: model.text.iter().map(|part| part.config.clone()).collect(),
        }
    }
}

/// Inspects a file or folder. Its header is read, and one small tensor at most.
///
/// # Errors
/// A file that cannot be opened, or is not in the safetensors format.
pub fn inspect(path: &Path) -> Result<ModelReport, AppError> {
    Ok(ModelReport::of(&Arc::new(Checkpoint::open(path)?)))
}

impl ModelReport {
    /// Inspects an opened checkpoint.
    #[must_use]
    pub fn of(checkpoint: &Arc<Checkpoint>) -> ModelReport {
        let probe = Probe::of(checkpoint);
        let identity = probe.identity().clone();
        let kind = identity.kind;
        let (model, mut problem) = match Model::of(&probe) {
            Ok(model) => (Some(ReportedSizes::of(&model)), None),
            Err(error) => (None, Some(error.to_string())),
        };
        let components = probe.components();
        let memory = match kind {
            kind if kind.denoises() => {
                let has_transformer = components.iter().any(|part| part.component == Component::Transformer);
                let open = || TransformerFile::open(checkpoint.clone()).ok();
                let alone = (model.is_none() && has_transformer).then(open).flatten();
                let alone = alone.map(|file| file.config().clone());
                memory::estimate(&components, &identity, model.as_ref(), probe.model_channels(), alone)
            }
            _ => Vec::new(),
        };
        let checks = match kind {
            ModelKind::TextEncoder | ModelKind::Vae => ComponentCheck::all(&probe),
            kind if kind.denoises() => ComponentCheck::all(&probe),
            _ => Vec::new(),
        };
        let mut upscaler = None;
        if kind == ModelKind::Upscaler {
            match UpscalerFile::of(&probe) {
                Ok(file) => upscaler = Some(file.config().clone()),
                Err(error) => problem = Some(error.to_string()),
            }
        }
        ModelReport {
            file: checkpoint.label().to_owned(),
            layout: checkpoint.layout(),
            bytes: checkpoint.file_bytes(),
            header_bytes: checkpoint.header_bytes(),
            family: probe.supported_family().or(identity.family).map(|family| family.id),
            problem,
            model,
            components,
            checks,
            memory,
            lora: Summary::of(checkpoint).filter(|_| kind == ModelKind::Lora),
            upscaler,
            metadata: checkpoint.metadata().clone(),
            tensors: checkpoint.tensors().cloned().collect(),
            lists_tensors: false,
            sha256: None,
            identity,
        }
    }

    /// What the file can be used for.
    #[must_use]
    pub fn purpose(&self) -> &'static str {
        match self.identity.kind {
            ModelKind::Model if self.problem.is_some() => "cannot draw here",
            kind => kind.purpose(),
        }
    }

    /// The name of one of its components. A file of something else has no other component than itself.
    #[must_use]
    pub fn component_name(&self, summary: &ComponentSummary) -> &'static str {
        let is_only = self.components.len() == 1 && summary.component == Component::Other;
        if is_only { self.identity.kind.label() } else { summary.component.name() }
    }

    /// "single file", "diffusers folder", "folder of one component" or "several files".
    #[must_use]
    pub fn layout_name(&self) -> &'static str {
        match self.layout {
            CheckpointLayout::SingleFile => "single file",
            CheckpointLayout::DiffusersFolder => "diffusers folder",
            CheckpointLayout::ComponentFolder => "folder of one component",
            CheckpointLayout::Joined => "several files",
        }
    }

    /// Reads the whole file and computes its SHA-256. A folder has none.
    ///
    /// # Errors
    /// A file that cannot be read any more.
    pub fn compute_hash(&mut self, path: &Path) -> Result<(), AppError> {
        if self.layout == CheckpointLayout::SingleFile {
            let failed = |error| AppError::RunTime(format!("{}: {error}", path.display()));
            self.sha256 = Some(hash::sha256(path).map_err(failed)?);
        }
        Ok(())
    }
}
