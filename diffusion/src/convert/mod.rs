//! A model in another layout or number format.
//!
//! A [`Conversion`] is planned from headers alone: which tensors the new files hold, under which names, and what each is
//! made of. [`Conversion::write`] then reads, changes and writes one tensor after the other, so that memory holds the
//! largest tensor and never the model.
//!
//! Canonical names, which are those of diffusers, stand between all layouts: [`crate::families`] makes them of whatever a
//! file has, `originals` there goes back. Beside names, four things differ between an original file and a folder: the VAE's
//! attention is of 1x1 convolutions or linear layers; OpenCLIP keeps queries, keys and values in one tensor and its text
//! projection the other way round; a folder has configurations, tokenizers and none of what follows from constants; and its
//! text encoder of SD 2.x lacks the last layer, which is not used.
//!
//! ```no_run
//! use latent_diffusion::convert::{Conversion, Layout, Numbers, Options};
//! use latent_diffusion::loader::Checkpoint;
//! use std::{ops::ControlFlow, path::Path};
//!
//! let checkpoint = Checkpoint::open(Path::new("model.safetensors"))?;
//! let options = Options { numbers: Some(Numbers::F16), ..Options::to(Layout::Folder) };
//! let conversion = Conversion::plan(checkpoint, &options)?;
//! conversion.write(Path::new("model"), &mut |_| ControlFlow::Continue(()))?;
//! # Ok::<(), latent_diffusion::Error>(())
//! ```

mod buffers;
mod config;
mod folder;
mod metadata;
mod numbers;
mod single;
mod tensors;
mod text;
mod write;

pub use numbers::{Numbers, TooLarge};

use crate::Error;
use crate::families::{Beside, Model};
use crate::lora::{Applied, Lora, Merge, Strength};
use crate::samplers::Prediction;
use crate::schedule::{Training, ZERO_SNR_DIFFUSERS};
use latent_loader::{Checkpoint, Dtype, TensorInfo, Weights};
use std::collections::BTreeMap;
use std::sync::Arc;
use tensors::Tensor;

/// How the new model is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// One file with the names of the original ones.
    Single,
    /// A diffusers folder.
    Folder,
}

/// What becomes of a model.
#[derive(Clone, Debug)]
pub struct Options {
    /// How it is laid out.
    pub layout: Layout,
    /// The number format of all weights; each keeps its own when `None`.
    pub numbers: Option<Numbers>,
    /// LoRAs that are added to the weights.
    pub loras: Vec<(Arc<Lora>, Strength)>,
    /// Whether the copies of weights that trainers average are kept, in a single file.
    pub keep_ema: bool,
    /// What the UNet predicts, whatever the checkpoint seems to be.
    pub prediction: Option<Prediction>,
    /// Whether the noise schedule ends in pure noise, whatever the checkpoint seems to be.
    pub zero_terminal_snr: Option<bool>,
}

impl Options {
    /// The same model, laid out so.
    #[must_use]
    pub fn to(layout: Layout) -> Options {
        Options {
            layout,
            numbers: None,
            loras: Vec::new(),
            keep_ema: false,
            prediction: None,
            zero_terminal_snr: None,
        }
    }
}

/// Tensors of the old file that the new one lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// "EMA copy", "schedule" or "other".
    pub what: &'static str,
    /// How many.
    pub tensors: usize,
    /// Their bytes in the old file.
    pub bytes: u64,
}

/// A file of tensors.
#[derive(Debug)]
struct File {
    /// Where it lies in the folder; empty for a single file.
    path: String,
    metadata: BTreeMap<String, String>,
    tensors: Vec<Tensor>,
}

/// Another file of a folder.
#[derive(Debug)]
struct Text {
    path: String,
    text: String,
}

/// A planned conversion.
pub struct Conversion {
    checkpoint: Arc<Checkpoint>,
    weights: Weights,
    merge: Merge,
    applied: Vec<Applied>,
    files: Vec<File>,
    texts: Vec<Text>,
    left_out: Vec<LeftOut>,
}

impl Conversion {
    /// Recognises a model, checks that it is whole, and plans its new files. No weight is read.
    ///
    /// # Errors
    /// A checkpoint that cannot draw or is not whole, a LoRA that does not fit it, weights that are to be kept and have no
    /// place in a folder.
    pub fn plan(checkpoint: Checkpoint, options: &Options) -> Result<Conversion, Error> {
        if options.keep_ema && options.layout == Layout::Folder {
            let reason = "a diffusers folder has no place for the EMA copy; write a single file".to_owned();
            return Err(Error::setting(crate::Setting::Ema, reason));
        }
        let checkpoint = Arc::new(checkpoint);
        let mut model = Model::detect(&checkpoint)?;
        model.check_whole()?;
        model.prediction = options.prediction.unwrap_or(model.prediction);
        if let Some(is_zero) = options.zero_terminal_snr {
            let usual = Training::scaled_linear();
            model.training =
                if is_zero { usual.rescale_zero_terminal_snr(ZERO_SNR_DIFFUSERS) } else { usual };
        }
        let (merge, applied) = Merge::new(&options.loras, &model.weights, model.family.label)?;
        let beside = Beside::of(&checkpoint);
        let (files, texts) = match options.layout {
            Layout::Folder => folder::files(&model, &checkpoint, options)?,
            Layout::Single => {
                let metadata = metadata::of_unet(&model, &checkpoint, options);
                let tensors = single::tensors(&model, &checkpoint, &beside, options);
                (vec![File { path: String::new(), metadata, tensors }], Vec::new())
            }
        };
        let left_out = left_out(&beside, options);
        Ok(Conversion { checkpoint, weights: model.weights, merge, applied, files, texts, left_out })
    }

    /// How much of each LoRA fits the model.
    #[must_use]
    pub fn applied(&self) -> &[Applied] {
        &self.applied
    }

    /// What the old model has beside its parts, and the new one has not.
    #[must_use]
    pub fn left_out(&self) -> &[LeftOut] {
        &self.left_out
    }

    /// How many tensors the new files hold.
    #[must_use]
    pub fn tensors(&self) -> usize {
        self.files.iter().map(|file| file.tensors.len()).sum()
    }

    /// Bytes of the tensors of the new files, by number format, most first.
    #[must_use]
    pub fn bytes(&self) -> Vec<(Dtype, u64)> {
        let mut bytes = BTreeMap::new();
        for tensor in self.files.iter().flat_map(|file| &file.tensors) {
            *bytes.entry(tensor.dtype).or_insert(0) += tensor.header().bytes();
        }
        let mut bytes: Vec<_> = bytes.into_iter().collect();
        bytes.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
        bytes
    }
}

/// Groups of tensors that are not taken over.
fn left_out(beside: &Beside, options: &Options) -> Vec<LeftOut> {
    let is_folder = options.layout == Layout::Folder;
    let groups = [
        ("EMA copy", &beside.ema, !options.keep_ema),
        ("schedule", &beside.schedule, is_folder),
        ("other", &beside.others, true),
    ];
    let out = |(what, tensors, _): (&'static str, &Vec<TensorInfo>, bool)| LeftOut {
        what,
        tensors: tensors.len(),
        bytes: tensors.iter().map(|tensor| tensor.bytes() as u64).sum(),
    };
    groups.into_iter().filter(|(_, tensors, is_out)| *is_out && !tensors.is_empty()).map(out).collect()
}
