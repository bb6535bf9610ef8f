//! `latent metadata`: how an image was made, according to its file.

use crate::args::MetadataArgs;
use crate::console::print;
use latent_app::AppError;
use latent_app::metadata::{read, summary};

/// Prints how an image was made.
pub(crate) fn run(args: &MetadataArgs) -> Result<(), AppError> {
    let metadata = read(&args.file)?;
    print(&if args.json { format!("{:#}\n", metadata.json()) } else { summary(&metadata) })
}
