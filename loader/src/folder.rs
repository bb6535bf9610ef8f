//! Diffusers folders: which files of a folder are the model.
//!
//! `model_index.json` names the components; each has a sub-folder with its configuration and its weights. The weights
//! are one file or several shards with an index, in this order of preference (names as diffusers and transformers
//! write them): `diffusion_pytorch_model` or `model`, then `.safetensors`, `.safetensors.index.json`, then the same of a
//! variant: `.fp16.safetensors`, `.safetensors.index.fp16.json`, then of `bf16` and of `fp32`, and last pickles:
//! `diffusion_pytorch_model.bin` or `pytorch_model.bin`, their indexes, and their variant `fp16`. So where a component has
//! its weights twice, the exact ones are taken and not those that were rounded; where it has one variant alone, that is
//! taken, whatever the other components have. Sub-folders that hold neither (tokenizer, scheduler) carry no tensors.
//!
//! A folder with a configuration and weights right in it is one component. Its tensors are named as in the file. So is a folder
//! with the two files of a PEFT adapter.

use crate::adapter;
use crate::byte_source::{ByteSource, cannot};
use crate::files::CheckpointFiles;
use crate::limits::{MAX_COMPONENTS, MAX_CONFIG_BYTES, MAX_HEADER_BYTES, MAX_SHARDS, MAX_TENSORS};
use crate::sandbox::{Links, PathSandbox};
use crate::shards::{WeightMap, is_safe_name, parse_index};
use crate::{Access, CheckpointLayout, Config, LoadError, scaled};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Name of the list of components, also under which its contents are kept among the configurations.
const MODEL_INDEX: &str = "model_index";

/// Configurations of a component, and that of a scheduler.
const CONFIGS: [&str; 2] = ["config.json", "scheduler_config.json"];

/// File names of weights without their endings; the last is that of pickles alone.
const STEMS: [&str; 3] = ["diffusion_pytorch_model", "model", "pytorch_model"];

/// Endings of weights in the order of preference, and whether the file is an index.
const ENDINGS: [(&str, bool); 12] = [
    (".safetensors", false),
    (".safetensors.index.json", true),
    (".fp16.safetensors", false),
    (".safetensors.index.fp16.json", true),
    (".bf16.safetensors", false),
    (".safetensors.index.bf16.json", true),
    (".fp32.safetensors", false),
    (".safetensors.index.fp32.json", true),
    (".bin", false),
    (".bin.index.json", true),
    (".fp16.bin", false),
    (".bin.index.fp16.json", true),
];

/// Endings of PyTorch pickles.
const PICKLES: [&str; 4] = [".bin", ".ckpt", ".pt", ".pth"];

/// Components that no image depends on: their weights are never read.
const SKIPPED: [&str; 1] = ["safety_checker"];

/// Opens every component of a folder, or the one that it is.
pub(crate) fn open(
    folder: &Path,
    access: Access,
    links: Links,
) -> Result<(CheckpointLayout, CheckpointFiles), LoadError> {
    let reader = FolderReader { folder, sandbox: PathSandbox::new(folder, links)?, read: RefCell::default() };
    let mut files = CheckpointFiles::new(access);
    let layout = reader.all(&mut files)?;
    scaled::fold(&mut files)?;
    files.read_files = reader.read.into_inner().into_iter().collect();
    Ok((layout, files))
}
/// Files that the weights of a component can be in, the preferred ones first, and whether each is an index.
fn candidates(folder: &Path) -> impl Iterator<Item = (PathBuf, bool)> {
    ENDINGS.iter().flat_map(move |(ending, is_index)| {
        STEMS.map(|stem| (folder.join(format!("{stem}{ending}")), *is_index))
    })
}

struct FolderReader<'a> {
    folder: &'a Path,
    sandbox: PathSandbox,
    /// All files that were opened, by their paths below the folder.
    read: RefCell<BTreeSet<PathBuf>>,
}

