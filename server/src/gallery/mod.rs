//! The folder of the images that were drawn: what is in it, their thumbnails, and a trash.

mod details;
mod trash;

pub use details::ImageInfo;

use crate::error::{ApiError, ErrorCode};
use latent_app::{image_file, output};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

/// Maximum number of images that are listed: the newest.
const MAX_LISTED: usize = 50_000;
/// Longer side of a thumbnail in pixels.
const THUMBNAIL_SIDE: usize = 320;
/// Quality of a thumbnail.
const THUMBNAIL_QUALITY: u8 = 80;
/// Random letters in the name of a temporary file, as `tempfile` makes it.
const TEMPORARY_LETTERS: usize = 6;
/// How long nothing was written to a temporary file that somebody left behind.
const UNFINISHED_AGE: Duration = Duration::from_secs(600);
/// Extensions of the files that are listed.
const EXTENSIONS: [&str; 4] = ["png", "jpg", "jpeg", "webp"];

/// An image file, as the folder shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ListedFile {
    bytes: u64,
    /// Milliseconds since 1970.
    created: u64,
}

#[derive(Debug, Default)]
struct Listing {
    files: HashMap<String, ListedFile>,
    /// What was read of the files themselves. Those that changed are read anew.
    details: HashMap<String, (ListedFile, Arc<ImageInfo>)>,
    /// Whether the folder may have changed since it was listed.
    is_stale: bool,
}

/// What came and what went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GalleryChange {
    /// Names of new images.
    pub added: Vec<String>,
    /// Names of images that are gone.
    pub removed: Vec<String>,
}

/// What to look for.
#[derive(Clone, Debug, Default)]
pub struct GalleryQuery {
    /// Words in the prompts or in the name.
    pub words: String,
    /// A part of the model's name.
    pub model: String,
    /// The seed.
    pub seed: Option<u64>,
    /// Images to pass over.
    pub offset: usize,
    /// Maximum number of images.
    pub limit: usize,
}

/// The folder of the images.
#[derive(Debug)]
pub struct Gallery {
    folder: PathBuf,
    thumbnails: PathBuf,
    listing: Mutex<Listing>,
}

