//! What a session reports while it works.

use crate::AppError;
use crate::metadata::OutputTexts;
use latent_diffusion::families::Distillation;
use latent_diffusion::{Image, LoadedNetwork, Stage};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// An image, and how it was made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct JobImage {
    /// The pixels, on white where they are transparent.
    pub image: Image,
    /// The pixels with their opacity, `[height, width, 4]`, if the job was given an image with transparent parts and keeps
    /// some.
    pub rgba: Option<Vec<u8>>,
    /// Its number in the job, from 0.
    pub index: usize,
    /// Its seed.
    pub seed: u64,
    /// Its variation seed, where one counts: images of a job then differ by it, and not by the seed.
    pub variation: Option<u64>,
    /// The texts of its file, by keyword.
    pub texts: OutputTexts,
}

/// What a session is doing. Bytes are those of the model's files.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum JobEvent {
    /// A part of the model may not fit the others, or something that a prompt names is not there: one line.
    PartDoubtful(String),
    /// A LoRA was added: its file, and how much of it fits.
    LoraApplied(String),
    /// A textual inversion was opened.
    EmbeddingOpened {
        /// The file.
        label: String,
        /// The word that stands for it in prompts.
        word: String,
        /// Its number of vectors.
        vectors: usize,
        /// Whether a prompt of the job has the word.
        is_used: bool,
    },
    /// A GPU that the program chose cannot be opened; the CPU is used: one line.
    GpuUnavailable(String),
    /// A GPU that the program chose failed; the stage begins anew on the CPU: one line.
    GpuFailed(String),
    /// One of several GPUs failed; the others draw its images: one line.
    GpuLeftOut(String),
    /// A GPU that draws, and what it will hold of the model while it samples. What it works on is not known.
    GpuWeights {
        /// The GPU's name.
        gpu: String,
        /// Bytes of weights: of those that are read block by block, two blocks.
        weights: u64,
        /// Bytes that it may use, where that was limited.
        limit: Option<u64>,
    },
    /// What the driver of a GPU compiled could not be kept for the next run: one line.
    PipelinesNotKept(String),
    /// The stage that takes the most memory. Only on the CPU; of a GPU, weights alone are known.
    MemoryEstimated {
        /// The stage.
        stage: Stage,
        /// Bytes, estimated.
        bytes: u64,
        /// Bytes that are free, where the system says so.
        available: Option<u64>,
    },
    /// The model is one for few steps: the settings that are used.
    FewSteps {
        /// The kind of model.
        kind: Distillation,
        /// Sampling steps.
        steps: usize,
        /// Scale of classifier-free guidance.
        cfg_scale: f64,
        /// The sampler's name.
        sampler: &'static str,
    },
    /// A random seed was chosen for the first image.
    SeedChosen(u64),
    /// A part of the model is being read.
    Loading {
        /// The part, as [`latent_diffusion::Event`] names it.
        component: LoadedNetwork,
        /// Bytes read so far.
        read: u64,
        /// Bytes of the part.
        total: u64,
    },
    /// A stage begins once more in `f32`, after values that half precision cannot hold: one line.
    RetriedInF32(String),
    /// The encoding of images begins, or one was encoded.
    Encoded {
        /// Images done, from 0.
        image: usize,
        /// Images in all.
        total: usize,
    },
    /// The sampling begins, or a step of it ended.
    Step {
        /// Steps done, from 0.
        step: usize,
        /// Steps in all.
        total: usize,
        /// The noise level that is left.
        sigma: f64,
    },
    /// A block of a network is done, within a step or an image ([`latent_diffusion::Event::Block`]).
    Block {
        /// The stage that the network works for.
        stage: Stage,
        /// Blocks done, from 1 to `total`.
        block: usize,
        /// Blocks of this evaluation of the network.
        total: usize,
    },
    /// A preview of the first image of the batch that is being sampled, if the job asks for previews.
    Preview(Arc<Image>),
    /// A preview failed, and there are no more: one line.
    PreviewFailed(String),
    /// The upscaling of an image begins, or a tile of it was upscaled.
    Upscaled {
        /// Tiles done, from 0.
        tile: usize,
        /// Tiles in all.
        total: usize,
    },
    /// The decoding begins, or an image was decoded.
    Decoded {
        /// Images done, from 0.
        image: usize,
        /// Images in all.
        total: usize,
    },
    /// An image is finished.
    Image(Arc<JobImage>),
    /// The job of a cell of a grid begins.
    GridCell {
        /// Its number, from 0, row by row.
        index: usize,
        /// Cells in all.
        total: usize,
        /// What differs in it.
        label: String,
    },
    /// A cell of a grid cannot be drawn and stays empty.
    GridCellFailed {
        /// What differs in it.
        label: String,
        /// Why.
        error: AppError,
    },
}

/// Receives the events of a job, on any thread; `ControlFlow::Break` cancels the job.
pub type JobObserver<'a> = dyn FnMut(JobEvent) -> ControlFlow<()> + Send + 'a;

/// Cancels a job from any thread. All clones are one token.
#[derive(Clone, Debug, Default)]
pub struct CancelToken(Arc<AtomicBool>);

/// The token of a flag that is set to cancel.
impl From<Arc<AtomicBool>> for CancelToken {
    fn from(flag: Arc<AtomicBool>) -> CancelToken {
        CancelToken(flag)
    }
}

impl CancelToken {
    /// A token that has not been cancelled.
    #[must_use]
    pub fn new() -> CancelToken {
        CancelToken::default()
    }

    /// Cancels the jobs that have this token: they end before their next step. Whether it was cancelled before.
    pub fn cancel(&self) -> bool {
        self.0.swap(true, Ordering::Relaxed)
    }

    /// Whether it was cancelled.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
