//! A file that appears when it is whole. Every output that is one file follows the rules here.
//!
//! A link is followed to a regular file, which is replaced in its own folder; the link stays. A link to nothing, a folder,
//! a device, a pipe or a socket is refused, and so is a file that may not be written to. The permissions of a file that is
//! replaced are kept; those of a new one are what the system gives to a new file.

use super::workplace::Workplace;
use super::{OPEN_FILE, after_the_work, failed, is_open_file, refused};
use crate::AppError;
use std::fmt::Display;
use std::fs::{File, Metadata};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};
use tempfile::TempPath;

/// A file to write, whose path was checked.
#[derive(Clone, Debug)]
pub struct AtomicFile {
    /// As it was given.
    path: PathBuf,
    /// Without a link at its end.
    real: PathBuf,
    /// The file that is there.
    found: Option<Metadata>,
}

impl AtomicFile {
    /// Checks what a path leads to.
    ///
    /// # Errors
    /// Bad input: something else than a file, a file that may not be written to, a folder that does not exist.
    pub fn new(path: &Path) -> Result<AtomicFile, AppError> {
        let name = path.file_name().map(std::ffi::OsStr::as_encoded_bytes);
        // "a/" and "a/." name a folder.
        if !name.is_some_and(|name| path.as_os_str().as_encoded_bytes().ends_with(name)) {
            return Err(refused(path, "is a folder; name a file in it"));
        }
        let new = AtomicFile { path: path.to_owned(), real: path.to_owned(), found: None };
        match path.symlink_metadata() {
            Ok(found) if found.is_symlink() => new.through_link(),
            Ok(found) => new.replacing(found),
            Err(error) if !is_absent(&error) => Err(not_writable(path, &error)),
            Err(_) if !new.folder().is_dir() => {
                Err(refused(new.folder(), "the folder does not exist; make it first"))
            }
            Err(_) => Ok(new),
        }
    }

    fn through_link(self) -> Result<AtomicFile, AppError> {
        let found = match self.path.metadata() {
            Ok(found) => found,
            Err(error) if is_absent(&error) => {
                return Err(refused(&self.path, "is a link to a file that does not exist; name the file"));
            }
            Err(error) => return Err(not_writable(&self.path, &error)),
        };
        if found.is_file() && is_open_file(&self.path) {
            return Err(refused(&self.path, OPEN_FILE));
        }
        let real = match self.path.canonicalize() {
            Ok(real) => real,
            // What is open as the standard output, for one, may have no name.
            Err(_) if !found.is_dir() => self.real.clone(),
            Err(error) => return Err(not_writable(&self.path, &error)),
        };
        AtomicFile { real, ..self }.replacing(found)
    }

    fn replacing(self, found: Metadata) -> Result<AtomicFile, AppError> {
        if found.is_dir() {
            return Err(refused(&self.path, "is a folder; name a file in it"));
        }
        // The new file would take its name.
        if !found.is_file() || self.real.symlink_metadata().is_ok_and(|real| !real.is_file()) {
            return Err(refused(&self.path, "is a device, a pipe or a socket; name a file"));
        }
        // A name can be taken from a file that may not be written to; nobody who protects a file wants that.
        match File::options().write(true).open(&self.real) {
            Ok(_) => Ok(AtomicFile { found: Some(found), ..self }),
            Err(error) => Err(not_writable(&self.path, &error)),
        }
    }

