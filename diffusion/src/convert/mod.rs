//! A model in another layout or dtype.
//!
//! A [`Conversion`] is planned from headers alone: which tensors the new files contain, under which names, and where the values
//! of each come from. [`Conversion::write`] then reads, changes and writes one tensor after the other, so that memory holds the
//! largest tensor and never the model.
//!
//! Models with a diffusion transformer and text encoders alone keep the names that they have (`kept_names.rs`).
//!
//! Canonical names, which are those of diffusers, connect all layouts: [`crate::families`] maps the names of any file to them,
//! `tensor_names` maps them back. Besides names, four things differ between an original file and a folder: the VAE's attention
//! consists of 1x1 convolutions or linear layers; OpenCLIP fuses queries, keys and values and transposes its text projection;
//! a folder has configurations, tokenizers and no tensors of constants; and its text encoder of SD 2.x lacks the last layer,
//! which is not used.
//!
//! ```no_run
//! use latent_diffusion::convert::{Conversion, ConvertOptions, OutputLayout};
//! use latent_diffusion::loader::{Checkpoint, DType};
//! use std::{ops::ControlFlow, path::Path};
//!
//! let checkpoint = Checkpoint::open(Path::new("model.safetensors"))?;
//! let options = ConvertOptions { dtype: Some(DType::F16), ..ConvertOptions::to(OutputLayout::Folder) };
//! let conversion = Conversion::plan(checkpoint, &options)?;
//! conversion.write(Path::new("model"), &mut |_| ControlFlow::Continue(()))?;
//! # Ok::<(), latent_diffusion::Error>(())
//! ```

mod buffers;
mod config;
mod dtypes;
mod folder;
mod kept_names;
mod metadata;
mod planned;
mod single;
mod text_encoder;
mod write;

pub use dtypes::{TARGET_DTYPES, TooLarge};

use crate::Error;
use crate::families::{Component, Leftovers, Model, Probe};
use crate::lora::{Applied, Lora, Merge, Strength};
use crate::samplers::Prediction;
use crate::schedule::{Training, ZERO_SNR_DIFFUSERS};
use dtypes::TargetDType;
use latent_loader::{Checkpoint, DType, TensorInfo, Weights};
use planned::PlannedTensor;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What is said of models without a UNet, of which no folder is written.
const NO_FOLDER: &str = "no diffusers folder of it is written";

/// The layout of the new model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputLayout {
    /// One file with the names of the original ones.
    Single,
    /// A diffusers folder.
    Folder,
    /// One GGUF file with the names of the original single files, in the dialect of stable-diffusion.cpp; a diffusion transformer
    /// alone in that of ComfyUI-GGUF.
    Gguf,
}

/// How a model is converted.
#[derive(Clone, Debug)]
pub struct ConvertOptions {
    /// Its layout.
    pub layout: OutputLayout,
    /// The dtype of all weights, one of [`TARGET_DTYPES`]; each keeps its own when `None`.
    pub dtype: Option<DType>,
    /// LoRAs that are added to the weights.
    pub loras: Vec<(Arc<Lora>, Strength)>,
    /// Whether the averaged copy of the weights is kept, in a single file.
    pub keep_ema: bool,
    /// What the UNet predicts, in place of what was detected.
    pub prediction: Option<Prediction>,
    /// Whether the noise schedule ends in pure noise, in place of what was detected.
    pub zero_terminal_snr: Option<bool>,
}

impl ConvertOptions {
    /// The same model in this layout.
    #[must_use]
    pub fn to(layout: OutputLayout) -> ConvertOptions {
        ConvertOptions {
            layout,
            dtype: None,
            loras: Vec::new(),
            keep_ema: false,
            prediction: None,
            zero_terminal_snr: None,
        }
    }

    /// The dtypes that weights are written in.
    fn target(&self) -> TargetDType {
        TargetDType { dtype: self.dtype, is_gguf: self.layout == OutputLayout::Gguf }
    }
}

/// Tensors of the input that the new files lack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// What they are: [`Component::EmaCopy`], [`Component::Schedule`] or [`Component::Other`].
    pub component: Component,
    /// Number of tensors.
    pub tensors: usize,
    /// Their bytes in the input.
    pub bytes: u64,
}

/// A file of tensors.
#[derive(Debug)]
struct PlannedFile {
    /// Its path in the folder; empty for a single file.
    path: String,
    metadata: BTreeMap<String, String>,
    tensors: Vec<PlannedTensor>,
}

/// Another file of a folder.
#[derive(Debug)]
struct TextFile {
    path: String,
    text: String,
}

