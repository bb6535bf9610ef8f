//! A file or folder that appears when it is whole, and not before.

use crate::AppError;
use std::fmt::Display;
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Prefix of the name of the folder in which the output is written first. It is locked until the program ends.
const PREFIX: &str = ".latent-convert-";
/// What is in that folder: the new output, and what was in its place.
const NEW: &str = "new";
const OLD: &str = "old";

/// A file or folder to write.
#[derive(Clone, Debug)]
pub struct AtomicOutput<'a> {
    path: &'a Path,
    /// The folder that it is in.
    folder: PathBuf,
}

impl<'a> AtomicOutput<'a> {
    /// Checks that `path` can be written: that its folder exists, and that nothing has that name unless it may be
    /// replaced.
    ///
    /// # Errors
    /// Bad input: a name that cannot be written.
    pub fn new(path: &'a Path, may_replace: bool) -> Result<AtomicOutput<'a>, AppError> {
        let bad = |reason: &dyn Display| AppError::BadInput(format!("{}: {reason}", path.display()));
        if path.file_name().is_none() {
            return Err(bad(&"is not a name of a file or folder"));
        }
        let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let folder = parent.canonicalize().ok().filter(|folder| folder.is_dir());
        let Some(folder) = folder else {
            let line = format!("{}: the folder does not exist; make it first", parent.display());
            return Err(AppError::BadInput(line));
        };
        match path.symlink_metadata() {
            Ok(_) if !may_replace => return Err(bad(&"exists already; --force replaces it")),
            Ok(found) if !found.is_file() && !found.is_dir() && !found.is_symlink() => {
                return Err(bad(&"is a device, a pipe or a socket"));
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(bad(&format!("cannot be written: {error}"))),
        }
        Ok(AtomicOutput { path, folder })
    }

    /// Refuses an input that the output would replace: the same file or folder, or one in it.
    ///
    /// # Errors
    /// Bad input: such an input.
    pub fn check_input(&self, input: &Path) -> Result<(), AppError> {
        if let (Ok(output), Ok(read)) = (self.path.canonicalize(), input.canonicalize())
            && read.starts_with(&output)
        {
            let line =
                format!("{}: is an input, so it cannot be written; name another file", self.path.display());
            return Err(AppError::BadInput(line));
        }
        Ok(())
    }

    /// Lets `write` make the file or folder under a temporary path, and moves it to its own when it is whole, in place of
    /// what was there. After an error nothing is left. What killed programs left in the folder is removed first.
    ///
    /// # Errors
    /// Those of `write`; bad input, if the folder cannot be written to; a run-time failure of the move.
    pub fn write(&self, write: impl FnOnce(&Path) -> Result<(), AppError>) -> Result<(), AppError> {
        let failed = |error: io::Error| AppError::RunTime(format!("{}: {error}", self.path.display()));
        remove_leftovers(&self.folder);
        let (beside, _lock) = workplace(&self.folder).map_err(|error| {
            AppError::BadInput(format!("{}: cannot write there: {error}", self.folder.display()))
        })?;
        let new = beside.path().join(NEW);
        write(&new)?;
        self.put(&new, &beside).map_err(failed)
    }

    /// Moves the new output to its path, and what was there out of the way, in one step where the system can.
    fn put(&self, new: &Path, beside: &TempDir) -> io::Result<()> {
        let was = self.path.symlink_metadata();
        // A file replaces a file in one step; a name that was free is taken in one, too.
        let is_swap = was.as_ref().map_or(true, |found| new.is_file() && !found.is_dir());
        if is_swap {
            std::fs::rename(new, self.path)?;
        } else if exchange(new, self.path).is_err() {
            let old = beside.path().join(OLD);
            std::fs::rename(self.path, &old)?;
            if let Err(error) = std::fs::rename(new, self.path) {
                std::fs::rename(&old, self.path)?;
                return Err(error);
            }
        }
        // Flushes the new name to the disk; a file system that cannot do so is not a reason to fail.
        if let Ok(folder) = File::open(&self.folder) {
            let _ = folder.sync_all();
        }
        Ok(())
    }
}

/// A folder for the new output, locked until the program ends in whatever way. Where folders cannot be locked, it is not,
/// and nothing will remove it.
fn workplace(folder: &Path) -> io::Result<(TempDir, Option<File>)> {
    loop {
        let made = tempfile::Builder::new().prefix(PREFIX).tempdir_in(folder)?;
        let lock = File::open(made.path()).and_then(|lock| match lock.try_lock() {
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
            Ok(()) => Ok(Some(lock)),
        });
        // Otherwise another program removes it, or has done so before it was locked.
        if !matches!(lock, Ok(None)) && made.path().is_dir() {
            return Ok((made, lock.ok().flatten()));
        }
    }
}

/// Removes what killed programs left in a folder: half a model may be as large as a whole one.
fn remove_leftovers(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let is_named = entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX));
        // A link is not followed.
        if is_named
            && entry.file_type().is_ok_and(|kind| kind.is_dir())
            && let Ok(lock) = File::open(entry.path())
            && lock.try_lock().is_ok()
            && is_ours(&entry.path())
        {
            // What cannot be removed is not a reason to write nothing.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// Whether a folder exists and contains nothing but what [`AtomicOutput::write`] puts into one.
fn is_ours(folder: &Path) -> bool {
    std::fs::read_dir(folder).is_ok_and(|mut entries| {
        entries.all(|entry| entry.is_ok_and(|entry| [NEW, OLD].iter().any(|name| entry.file_name() == *name)))
    })
}

/// Gives each of two files or folders the other's name, so that neither name is free at any moment. Not every file system
/// can.
#[cfg(any(target_os = "linux", target_os = "macos"))]
fn exchange(one: &Path, other: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    Ok(renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE)?)
}

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
fn exchange(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_is_not_whole_is_not_visible() {
        let room = TempDir::new().unwrap();
        let path = room.path().join("model");
        let place = AtomicOutput::new(&path, false).unwrap();
        let outcome = place.write(|new| {
            std::fs::create_dir(new).unwrap();
            std::fs::write(new.join("a"), "half").unwrap();
            Err(AppError::Interrupted)
        });
        assert!(matches!(outcome, Err(AppError::Interrupted)) && entries(room.path()).is_empty());
        place
            .write(|new| {
                std::fs::write(new, "whole").unwrap();
                Ok(())
            })
            .unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"whole");
        assert!(AtomicOutput::new(&path, false).is_err());
        // A folder in place of a file, and a file in place of a folder.
        let place = AtomicOutput::new(&path, true).unwrap();
        place
            .write(|new| {
                std::fs::create_dir(new).unwrap();
                Ok(())
            })
            .unwrap();
        assert!(path.is_dir());
        place
            .write(|new| {
                std::fs::write(new, "again").unwrap();
                Ok(())
            })
            .unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"again");
        assert_eq!(entries(room.path()), ["model"]);
    }

    /// While a folder is replaced again and again, its name is never free.
    #[test]
    #[cfg(target_os = "linux")]
    fn a_folder_is_replaced_in_one_step() {
        use std::sync::atomic::{AtomicBool, Ordering};
        let room = TempDir::new().unwrap();
        let path = room.path().join("model");
        let make = |new: &Path| {
            std::fs::create_dir(new).unwrap();
            std::fs::write(new.join("whole"), "").unwrap();
            Ok(())
        };
        AtomicOutput::new(&path, false).unwrap().write(make).unwrap();
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
                AtomicOutput::new(&path, true).unwrap().write(make).unwrap();
            }
            is_over.store(true, Ordering::Relaxed);
            assert!(looked.join().unwrap() > 0);
        });
        assert_eq!(entries(room.path()), ["model"]);
    }

    #[test]
    #[cfg(unix)]
    fn only_folders_of_killed_programs_are_removed() {
        let room = TempDir::new().unwrap();
        for (folder, file) in [(".latent-convert-left", NEW), (".latent-convert-mine", "mine"), ("mine", NEW)]
        {
            std::fs::create_dir(room.path().join(folder)).unwrap();
            std::fs::write(room.path().join(folder).join(file), "half").unwrap();
        }
        let (written, _lock) = workplace(room.path()).unwrap();
        let write = |new: &Path| {
            std::fs::write(new, "whole").unwrap();
            Ok(())
        };
        AtomicOutput::new(&room.path().join("model"), false).unwrap().write(write).unwrap();
        let written = written.path().file_name().unwrap().to_str().unwrap();
        let mut expected = [".latent-convert-mine", written, "mine", "model"];
        expected.sort_unstable();
        assert_eq!(entries(room.path()), expected);
    }

    #[test]
    fn inputs_are_not_replaced() {
        let room = TempDir::new().unwrap();
        let (folder, file) = (room.path().join("model"), room.path().join("model/a"));
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(&file, "").unwrap();
        let place = AtomicOutput::new(&folder, true).unwrap();
        assert!(place.check_input(&folder).is_err() && place.check_input(&file).is_err());
        assert!(place.check_input(room.path()).is_ok());
    }
}
