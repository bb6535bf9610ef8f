//! What a replay is given.

use std::path::PathBuf;

/// The image that is to be drawn again, and where its files are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReplayOptions {
    /// The image file.
    pub file: PathBuf,
    /// The model, where it is not found by its name.
    pub model: Option<PathBuf>,
    /// Folder in which a model's name is looked up; the usual ones when `None`.
    pub models_dir: Option<PathBuf>,
    /// Folders of the images and add-ons that it was made with, beside those of the image and the current one.
    pub folders: Vec<PathBuf>,
    /// Look for images and add-ons in these folders alone: the image may be anybody's.
    pub only_folders: bool,
    /// The image that an image of another program began with, which such a file does not hold.
    pub image: Option<PathBuf>,
    /// Take files of the right names also where their hashes differ, and leave out options that this version does not
    /// have.
    pub force: bool,
    /// Draw also what takes much more than a usual image.
    pub accept_cost: bool,
}

impl ReplayOptions {
    /// An image whose files are where it is.
    #[must_use]
    pub fn new(file: impl Into<PathBuf>) -> ReplayOptions {
        ReplayOptions { file: file.into(), ..ReplayOptions::default() }
    }
}