/// A planned conversion.
#[derive(Debug)]
pub struct Conversion {
    layout: OutputLayout,
    checkpoint: Arc<Checkpoint>,
    weights: Weights,
    merge: Merge,
    applied: Vec<Applied>,
    files: Vec<PlannedFile>,
    texts: Vec<TextFile>,
    left_out: Vec<LeftOut>,
}

impl Conversion {
    /// Recognises a model, checks that it is complete, and plans its new files. No weight is read.
    ///
    /// # Errors
    /// A checkpoint that cannot draw or is not complete, a LoRA that does not fit it, weights to keep that have no place in a
    /// folder, a dtype that is not one of [`TARGET_DTYPES`].
    pub fn plan(checkpoint: Checkpoint, options: &ConvertOptions) -> Result<Conversion, Error> {
        if options.keep_ema && options.layout == OutputLayout::Folder {
            let reason = "a diffusers folder has no place for the EMA copy; write a single file".to_owned();
            return Err(Error::setting(crate::Setting::Ema, reason));
        }
        if let Some(dtype) = options.dtype.filter(|dtype| !TARGET_DTYPES.contains(dtype)) {
            let names: Vec<_> = TARGET_DTYPES.iter().map(|dtype| dtype.name()).collect();
            let reason = format!("weights cannot be written as {dtype}; take one of {}", names.join(", "));
            return Err(Error::setting(crate::Setting::Dtype, reason));
        }
        let probe = Probe::of(&Arc::new(checkpoint));
        if kept_names::is_meant(&probe) {
            return kept_names::plan(probe, options);
        }
        let mut model = Model::of(&probe)?;
        model.check_complete()?;
        if model.has_tiny_vae {
            let reason = "has a tiny VAE in place of its VAE, which is not converted; give a VAE with it";
            return Err(probe.refuse(reason.to_owned()));
        }
        model.prediction = options.prediction.unwrap_or(model.prediction);
        if let Some(is_zero) = options.zero_terminal_snr {
            let usual = Training::scaled_linear();
            model.training =
                if is_zero { usual.rescale_zero_terminal_snr(ZERO_SNR_DIFFUSERS) } else { usual };
        }
        let (merge, applied) = Merge::new(&options.loras, &model.weights, model.family.label)?;
        let leftovers = probe.leftovers();
        let (files, texts) = match options.layout {
            OutputLayout::Folder => folder::files(&model, &probe, options)?,
            OutputLayout::Single | OutputLayout::Gguf => {
                let metadata = metadata::of_unet(&model, &probe, options);
                let tensors = single::tensors(&model, &probe, &leftovers, options);
                (vec![PlannedFile { path: String::new(), metadata, tensors }], Vec::new())
            }
        };
        let left_out = left_out(&leftovers, options);
        let checkpoint = probe.into_checkpoint();
        let layout = options.layout;
        Ok(Conversion { layout, checkpoint, weights: model.weights, merge, applied, files, texts, left_out })
    }

    /// How much of each LoRA fits the model.
    #[must_use]
    pub fn applied(&self) -> &[Applied] {
        &self.applied
    }

    /// What the input contains besides its parts, and the new model does not.
    #[must_use]
    pub fn left_out(&self) -> &[LeftOut] {
        &self.left_out
    }

    /// Number of tensors of the new files.
    #[must_use]
    pub fn tensors(&self) -> usize {
        self.files.iter().map(|file| file.tensors.len()).sum()
    }

    /// Bytes of the tensors of the new files by dtype, most first.
    #[must_use]
    pub fn bytes(&self) -> Vec<(DType, u64)> {
        let mut bytes = BTreeMap::new();
        for tensor in self.files.iter().flat_map(|file| &file.tensors) {
            *bytes.entry(tensor.dtype).or_insert(0) += tensor.header().bytes();
        }
        let mut bytes: Vec<_> = bytes.into_iter().collect();
        bytes.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
        bytes
    }
}

/// Groups of tensors that are not converted.
fn left_out(leftovers: &Leftovers, options: &ConvertOptions) -> Vec<LeftOut> {
    let is_folder = options.layout == OutputLayout::Folder;
    let groups = [
        (Component::EmaCopy, &leftovers.ema, !options.keep_ema),
        (Component::Schedule, &leftovers.schedule, is_folder),
        (Component::Other, &leftovers.others, true),
    ];
    let out = |(component, tensors, _): (Component, &Vec<TensorInfo>, bool)| LeftOut {
        component,
        tensors: tensors.len(),
        bytes: tensors.iter().map(|tensor| tensor.bytes() as u64).sum(),
    };
    groups.into_iter().filter(|(_, tensors, is_out)| *is_out && !tensors.is_empty()).map(out).collect()
}
