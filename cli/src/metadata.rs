//! `latent metadata`: how an image was made, according to its file.

use crate::args::MetadataArgs;
use latent_app::AppError;
use latent_app::metadata::{ImageMetadata, MetadataSummary, read};
use std::io::{self, BufWriter, Write};

/// Prints how an image was made.
pub(crate) fn run(args: &MetadataArgs) -> Result<(), AppError> {
    let metadata = read(&args.file)?;
    match write(&metadata, args.json) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(AppError::RunTime(format!("standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Writes it piece by piece: as one text it may be many megabytes.
fn write(metadata: &ImageMetadata, as_json: bool) -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    if as_json {
        serde_json::to_writer_pretty(&mut out, metadata)?;
        out.write_all(b"\n")?;
    } else {
        write!(out, "{}", MetadataSummary(metadata))?;
    }
    out.flush()
}
