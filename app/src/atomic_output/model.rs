//! A model that appears when it is whole, in place of another model at most.

use super::exchange::{Exchange, exchange, rename_folder};
use super::file::{is_absent, keep_permissions, prepared, sync_folder, workplace};
use super::{OPEN_FILE, after_the_work, failed, is_open_file, known_model, refused};
use crate::AppError;
use crate::error::Remedy;
use std::fs::Metadata;
use std::path::{Path, PathBuf};
use tempfile::TempPath;

/// The file or folder of a model to write, whose path was checked.
#[derive(Clone, Debug)]
pub struct ModelOutput<'a> {
    /// As it was given.
    path: &'a Path,
    is_folder: bool,
    may_replace: bool,
    exchange: Exchange,
}

/// What a path leads to.
struct ModelDestination {
    /// Its folder without links, and its name.
    real: PathBuf,
    /// The model that is there.
    found: Option<Metadata>,
}

impl<'a> ModelOutput<'a> {
    /// Checks that `path` can be written, as a file or as a folder: that its folder exists and can be written to, and that
    /// nothing has that name, or a model that may be replaced. What killed programs left in the folder is removed.
    ///
    /// # Errors
    /// Bad input: a name that cannot be written; something else than a model, which is never replaced; the folder that the
    /// program works in, or one around it; a folder where the file system cannot exchange two.
    pub fn new(path: &'a Path, is_folder: bool, may_replace: bool) -> Result<ModelOutput<'a>, AppError> {
        ModelOutput::with_exchange(path, is_folder, may_replace, exchange)
    }

    fn with_exchange(
        path: &'a Path,
        is_folder: bool,
        may_replace: bool,
        exchange: Exchange,
    ) -> Result<ModelOutput<'a>, AppError> {
        let output = ModelOutput { path, is_folder, may_replace, exchange };
        let to = output.destination()?;
        let workplace = prepared(to.folder())?;
        let is_step = to.found.as_ref().is_none_or(|found| found.is_file() && !is_folder);
        if !is_step && !workplace.can_exchange(exchange) {
            let line = "cannot be replaced in one step on this file system; remove it first, or name another";
            return Err(refused(path, line));
        }
        Ok(output)
    }

    /// What the path leads to, checked.
    fn destination(&self) -> Result<ModelDestination, AppError> {
        let refused = |reason: &str| Err(refused(self.path, reason));
        let Some(name) = self.path.file_name() else {
            return refused("is not a name of a file or folder");
        };
        let parent = self.path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let folder = parent.canonicalize().ok().filter(|folder| folder.is_dir());
        let Some(folder) = folder else {
            return Err(super::refused(parent, "the folder does not exist; make it first"));
        };
        let real = folder.join(name);
        let found = match real.symlink_metadata() {
            Err(error) if is_absent(&error) => return Ok(ModelDestination { real, found: None }),
            Err(error) => return refused(&format!("cannot be written: {error}; name another")),
            Ok(found) => found,
        };
        if !found.is_symlink() {
            return self.replacing(real, found);
        }
        if real.is_file() && is_open_file(&real) {
            return refused(OPEN_FILE);
        }
        match (real.canonicalize(), real.metadata()) {
            (Ok(real), Ok(found)) => self.replacing(real, found),
            _ => refused("is a link to a file that does not exist; name the file"),
        }
    }

    /// Refuses what is not a model, and a folder that programs work in.
    fn replacing(&self, real: PathBuf, found: Metadata) -> Result<ModelDestination, AppError> {
        if std::env::current_dir()
            .and_then(|here| here.canonicalize())
            .is_ok_and(|here| here.starts_with(&real))
        {
            return Err(refused(self.path, "contains the current folder; name another"));
        }
        known_model::check(&real, &found).map_err(|reason| refused(self.path, reason))?;
        if !self.may_replace {
            let message = format!("{}: exists already", self.path.display());
            return Err(AppError::Refused { message, remedy: Remedy::Replace });
        }
        Ok(ModelDestination { real, found: Some(found) })
    }

