//! The hidden folder in which an output is written before it gets its name.
//!
//! The folder contains a marker, which is locked as long as the program writes: a folder with the marker's first line, of
//! the same user, without a lock, was left by a program that was killed. Between the making of the folder and that of its
//! marker the folder's own mode marks it.

use std::ffi::OsStr;
use std::fs::{File, Metadata, TryLockError};
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};

/// Prefix of the folder's name; random letters follow.
const PREFIX: &str = ".latent-tmp-";
/// Number of random letters and digits.
const RANDOM: usize = 6;
/// Name of the marker, and its first line.
const MARKER: &str = "marker";
const FIRST_LINE: &str = "Unfinished files of latent, which the next latent removes.\n";
/// Name of the new output in the folder. After an exchange, it is that of the old one.
const NEW: &str = "new";
/// A second entry, for the test whether names can be exchanged.
const OTHER: &str = "other";
/// Mode of the folder: the sticky bit, which a person has no reason to give to a private folder.
#[cfg(unix)]
const MODE: u32 = 0o1700;
/// How often a folder is made anew which another program removes at once: it happens between two system calls.
const MAX_ATTEMPTS: usize = 100;

/// A folder for a new output, removed in the end.
#[derive(Debug)]
pub(super) struct Workplace {
    folder: PathBuf,
    /// Held until the program ends in whatever way. Where files cannot be locked there is none, and no program will remove
    /// what is left.
    _lock: Option<File>,
}

impl Workplace {
    /// A new one in a folder.
    pub(super) fn new(parent: &Path) -> io::Result<Workplace> {
        let mut builder = tempfile::Builder::new();
        builder.prefix(PREFIX).rand_bytes(RANDOM);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            builder.permissions(std::fs::Permissions::from_mode(MODE));
        }
        for _ in 0..MAX_ATTEMPTS {
            // The error's own text names the hidden folder.
            let made = builder.tempdir_in(parent).map_err(|error| error.kind())?;
            match mark(made.path()) {
                Ok(Some(lock)) => return Ok(Workplace { folder: made.keep(), _lock: lock }),
                Ok(None) => {}
                // Another program took it for one that was left.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::NotFound.into())
    }

    /// The path of the new output.
    pub(super) fn new_output(&self) -> PathBuf {
        self.folder.join(NEW)
    }

    /// Whether names can be exchanged here, tried with two folders.
    pub(super) fn can_exchange(&self, exchange: super::exchange::Exchange) -> bool {
        let [one, other] = [NEW, OTHER].map(|name| self.folder.join(name));
        let can = [&one, &other].iter().all(|path| std::fs::create_dir(path).is_ok())
            && exchange(&one, &other).is_ok();
        for path in [one, other] {
            let _ = std::fs::remove_dir(path);
        }
        can
    }

    /// Removes what killed programs of the same user left beside this: half a model may be as large as a whole one.
    pub(super) fn sweep(&self) {
        let Some(parent) = self.folder.parent() else { return };
        let Ok(own) = self.folder.symlink_metadata() else { return };
        for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
            // A link is not followed.
            if is_named(&entry.file_name())
                && let Ok(found) = entry.path().symlink_metadata()
                && found.is_dir()
                && is_same_user(&own, &found)
            {
                remove_left(&entry.path(), &found);
            }
        }
    }

    /// The user who owns what this program makes here.
    #[cfg(unix)]
    pub(super) fn user(&self) -> io::Result<u32> {
        use std::os::unix::fs::MetadataExt;
        Ok(self.folder.symlink_metadata()?.uid())
    }
}

impl Drop for Workplace {
    fn drop(&mut self) {
        remove(&self.folder);
    }
}

/// Puts a locked marker into a folder; `None`, if another program removes the folder.
fn mark(folder: &Path) -> io::Result<Option<Option<File>>> {
    let path = folder.join(MARKER);
    let mut marker = File::options().read(true).write(true).create_new(true).open(&path)?;
    // On a full disk the folder's mode is the mark.
    let _ = marker.write_all(format!("{FIRST_LINE}pid {}\n", std::process::id()).as_bytes());
    let lock = match marker.try_lock() {
        Ok(()) => Some(marker),
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(_)) => None,
    };
    Ok(path.exists().then_some(lock))
}

