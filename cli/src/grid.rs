//! `latent grid`: images whose settings differ, as one labelled image.

use crate::args::GridArgs;
use crate::draw::{TerminalSession, print_written};
use crate::{image_output, warn};
use latent_app::AppError;
use latent_app::grid::JobGrid;
use latent_app::output::Output;
use std::path::Path;

/// Runs the command. What is wrong in one cell leaves that one empty.
pub(crate) fn run(args: &GridArgs) -> Result<(), AppError> {
    let plain = &args.words.drawing;
    if plain.grid || plain.job.batch.count() != 1 {
        let line = "grid: a cell holds one image; leave --batch-count and --grid out";
        return Err(AppError::BadInput(line.into()));
    }
    let mut drawing = TerminalSession::new(plain.threads, plain.verbose, Some(&plain.preview))?;
    let grid = JobGrid::new(drawing.with_preview(&plain.job), [args.x.clone(), args.y.clone()])?;
    let default = || Output::with_default_name(Path::new("grid-{seed}.png"));
    let output = image_output::open(plain.output.as_deref(), default)?.with_quality(plain.quality);
    image_output::check_preview(&output, &plain.preview)?;
    image_output::check_grid(&output, &grid)?;
    let drawn = drawing.with_screen(|session, cancel, observer| grid.draw(session, cancel, observer))?;
    let written = output.write(&output.path(0, drawn.seed), &drawn.image, &drawn.texts)?;
    print_written(&written, &format!("seed {}", drawn.seed));
    warn(written);
    drawn.check()
}
