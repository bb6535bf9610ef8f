//! The fields of a job.

use super::control::{self, ControlOptions};
use super::image_prompt::{self, ImagePromptOptions};
use super::task::JobTask;
use super::text::{PixelOffset, PixelSize, SamplerChoice, as_text};
use crate::AppError;
use crate::addons::{EmbeddingFiles, LoraPlaces, WeightedLora};
use crate::device::DeviceOptions;
use crate::model_file::PartFiles;
use latent_diffusion::prompt::check_bytes;
use latent_diffusion::rng::RngKind;
use latent_diffusion::samplers::Prediction;
use latent_diffusion::schedule::{Convention, ScheduleKind};
use latent_diffusion::{Seamless, Setting, SizeConditioning};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// Maximum number of images of one job.
const MAX_IMAGES: usize = 10_000;

/// What is to be drawn, and how.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Job {
    /// What the images are made from.
    pub task: JobTask,
    /// What to draw, with LoRA tags and, where [`Job::wildcards`] is given, wildcards.
    pub prompt: String,
    /// What not to draw.
    pub negative_prompt: String,
    /// Folder of text files: `__NAME__` in a prompt becomes a line of `NAME.txt`, `{a|b}` one of its parts, by the image's
    /// seed.
    pub wildcards: Option<PathBuf>,
    /// The model, and what is added to it.
    pub model: ModelSelection,
    /// How to sample.
    pub sampling: SamplingOptions,
    /// Sizes that condition SDXL, and its refiner.
    pub sdxl: SdxlOptions,
    /// ControlNets, up to 8.
    pub control: Vec<ControlOptions>,
    /// Images as prompts, up to 8.
    pub image_prompts: Vec<ImagePromptOptions>,
    /// A tiny VAE (TAESD) that decodes in place of the model's, and decodes the previews.
    pub taesd: Option<PathBuf>,
    /// Previews of the first image of each batch; none when `None`.
    pub preview: Option<PreviewOptions>,
    /// Where to compute.
    pub device: DeviceOptions,
    /// How to save memory.
    pub memory: MemoryOptions,
    /// How many images.
    pub batch: BatchOptions,
    /// Whether images of the built-in model stay as small as it draws them. Otherwise the built-in upscaler enlarges them,
    /// unless a width or height is given or there is a second pass.
    pub raw_size: bool,
    /// Quality of the JPEG files that the images are written to, 1 to 100. The session does not use it; the metadata
    /// record it.
    pub quality: Option<u8>,
    /// Names of options that are set but that nobody gave, such as a default of an older version that a replay follows.
    /// The metadata do not list them.
    pub implied: BTreeSet<String>,
    /// How the values of options were written, where that is not how this program writes them: "7.0" and not "7".
    pub spelling: BTreeMap<String, Vec<String>>,
}

/// The model, and what is added to it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ModelSelection {
    /// A file, a diffusers folder, or a name in the model folders; the built-in demo model when `None`.
    pub model: Option<PathBuf>,
    /// Folder in which names of models are looked up; the usual ones when `None`.
    pub models_dir: Option<PathBuf>,
    /// Files for parts of the model.
    pub parts: PartFiles,
    /// LoRAs to add.
    pub loras: Vec<WeightedLora>,
    /// Folder of the LoRAs that prompts name; the model's folder when `None`.
    pub lora_dir: Option<PathBuf>,
    /// Textual inversions.
    pub embeddings: EmbeddingFiles,
    /// What the UNet predicts; what the file shows when `None`.
    #[serde(with = "as_text")]
    pub prediction: Option<Prediction>,
    /// Whether the noise schedule ends in pure noise; what the file shows when `None`.
    pub zero_snr: Option<bool>,
}