    /// Refuses an input that an output would replace or change: the same file or folder, one in it, or one around it. To be
    /// asked before [`ModelOutput::new`], whose advice would not help.
    ///
    /// # Errors
    /// Bad input: such an input.
    pub fn check_input(output: &Path, input: &Path) -> Result<(), AppError> {
        if let (Ok(written), Ok(read)) = (output.canonicalize(), input.canonicalize())
            && (read.starts_with(&written) || written.starts_with(&read))
        {
            return Err(refused(output, "is an input, so it cannot be written; name another file"));
        }
        Ok(())
    }

    /// Lets `write` make the file or folder under a temporary path, and moves it to its own when it is whole, in place of
    /// what was there. After an error nothing is left.
    ///
    /// # Errors
    /// Those of `write`; bad input, if the folder cannot be written to; a run-time failure of the move, or if the path
    /// leads to something else by now.
    pub fn write(&self, write: impl FnOnce(&Path) -> Result<(), AppError>) -> Result<(), AppError> {
        let was = self.destination().map_err(after_the_work)?;
        let workplace = workplace(was.folder())?;
        let new = workplace.new_output();
        write(&new)?;
        // It may have taken an hour.
        let to = self.destination().map_err(after_the_work)?;
        if to.real != was.real {
            return Err(failed(self.path, "leads to another place than before"));
        }
        self.put(&new, &to).map_err(|error| failed(self.path, error))?;
        sync_folder(to.folder());
        Ok(())
    }

    /// Gives the new output its name, in one step. What had it gets the name of the new one.
    fn put(&self, new: &Path, to: &ModelDestination) -> std::io::Result<()> {
        let Some(found) = &to.found else {
            // Whatever has the name meanwhile stays.
            return if self.is_folder {
                rename_folder(new, &to.real)
            } else {
                TempPath::try_from_path(new)?.persist_noclobber(&to.real).map_err(|error| error.error)
            };
        };
        if found.is_dir() == self.is_folder {
            keep_permissions(new, found);
        }
        if found.is_file() && !self.is_folder {
            std::fs::rename(new, &to.real)
        } else {
            (self.exchange)(new, &to.real)
        }
    }
}

