//! Flags of `latent replay`.

use std::ffi::OsString;
use std::path::PathBuf;

/// `latent replay`
#[derive(clap::Args)]
#[command(
    after_help = "The files that an image was made with are looked for in the folders of --from, beside the image, here, \
                  and models by their names where `latent models` finds them. They must be the same by their hashes. Of an \
                  image of another program as much is followed as can be, and the rest is listed.",
    override_usage = "latent replay [OPTIONS] <FILE> [-- FLAGS OF THE DRAWING]"
)]
pub(crate) struct ReplayArgs {
    /// An image file with metadata, as `latent metadata` shows
    pub(crate) file: PathBuf,
    /// File to write [default: FILE's name with -replay]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// The model, where it is not found by its name
    #[arg(short, long, value_name = "FILE")]
    pub(crate) model: Option<PathBuf>,
    /// Folder in which a model's name is looked for [default: the usual ones]
    #[arg(long, value_name = "DIR")]
    pub(crate) models_dir: Option<PathBuf>,
    /// Folder of the images and add-ons that it was made with; may be repeated
    #[arg(long, value_name = "DIR")]
    pub(crate) from: Vec<PathBuf>,
    /// The image that one of another program began with, which such a file does not hold
    #[arg(long, value_name = "FILE")]
    pub(crate) image: Option<PathBuf>,
    /// Take files of the right names also where their hashes differ
    #[arg(long)]
    pub(crate) force: bool,
    /// Draw also what takes much more than a usual image: many steps, a very large image, a large grid
    #[arg(long)]
    pub(crate) yes: bool,
    /// Print the command that draws it, and draw nothing
    #[arg(long)]
    pub(crate) print: bool,
    /// Flags in place of what the file records, such as `-- --device gpu --steps 40`
    #[arg(last = true, value_name = "FLAGS")]
    pub(crate) flags: Vec<OsString>,
}
