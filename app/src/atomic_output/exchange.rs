//! Two names that are exchanged in one step.

use std::io;
use std::path::Path;

/// Exchanges the names of two files or folders.
pub(super) type Exchange = fn(&Path, &Path) -> io::Result<()>;

/// Gives each of two files or folders the other's name, so that neither name is free at any moment. Not every file system
/// can.
#[cfg(any(target_os = "linux", target_os = "macos"))]
pub(super) fn exchange(one: &Path, other: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    Ok(renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE)?)
}

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
pub(super) fn exchange(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Gives a folder a name that is free; whatever has the name meanwhile stays, where the system can see to that.
pub(super) fn rename_folder(from: &Path, to: &Path) -> io::Result<()> {
    #[cfg(any(target_os = "linux", target_os = "macos"))]
    {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        use rustix::io::Errno;
        match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            Err(Errno::NOSYS | Errno::INVAL | Errno::NOTSUP) => {}
            renamed => return Ok(renamed?),
        }
    }
    // An empty folder is the only thing that this would replace.
    std::fs::rename(from, to)
}