impl FolderReader<'_> {
    /// Adds every component, or the one that the folder is.
    fn all(&self, files: &mut CheckpointFiles) -> Result<CheckpointLayout, LoadError> {
        if let Some([_, weights]) = adapter::files_of(self.folder) {
            let config = self.config(self.folder, adapter::CONFIG_FILE)?;
            files.add(self.source(&weights)?, "")?;
            files.configs.extend(config.map(|config| (adapter::CONFIG.to_owned(), config)));
            return Ok(CheckpointLayout::ComponentFolder);
        }
        let index = self.config(self.folder, "model_index.json")?;
        if index.is_none()
            && candidates(self.folder).any(|(path, _)| is_there(&path))
            && let Some(config) = self.config(self.folder, CONFIGS[0])?
        {
            self.weights(self.folder, "", files)?;
            files.configs.insert(String::new(), config);
            return Ok(CheckpointLayout::ComponentFolder);
        }
        let listed = |name: &str| index.as_ref().is_some_and(|index| index.lists_component(name));
        for name in self.sub_folders()? {
            if let Some(config) = self.component_config(&name)? {
                self.weights(&self.folder.join(&name), &format!("{name}."), files)?;
                files.configs.insert(name, config);
            } else if listed(&name) {
                self.weights(&self.folder.join(&name), &format!("{name}."), files)?;
            }
        }
        if files.tensors.is_empty() {
            return Err(self.explain());
        }
        if let Some(index) = index {
            files.configs.insert(MODEL_INDEX.to_owned(), index);
        }
        Ok(CheckpointLayout::DiffusersFolder)
    }

    /// Names of the sub-folders that can be components, sorted. Those with a dot or a strange character are not: a
    /// component's name becomes the first part of its tensors' names.
    fn sub_folders(&self) -> Result<BTreeSet<String>, LoadError> {
        let mut names = BTreeSet::new();
        for name in file_names(self.folder)? {
            let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
            if plain && !SKIPPED.contains(&name.as_str()) && self.folder.join(&name).is_dir() {
                names.insert(name);
            }
            if names.len() > MAX_COMPONENTS {
                return Err(self.too_many("sub-folders", MAX_COMPONENTS));
            }
        }
        Ok(names)
    }

    fn too_many(&self, what: &'static str, limit: usize) -> LoadError {
        LoadError::TooMany { file: self.folder.display().to_string(), what, limit }
    }

    /// The configuration of a component, if it has one.
    fn component_config(&self, component: &str) -> Result<Option<Config>, LoadError> {
        let folder = self.folder.join(component);
        for name in CONFIGS {
            if let Some(config) = self.config(&folder, name)? {
                return Ok(Some(config));
            }
        }
        Ok(None)
    }

    /// A small JSON file, if it is there.
    fn config(&self, folder: &Path, name: &str) -> Result<Option<Config>, LoadError> {
        let path = folder.join(name);
        if !is_there(&path) {
            return Ok(None);
        }
        let source = self.source(&path)?;
        let config = Config::parse(&source.read_small(MAX_CONFIG_BYTES)?);
        config.map(Some).map_err(|message| LoadError::BadJson { file: source.label.clone(), message })
    }

    /// Opens a file of the folder, wherever its links may lead.
    fn source(&self, path: &Path) -> Result<ByteSource, LoadError> {
        let real = self.sandbox.resolve(path)?;
        self.read.borrow_mut().extend(path.strip_prefix(self.folder).ok().map(Path::to_owned));
        ByteSource::open(&real, path.display().to_string())
    }

    /// Adds the tensors of a component, `prefix` before their names.
    fn weights(&self, folder: &Path, prefix: &str, files: &mut CheckpointFiles) -> Result<(), LoadError> {
        match candidates(folder).find(|(path, _)| is_there(path)) {
            Some((path, true)) => self.sharded(&path, folder, prefix, files)?,
            Some((path, false)) => {
                files.add(self.source(&path)?, prefix)?;
            }
            None => return self.no_weights(folder),
        }
        if files.tensors.len() > MAX_TENSORS {
            return Err(self.too_many("tensors", MAX_TENSORS));
        }
        Ok(())
    }

    /// Adds the tensors of all shards of an index, each of which must hold what the index lists, and nothing else.
    fn sharded(
        &self,
        index: &Path,
        folder: &Path,
        prefix: &str,
        files: &mut CheckpointFiles,
    ) -> Result<(), LoadError> {
        let source = self.source(index)?;
        let file = || source.label.clone();
        let map = parse_index(&source.read_small(MAX_HEADER_BYTES)?)
            .map_err(|message| LoadError::BadJson { file: file(), message })?;
        let shards: BTreeSet<&str> = map.values().map(String::as_str).collect();
        if let Some(shard) = shards.iter().find(|shard| !is_safe_name(shard)) {
            return Err(LoadError::UnsafeShardName { file: file(), shard: (*shard).to_owned() });
        }
        if shards.len() > MAX_SHARDS {
            return Err(LoadError::TooMany { file: file(), what: "shards", limit: MAX_SHARDS });
        }
        // All are looked for before the first is opened: what is missing is reported at once.
        if let Some((tensor, shard)) = map.iter().find(|(_, shard)| !is_there(&folder.join(shard))) {
            return Err(LoadError::MissingShard {
                file: file(),
                shard: shard.clone(),
                tensor: tensor.clone(),
            });
        }
        let before = files.tensors.len();
        for shard in &shards {
            let first = files.tensors.len();
            files.add(self.source(&folder.join(shard))?, prefix)?;
            let mut names = files.tensors[first..].iter().map(|tensor| &tensor.name[prefix.len()..]);
            if let Some(name) = names.find(|name| map.get(*name).is_none_or(|s| s != shard)) {
                let tensor = name.to_owned();
                return Err(LoadError::NotInIndex { file: file(), shard: (*shard).to_owned(), tensor });
            }
        }
        match first_absent(&map, &files.tensors[before..], prefix) {
            Some((tensor, shard)) => {
                Err(LoadError::NotInShard { file: file(), shard: shard.clone(), tensor: tensor.clone() })
            }
            None => Ok(()),
        }
    }

    /// A component without weights that can be read: none at all is fine, those of other names are not.
    fn no_weights(&self, folder: &Path) -> Result<(), LoadError> {
        let names = file_names(folder)?;
        let label = || folder.display().to_string();
        if let Some(found) = first_weights(&names) {
            let hint = format!(
                "it holds {found}, but neither diffusion_pytorch_model.safetensors nor model.safetensors; \
                 rename the weights that you want"
            );
            return Err(LoadError::NoModelInFolder { folder: label(), hint });
        }
        Ok(())
    }

    /// Why there is no model here.
    fn explain(&self) -> LoadError {
        let folder = self.folder.display().to_string();
        let names = match file_names(self.folder) {
            Ok(names) => names,
            Err(error) => return error,
        };
        let has = |name: &str| names.iter().any(|n| n == name);
        let weights = first_weights(&names);
        let hint = match weights {
            Some(name) => format!("give the file in it, {}", PathBuf::from(self.folder).join(name).display()),
            None if has("snapshots") && has("blobs") => {
                "it is a model's folder in a Hugging Face cache, whose snapshots hold no model; download it again"
                    .to_owned()
            }
            None => "it has no .safetensors file, nor sub-folders (unet, vae, text_encoder, …) with a config.json \
                     and weights; give a .safetensors file or a diffusers folder"
                .to_owned(),
        };
        LoadError::NoModelInFolder { folder, hint }
    }
}