impl ModelDestination {
    fn folder(&self) -> &Path {
        self.real.parent().unwrap_or(Path::new("/"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::atomic_output::names;
    use tempfile::TempDir;

    /// Writes a model's file whose only value is a number.
    fn file(number: u8) -> impl Fn(&Path) -> Result<(), AppError> {
        move |new: &Path| {
            let header = br#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
            let bytes = [&(header.len() as u64).to_le_bytes()[..], header, &[number; 4]].concat();
            std::fs::write(new, bytes).unwrap();
            Ok(())
        }
    }

    /// Writes a model's folder.
    fn folder(new: &Path) -> Result<(), AppError> {
        std::fs::create_dir_all(new.join("unet")).unwrap();
        std::fs::write(new.join("model_index.json"), r#"{"unet": ["diffusers", "UNet2DConditionModel"]}"#)
            .unwrap();
        file(1)(&new.join("unet/model.safetensors"))
    }

    #[test]
    fn what_is_not_whole_is_not_visible() {
        let room = TempDir::new().unwrap();
        let path = room.path().join("model");
        let output = ModelOutput::new(&path, true, false).unwrap();
        let outcome = output.write(|new| {
            folder(new).unwrap();
            Err(AppError::Interrupted)
        });
        assert!(matches!(outcome, Err(AppError::Interrupted)) && names(room.path()).is_empty());
        output.write(folder).unwrap();
        assert_eq!(names(&path), ["model_index.json", "unet"]);
        assert!(ModelOutput::new(&path, true, false).is_err());
        assert_eq!(names(room.path()), ["model"]);
    }

    /// A file or folder in place of a file or folder.
    #[test]
    #[cfg(any(target_os = "linux", target_os = "macos"))]
    fn a_model_is_replaced_by_a_model() {
        let room = TempDir::new().unwrap();
        let path = room.path().join("model");
        for is_folder in [false, false, true, true, false] {
            let output = ModelOutput::new(&path, is_folder, true).unwrap();
            output.write(|new| if is_folder { folder(new) } else { file(2)(new) }).unwrap();
            assert_eq!(path.is_dir(), is_folder);
            assert_eq!(names(room.path()), ["model"]);
        }
    }

    /// Two renames would leave a moment without the model: nothing is begun.
    #[test]
    fn without_an_exchange_no_folder_is_replaced() {
        let room = TempDir::new().unwrap();
        let path = room.path().join("model");
        let missing: Exchange = |_, _| Err(std::io::ErrorKind::Unsupported.into());
        let output = |is_folder| ModelOutput::with_exchange(&path, is_folder, true, missing);
        output(true).unwrap().write(folder).unwrap();
        for is_folder in [true, false] {
            let error = output(is_folder).unwrap_err();
            assert!(
                matches!(&error, AppError::BadInput(line) if line.contains("remove it first")),
                "{error}"
            );
        }
        std::fs::remove_dir_all(&path).unwrap();
        output(false).unwrap().write(file(1)).unwrap();
        assert!(output(true).is_err());
        // A file needs none.
        output(false).unwrap().write(file(2)).unwrap();
        assert!(std::fs::read(&path).unwrap().ends_with(&[2; 4]));
        assert_eq!(names(room.path()), ["model"]);
    }

    /// While a folder is replaced again and again, its name is never free.
    #[test]
    #[cfg(target_os = "linux")]
    fn a_folder_is_replaced_in_one_step() {
        use std::sync::atomic::{AtomicBool, Ordering};
        let room = TempDir::new().unwrap();
        let path = room.path().join("model");
        ModelOutput::new(&path, true, false).unwrap().write(folder).unwrap();
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let looked = scope.spawn(|| {
                let mut looked = 0;
                while !is_over.load(Ordering::Relaxed) {
                    assert!(path.is_dir(), "after {looked} looks");
                    looked += 1;
                }
                looked
            });
            for _ in 0..300 {
                ModelOutput::new(&path, true, true).unwrap().write(folder).unwrap();
            }
            is_over.store(true, Ordering::Relaxed);
            assert!(looked.join().unwrap() > 0);
        });
        assert_eq!(names(room.path()), ["model"]);
    }

    /// An hour may pass between the check and the move.
    #[test]
    fn what_became_something_else_meanwhile_stays() {
        let room = TempDir::new().unwrap();
        let path = room.path().join("model");
        for may_replace in [false, true] {
            let output = ModelOutput::new(&path, false, may_replace).unwrap();
            let outcome = output.write(|new| {
                std::fs::write(&path, "my notes").unwrap();
                file(1)(new)
            });
            assert!(
                matches!(&outcome, Err(AppError::RunTime(line)) if line.contains("not a safetensors file"))
            );
            assert_eq!(std::fs::read(&path).unwrap(), b"my notes");
            std::fs::remove_file(&path).unwrap();
        }
        assert!(names(room.path()).is_empty());
    }

    #[test]
    fn inputs_are_not_replaced() {
        let room = TempDir::new().unwrap();
        let path = room.path().join("model");
        ModelOutput::new(&path, true, false).unwrap().write(folder).unwrap();
        let part = path.join("unet/model.safetensors");
        let check = ModelOutput::check_input;
        assert!(check(&path, &path).is_err() && check(&path, &part).is_err());
        let other = room.path().join("other");
        file(1)(&other).unwrap();
        assert!(check(&path, &other).is_ok());
        // A part of an input.
        assert!(check(&part, &path).is_err() && check(&part, &other).is_ok());
    }

    #[test]
    #[cfg(unix)]
    fn a_link_is_followed_and_stays() {
        let room = TempDir::new().unwrap();
        let (path, link) = (room.path().join("real/model"), room.path().join("link"));
        std::fs::create_dir(room.path().join("real")).unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(ModelOutput::new(&link, false, true).unwrap_err().to_string().contains("does not exist"));
        file(1)(&path).unwrap();
        ModelOutput::new(&link, false, true).unwrap().write(file(2)).unwrap();
        assert!(link.is_symlink() && std::fs::read(&path).unwrap().ends_with(&[2; 4]));
        assert_eq!(
            (names(room.path()), names(&room.path().join("real")).len()),
            (vec!["link".into(), "real".into()], 1)
        );
    }
}