/// Whether a name is one that [`Workplace::new`] gives.
fn is_named(name: &OsStr) -> bool {
    let random = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
    random.is_some_and(|random| random.len() == RANDOM && random.bytes().all(|c| c.is_ascii_alphanumeric()))
}

#[cfg(unix)]
fn is_same_user(own: &Metadata, found: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    own.uid() == found.uid()
}

#[cfg(not(unix))]
fn is_same_user(_: &Metadata, _: &Metadata) -> bool {
    true
}

/// Whether a folder has the mode of those that [`Workplace::new`] makes.
#[cfg(unix)]
fn has_own_mode(folder: &Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    folder.permissions().mode() & 0o7777 == MODE
}

#[cfg(not(unix))]
fn has_own_mode(_: &Metadata) -> bool {
    false
}

/// Removes a folder that a killed program left; any other stays.
fn remove_left(folder: &Path, found: &Metadata) {
    // It was killed before there was a marker, or after the marker was removed.
    if has_own_mode(found) && std::fs::remove_dir(folder).is_ok() {
        return;
    }
    let path = folder.join(MARKER);
    if path.symlink_metadata().is_ok_and(|marker| marker.is_file())
        && let Ok(mut marker) = File::options().read(true).write(true).open(&path)
        && marker.try_lock().is_ok()
        && is_marker(&mut marker, has_own_mode(found))
        && holds_only_ours(folder)
    {
        remove(folder);
    }
}

/// Whether a file is a marker; an empty one is where the folder has the right mode.
fn is_marker(marker: &mut File, may_be_empty: bool) -> bool {
    let mut start = Vec::new();
    let read = marker.take(FIRST_LINE.len() as u64).read_to_end(&mut start);
    read.is_ok() && (start == FIRST_LINE.as_bytes() || start.is_empty() && may_be_empty)
}

/// Whether a folder has no entries but those of a [`Workplace`].
fn holds_only_ours(folder: &Path) -> bool {
    std::fs::read_dir(folder).is_ok_and(|mut entries| {
        entries.all(|entry| {
            entry.is_ok_and(|entry| [MARKER, NEW, OTHER].iter().any(|name| entry.file_name() == *name))
        })
    })
}

