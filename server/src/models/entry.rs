//! A model file as clients see it.

use super::BUILT_IN;
use latent_app::inspect::ModelReport;
use latent_app::{model_file, models};
use latent_diffusion::Settings;
use latent_diffusion::families::{Model, ModelKind, ModelVariant, NetworkInput};
use latent_diffusion::names::Named;
use latent_loader::{Access, Checkpoint, LoadError};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use utoipa::ToSchema;

/// Bytes of memory by the side of a square image in pixels.
pub type MemoryAtSizes = BTreeMap<String, u64>;

/// What a model is drawn with unless a job asks for something else.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ModelDefaults {
    /// Pixels.
    pub width: usize,
    /// Pixels.
    pub height: usize,
    /// Sampling steps.
    pub steps: usize,
    /// The guidance scale.
    pub cfg_scale: f64,
    /// The sampler.
    pub sampler: &'static str,
    /// The schedule.
    pub scheduler: &'static str,
    /// Layers of the text encoder that are left out from the end, plus 1.
    pub clip_skip: usize,
}

/// A file in the model folders.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ModelInfo {
    /// The name by which jobs call it.
    pub name: String,
    /// Where it is in its folder.
    pub path_in_folder: String,
    /// Bytes of all its files.
    pub bytes: u64,
    /// `model`, `unet`, `text-encoder`, `vae`, `tiny-vae`, `lora`, `controlnet`, `control-lora`, `controlnet-lllite`, `t2i-adapter`,
    /// `embedding`, `upscaler` or `unknown`.
    pub kind: Option<String>,
    /// Its family.
    pub base: Option<String>,
    /// The same for people, with the variant.
    pub family_label: Option<String>,
    /// What its UNet takes besides the latents.
    pub variant: Option<String>,
    /// Why it cannot be used.
    pub problem: Option<String>,
    /// Whether it draws by itself.
    pub draws: bool,
    /// What it can be used for.
    pub verbs: Vec<String>,
    /// What it is drawn with unless a job asks for something else.
    pub defaults: Option<ModelDefaults>,
    /// Memory that it takes, estimated.
    #[schema(value_type = Option<std::collections::BTreeMap<String, u64>>)]
    pub memory: Option<MemoryAtSizes>,
    /// Whether a device has it in memory.
    pub loaded: bool,
    /// Whether it is built into the program.
    pub built_in: bool,
}

/// A model with its place on disk, which clients do not see.
#[derive(Clone, Debug)]
pub(super) struct CatalogEntry {
    /// `None` for the built-in model.
    pub(super) path: Option<PathBuf>,
    pub(super) info: ModelInfo,
}

impl CatalogEntry {
    /// The built-in model, where the program has one.
    pub(super) fn built_in() -> Option<CatalogEntry> {
        let checkpoint = Arc::new(model_file::open(None, None, Access::Read).ok()?.checkpoint);
        let mut info = info(&checkpoint);
        info.name = BUILT_IN.to_owned();
        info.built_in = true;
        Some(CatalogEntry { path: None, info })
    }

    /// Looks at the header of a file or folder, which is in one of `folders`.
    pub(super) fn open(path: &Path, folders: &[PathBuf]) -> CatalogEntry {
        let mut info = match Checkpoint::open_fenced(path) {
            Ok(checkpoint) => info(&Arc::new(checkpoint)),
            Err(error) => damaged(path, &error),
        };
        info.name = models::stem(path);
        let inside = folders.iter().filter_map(|folder| path.strip_prefix(folder).ok());
        let inside = inside.min_by_key(|inside| inside.as_os_str().len());
        let shown = inside.filter(|inside| !inside.as_os_str().is_empty());
        info.path_in_folder = shown.map_or(info.name.clone(), |inside| inside.to_string_lossy().into_owned());
        CatalogEntry { path: Some(path.to_owned()), info }
    }

    /// Its place in the list: by kind, family and name; damaged files last.
    pub(super) fn order(&self) -> (bool, usize, String, String) {
        let kinds = ModelKind::ALL.iter();
        let kind =
            self.info.kind.as_deref().and_then(|own| kinds.map(|kind| kind.id()).position(|id| id == own));
        let family = self.info.family_label.clone().unwrap_or_default();
        (!self.info.built_in, kind.unwrap_or(usize::MAX), family, self.info.path_in_folder.clone())
    }