/// The first tensor of an index that is not among the tensors read, which are in any order.
fn first_absent<'a>(
    map: &'a WeightMap,
    tensors: &[crate::TensorInfo],
    prefix: &str,
) -> Option<(&'a String, &'a String)> {
    let present: BTreeSet<&str> = tensors.iter().map(|tensor| &tensor.name[prefix.len()..]).collect();
    map.iter().find(|(tensor, _)| !present.contains(tensor.as_str()))
}

/// Whether there is something of that name, a link that leads nowhere included.
fn is_there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

/// Names in a folder, sorted, so that messages about them do not change from run to run. Names that are not UTF-8 are left
/// out: no model has them.
fn file_names(folder: &Path) -> Result<Vec<String>, LoadError> {
    let fail = |error| cannot("list", folder, &folder.display().to_string(), error);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(fail)? {
        names.extend(entry.map_err(fail)?.file_name().into_string().ok());
    }
    names.sort_unstable();
    Ok(names)
}

/// The first file of weights of any name, and of pickles where there is no other.
fn first_weights(names: &[String]) -> Option<&String> {
    let is_pickle = |name: &&String| PICKLES.iter().any(|ending| name.ends_with(ending));
    let first = names.iter().find(|name| name.ends_with(".safetensors"));
    first.or_else(|| names.iter().find(is_pickle))
}