impl Gallery {
    /// The gallery of a folder, which is made if it does not exist. Thumbnails are kept in another one.
    ///
    /// # Errors
    /// A folder that cannot be made.
    pub fn open(folder: &Path, thumbnails: &Path) -> Result<Gallery, ApiError> {
        for folder in [folder, thumbnails] {
            std::fs::create_dir_all(folder)
                .map_err(|error| ApiError::io(&folder.display().to_string(), &error))?;
        }
        trash::empty_old(folder);
        remove_unfinished(folder);
        let listing = Mutex::new(Listing { is_stale: true, ..Listing::default() });
        Ok(Gallery { folder: folder.to_owned(), thumbnails: thumbnails.to_owned(), listing })
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn listing(&self) -> MutexGuard<'_, Listing> {
        self.listing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lists the folder anew; what changed since the last time.
    pub fn refresh(&self) -> GalleryChange {
        self.take(list(&self.folder))
    }

    /// Takes over what the folder was found to hold. Images may have come and gone while it was read, so that a file is
    /// looked at again before it counts as news.
    fn take(&self, mut files: HashMap<String, ListedFile>) -> GalleryChange {
        let mut listing = self.listing();
        let came = files.keys().filter(|name| !listing.files.contains_key(*name));
        let went = listing.files.keys().filter(|name| !files.contains_key(*name));
        let differences: Vec<(String, bool)> =
            came.map(|name| (name.clone(), false)).chain(went.map(|name| (name.clone(), true))).collect();
        let mut change = GalleryChange::default();
        for (name, was) in differences {
            // Of too many, the oldest are not listed though they are there.
            let has_room = !was || files.len() < MAX_LISTED;
            let now = listed(&self.folder.join(&name)).filter(|_| has_room);
            match (&now, was) {
                (Some(_), false) => change.added.push(name.clone()),
                (None, true) => change.removed.push(name.clone()),
                _ => {}
            }
            match now {
                Some(file) => files.insert(name, file),
                None => files.remove(&name),
            };
        }
        change.added.sort();
        change.removed.sort();
        listing.details.retain(|name, _| files.contains_key(name));
        listing.files = files;
        listing.is_stale = false;
        change
    }

    /// Writes an image that another machine drew, in place of one of that name.
    ///
    /// # Errors
    /// A name that is not plain, or a failure of the disk.
    #[cfg(feature = "nats")]
    pub(crate) fn put(&self, name: &str, bytes: &[u8]) -> Result<(), ApiError> {
        if !is_plain(name) || !has_extension(name) {
            return Err(ApiError::bad_input("an image has a name that is not one of the gallery's"));
        }
        // Somebody may have tidied up.
        let written = std::fs::create_dir_all(&self.folder)
            .and_then(|()| write_whole(&self.folder, &self.folder.join(name), bytes));
        written.map_err(|error| ApiError::io(name, &error))?;
        self.added(name);
        Ok(())
    }

    /// Notes an image that was written.
    pub fn added(&self, name: &str) {
        if let Some(file) = listed(&self.folder.join(name)) {
            self.listing().files.insert(name.to_owned(), file);
        }
    }

    /// The file of an image. A name with a folder in it, or of no image, is refused.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`].
    pub fn path(&self, name: &str) -> Result<PathBuf, ApiError> {
        let missing = || ApiError::not_found("there is no image of that name");
        if !is_plain(name) || !has_extension(name) {
            return Err(missing());
        }
        let path = self.folder.join(name);
        // A link may lead anywhere.
        let is_file = path.symlink_metadata().is_ok_and(|metadata| metadata.is_file());
        if is_file { Ok(path) } else { Err(missing()) }
    }

    /// What is known of an image.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`].
    pub fn info(&self, name: &str) -> Result<Arc<ImageInfo>, ApiError> {
        let path = self.path(name)?;
        let file = listed(&path).ok_or_else(|| ApiError::not_found("there is no image of that name"))?;
        if let Some((of, info)) = self.listing().details.get(name)
            && *of == file
        {
            return Ok(info.clone());
        }
        let info = Arc::new(ImageInfo::read(name, &path, file.bytes, file.created));
        let mut listing = self.listing();
        listing.files.insert(name.to_owned(), file.clone());
        listing.details.insert(name.to_owned(), (file, info.clone()));
        Ok(info)
    }

    /// The images that fit a query, newest first, and how many there are in all. This reads files.
    #[must_use]
    pub fn search(&self, query: &GalleryQuery) -> (Vec<Arc<ImageInfo>>, usize) {
        if self.listing().is_stale {
            self.refresh();
        }
        let mut names: Vec<(u64, String)> =
            self.listing().files.iter().map(|(name, file)| (file.created, name.clone())).collect();
        names.sort_unstable_by(|a, b| b.cmp(a));
        let words: Vec<String> = query.words.split_whitespace().map(str::to_lowercase).collect();
        let is_plain = words.is_empty() && query.model.is_empty() && query.seed.is_none();
        if is_plain {
            let total = names.len();
            let shown = names.iter().skip(query.offset).take(query.limit);
            return (shown.filter_map(|(_, name)| self.info(name).ok()).collect(), total);
        }
        let model = query.model.to_lowercase();
        let fits = |info: &Arc<ImageInfo>| info.fits(&words, &model, query.seed);
        let found: Vec<_> = names.iter().filter_map(|(_, name)| self.info(name).ok()).filter(fits).collect();
        let total = found.len();
        (found.into_iter().skip(query.offset).take(query.limit).collect(), total)
    }

    /// A small JPEG of an image.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`], or a file that is not an image.
    pub fn thumbnail(&self, name: &str) -> Result<Vec<u8>, ApiError> {
        let path = self.path(name)?;
        let file = listed(&path).ok_or_else(|| ApiError::not_found("there is no image of that name"))?;
        let kept = self.thumbnails.join(format!("{name}.{}.{}.jpg", file.created, file.bytes));
        if let Ok(bytes) = std::fs::read(&kept) {
            return Ok(bytes);
        }
        let image = image_file::read(&path)?.over(image_file::BACKGROUND);
        let (width, height) = (image.width.max(1), image.height.max(1));
        let longer = width.max(height);
        let small = if longer <= THUMBNAIL_SIDE {
            image
        } else {
            let side = |side: usize| (side * THUMBNAIL_SIDE / longer).max(1);
            image_file::resized(&image, side(width), side(height))
        };
        let bytes = output::jpeg(&small, THUMBNAIL_QUALITY)?;
        // Without a place for it, it is made anew the next time.
        let _ = write_whole(&self.thumbnails, &kept, &bytes);
        Ok(bytes)
    }

    /// Moves an image into the trash; the token that brings it back.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`], or a failure of the disk.
    pub fn remove(&self, name: &str) -> Result<String, ApiError> {
        let path = self.path(name)?;
        let token = trash::put(&self.folder, name, &path)?;
        let mut listing = self.listing();
        listing.files.remove(name);
        listing.details.remove(name);
        Ok(token)
    }

    /// Brings an image back from the trash.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`], or [`ErrorCode::Conflict`] where there is another image of that name by now.
    pub fn restore(&self, token: &str) -> Result<Arc<ImageInfo>, ApiError> {
        let name = trash::take(&self.folder, token)?;
        self.info(&name)
    }
}

/// Whether it is a name in a folder: neither a path nor hidden.
pub(crate) fn is_plain(name: &str) -> bool {
    let is_separator = |c: char| matches!(c, '/' | '\\' | ':') || c.is_control();
    !name.is_empty() && !name.starts_with('.') && !name.contains(is_separator) && name.len() <= 255
}

fn has_extension(name: &str) -> bool {
    let extension = Path::new(name).extension().and_then(|extension| extension.to_str());
    extension.is_some_and(|own| EXTENSIONS.iter().any(|known| own.eq_ignore_ascii_case(known)))
}

fn listed(path: &Path) -> Option<ListedFile> {
    let metadata = path.symlink_metadata().ok().filter(std::fs::Metadata::is_file)?;
    let created = metadata.modified().ok()?.duration_since(UNIX_EPOCH).ok()?.as_millis() as u64;
    Some(ListedFile { bytes: metadata.len(), created })
}

fn list(folder: &Path) -> HashMap<String, ListedFile> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
        if is_plain(&name) && has_extension(&name) {
            files.extend(listed(&entry.path()).map(|file| (name, file)));
        }
    }
    if files.len() > MAX_LISTED {
        files.sort_unstable_by_key(|(_, file)| std::cmp::Reverse(file.created));
        files.truncate(MAX_LISTED);
    }
    files.into_iter().collect()
}