    /// Whether a file is there, which would be replaced.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.found.is_some()
    }

    /// The file's own path: its folder without links, and its name. Equal ones are the same file.
    pub(crate) fn identity(&self) -> PathBuf {
        match (self.folder().canonicalize(), self.real.file_name()) {
            (Ok(folder), Some(name)) => folder.join(name),
            _ => self.real.clone(),
        }
    }

    /// The folder of the file itself.
    pub(crate) fn folder(&self) -> &Path {
        self.real.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
    }

    /// Checks that the folder can be written to, and removes what killed programs left there.
    ///
    /// # Errors
    /// Bad input: a folder or a file that cannot be written to.
    pub fn prepare(&self) -> Result<(), AppError> {
        let workplace = prepared(self.folder())?;
        #[cfg(unix)]
        if let (Some(found), Ok(folder), Ok(user)) = (&self.found, self.folder().metadata(), workplace.user())
            && keeps_from(user, &folder, found)
        {
            return Err(refused(&self.path, "is a file of another user; name another file"));
        }
        drop(workplace);
        Ok(())
    }

    /// Lets `write` make the file, and gives it its name when it is whole, in place of the one that is there.
    ///
    /// # Errors
    /// A run-time failure: the path leads to something else by now, or a file that cannot be written.
    pub fn write<R, E: Display>(
        &self,
        write: impl FnOnce(&mut BufWriter<File>) -> Result<R, E>,
    ) -> Result<R, AppError> {
        let to = AtomicFile::new(&self.path).map_err(after_the_work)?;
        let (workplace, written) = to.written(write)?;
        let new = workplace.new_output();
        if let Some(found) = &to.found {
            keep_permissions(&new, found);
        }
        // Something else may have got the name while it was written.
        let now = AtomicFile::new(&self.path).map_err(after_the_work)?;
        if now.identity() != to.identity() {
            return Err(failed(&self.path, "leads to another file than before"));
        }
        std::fs::rename(new, &to.real).map_err(|error| failed(&self.path, error))?;
        sync_folder(to.folder());
        Ok(written)
    }

    /// As [`AtomicFile::write`], without ever replacing a file: the first name that is free gets the file, this one or
    /// this one with a number. Gives its path.
    ///
    /// # Errors
    /// As [`AtomicFile::write`].
    pub fn write_unused<R, E: Display>(
        path: &Path,
        write: impl FnOnce(&mut BufWriter<File>) -> Result<R, E>,
    ) -> Result<(PathBuf, R), AppError> {
        let to = AtomicFile { path: path.to_owned(), real: path.to_owned(), found: None };
        let (workplace, written) = to.written(write)?;
        let mut new = TempPath::try_from_path(workplace.new_output()).map_err(|error| failed(path, error))?;
        loop {
            let unused = unused_path(path).map_err(after_the_work)?;
            match new.persist_noclobber(&unused) {
                Ok(()) => {
                    sync_folder(to.folder());
                    return Ok((unused, written));
                }
                // Another program was faster.
                Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => new = error.path,
                Err(error) => match take_name(&error.path, &unused) {
                    Ok(()) => return Ok((unused, written)),
                    Err(taken) if taken.kind() == io::ErrorKind::AlreadyExists => new = error.path,
                    Err(_) => return Err(failed(&unused, error.error)),
                },
            }
        }
    }

    /// A workplace with the new file, which is on the disk.
    fn written<R, E: Display>(
        &self,
        write: impl FnOnce(&mut BufWriter<File>) -> Result<R, E>,
    ) -> Result<(Workplace, R), AppError> {
        let failed = |error: &dyn Display| failed(&self.path, error);
        let workplace = Workplace::new(self.folder()).map_err(|error| failed(&error))?;
        let file = File::create_new(workplace.new_output()).map_err(|error| failed(&error))?;
        let mut buffer = BufWriter::new(file);
        let written = write(&mut buffer).map_err(|error| failed(&error))?;
        let file = buffer.into_inner().map_err(|error| failed(error.error()))?;
        file.sync_all().map_err(|error| failed(&error))?;
        Ok((workplace, written))
    }
}

/// Checks that a folder can be written to, and removes what killed programs left there.
///
/// # Errors
/// Bad input.
pub(crate) fn prepare_folder(folder: &Path) -> Result<(), AppError> {
    prepared(folder).map(|_| ())
}

/// A workplace in a folder from which what killed programs left was removed.
pub(super) fn prepared(folder: &Path) -> Result<Workplace, AppError> {
    let workplace = workplace(folder)?;
    workplace.sweep();
    Ok(workplace)
}

/// A workplace in a folder.
pub(super) fn workplace(folder: &Path) -> Result<Workplace, AppError> {
    Workplace::new(folder).map_err(|error| refused(folder, format!("cannot write there: {error}")))
}

/// The first path that nothing has: this one, or this one with `_2`, `_3` and so on before its ending.
///
/// # Errors
/// Bad input: a name that no file can have.
pub(crate) fn unused_path(path: &Path) -> Result<PathBuf, AppError> {
    let mut number = 1_u64;
    loop {
        let unused = if number == 1 { path.to_owned() } else { numbered(path, number) };
        match unused.symlink_metadata() {
            Ok(_) => number += 1,
            Err(error) if is_absent(&error) => return Ok(unused),
            Err(error) => return Err(not_writable(&unused, &error)),
        }
    }
}

/// A path with a number at the end of its stem.
pub(crate) fn numbered(path: &Path, number: u64) -> PathBuf {
    let mut name = path.file_stem().unwrap_or_default().to_owned();
    name.push(format!("_{number}"));
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    path.with_file_name(name)
}

/// Gives a file a name that is free on a file system that can neither link files nor rename one without replacing another:
/// an empty file takes the name first.
fn take_name(file: &Path, name: &Path) -> io::Result<()> {
    File::create_new(name)?;
    std::fs::rename(file, name).inspect_err(|_| {
        let _ = std::fs::remove_file(name);
    })
}

