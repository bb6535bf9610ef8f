//! Whether a file or folder is a model and nothing but a model, so that it may be replaced.
//!
//! A folder may be replaced if each entry in it, in its sub-folders too, is one that a diffusers folder has. Whatever else
//! is there is a person's.

use latent_loader::{Checkpoint, Quoted};
use serde_json::{Map, Value};
use std::fs::Metadata;
use std::path::Path;

/// The list of components.
const INDEX: &str = "model_index.json";
/// Maximum size of that list in bytes; real ones have less than a thousand.
const MAX_INDEX_BYTES: u64 = 1 << 20;
/// Files of weights without their endings.
const STEMS: [&str; 2] = ["diffusion_pytorch_model", "model"];
/// Variants of weights, which stand in their names.
const VARIANTS: [&str; 4] = ["fp16", "bf16", "fp32", "non_ema"];
/// Files beside the weights, of any component: configurations, vocabularies, what an image encoder does to its images.
const OTHERS: [&str; 11] = [
    "config.json",
    "scheduler_config.json",
    "preprocessor_config.json",
    "generation_config.json",
    "tokenizer_config.json",
    "tokenizer.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "spiece.model",
];

/// Checks that what is at a path is a model. `found` is what the system says of it.
///
/// # Errors
/// Why it is not, as the rest of a line that begins with the path.
pub(super) fn check(path: &Path, found: &Metadata) -> Result<(), String> {
    if found.is_file() {
        return match Checkpoint::open(path) {
            Ok(_) => Ok(()),
            Err(_) => Err("is there already and is not a safetensors file; name another".into()),
        };
    }
    if !found.is_dir() {
        return Err("is a device, a pipe or a socket; name a file or folder".into());
    }
    folder(path).map_err(|why| format!("is there already and {why}; name another"))
}

/// Checks each entry of a folder.
fn folder(path: &Path) -> Result<(), String> {
    let components = components(path)?;
    for (name, kind) in entries(path)? {
        if kind.is_dir() && components.contains(&name) {
            component(&path.join(&name), &name)?;
        } else if !(kind.is_file() && name == INDEX) {
            return Err(is_foreign(&name));
        }
    }
    Ok(())
}

/// The names of sub-folders in the list of components.
fn components(path: &Path) -> Result<Vec<String>, String> {
    let lacks = || format!("is not the folder of a model: it has no {INDEX} that lists components");
    let index = path.join(INDEX);
    let found = index.symlink_metadata().map_err(|_| lacks())?;
    if !found.is_file() || found.len() > MAX_INDEX_BYTES {
        return Err(lacks());
    }
    let text = std::fs::read(&index).map_err(|_| lacks())?;
    let index: Map<String, Value> = serde_json::from_slice(&text).map_err(|_| lacks())?;
    // `["library", "Class"]`; one that is absent is `[null, null]`.
    let is_component = |value: &Value| {
        matches!(value.as_array().map(Vec::as_slice), Some([Value::String(_), Value::String(_)]))
    };
    let names: Vec<_> =
        index.into_iter().filter(|(_, value)| is_component(value)).map(|(name, _)| name).collect();
    if names.is_empty() { Err(lacks()) } else { Ok(names) }
}

/// Checks each entry of a component's folder.
fn component(path: &Path, component: &str) -> Result<(), String> {
    for (name, kind) in entries(path)? {
        let is_known = kind.is_file()
            && if is_weights(&name) {
                Checkpoint::open(&path.join(&name)).is_ok()
            } else {
                OTHERS.contains(&name.as_str()) || is_index(&name)
            };
        if !is_known {
            return Err(is_foreign(&format!("{component}/{name}")));
        }
    }
    Ok(())
}

fn is_foreign(entry: &str) -> String {
    format!("has an entry that is not part of a model: {}", Quoted(entry))
}

