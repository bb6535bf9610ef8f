//! The files that an image was made with, found by their names and known by their hashes.

use crate::args::ReplayArgs;
use crate::hash;
use latent_app::AppError;
use latent_app::models;
use std::path::{Path, PathBuf};

/// Where files are looked for.
pub(super) struct Search<'a> {
    folders: Vec<PathBuf>,
    models_dir: Option<&'a Path>,
    force: bool,
}

impl<'a> Search<'a> {
    pub(super) fn of(args: &'a ReplayArgs) -> Search<'a> {
        let mut folders = args.from.clone();
        folders.push(args.file.parent().map_or_else(PathBuf::new, Path::to_owned));
        folders.push(PathBuf::new());
        folders.dedup();
        Search { folders, models_dir: args.models_dir.as_deref(), force: args.force }
    }

    /// The file or folder of that name, which `what` tells of in messages, with this SHA-256 if one is known.
    pub(super) fn find(&self, what: &str, name: &str, sha256: Option<&str>) -> Result<PathBuf, AppError> {
        // A name that leads elsewhere is none.
        let is_plain = Path::new(name).file_name().is_some_and(|plain| plain == name);
        let here =
            self.folders.iter().filter(|_| is_plain).map(|folder| folder.join(name)).filter(|p| p.exists());
        let mut found: Vec<PathBuf> = here.collect();
        if found.is_empty() || !self.force {
            found.extend(models::named(name, self.models_dir));
        }
        let Some(first) = found.first() else {
            let hash = sha256.map_or(String::new(), |hash| format!(", SHA-256 {hash}"));
            return Err(AppError::BadInput(format!(
                "{name}: the {what} that the image was made with is not found ({what}{hash}); name its folder by --from"
            )));
        };
        let Some(wanted) = sha256 else { return Ok(first.clone()) };
        let mut others = Vec::new();
        for path in &found {
            match hash_of(path)? {
                Some(hash) if hash != wanted => others.push(hash),
                _ => return Ok(path.clone()),
            }
        }
        if self.force {
            eprintln!("latent: {}: is another {what} than the image was made with", first.display());
            return Ok(first.clone());
        }
        Err(other(first, what, &others[0], wanted))
    }

    /// Refuses a file that a person named, where it is another one than the image was made with.
    pub(super) fn check(&self, what: &str, path: &Path, sha256: &str) -> Result<(), AppError> {
        match hash_of(path)? {
            Some(hash) if !hash.starts_with(&sha256.to_lowercase()) => {
                if self.force {
                    eprintln!("latent: {}: is another {what} than the image was made with", path.display());
                    return Ok(());
                }
                Err(other(path, what, &hash, sha256))
            }
            _ => Ok(()),
        }
    }
}

/// The SHA-256 of a file; a folder has none.
fn hash_of(path: &Path) -> Result<Option<String>, AppError> {
    let hash = path.is_file().then(|| hash::sha256(path)).transpose();
    hash.map_err(|error| AppError::BadInput(format!("{}: {error}", path.display())))
}

fn other(path: &Path, what: &str, hash: &str, wanted: &str) -> AppError {
    AppError::BadInput(format!(
        "{}: is another {what} than the image was made with: its hash is {} and not {}; --force takes it",
        path.display(),
        hash::short(hash),
        wanted.get(..10).unwrap_or(wanted)
    ))
}