/// How to sample. What is `None` is what the model was made for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct SamplingOptions {
    /// Width in pixels.
    pub width: Option<usize>,
    /// Height in pixels.
    pub height: Option<usize>,
    /// Sampling steps.
    pub steps: Option<usize>,
    /// Scale of classifier-free guidance.
    pub cfg_scale: Option<f64>,
    /// How much of the contrast that guidance adds is taken back, 0 to 1.
    pub cfg_rescale: Option<f64>,
    /// The fraction of the steps, 0 to 1, after which there is no guidance.
    pub cfg_end: Option<f64>,
    /// The guidance scale that a distilled network takes as an input, beside which the cfg scale guides; the cfg scale when `None`.
    pub guidance: Option<f64>,
    /// Scale of perturbed-attention guidance; none when `None`.
    pub pag_scale: Option<f64>,
    /// Scale of skip-layer guidance; none when `None`.
    pub slg_scale: Option<f64>,
    /// The blocks that are left out for it; those for Stable Diffusion 3.5 medium when there are none.
    pub slg_layers: Vec<usize>,
    /// The fraction of the steps, 0 to 1, after which it acts.
    pub slg_start: Option<f64>,
    /// The fraction of the steps, 0 to 1, after which it acts no longer.
    pub slg_end: Option<f64>,
    /// Every how many steps the coarse levels of the UNet are computed (DeepCache).
    pub cache: Option<usize>,
    /// The part of the tokens, 0 to 0.5, that are merged in the finest self-attentions (ToMe).
    pub tome: Option<f64>,
    /// Seed of the first image; random when `None`.
    pub seed: Option<u64>,
    /// Seed of the noise that is mixed into that of the first image; random when `None`. Images that follow have the same seed,
    /// and variation seeds that count up, as in the webui.
    pub variation_seed: Option<u64>,
    /// How much of that noise, 0 to 1.
    pub variation_strength: Option<f64>,
    /// Along which axes images can be tiled.
    #[serde(with = "as_text")]
    pub seamless: Option<Seamless>,
    /// The sampler.
    #[serde(with = "as_text")]
    pub sampler: Option<SamplerChoice>,
    /// Spacing of the noise levels.
    #[serde(with = "as_text")]
    pub scheduler: Option<ScheduleKind>,
    /// Whose conventions the schedule follows.
    #[serde(with = "as_text")]
    pub compat: Option<Convention>,
    /// How much noise a sampler that adds noise does add, 0 to 1.
    pub eta: Option<f64>,
    /// Noise that euler, heun and dpm2 add on the way.
    pub s_churn: Option<f64>,
    /// Factor of all added noise.
    pub s_noise: Option<f64>,
    /// Exponent of the karras and the polyexponential schedule.
    pub rho: Option<f64>,
    /// How far a flow matching model's noise levels are moved towards noise.
    pub shift: Option<f64>,
    /// Noise levels from high to low, in place of steps, scheduler, compat and rho.
    pub sigmas: Vec<f64>,
    /// Layers of the text encoder to leave out from the end, plus 1.
    pub clip_skip: Option<usize>,
    /// The random generator.
    #[serde(with = "as_text")]
    pub rng: Option<RngKind>,
}

/// Sizes that condition SDXL, and the model that finishes its images. Heights before widths.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct SdxlOptions {
    /// Size that the image looks scaled from, in pixels; the drawn size when `None`.
    #[serde(with = "as_text")]
    pub original_size: Option<PixelSize>,
    /// Where the image looks cropped, from the top and from the left.
    #[serde(with = "as_text")]
    pub crop: Option<PixelOffset>,
    /// Size that the image is composed for; the drawn size when `None`.
    #[serde(with = "as_text")]
    pub target_size: Option<PixelSize>,
    /// Model that finishes the images, as [`ModelSelection::model`].
    pub refiner: Option<PathBuf>,
    /// The fraction of the steps, 0 to 1, after which the refiner takes over; 0.8 when `None`.
    pub refiner_start: Option<f64>,
}

/// Previews while an image is drawn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct PreviewOptions {
    /// Steps from one preview to the next.
    pub interval: u32,
}

impl Default for PreviewOptions {
    fn default() -> PreviewOptions {
        PreviewOptions { interval: 1 }
    }
}

impl PreviewOptions {
    /// A preview every so many steps.
    #[must_use]
    pub fn every(interval: u32) -> PreviewOptions {
        PreviewOptions { interval }
    }
}

/// How to save memory. Neither changes an image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct MemoryOptions {
    /// Map the model's files, which must not change meanwhile, and encode and decode in bands.
    pub low_memory: bool,
    /// Encode and decode in bands.
    pub vae_tiling: bool,
}

/// How many images.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct BatchOptions {
    /// Images, with seeds counting up; 1 when `None`.
    pub count: Option<usize>,
    /// Images that are drawn at once; 1 when `None`.
    pub size: Option<usize>,
}

impl BatchOptions {
    /// Images, with seeds counting up.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count.unwrap_or(1)
    }

    /// Images that are drawn at once.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size.unwrap_or(1)
    }
}

