//! A model with all that a job adds to it, which stays open for jobs that ask for the same.

use super::event::JobEvent;
use super::monitor::Monitor;
use super::record::RecordedSetting;
use super::settings::settings;
use crate::addons::EmbeddingFiles;
use crate::device::DeviceOptions;
use crate::hash::{BackgroundHash, ContentHash};
use crate::job::{Job, MemoryOptions, ModelSelection};
use crate::prompts::ResolvedPrompts;
use crate::{AppError, model_file, models};
use latent_diffusion::embeddings::{TextualInversion, named};
use latent_diffusion::families::Probe;
use latent_diffusion::lora::{Lora, Strength, Tag};
use latent_diffusion::taesd::TaesdFile;
use latent_diffusion::tensor::Device;
use latent_diffusion::{Pipeline, VaeTiling};
use latent_loader::{Access, Checkpoint};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// A model with all that a job adds to it.
pub(super) struct OpenedModel {
    /// What it was opened for.
    key: OpenedKey,
    pub(super) name: String,
    pub(super) hash: ModelHash,
    pub(super) pipeline: Pipeline,
    /// Further devices that draw together with that of the pipeline.
    pub(super) others: Vec<Device>,
    pub(super) taesd: Option<Arc<TaesdFile>>,
    /// The textual inversions that prompts name, and that fit the model.
    pub(super) embeddings: Vec<PathBuf>,
}

/// The hash of a model's file or folder.
pub(super) struct ModelHash {
    background: BackgroundHash,
    /// Once it was waited for.
    known: OnceLock<Option<ContentHash>>,
}

impl ModelHash {
    /// Begins to compute it in the background, if that has not begun.
    pub(super) fn begin(&self) {
        self.background.begin();
    }

    /// The hash, which is waited for.
    pub(super) fn wait(&self) -> Option<&ContentHash> {
        self.known.get_or_init(|| self.background.wait()).as_ref()
    }
}

/// The name of a GPU; `None` for the CPU.
pub(super) fn gpu_name(device: &Device) -> Option<String> {
    match device {
        #[cfg(feature = "gpu")]
        Device::Gpu { gpu, .. } => Some(gpu.name().to_owned()),
        _ => None,
    }
}

/// Everything that decides what [`OpenedModel::open`] opens.
#[derive(PartialEq)]
struct OpenedKey {
    model: ModelSelection,
    refiner: (Option<PathBuf>, Option<f64>),
    taesd: Option<PathBuf>,
    device: DeviceOptions,
    memory: MemoryOptions,
    loras: Vec<(Tag, PathBuf)>,
    /// The textual inversions that prompts name.
    embeddings: Vec<PathBuf>,
    /// The prompts, if they may name textual inversions.
    texts: Option<Vec<String>>,
}

impl OpenedKey {
    fn of(job: &Job, prompts: &ResolvedPrompts) -> OpenedKey {
        let texts = || prompts.texts().into_iter().map(str::to_owned).collect();
        OpenedKey {
            model: job.model.clone(),
            refiner: (job.sdxl.refiner.clone(), job.sdxl.refiner_start),
            taesd: job.taesd.clone(),
            device: job.device.clone(),
            memory: job.memory.clone(),
            loras: prompts.loras.clone(),
            embeddings: prompts.embeddings.clone(),
            texts: (!job.model.embeddings.is_empty()).then(texts),
        }
    }
}

/// How files of a job are read.
pub(super) fn access(job: &Job) -> Access {
    if job.memory.low_memory { Access::Map } else { Access::Read }
}

impl OpenedModel {
    /// Whether it is what a job asks for.
    pub(super) fn fits(&self, job: &Job, prompts: &ResolvedPrompts) -> bool {
        self.key == OpenedKey::of(job, prompts)
    }

    /// Opens what a job names, to draw so many images at once. No weight is read yet.
    pub(super) fn open(
        job: &Job,
        prompts: &ResolvedPrompts,
        at_once: usize,
        monitor: &mut Monitor<'_>,
    ) -> Result<OpenedModel, AppError> {
        let (access, selection) = (access(job), &job.model);
        let models_dir = selection.models_dir.as_deref();
        let in_bands = job.memory.low_memory || job.memory.vae_tiling;
        let model = selection.parts.open(selection.model.as_deref(), models_dir, access, &mut |line| {
            monitor.notify(JobEvent::PartDoubtful(line));
        })?;
        let tiling = if in_bands { VaeTiling::Bands } else { VaeTiling::Off };
        let mut pipeline = Pipeline::open(model.checkpoint)?
            .with_vae_tiling(tiling)
            .with_streamed_weights(job.memory.low_memory);
        if let Some(prediction) = selection.prediction {
            pipeline = pipeline.with_prediction(prediction);
        }
        if let Some(is_zero) = selection.zero_snr {
            pipeline = pipeline.with_zero_terminal_snr(is_zero);
        }
        // Before the settings: a LoRA for few steps has some of its own.
        let bundled = add_loras(selection, prompts, &mut pipeline, monitor)?;
        let mut settings = settings(job, pipeline.model());
        (settings.seeds, settings.variation_seeds) = (vec![0; at_once], vec![0; at_once]);
        settings.check(pipeline.model())?;
        if let Some(path) = &job.sdxl.refiner {
            let refiner = Pipeline::open(model_file::open(Some(path), models_dir, access)?.checkpoint)?;
            settings.check_texts(refiner.model())?;
            pipeline.set_refiner(Some((refiner, job.sdxl.refiner_start.unwrap_or(DEFAULT_REFINER_START))))?;
        }
        let embeddings = add_embeddings(selection, prompts, bundled, &mut pipeline, monitor)?;
        let taesd = match &job.taesd {
            Some(path) => {
                let path = model_file::locate_kind(path, models_dir, model_file::kinds_of("taesd"))?;
                Some(Arc::new(TaesdFile::open(Checkpoint::open_with(&path, access)?)?))
            }
            None => None,
        };
        if let Some(taesd) = &taesd {
            pipeline.set_taesd(Some(taesd.clone()))?;
        }
        let mut others = job.device.open_all(&mut |error| {
            monitor.notify(JobEvent::GpuUnavailable(error.to_string()));
        })?;
        pipeline.set_device(others.remove(0));
        pipeline.set_precision(job.device.precision.unwrap_or_default().on_cpu());
        let key = OpenedKey::of(job, prompts);
        Ok(OpenedModel {
            key,
            name: model.name,
            hash: ModelHash { background: model.hash, known: OnceLock::new() },
            pipeline,
            others,
            taesd,
            embeddings,
        })
    }

