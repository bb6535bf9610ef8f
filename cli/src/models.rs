//! `latent models`: the model files in the usual places, and finding one by its name.

use crate::args::ModelsArgs;
use crate::inspect::{bytes, printable};
use crate::{hash, print};
use latent_app::AppError;
use latent_diffusion::families::{Identity, ModelKind, ModelVariant, Probe};
use latent_diffusion::upscaler::UpscalerFile;
use latent_loader::{Checkpoint, cached_snapshot};
use serde_json::json;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Folders below a root in which models lie: those of the webui and of ComfyUI, and the root itself.
const BELOW: [&str; 18] = [
    "models/Stable-diffusion",
    "models/Lora",
    "models/VAE",
    "models/VAE-approx",
    "models/ControlNet",
    "models/ESRGAN",
    "models/RealESRGAN",
    "models/checkpoints",
    "models/loras",
    "models/vae",
    "models/vae_approx",
    "models/controlnet",
    "models/upscale_models",
    "models/unet",
    "models/diffusion_models",
    "models/clip",
    "models/embeddings",
    "embeddings",
];
/// Roots in the home folder.
const HOMES: [&str; 5] =
    ["stable-diffusion-webui", "stable-diffusion-webui-forge", "ComfyUI", "latent", ".local/share/latent"];
/// Levels of sub-folders that are searched.
const DEPTH: usize = 4;
/// Most entries that are looked at, so that a wrong folder ends.
const MOST_ENTRIES: usize = 20_000;

pub(crate) fn run(args: &ModelsArgs) -> Result<(), AppError> {
    if let Some(folder) = args.models_dir.as_ref().filter(|folder| !folder.is_dir()) {
        return Err(AppError::BadInput(format!("{}: no such folder of models", folder.display())));
    }
    let mut found: Vec<Found> = search(args.models_dir.as_deref()).into_iter().map(Found::of).collect();
    found.sort_by(|a, b| a.key().cmp(&b.key()));
    if args.hash {
        for file in found.iter_mut().filter(|f| f.path.is_file()) {
            file.sha256 = hash::sha256(&file.path).ok();
        }
    }
    if args.json {
        let list: Vec<_> = found.iter().map(Found::json).collect();
        return print(&format!("{:#}\n", json!(list)));
    }
    if found.is_empty() {
        return print(&format!("no model found; {}\n", advice()));
    }
    let mut out = String::new();
    let mut heading = "";
    for file in &found {
        if file.kind() != heading {
            heading = file.kind();
            let _ = writeln!(out, "{heading}");
        }
        let hash = file.sha256.as_deref().map_or(String::new(), |h| format!(", {}", hash::short(h)));
        let _ = writeln!(
            out,
            "  {}: {}, {}{hash} ({})",
            printable(&stem(&file.path)),
            file.told(),
            bytes(file.bytes),
            printable(&file.path.display().to_string())
        );
    }
    print(&out)
}

/// Where to put files.
fn advice() -> String {
    "put .safetensors files into ~/.local/share/latent or ~/latent, or name their folder by --models-dir or LATENT_MODELS; \
     the folders of the webui, of ComfyUI and the Hugging Face cache are searched too"
        .to_owned()
}

/// A model that was found.
struct Found {
    path: PathBuf,
    bytes: u64,
    /// What it is, or why it cannot be opened.
    identity: Result<Identity, String>,
    /// The sizes of an upscaler.
    upscaler: Option<String>,
    sha256: Option<String>,
}

impl Found {
    fn of(path: PathBuf) -> Found {
        match Checkpoint::open(&path) {
            Ok(checkpoint) => {
                let (bytes, probe) = (checkpoint.file_bytes(), Probe::of(&Arc::new(checkpoint)));
                let identity = probe.identity().clone();
                let is_upscaler = identity.kind == ModelKind::Upscaler;
                let upscaler = is_upscaler.then(|| UpscalerFile::of(&probe)).and_then(Result::ok);
                let upscaler = upscaler.map(|file| file.config().to_string());
                Found { path, bytes, identity: Ok(identity), upscaler, sha256: None }
            }
            Err(error) => {
                let bytes = std::fs::metadata(&path).map_or(0, |m| m.len());
                Found { path, bytes, identity: Err(error.to_string()), upscaler: None, sha256: None }
            }
        }
    }

    /// Order of the list: by kind, family and name; damaged files last.
    fn key(&self) -> (usize, String, &Path) {
        let place =
            |kind: ModelKind| ModelKind::ALL.iter().position(|k| *k == kind).unwrap_or(ModelKind::ALL.len());
        let kind = self.identity.as_ref().map_or(usize::MAX, |i| place(i.kind));
        (kind, self.told(), &self.path)
    }