impl ModelSelection {
    /// Where its LoRAs are looked for.
    pub(crate) fn lora_places(&self) -> LoraPlaces<'_> {
        let [lora_dir, model, models_dir] =
            [&self.lora_dir, &self.model, &self.models_dir].map(|path| path.as_deref());
        LoraPlaces { lora_dir, model, models_dir }
    }
}

impl SdxlOptions {
    pub(crate) fn conditioning(&self) -> SizeConditioning {
        let size = |size: PixelSize| [size.height, size.width];
        SizeConditioning {
            original: self.original_size.map(size),
            crop: self.crop.map_or([0, 0], |crop| [crop.top, crop.left]),
            target: self.target_size.map(size),
        }
    }
}

impl Job {
    /// A job of a task and a prompt, with the model's defaults.
    #[must_use]
    pub fn new(task: JobTask, prompt: impl Into<String>) -> Job {
        Job { task, prompt: prompt.into(), ..Job::default() }
    }

    /// A job that draws images from a prompt alone.
    #[must_use]
    pub fn txt2img(prompt: impl Into<String>) -> Job {
        Job::new(JobTask::default(), prompt)
    }

    /// Checks what options require of each other. A [`Session`](crate::session::Session) does this before it opens anything.
    ///
    /// # Errors
    /// Bad input.
    pub fn check(&self) -> Result<(), AppError> {
        let refuse = |line: String| Err(AppError::BadInput(line));
        let (count, size) = (self.batch.count(), self.batch.size());
        if count == 0 || count > MAX_IMAGES {
            return refuse(format!("batch count: {count} is not in 1 to {MAX_IMAGES}"));
        }
        if size == 0 {
            return refuse("batch size: 0 images at once; 1 is usual".into());
        }
        self.check_prompts()?;
        let SamplingOptions { sigmas, steps, scheduler, compat, rho, .. } = &self.sampling;
        let others = steps.is_some() || scheduler.is_some() || compat.is_some() || rho.is_some();
        if !sigmas.is_empty() && others {
            return refuse("sigmas: they replace steps, scheduler, compat and rho; leave those out".into());
        }
        if self.sdxl.refiner_start.is_some() && self.sdxl.refiner.is_none() {
            return refuse("refiner start: there is no refiner".into());
        }
        if self.preview.as_ref().is_some_and(|preview| preview.interval == 0) {
            return refuse("preview interval: 0 steps; 1 is usual".into());
        }
        if let Some(quality) = self.quality.filter(|quality| !(1..=100).contains(quality)) {
            return refuse(format!("quality: {quality} is not in 1 to 100"));
        }
        self.task.check()?;
        control::check(&self.control)?;
        image_prompt::check(&self.image_prompts)
    }

    /// Refuses prompts that are too long, before anything is done with them.
    pub(crate) fn check_prompts(&self) -> Result<(), AppError> {
        check_bytes(&self.prompt, Setting::Prompt)?;
        Ok(check_bytes(&self.negative_prompt, Setting::NegativePrompt)?)
    }

    /// The seeds of the images, counting up from the given one or else a random one; all the same where variation seeds
    /// count.
    #[must_use]
    pub fn seeds(&self) -> Vec<u64> {
        let first = self.sampling.seed.unwrap_or_else(random_seed);
        let each = u64::from(!self.is_varied());
        (0..self.batch.count() as u64).map(|i| first.wrapping_add(i * each)).collect()
    }

    /// The variation seeds of the images, counting up from the given one or else a random one; none where none is given or
    /// counts.
    #[must_use]
    pub fn variation_seeds(&self) -> Vec<u64> {
        let is_needed = self.is_varied() || self.sampling.variation_seed.is_some();
        let count = if is_needed { self.batch.count() as u64 } else { 0 };
        let first = self.sampling.variation_seed.unwrap_or_else(random_seed);
        (0..count).map(|i| first.wrapping_add(i)).collect()
    }

    fn is_varied(&self) -> bool {
        self.sampling.variation_strength.is_some_and(|strength| strength > 0.0)
    }
}

/// A seed of 32 bits, as the webui draws them, from the clock and the process.
#[must_use]
pub fn random_seed() -> u64 {
    use std::time::{SystemTime, UNIX_EPOCH};
    let time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos() as u64);
    // One round of SplitMix64 spreads the bits.
    let mut z = time ^ (u64::from(std::process::id()) << 40);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (z ^ (z >> 31)) & 0xFFFF_FFFF
}
