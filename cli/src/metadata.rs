//! `latent metadata`: how an image was made, as its file tells.

use crate::args::MetadataArgs;
use crate::print;
use latent_app::AppError;
use latent_app::metadata::{of, summary};

/// Prints how an image was made.
pub(crate) fn run(args: &MetadataArgs) -> Result<(), AppError> {
    let told = of(&args.file)?;
    print(&if args.json { format!("{:#}\n", told.json()) } else { summary(&told) })
}
