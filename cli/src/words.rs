//! Learned words of a command: `--embedding FILE` and `--embd-dir DIR`.

use latent_app::AppError;
use latent_diffusion::Pipeline;
use latent_diffusion::embeddings::{TextualInversion, named};
use latent_loader::Checkpoint;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Endings of files of learned words. The last two are pickles: naming one is an error that says so.
const ENDINGS: [&str; 3] = ["safetensors", "pt", "bin"];

/// Words for the prompts beside those of the language.
#[derive(Debug, clap::Args)]
pub(crate) struct WordsArgs {
    /// A textual inversion, which prompts call by the file's name without its ending; may be repeated
    #[arg(long, value_name = "FILE")]
    pub(crate) embedding: Vec<PathBuf>,
    /// Folder of textual inversions; those that a prompt names are opened
    #[arg(long, value_name = "DIR")]
    pub(crate) embd_dir: Option<PathBuf>,
    /// Folder of text files: __NAME__ in a prompt becomes a line of NAME.txt, {a|b} one of its parts, by the image's seed
    #[arg(long, value_name = "DIR")]
    pub(crate) wildcards: Option<PathBuf>,
}

impl WordsArgs {
    /// Whether no flag is given.
    pub(crate) fn is_empty(&self) -> bool {
        self.embedding.is_empty() && self.embd_dir.is_none()
    }
}

/// Opens the textual inversions that prompts name and tells of them.
pub(crate) fn apply(args: &WordsArgs, prompts: &[&str], pipeline: &mut Pipeline) -> Result<(), AppError> {
    let opened = open(args, prompts)?;
    if opened.is_empty() {
        return Ok(());
    }
    pipeline.set_embeddings(&opened)?;
    for word in &opened {
        // A name of the file's own is found only now.
        let names: Vec<&str> = word.names().iter().map(String::as_str).collect();
        let used = if named(prompts, &names).is_empty() { ", not in the prompt" } else { "" };
        let n = word.vectors();
        let vectors = if n == 1 { "1 vector".to_owned() } else { format!("{n} vectors") };
        eprintln!("embedding {}: {vectors} for {:?}{used}", word.label(), names[0]);
    }
    Ok(())
}

/// Opens the textual inversions of the flags, and those of the folder that prompts name.
pub(crate) fn open(args: &WordsArgs, prompts: &[&str]) -> Result<Vec<Arc<TextualInversion>>, AppError> {
    let mut files: Vec<(String, PathBuf)> =
        args.embedding.iter().map(|path| (stem(path), path.clone())).collect();
    let flags = files.len();
    if let Some(folder) = &args.embd_dir {
        files.extend(listed(folder)?);
    }
    let stems: Vec<&str> = files.iter().map(|(stem, _)| stem.as_str()).collect();
    let wanted = named(prompts, &stems);
    let is_wanted = |index: &usize| *index < flags || wanted.contains(index);
    let open = |index: usize| -> Result<_, AppError> {
        let (name, path) = &files[index];
        Ok(Arc::new(TextualInversion::open(name, Checkpoint::open(path)?)?))
    };
    (0..files.len()).filter(is_wanted).map(open).collect()
}

/// The files of `--embd-dir` that prompts name.
pub(crate) fn named_files(args: &WordsArgs, prompts: &[&str]) -> Result<Vec<PathBuf>, AppError> {
    let Some(folder) = &args.embd_dir else { return Ok(Vec::new()) };
    let files = listed(folder)?;
    let stems: Vec<&str> = files.iter().map(|(stem, _)| stem.as_str()).collect();
    Ok(named(prompts, &stems).into_iter().map(|index| files[index].1.clone()).collect())
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// The files of a folder by stem, in the order of their names.
fn listed(folder: &Path) -> Result<Vec<(String, PathBuf)>, AppError> {
    let cannot = |error: std::io::Error| AppError::BadInput(format!("{}: {error}", folder.display()));
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(cannot)? {
        let path = entry.map_err(cannot)?.path();
        let known = path.extension().is_some_and(|end| ENDINGS.iter().any(|e| end.eq_ignore_ascii_case(e)));
        if known && path.is_file() {
            files.push((stem(&path), path));
        }
    }
    files.sort();
    // A file that can be read goes before a pickle of the same name.
    files.sort_by_key(|(stem, path)| {
        (stem.clone(), !path.extension().is_some_and(|e| e.eq_ignore_ascii_case(ENDINGS[0])))
    });
    files.dedup_by(|later, first| later.0 == first.0);
    Ok(files)
}
