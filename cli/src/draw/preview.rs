//! Where previews are shown.

use crate::args::{PreviewArgs, TERMINAL};
use crate::image_output::STANDARD_OUTPUT;
use crate::terminal::Terminal;
use latent_app::AppError;
use latent_app::output::Output;
use latent_diffusion::Image;
use std::path::PathBuf;

/// A file, or the terminal.
pub(super) enum PreviewTarget {
    /// Whole or not at all, each in place of the last.
    File(Output, PathBuf),
    Terminal(Terminal),
}

impl PreviewTarget {
    /// What the flags ask for, checked.
    pub(super) fn open(args: &PreviewArgs) -> Result<Option<PreviewTarget>, AppError> {
        let Some(path) = &args.preview else { return Ok(None) };
        Ok(Some(match path.to_str() {
            Some(TERMINAL) => PreviewTarget::Terminal(Terminal::open()?),
            Some(STANDARD_OUTPUT) => {
                let line = "preview: is not written to the standard output; name a PNG file, or terminal";
                return Err(AppError::BadInput(line.into()));
            }
            _ => PreviewTarget::File(Output::file(path)?, path.clone()),
        }))
    }

    pub(super) fn show(&self, image: &Image) -> Result<(), AppError> {
        match self {
            // There are no texts to be lost.
            PreviewTarget::File(output, path) => output.write(path, image, &[]).map(|_| ()),
            PreviewTarget::Terminal(terminal) => terminal.show(image),
        }
    }
}