    fn kind(&self) -> &'static str {
        self.identity.as_ref().map_or("cannot be opened", |i| i.kind.label())
    }

    fn told(&self) -> String {
        match &self.identity {
            Ok(identity) => self
                .upscaler
                .clone()
                .or(identity.family_label())
                .unwrap_or_else(|| "family unknown".to_owned()),
            Err(error) => error.clone(),
        }
    }

    fn json(&self) -> serde_json::Value {
        let identity = self.identity.as_ref().ok();
        json!({
            "name": stem(&self.path),
            "path": self.path.display().to_string(),
            "bytes": self.bytes,
            "kind": identity.map(|i| i.kind.id()),
            "base": identity.and_then(|i| i.family).map(|family| family.id),
            "variant": identity.and_then(|i| i.variant).map(ModelVariant::name),
            "problem": self.identity.as_ref().err(),
            "sha256": self.sha256,
            "short_hash": self.sha256.as_deref().map(hash::short),
        })
    }
}

/// The file or folder that `name` is the stem of.
pub(crate) fn find(name: &Path, models_dir: Option<&Path>) -> Result<PathBuf, AppError> {
    let wanted = name.to_string_lossy().into_owned();
    let mut fits: Vec<PathBuf> = search(models_dir).into_iter().filter(|path| stem(path) == wanted).collect();
    match fits.len() {
        1 => Ok(fits.remove(0)),
        0 => Err(AppError::BadInput(format!(
            "{wanted}: no such file, and no model of that name; {}",
            advice()
        ))),
        _ => {
            let list: Vec<_> = fits.iter().map(|path| path.display().to_string()).collect();
            Err(AppError::BadInput(format!("{wanted}: several models have that name: {}", list.join(", "))))
        }
    }
}

/// The files and folders of that name, with or without its ending, in the usual places or in one.
pub(crate) fn named(name: &str, models_dir: Option<&Path>) -> Vec<PathBuf> {
    let fits = |path: &PathBuf| path.file_name().is_some_and(|whole| whole == name) || stem(path) == name;
    search(models_dir).into_iter().filter(fits).collect()
}

/// A file's name without its ending; of a snapshot in the Hugging Face cache, the repository's.
pub(crate) fn stem(path: &Path) -> String {
    let text = |path: &Path| path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    if path.is_dir() {
        let whole = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
        let repository = path.parent().and_then(Path::parent).and_then(whole);
        let cached = repository.as_deref().and_then(|name| name.strip_prefix("models--"));
        return cached.map(|name| name.replace("--", "/")).or(whole(path)).unwrap_or_default();
    }
    text(path)
}

/// Every model file and diffusers folder: in one place, or in the usual ones.
fn search(models_dir: Option<&Path>) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut left = MOST_ENTRIES;
    for folder in places(models_dir) {
        gather(&folder, DEPTH, &mut left, &mut found);
    }
    found
}

fn places(models_dir: Option<&Path>) -> Vec<PathBuf> {
    if let Some(folder) = models_dir {
        return vec![folder.to_owned()];
    }
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let mut places: Vec<PathBuf> =
        std::env::var_os("LATENT_MODELS").iter().flat_map(std::env::split_paths).collect();
    let home = variable("HOME").or_else(|| variable("USERPROFILE"));
    for root in home.iter().flat_map(|home| HOMES.map(|name| home.join(name))).chain([PathBuf::from(".")]) {
        places.extend(BELOW.map(|folder| root.join(folder)));
    }
    places.extend(home.iter().flat_map(|home| [home.join("latent"), home.join(".local/share/latent")]));
    let hub = variable("HF_HUB_CACHE").or_else(|| variable("HF_HOME").map(|folder| folder.join("hub")));
    places.extend(hub.or_else(|| home.map(|home| home.join(".cache/huggingface/hub"))));
    places
}

/// Whether a folder is a model, or one component in a folder of its own.
fn is_model_folder(folder: &Path) -> bool {
    let is_weights = |entry: std::fs::DirEntry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_named = name.starts_with("diffusion_pytorch_model.") || name.starts_with("model.");
        is_named && (name.ends_with(".safetensors") || name.contains(".safetensors.index."))
    };
    folder.join("model_index.json").is_file()
        || (folder.join("config.json").is_file()
            && std::fs::read_dir(folder).is_ok_and(|entries| entries.flatten().any(is_weights)))
}

fn gather(folder: &Path, depth: usize, left: &mut usize, found: &mut BTreeSet<PathBuf>) {
    if let Some(snapshot) = cached_snapshot(folder) {
        // Of several snapshots, that which the folder itself opens as.
        return gather(&snapshot, depth.saturating_sub(1), left, found);
    }
    if is_model_folder(folder) {
        found.insert(folder.to_owned());
        return;
    }
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let Some(rest) = left.checked_sub(1) else { return };
        *left = rest;
        let path = entry.path();
        if path.is_dir() {
            if depth > 0 {
                gather(&path, depth - 1, left, found);
            }
        } else if path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("safetensors")) {
            found.insert(path);
        }
    }
}