    /// All devices that draw.
    pub(super) fn devices(&self) -> Vec<Device> {
        std::iter::once(self.pipeline.device()).chain(&self.others).cloned().collect()
    }

    /// Tells what each GPU holds of the model while it samples.
    pub(super) fn report_gpus(&self, monitor: &mut Monitor<'_>) {
        for device in &self.devices() {
            let Some(gpu) = gpu_name(device) else { continue };
            let (weights, limit) = (self.pipeline.sampling_weights(device), device.memory_limit());
            monitor.notify(JobEvent::GpuWeights { gpu, weights, limit });
        }
    }

    /// What metadata record of the decoder.
    pub(super) fn recorded(&self) -> Option<RecordedSetting> {
        let path = self.key.taesd.as_ref()?;
        Some(RecordedSetting::new("VAE Decoder", "taesd", models::stem(path)))
    }
}

/// The fraction of the steps after which a refiner takes over, if nothing is given.
const DEFAULT_REFINER_START: f64 = 0.8;

/// Opens the LoRAs of a job and of its prompts. Gives the textual inversions that those in use bundle.
fn add_loras(
    selection: &ModelSelection,
    prompts: &ResolvedPrompts,
    pipeline: &mut Pipeline,
    monitor: &mut Monitor<'_>,
) -> Result<Vec<Arc<TextualInversion>>, AppError> {
    let places = selection.lora_places();
    let given =
        selection.loras.iter().map(|lora| Ok((places.given(&lora.file)?, Strength::from(lora.weight))));
    let tagged = prompts.loras.iter().map(|(tag, path)| Ok((path.clone(), tag.strength())));
    let open = |named: Result<(PathBuf, Strength), AppError>| -> Result<_, AppError> {
        let (path, strength) = named?;
        Ok((Arc::new(Lora::open(Checkpoint::open(&path)?)?), strength))
    };
    let loras = given.chain(tagged).map(open).collect::<Result<Vec<_>, _>>()?;
    if !loras.is_empty() {
        for applied in pipeline.set_loras(&loras)? {
            monitor.notify(JobEvent::LoraApplied(applied.to_string()));
        }
    }
    let used = loras.iter().filter(|(_, strength)| strength.unet != 0.0 || strength.text != 0.0);
    Ok(used.flat_map(|(lora, _)| lora.bundled().iter().cloned()).collect())
}

/// Opens the textual inversions that a job or its prompts name, and adds those that LoRAs bundle. Gives those of the prompts that are used: of the usual
/// folders, those of other kinds of models stay words.
fn add_embeddings(
    selection: &ModelSelection,
    prompts: &ResolvedPrompts,
    bundled: Vec<Arc<TextualInversion>>,
    pipeline: &mut Pipeline,
    monitor: &mut Monitor<'_>,
) -> Result<Vec<PathBuf>, AppError> {
    let (texts, files) = (prompts.texts(), &selection.embeddings);
    let fits = |path: &&PathBuf| {
        files.folder.is_some() || family_of(path).is_none_or(|id| id == pipeline.model().family.id)
    };
    let used: Vec<PathBuf> = prompts.embeddings.iter().filter(fits).cloned().collect();
    let models_dir = selection.models_dir.as_deref();
    let all = EmbeddingFiles::new([files.files.clone(), used.clone()].concat(), None);
    let mut opened = all.open(&texts, models_dir)?;
    let given = opened.len();
    for embedding in bundled {
        // A word that a person gives a file for is that one.
        let is_new = |known: &Arc<TextualInversion>| {
            !known.names().iter().any(|name| embedding.names().contains(name))
        };
        if opened.iter().all(is_new) {
            opened.push(embedding);
        }
    }
    let names: Vec<String> = opened.iter().flat_map(|embedding| embedding.names().iter().cloned()).collect();
    for (name, near) in files.not_found(&texts, &names, models_dir) {
        let line =
            format!("embedding:{name}: there is no such textual inversion, so it is drawn as words{near}");
        monitor.notify(JobEvent::PartDoubtful(line));
    }
    if opened.is_empty() {
        return Ok(used);
    }
    pipeline.set_embeddings(&opened)?;
    for (index, embedding) in opened.iter().enumerate() {
        // A name of the file's own is found only now.
        let names: Vec<&str> = embedding.names().iter().map(String::as_str).collect();
        let is_used = !named(&texts, &names).is_empty();
        // Of a bundle, all words are there whatever the prompt is.
        if index >= given && !is_used {
            continue;
        }
        monitor.notify(JobEvent::EmbeddingOpened {
            label: embedding.label().to_string(),
            word: names[0].to_owned(),
            vectors: embedding.vectors(),
            is_used,
        });
    }
    Ok(used)
}

/// The family of a file that can be opened.
fn family_of(path: &Path) -> Option<&'static str> {
    let probe = Probe::of(&Arc::new(Checkpoint::open(path).ok()?));
    probe.identity().family.map(|family| family.id)
}
