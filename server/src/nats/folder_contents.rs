//! The contents of a folder whose files prompts name (wildcards, textual inversions), by one hash.

use super::file_hashes::FileHashes;
use latent_app::hash::{of_bytes, sha256};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Files of a folder at most.
const MAX_FILES: usize = 20_000;

/// What was hashed of folders by now: files are read again when they change.
#[derive(Debug, Default)]
pub(super) struct FolderContents {
    files: FileHashes,
}

impl FolderContents {
    /// The SHA-256 of a text with a line `SHA-256  PATH` for each file in a folder and those below it, sorted by the paths.
    /// Hidden files do not count.
    ///
    /// # Errors
    /// A folder or file that cannot be read, or too many of them.
    pub(super) fn hash(&self, folder: &Path) -> std::io::Result<String> {
        let mut files = Vec::new();
        add_files(folder, "", &mut files)?;
        files.sort();
        let mut text = String::new();
        for (name, path) in files {
            let _ = writeln!(text, "{}  {name}", self.files.of(&path, sha256)?);
        }
        Ok(of_bytes(text.as_bytes()))
    }
}

/// Adds the files below a folder, with their paths below the first one.
fn add_files(folder: &Path, below: &str, files: &mut Vec<(String, PathBuf)>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') {
            continue;
        }
        // A link to a folder may lead back; one to a file is as good as the file.
        if entry.file_type()?.is_dir() {
            add_files(&entry.path(), &format!("{below}{name}/"), files)?;
        } else if entry.path().is_file() {
            files.push((format!("{below}{name}"), entry.path()));
        }
        if files.len() > MAX_FILES {
            return Err(std::io::Error::other(format!("it holds more than {MAX_FILES} files")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_and_under_which_name_counts_and_not_where_the_folder_is() {
        let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let contents = FolderContents::default();
        let hashes = || folders.each_ref().map(|folder| contents.hash(folder.path()).unwrap());
        for (folder, text) in folders.iter().zip(["pear\n", "plum\n"]) {
            std::fs::create_dir(folder.path().join("fruit")).unwrap();
            std::fs::write(folder.path().join("fruit/sweet.txt"), text).unwrap();
        }
        let [first, other] = hashes();
        assert_ne!(first, other);
        std::fs::write(folders[1].path().join("fruit/sweet.txt"), "pears\n").unwrap();
        assert_ne!(hashes(), [first.clone(), other]);
        std::fs::write(folders[1].path().join("fruit/sweet.txt"), "pear\n").unwrap();
        std::fs::write(folders[1].path().join(".hidden"), "").unwrap();
        assert_eq!(hashes(), [first.clone(), first.clone()]);
        // sha256sum fruit/sweet.txt | sha256sum
        assert_eq!(first, of_bytes(format!("{}  fruit/sweet.txt\n", of_bytes(b"pear\n")).as_bytes()));
        std::fs::rename(folders[1].path().join("fruit/sweet.txt"), folders[1].path().join("fruit/ripe.txt"))
            .unwrap();
        assert_ne!(hashes()[1], first);
        assert!(contents.hash(Path::new("there/is/no/such/folder")).is_err());
    }
}