/// The names in a folder in their order, and what they are; links are not followed.
fn entries(path: &Path) -> Result<Vec<(String, std::fs::FileType)>, String> {
    let unread = |error: std::io::Error| format!("cannot be read: {error}");
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(path).map_err(unread)? {
        let entry = entry.map_err(unread)?;
        let name = entry.file_name().into_string().map_err(|name| is_foreign(&name.to_string_lossy()))?;
        entries.push((name, entry.file_type().map_err(unread)?));
    }
    entries.sort_by(|(one, _), (other, _)| one.cmp(other));
    Ok(entries)
}

/// Whether a file has the name of weights: `model.safetensors`, `model.fp16.safetensors`,
/// `model.fp16-00001-of-00002.safetensors` or `model-00001-of-00002.fp16.safetensors`.
fn is_weights(name: &str) -> bool {
    let Some(rest) = name.strip_suffix(".safetensors").and_then(without_stem) else { return false };
    let rest = without_variant(rest);
    rest.is_empty() || without_variant(without_shard(rest)).is_empty()
}

/// Whether a file has the name of an index of shards: `model.safetensors.index.json`, `model.safetensors.index.fp16.json`.
fn is_index(name: &str) -> bool {
    let rest = name.strip_suffix(".json").and_then(without_stem);
    rest.and_then(|rest| rest.strip_prefix(".safetensors.index"))
        .is_some_and(|rest| without_variant(rest).is_empty())
}

fn without_stem(name: &str) -> Option<&str> {
    STEMS.iter().find_map(|stem| name.strip_prefix(stem))
}

fn without_variant(rest: &str) -> &str {
    VARIANTS.iter().find_map(|variant| rest.strip_prefix('.')?.strip_prefix(variant)).unwrap_or(rest)
}

