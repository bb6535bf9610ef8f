//! Where the images of a command go, checked before the first step.

use crate::args::{DrawingArgs, PreviewArgs};
use latent_app::AppError;
use latent_app::contact_sheet::ContactSheet;
use latent_app::grid::JobGrid;
use latent_app::output::Output;
use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

/// What `--output` calls the standard output.
pub(crate) const STANDARD_OUTPUT: &str = "-";

/// The output that a flag names, or else the default one.
pub(crate) fn open(
    given: Option<&Path>,
    default: impl FnOnce() -> Result<Output, AppError>,
) -> Result<Output, AppError> {
    match given {
        Some(path) if is_standard_output(path) => standard_output(),
        Some(path) => Output::new(path).map_err(|error| with_hint(path, error)),
        None => default(),
    }
}

/// An error with the name of the standard output, where a person means that.
fn with_hint(path: &Path, error: AppError) -> AppError {
    let is_meant = ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"].iter().any(|name| path == Path::new(name));
    match error {
        AppError::BadInput(line) if is_meant => {
            AppError::BadInput(format!("{line}, or {STANDARD_OUTPUT} for the standard output"))
        }
        error => error,
    }
}

/// Whether a path stands for the standard output.
pub(crate) fn is_standard_output(path: &Path) -> bool {
    path.as_os_str() == STANDARD_OUTPUT
}

/// The standard output, for one image.
pub(crate) fn standard_output() -> Result<Output, AppError> {
    let stdout = std::io::stdout();
    if stdout.is_terminal() {
        let line = "standard output: is a terminal; name a file, or send the image to a program: latent ... | program";
        return Err(AppError::BadInput(line.into()));
    }
    Ok(Output::stream("standard output", stdout))
}

/// Refuses previews on the standard output, where the image goes.
pub(crate) fn check_preview(output: &Output, preview: &PreviewArgs) -> Result<(), AppError> {
    if output.is_stream() && preview.is_terminal() {
        let line = "preview: the standard output is the image's; name a PNG file";
        return Err(AppError::BadInput(line.into()));
    }
    Ok(())
}

/// Checks the files of all images whose first has this seed.
pub(crate) fn check(output: &Output, args: &DrawingArgs, first: u64) -> Result<(), AppError> {
    let count = args.job.batch.count();
    let images = (0..count).map(|i| output.path(i, first.wrapping_add(i as u64)));
    let sheet = args.grid.then(|| ContactSheet::path(&output.path(0, first)));
    // The previews of the second image would replace the first.
    let preview = args.preview.file().filter(|_| count > 1 && !output.is_stream());
    output.check(images.chain(sheet).chain(preview.map(Path::to_owned)))
}

/// Checks the file of a grid, which has the seed of whichever cell is the first that can be drawn.
pub(crate) fn check_grid(output: &Output, grid: &JobGrid) -> Result<(), AppError> {
    let mut paths = BTreeSet::<PathBuf>::new();
    for cell in 0..grid.cells() {
        paths.extend(grid.job(cell)?.sampling.seed.map(|seed| output.path(0, seed)));
    }
    output.check(paths)
}
