//! Jobs that a session draws.

use super::pool::SessionPool;
use super::report::JobReport;
use crate::error::ApiError;
use latent_app::Job;
use latent_app::grid::{GridAxis, JobGrid};

/// Draws the images of a job, each of which is written as soon as it is there.
pub(super) fn draw(mut job: Job, pool: &mut SessionPool, report: &mut JobReport<'_>) -> Result<(), ApiError> {
    report.prepare(&mut job);
    let mut open = pool.take(&job);
    let (cancel, own) = (report.cancel.clone(), open.bytes);
    let run = open.session.run(&job, &cancel, &mut |event| report.take(event, pool, own));
    pool.give_back(open);
    report.ended(run)
}

/// Draws the cells of a grid and writes them as one image.
pub(super) fn grid(
    mut job: Job,
    axes: [Option<GridAxis>; 2],
    pool: &mut SessionPool,
    report: &mut JobReport<'_>,
) -> Result<(), ApiError> {
    report.prepare(&mut job);
    let mut open = pool.take(&job);
    let (cancel, own) = (report.cancel.clone(), open.bytes);
    let grid = JobGrid::new(job, axes)?;
    report.units = grid.cells();
    let drawn = grid.draw(&mut open.session, &cancel, &mut |event| report.take(event, pool, own));
    pool.give_back(open);
    let drawn = match drawn {
        Ok(drawn) => drawn,
        Err(error) => return report.ended(Err(error)),
    };
    report.write_image((&drawn.image, None), &drawn.texts, &[drawn.seed])
}
