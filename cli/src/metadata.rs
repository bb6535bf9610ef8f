//! `latent metadata`: how an image was made, according to its file.

use crate::args::MetadataArgs;
use crate::console::print_with;
use crate::json_text;
use latent_app::AppError;
use latent_app::metadata::{MetadataSummary, read};
use std::io::Write;

/// Prints how an image was made, piece by piece: as one text it may be many megabytes.
pub(crate) fn run(args: &MetadataArgs) -> Result<(), AppError> {
    let metadata = read(&args.file)?;
    print_with(|out| {
        if args.json {
            json_text::write(&mut *out, &metadata)?;
            out.write_all(b"\n")
        } else {
            write!(out, "{}", MetadataSummary(&metadata))
        }
    })
}