/// Removes a workplace, its marker last, so that what a killed program leaves of it is known. What cannot be removed is
/// not a reason to write nothing.
fn remove(folder: &Path) {
    for name in [NEW, OTHER, MARKER] {
        let path = folder.join(name);
        let _ = match path.symlink_metadata() {
            Ok(found) if found.is_dir() => std::fs::remove_dir_all(path),
            Ok(_) => std::fs::remove_file(path),
            Err(_) => Ok(()),
        };
    }
    let _ = std::fs::remove_dir(folder);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::atomic_output::exchange::exchange;
    use crate::atomic_output::names;
    use tempfile::TempDir;

    /// A folder as a killed program leaves it: what the lock was of is gone.
    fn left(room: &Path) -> PathBuf {
        let mut workplace = Workplace::new(room).unwrap();
        workplace._lock = None;
        let folder = workplace.folder.clone();
        std::mem::forget(workplace);
        folder
    }

    fn swept(room: &Path) -> Vec<String> {
        Workplace::new(room).unwrap().sweep();
        names(room)
    }

    #[test]
    fn a_workplace_leaves_nothing() {
        let room = TempDir::new().unwrap();
        let workplace = Workplace::new(room.path()).unwrap();
        std::fs::create_dir(workplace.new_output()).unwrap();
        std::fs::write(workplace.new_output().join("a"), "half").unwrap();
        assert_eq!(names(room.path()).len(), 1);
        drop(workplace);
        assert!(names(room.path()).is_empty());
    }

    /// Wherever a program is killed, what it leaves is removed.
    #[test]
    fn what_killed_programs_left_is_swept() {
        let room = TempDir::new().unwrap();
        left(room.path());
        for name in [NEW, OTHER] {
            std::fs::create_dir(left(room.path()).join(name)).unwrap();
        }
        let half = left(room.path()).join(NEW);
        std::fs::create_dir(&half).unwrap();
        std::fs::write(half.join("unet"), "half").unwrap();
        std::fs::write(left(room.path()).join(NEW), "half").unwrap();
        // Other systems do not take the sticky bit from a program that makes a folder.
        if cfg!(target_os = "linux") {
            std::fs::remove_file(left(room.path()).join(MARKER)).unwrap();
            std::fs::write(left(room.path()).join(MARKER), "").unwrap();
        }
        assert!(names(room.path()).len() >= 5);
        assert!(swept(room.path()).is_empty());
    }

    #[test]
    fn folders_of_persons_and_of_programs_that_run_stay() {
        let room = TempDir::new().unwrap();
        let runs = Workplace::new(room.path()).unwrap();
        let path = |name: &str| room.path().join(name);
        // A person's, with the prefix: with a file of theirs, with what has our names, empty, with a marker of theirs.
        for (folder, file, text) in [
            (".latent-tmp-thesis", "thesis.docx", "mine"),
            (".latent-tmp-chapte", NEW, "mine"),
            (".latent-tmp-marker", MARKER, "mine"),
            (".latent-convert-old", NEW, "mine"),
            (".latent-tmp-longer-name", MARKER, FIRST_LINE),
        ] {
            std::fs::create_dir(path(folder)).unwrap();
            std::fs::write(path(folder).join(file), text).unwrap();
        }
        std::fs::create_dir(path(".latent-tmp-empty1")).unwrap();
        // One of ours into which somebody put a file.
        let taken = left(room.path());
        std::fs::write(taken.join("mine"), "mine").unwrap();
        std::fs::write(path(".latent-tmp-afile1"), FIRST_LINE).unwrap();
        let before = names(room.path());
        assert_eq!(swept(room.path()), before);
        assert!(taken.join("mine").exists() && taken.join(MARKER).exists());
        drop(runs);
        assert_eq!(names(room.path()).len(), before.len() - 1);
    }

    #[test]
    #[cfg(unix)]
    fn links_are_not_followed() {
        let room = TempDir::new().unwrap();
        let elsewhere = TempDir::new().unwrap();
        let target = left(elsewhere.path());
        std::os::unix::fs::symlink(&target, room.path().join(".latent-tmp-alink1")).unwrap();
        // A link in place of the marker, and one in place of the new output.
        let marked = left(room.path());
        std::fs::remove_file(marked.join(MARKER)).unwrap();
        std::os::unix::fs::symlink(target.join(MARKER), marked.join(MARKER)).unwrap();
        let linked = left(room.path());
        std::os::unix::fs::symlink(&target, linked.join(NEW)).unwrap();
        swept(room.path());
        assert!(target.join(MARKER).exists() && marked.exists() && !linked.exists());
    }

    /// Root may remove what others left, but it is not root's to remove.
    #[test]
    #[cfg(unix)]
    fn what_another_user_left_stays() {
        let room = TempDir::new().unwrap();
        let others = left(room.path());
        if std::os::unix::fs::chown(&others, Some(65_534), None).is_err() {
            // Only root can make this case.
            return;
        }
        assert_eq!(swept(room.path()).len(), 1);
    }

    #[test]
    fn whether_names_can_be_exchanged_is_tried() {
        let room = TempDir::new().unwrap();
        let workplace = Workplace::new(room.path()).unwrap();
        assert!(!workplace.can_exchange(|_, _| Err(io::ErrorKind::Unsupported.into())));
        let can = workplace.can_exchange(exchange);
        assert!(can || !cfg!(any(target_os = "linux", target_os = "macos")));
        assert_eq!(names(&workplace.folder), [MARKER]);
    }

    /// Programs that make and sweep workplaces in one folder do not disturb each other.
    #[test]
    fn many_at_once() {
        let room = TempDir::new().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        let workplace = Workplace::new(room.path()).unwrap();
                        workplace.sweep();
                        std::fs::write(workplace.new_output(), "whole").unwrap();
                        assert!(workplace.new_output().is_file());
                    }
                });
            }
        });
        assert!(names(room.path()).is_empty());
    }
}
