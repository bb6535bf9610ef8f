//! LoRAs of a command: `--lora FILE[:WEIGHT]`, and `<lora:name:weight>` in the prompts.

use crate::args::ModelArgs;
use latent_app::AppError;
use latent_diffusion::Pipeline;
use latent_diffusion::lora::{Lora, Strength, Tag, take_tags};
use latent_loader::Checkpoint;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file and how strongly it is added.
pub(crate) type Weighted = (PathBuf, f32);

/// `FILE` or `FILE:WEIGHT`.
pub(crate) fn parse(text: &str) -> Result<Weighted, String> {
    let weighted = text.rsplit_once(':').and_then(|(file, weight)| Some((file, weight.parse().ok()?)));
    let (file, weight) = weighted.unwrap_or((text, 1.0));
    if file.is_empty() { Err("there is no file name".into()) } else { Ok((file.into(), weight)) }
}

/// Opens the LoRAs of the flags and of the prompts for a pipeline, tells how much of each fits, and returns the prompts
/// without them.
pub(crate) fn apply<const N: usize>(
    args: &ModelArgs,
    prompts: [&str; N],
    pipeline: &mut Pipeline,
) -> Result<[String; N], AppError> {
    let flags = args.lora.iter().map(|(path, weight)| (path.clone(), Strength::from(*weight)));
    let mut files: Vec<(PathBuf, Strength)> = flags.collect();
    let mut words = [const { String::new() }; N];
    for (words, prompt) in words.iter_mut().zip(prompts) {
        let (without, tags) = take_tags(prompt)?;
        *words = without;
        for tag in tags {
            files.push((find(args, &tag)?, tag.strength()));
        }
    }
    if files.is_empty() {
        return Ok(words);
    }
    let open = |(path, strength): &(PathBuf, Strength)| -> Result<_, AppError> {
        Ok((Arc::new(Lora::open(Checkpoint::open(path)?)?), *strength))
    };
    let loras = files.iter().map(open).collect::<Result<Vec<_>, _>>()?;
    for applied in pipeline.set_loras(&loras)? {
        eprintln!("LoRA {applied}");
    }
    Ok(words)
}

/// The files of the LoRAs that prompts name.
pub(crate) fn tagged(args: &ModelArgs, prompts: &[&str]) -> Result<Vec<PathBuf>, AppError> {
    let mut files = Vec::new();
    for prompt in prompts {
        for tag in take_tags(prompt)?.1 {
            files.push(find(args, &tag)?);
        }
    }
    files.dedup();
    Ok(files)
}

/// The file of a name: in `--lora-dir`, or else beside the model.
fn find(args: &ModelArgs, Tag { name, .. }: &Tag) -> Result<PathBuf, AppError> {
    let beside = args
        .model
        .as_deref()
        .map(|model| if model.is_dir() { model } else { model.parent().unwrap_or(Path::new("")) });
    let folders: Vec<&Path> = args.lora_dir.as_deref().into_iter().chain(beside).collect();
    let file = format!("{}.safetensors", name.strip_suffix(".safetensors").unwrap_or(name));
    folders.iter().map(|folder| folder.join(&file)).find(|path| path.is_file()).ok_or_else(|| {
        let shown = |folder: &&Path| match folder.display().to_string() {
            here if here.is_empty() => ".".to_owned(),
            folder => folder,
        };
        let places = folders.iter().map(shown).collect::<Vec<_>>().join(" or ");
        let places =
            if places.is_empty() { "no folder, as --lora-dir is not given".to_owned() } else { places };
        AppError::BadInput(format!("<lora:{name}>: there is no {file} in {places}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_may_follow_the_file() {
        assert_eq!(parse("a.safetensors").unwrap(), ("a.safetensors".into(), 1.0));
        assert_eq!(parse("a.safetensors:-0.5").unwrap(), ("a.safetensors".into(), -0.5));
        assert_eq!(parse(r"C:\a.safetensors").unwrap(), (r"C:\a.safetensors".into(), 1.0));
        assert!(parse(":1").is_err());
    }
}
