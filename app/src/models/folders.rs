//! The folders in which models are looked for, and what is in them.

use latent_loader::cached_snapshot;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Folders below a root that hold models: those of the webui and of ComfyUI.
const SUBFOLDERS: [&str; 18] = [
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
const HOME_ROOTS: [&str; 5] =
    ["stable-diffusion-webui", "stable-diffusion-webui-forge", "ComfyUI", "latent", ".local/share/latent"];
/// Levels of subfolders that are searched.
const MAX_DEPTH: usize = 4;
/// Maximum number of entries of folders that are looked at, so that the search of a wrong folder ends.
const MAX_ENTRIES: usize = 20_000;

/// Endings of files of weights: safetensors, GGUF, and the pickles of PyTorch.
pub(crate) const EXTENSIONS: [&str; 6] = ["safetensors", "gguf", "ckpt", "pt", "pth", "bin"];
/// Those of pickles.
const PICKLE_EXTENSIONS: &[&str] = EXTENSIONS.split_at(2).1;

/// Whether it is the ending of model files, without the dot.
pub(crate) fn is_extension(ending: &str) -> bool {
    EXTENSIONS.iter().any(|known| ending.eq_ignore_ascii_case(known))
}

/// Files without the pickles that lie beside a safetensors file of the same name, which is the same model.
#[must_use]
pub fn without_twins(paths: Vec<PathBuf>) -> Vec<PathBuf> {
    let is_twin = |path: &PathBuf| {
        let ending = path.extension().and_then(|own| own.to_str()).unwrap_or_default();
        let is_pickle = PICKLE_EXTENSIONS.iter().any(|known| ending.eq_ignore_ascii_case(known));
        is_pickle && paths.contains(&path.with_extension(EXTENSIONS[0]))
    };
    paths.iter().filter(|path| !is_twin(path)).cloned().collect()
}

/// A file's name without its extension; of a snapshot in the Hugging Face cache, the repository's name.
#[must_use]
pub fn stem(path: &Path) -> String {
    if path.is_dir() {
        let whole = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
        let repository = path.parent().and_then(Path::parent).and_then(whole);
        let cached = repository.as_deref().and_then(|name| name.strip_prefix("models--"));
        return cached.map(|name| name.replace("--", "/")).or(whole(path)).unwrap_or_default();
    }
    path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// The files and folders of that name, with or without its extension, in a folder or in the usual ones.
#[must_use]
pub fn named(name: &str, models_dir: Option<&Path>) -> Vec<PathBuf> {
    let fits = |path: &PathBuf| path.file_name().is_some_and(|whole| whole == name) || stem(path) == name;
    let found: Vec<PathBuf> = search(models_dir).into_iter().filter(fits).collect();
    without_twins(found)
}

/// Every model file and diffusers folder in a folder or in the usual ones. Folders that cannot be read are passed over.
#[must_use]
pub fn search(models_dir: Option<&Path>) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut left = MAX_ENTRIES;
    for folder in models_dir.map_or_else(usual_folders, |folder| vec![folder.to_owned()]) {
        gather(&folder, MAX_DEPTH, &mut left, &mut found);
    }
    found
}

/// The files below a folder with one of these endings and the folders of PEFT adapters, sorted; as many levels and entries as a
/// search looks at.
///
/// # Errors
/// A folder that cannot be listed. Sub-folders that cannot be listed are passed over.
pub(crate) fn files_below(folder: &Path, extensions: &[&str]) -> std::io::Result<Vec<PathBuf>> {
    let is_known = |path: &Path| {
        path.extension().is_some_and(|own| extensions.iter().any(|known| own.eq_ignore_ascii_case(known)))
    };
    let (mut files, mut left) = (Vec::new(), MAX_ENTRIES);
    let mut folders = vec![(folder.to_owned(), MAX_DEPTH)];
    while let Some((folder, depth)) = folders.pop() {
        let entries = match std::fs::read_dir(&folder) {
            Err(error) if depth == MAX_DEPTH => return Err(error),
            entries => entries.into_iter().flatten().flatten(),
        };
        for path in entries.map(|entry| entry.path()) {
            left -= 1;
            if left == 0 {
                break;
            }
            if is_adapter(&path) {
                files.push(path);
            } else if path.is_dir() {
                folders.extend(depth.checked_sub(1).map(|depth| (path, depth)));
            } else if is_known(&path) && path.is_file() {
                files.push(path);
            }
        }
        if left == 0 {
            break;
        }
    }
    files.sort();
    Ok(files)
}

/// The folders that are searched unless another is named: those of `LATENT_MODELS`, of other programs in the home and the
/// current folder, our own, and the Hugging Face cache. Some of them may not exist.
#[must_use]
pub fn usual_folders() -> Vec<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let mut folders: Vec<PathBuf> =
        std::env::var_os("LATENT_MODELS").iter().flat_map(std::env::split_paths).collect();
    let home = variable("HOME").or_else(|| variable("USERPROFILE"));
    let home_roots = home.iter().flat_map(|home| HOME_ROOTS.map(|name| home.join(name)));
    for root in home_roots.chain([PathBuf::from(".")]) {
        folders.extend(SUBFOLDERS.map(|folder| root.join(folder)));
    }
    folders.extend(home.iter().flat_map(|home| [home.join("latent"), home.join(".local/share/latent")]));
    let hub = variable("HF_HUB_CACHE").or_else(|| variable("HF_HOME").map(|folder| folder.join("hub")));
    folders.extend(hub.or_else(|| home.map(|home| home.join(".cache/huggingface/hub"))));
    folders
}

/// Whether a folder is a PEFT adapter, which is opened as one.
pub(crate) fn is_adapter(folder: &Path) -> bool {
    let has_weights =
        || EXTENSIONS.iter().any(|ending| folder.join(format!("adapter_model.{ending}")).is_file());
    folder.join("adapter_config.json").is_file() && has_weights()
}

/// Whether a folder is a model, one component in a folder of its own, or an adapter.
fn is_model_folder(folder: &Path) -> bool {
    let is_weights = |entry: std::fs::DirEntry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        let stems = ["diffusion_pytorch_model.", "model.", "pytorch_model."];
        let is_named = stems.iter().any(|stem| name.starts_with(stem));
        is_named
            && [".safetensors", ".bin"]
                .iter()
                .any(|ending| name.ends_with(ending) || name.contains(&format!("{ending}.index.")))
    };
    folder.join("model_index.json").is_file()
        || is_adapter(folder)
        || (folder.join("config.json").is_file()
            && std::fs::read_dir(folder).is_ok_and(|entries| entries.flatten().any(is_weights)))
}

fn gather(folder: &Path, depth: usize, left: &mut usize, found: &mut BTreeSet<PathBuf>) {
    if let Some(snapshot) = cached_snapshot(folder) {
        // Of several snapshots, the one that the folder itself opens as.
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
        } else if path.extension().and_then(|own| own.to_str()).is_some_and(is_extension) {
            found.insert(path);
        }
    }
}