/// Without `-00001-of-00002` at the start.
fn without_shard(rest: &str) -> &str {
    let number = |rest: &str| -> Option<usize> {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        (digits >= 5).then_some(digits)
    };
    let strip = || {
        let rest = rest.strip_prefix('-')?;
        let rest = rest[number(rest)?..].strip_prefix("-of-")?;
        Some(&rest[number(rest)?..])
    };
    strip().unwrap_or(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;
    use tempfile::TempDir;

    /// A folder as `convert` writes it, without numbers in it.
    fn model(room: &Path) -> PathBuf {
        let path = room.join("model");
        for folder in ["unet", "vae", "text_encoder", "tokenizer", "scheduler"] {
            std::fs::create_dir_all(path.join(folder)).unwrap();
        }
        let index = r#"{"_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "UNet2DConditionModel"],
            "vae": ["diffusers", "AutoencoderKL"], "text_encoder": ["transformers", "CLIPTextModel"],
            "tokenizer": ["transformers", "CLIPTokenizer"], "scheduler": ["diffusers", "DDIMScheduler"]}"#;
        std::fs::write(path.join(INDEX), index).unwrap();
        for file in [
            "unet/config.json",
            "vae/config.json",
            "text_encoder/config.json",
            "tokenizer/vocab.json",
            "tokenizer/merges.txt",
            "scheduler/scheduler_config.json",
        ] {
            std::fs::write(path.join(file), "{}").unwrap();
        }
        let one = weights();
        std::fs::write(path.join("unet/diffusion_pytorch_model.safetensors"), &one).unwrap();
        std::fs::write(path.join("text_encoder/model.fp16.safetensors"), &one).unwrap();
        path
    }

    fn weights() -> Vec<u8> {
        let header = br#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
        [&(header.len() as u64).to_le_bytes()[..], header, &[0; 4]].concat()
    }

    fn checked(path: &Path) -> Result<(), String> {
        check(path, &path.metadata().unwrap())
    }

    #[test]
    fn a_model_is_known() {
        let room = TempDir::new().unwrap();
        let path = model(room.path());
        assert_eq!(checked(&path), Ok(()));
        assert_eq!(checked(&path.join("unet/diffusion_pytorch_model.safetensors")), Ok(()));
    }

    /// Each is put into a model's folder, and named.
    #[test]
    fn one_foreign_entry_is_enough() {
        let room = TempDir::new().unwrap();
        let path = model(room.path());
        for name in [
            "thesis.docx",
            "README.md",
            ".git",
            "unet/thesis.docx",
            "unet/my-lora.safetensors",
            "unet/model.mine.safetensors",
            "unet/model",
            "tokenizer/vocab.json.bak",
            "vae/.config.json.swp",
        ] {
            std::fs::write(path.join(name), weights()).unwrap();
            let why = checked(&path).unwrap_err();
            assert!(why.contains(&format!("not part of a model: {name:?}")), "{why}");
            std::fs::remove_file(path.join(name)).unwrap();
        }
        for name in
            ["chapters", "unet/chapters", "unet/config.json.d", "vae/diffusion_pytorch_model.safetensors"]
        {
            std::fs::create_dir(path.join(name)).unwrap();
            assert!(checked(&path).unwrap_err().contains(name), "{name}");
            std::fs::remove_dir(path.join(name)).unwrap();
        }
        // What has the name of weights and is something else.
        std::fs::write(path.join("vae/model.safetensors"), "my notes").unwrap();
        assert!(checked(&path).unwrap_err().contains("vae/model.safetensors"));
        std::fs::remove_file(path.join("vae/model.safetensors")).unwrap();
        assert_eq!(checked(&path), Ok(()));
    }

    #[test]
    #[cfg(unix)]
    fn links_are_foreign() {
        let room = TempDir::new().unwrap();
        let path = model(room.path());
        std::fs::create_dir(room.path().join("thesis")).unwrap();
        for (target, name) in [("../../thesis", "unet/config.json"), ("../thesis", "vae")] {
            let link = path.join(name);
            if link.is_dir() {
                std::fs::rename(&link, room.path().join("vae")).unwrap();
            } else {
                std::fs::remove_file(&link).unwrap();
            }
            std::os::unix::fs::symlink(target, &link).unwrap();
            assert!(checked(&path).unwrap_err().contains(name));
            std::fs::remove_file(&link).unwrap();
        }
    }

    #[test]
    fn what_is_not_a_model_is_not_known() {
        let room = TempDir::new().unwrap();
        let path = |name: &str| room.path().join(name);
        std::fs::create_dir(path("a.safetensors")).unwrap();
        std::fs::write(path("b.safetensors"), "my notes").unwrap();
        std::fs::write(path("c.safetensors"), "").unwrap();
        for name in ["a.safetensors", "b.safetensors", "c.safetensors"] {
            let why = checked(&path(name)).unwrap_err();
            assert!(why.starts_with("is there already and is not"), "{why}");
        }
        for index in ["", "{}", "[]", r#"{"_class_name": "a"}"#] {
            std::fs::write(path("a.safetensors").join(INDEX), index).unwrap();
            assert!(checked(&path("a.safetensors")).unwrap_err().contains("lists components"), "{index}");
        }
        std::fs::write(path("a.safetensors").join(INDEX), vec![b' '; MAX_INDEX_BYTES as usize + 1]).unwrap();
        assert!(checked(&path("a.safetensors")).is_err());
    }

    #[test]
    fn names_of_weights() {
        for name in [
            "model.safetensors",
            "diffusion_pytorch_model.safetensors",
            "model.fp16.safetensors",
            "model-00001-of-00002.safetensors",
            "model.fp16-00001-of-00002.safetensors",
            "diffusion_pytorch_model-00001-of-00002.fp16.safetensors",
            "diffusion_pytorch_model.non_ema.safetensors",
        ] {
            assert!(is_weights(name) && !is_index(name), "{name}");
        }
        for name in ["model.safetensors.index.json", "diffusion_pytorch_model.safetensors.index.fp16.json"] {
            assert!(is_index(name) && !is_weights(name), "{name}");
        }
        for name in [
            "model",
            "models.safetensors",
            "model.old.safetensors",
            "model-1-of-2.safetensors",
            "model-00001-of-.safetensors",
            "model-00001.safetensors",
            "model.json",
            "a.safetensors.index.json",
        ] {
            assert!(!is_weights(name) && !is_index(name), "{name}");
        }
    }
}