    /// Whether it is called so, exactly or in any case: by its stem, its file's name or its place in its folder, with or without
    /// its ending.
    pub(super) fn has_name(&self, name: &str, is_exact: bool) -> bool {
        let Some(path) = &self.path else { return false };
        let is_same =
            |own: &str| if is_exact { own == name } else { own.to_lowercase() == name.to_lowercase() };
        let is_file_name = path.file_name().is_some_and(|own| is_same(&own.to_string_lossy()));
        let in_folder = &self.info.path_in_folder;
        let without_ending = in_folder.rsplit_once('.').map_or(in_folder.as_str(), |(stem, _)| stem);
        is_file_name || is_same(&models::stem(path)) || is_same(in_folder) || is_same(without_ending)
    }
}

fn damaged(path: &Path, error: &LoadError) -> ModelInfo {
    // The name of the file is known; its folder is nobody's business.
    let text = error.to_string();
    let problem = text.strip_prefix(&path.display().to_string()).map_or(text.as_str(), |rest| rest);
    ModelInfo {
        name: String::new(),
        path_in_folder: String::new(),
        bytes: std::fs::metadata(path).map_or(0, |metadata| metadata.len()),
        kind: None,
        base: None,
        family_label: None,
        variant: None,
        problem: Some(problem.trim_start_matches([':', ' ']).to_owned()),
        draws: false,
        verbs: Vec::new(),
        defaults: None,
        memory: None,
        loaded: false,
        built_in: false,
    }
}

fn info(checkpoint: &Arc<Checkpoint>) -> ModelInfo {
    let report = ModelReport::of(checkpoint);
    let identity = &report.identity;
    let model = report.model.is_some().then(|| Model::detect(checkpoint).ok()).flatten();
    let memory: MemoryAtSizes = report.memory.iter().map(|at| (at.side.to_string(), at.bytes)).collect();
    let draws = identity.kind == ModelKind::Model && model.is_some();
    let can_fail = matches!(identity.kind, ModelKind::Model | ModelKind::Upscaler | ModelKind::Unknown);
    ModelInfo {
        name: String::new(),
        path_in_folder: String::new(),
        bytes: report.bytes,
        kind: Some(identity.kind.id().to_owned()),
        base: identity.family.map(|family| family.id.to_owned()),
        family_label: identity.family_label(),
        variant: identity.variant.map(|variant| ModelVariant::name(variant).to_owned()),
        problem: report.problem.clone().filter(|_| can_fail),
        draws,
        verbs: usable_verbs(identity.kind, model.as_ref()),
        defaults: model.as_ref().map(defaults),
        memory: (!memory.is_empty()).then_some(memory),
        loaded: false,
        built_in: false,
    }
}

/// What a file of a kind can be used for; `model` is what it draws with, if it does.
#[must_use]
pub fn usable_verbs(kind: ModelKind, model: Option<&Model>) -> Vec<String> {
    let verbs: &[&str] = match (kind, model.map(|model| model.input)) {
        (_, Some(NetworkInput::Latent)) if model.is_some_and(Model::refers_to_images) => {
            &["txt2img", "img2img", "inpaint", "outpaint", "edit"]
        }
        (ModelKind::Upscaler, _) => &["upscale"],
        (_, Some(NetworkInput::Edit)) => &["edit"],
        (_, Some(NetworkInput::Inpaint)) => &["inpaint", "outpaint", "txt2img", "img2img"],
        (_, Some(NetworkInput::Latent)) => &["txt2img", "img2img", "inpaint", "outpaint"],
        _ => &[],
    };
    verbs.iter().map(|verb| (*verb).to_owned()).collect()
}

fn defaults(model: &Model) -> ModelDefaults {
    let settings = Settings::of(model);
    let (width, height) = settings.size(model).unwrap_or(model.resolution);
    ModelDefaults {
        width,
        height,
        steps: settings.steps,
        cfg_scale: settings.guidance,
        sampler: settings.sampler.name(),
        scheduler: settings.schedule.name(),
        clip_skip: settings.clip_skip,
    }
}