/// Removes what a killed program left of images that it was writing. A file that is written at this moment stays.
fn remove_unfinished(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let is_temporary = name.to_str().and_then(|name| name.strip_prefix(".tmp")).is_some_and(|random| {
            random.len() == TEMPORARY_LETTERS && random.bytes().all(|byte| byte.is_ascii_alphanumeric())
        });
        let metadata = entry.path().symlink_metadata().ok().filter(|_| is_temporary);
        let time = metadata.filter(std::fs::Metadata::is_file).and_then(|metadata| metadata.modified().ok());
        if time.and_then(|time| time.elapsed().ok()).is_some_and(|age| age > UNFINISHED_AGE) {
            // Another time, if not now.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// Writes a file whole or not at all.
fn write_whole(folder: &Path, path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    std::io::Write::write_all(&mut file, bytes)?;
    file.persist(path).map(drop).map_err(|error| error.error)
}

/// The error of a name that is taken.
fn taken(name: &str) -> ApiError {
    ApiError::new(ErrorCode::Conflict, format!("{name}: there is another image of that name by now"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_and_goes_while_the_folder_is_listed_counts() {
        let folder = tempfile::tempdir().unwrap();
        let gallery = Gallery::open(folder.path(), &folder.path().join("small")).unwrap();
        std::fs::write(folder.path().join("old.png"), "1").unwrap();
        assert_eq!(gallery.refresh().added, ["old.png"]);
        let before = list(folder.path());
        gallery.remove("old.png").unwrap();
        std::fs::write(folder.path().join("new.png"), "22").unwrap();
        gallery.added("new.png");
        assert_eq!(gallery.take(before), GalleryChange::default());
        let listed: Vec<String> = gallery.listing().files.keys().cloned().collect();
        assert_eq!(listed, ["new.png"]);
    }
}