/// Whether an error says that nothing is there.
pub(super) fn is_absent(error: &io::Error) -> bool {
    // A folder on the way may be a file.
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn not_writable(path: &Path, error: &io::Error) -> AppError {
    refused(path, format!("cannot be written: {error}; name another file"))
}

/// Whether a folder keeps a user from replacing a file: in one for everybody (`/tmp`), files belong to those who made them.
#[cfg(unix)]
fn keeps_from(user: u32, folder: &Metadata, file: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    const STICKY: u32 = 0o1000;
    folder.mode() & STICKY != 0 && user != 0 && user != file.uid() && user != folder.uid()
}

/// Gives a new file or folder the permissions of the one that it replaces, and its owner where that is allowed. A file
/// system without permissions is not a reason to lose an image.
pub(super) fn keep_permissions(new: &Path, found: &Metadata) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::{MetadataExt, PermissionsExt};
        let is_owner = new.metadata().is_ok_and(|new| (new.uid(), new.gid()) == (found.uid(), found.gid()));
        if !is_owner {
            let _ = std::os::unix::fs::chown(new, Some(found.uid()), Some(found.gid()));
        }
        // What lets others run a file as its owner is not for the contents of another one.
        let mode = found.permissions().mode() & 0o777;
        let _ = std::fs::set_permissions(new, std::fs::Permissions::from_mode(mode));
    }
    #[cfg(not(unix))]
    let _ = (new, found);
}

/// Flushes a new name to the disk; a file system that cannot do so is not a reason to fail.
pub(super) fn sync_folder(folder: &Path) {
    if let Ok(folder) = File::open(folder) {
        let _ = folder.sync_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::atomic_output::names;
    use std::io::Write as _;
    use tempfile::TempDir;

    #[test]
    fn a_file_is_whole_or_absent() {
        let room = TempDir::new().unwrap();
        let path = room.path().join("a");
        let file = AtomicFile::new(&path).unwrap();
        let failed = file.write(|file| file.write_all(b"half").and(Err::<(), _>(io::Error::other("half"))));
        assert!(matches!(failed, Err(AppError::RunTime(line)) if line.ends_with("a: half")));
        assert!(names(room.path()).is_empty());
        for text in ["one", "two"] {
            file.write(|file| file.write_all(text.as_bytes())).unwrap();
            assert_eq!(
                (std::fs::read_to_string(&path).unwrap().as_str(), names(room.path()).len()),
                (text, 1)
            );
        }
    }

    /// What got the name while the file was written is not replaced, unless it is a file.
    #[test]
    fn the_kind_is_looked_at_again_before_the_rename() {
        let room = TempDir::new().unwrap();
        let path = room.path().join("a");
        let file = AtomicFile::new(&path).unwrap();
        let written = file.write(|file| {
            std::fs::create_dir(&path)?;
            file.write_all(b"new")
        });
        assert!(matches!(written, Err(AppError::RunTime(line)) if line.contains("is a folder")));
        assert!(path.is_dir() && names(room.path()) == ["a"]);
        std::fs::remove_dir(&path).unwrap();
        file.write(|file| std::fs::write(&path, "old").and(file.write_all(b"new"))).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
    }

    #[test]
    fn an_unused_name_is_found_though_others_take_it() {
        let room = TempDir::new().unwrap();
        let path = room.path().join("a.b.png");
        let write = || AtomicFile::write_unused(&path, |file| file.write_all(b"new")).unwrap().0;
        std::thread::scope(|scope| {
            for thread in [(); 4].map(|()| scope.spawn(|| (0..10).for_each(|_| drop(write())))) {
                thread.join().unwrap();
            }
        });
        assert_eq!(names(room.path()).len(), 40);
        assert_eq!(write(), room.path().join("a.b_41.png"));
        // Where one is free again, it is used.
        std::fs::remove_file(room.path().join("a.b_2.png")).unwrap();
        assert_eq!(write(), room.path().join("a.b_2.png"));
    }

    #[test]
    fn a_name_is_taken_where_files_can_be_neither_linked_nor_renamed_without_replacing() {
        let room = TempDir::new().unwrap();
        let [new, name] = ["new", "name"].map(|name| room.path().join(name));
        std::fs::write(&new, "new").unwrap();
        std::fs::write(&name, "old").unwrap();
        assert_eq!(take_name(&new, &name).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&name).unwrap(), b"old");
        std::fs::remove_file(&name).unwrap();
        take_name(&new, &name).unwrap();
        assert_eq!((std::fs::read(&name).unwrap(), names(room.path()).len()), (b"new".to_vec(), 1));
    }
}
