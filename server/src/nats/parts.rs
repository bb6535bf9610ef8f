//! The parts of a job that machines draw beside each other: an image each, a cell of a grid, or some tiles of an image that is
//! made larger.

use super::cells::GridCells;
use super::tiles::EnlargedTiles;
use super::whole::WholeImage;
use crate::error::ApiError;
use crate::work::Work;
use latent_app::Job;
use latent_app::grid::{GridAxis, JobGrid};

/// The parts of a job.
#[derive(Debug)]
pub(super) struct Parts {
    /// What each part does, in the order of the images.
    pub(super) works: Vec<Work>,
    /// The image that all of them become; each is one by itself if there is none.
    pub(super) whole: Option<WholeImage>,
}

impl Parts {
    /// The parts of a job. Each image has a seed of its own, so that it is the same alone.
    ///
    /// # Errors
    /// A grid with a value that cannot be read; an image or a network that cannot be.
    pub(super) fn of(work: Work) -> Result<Parts, ApiError> {
        match work {
            Work::Draw { job } => Ok(Parts { works: split(job), whole: None }),
            Work::Grid { job, axes } if has_one_seed(&job, &axes) => {
                let grid = JobGrid::new(*job, axes)?;
                let cells = (0..grid.cells()).map(|cell| Ok(Work::Draw { job: Box::new(grid.job(cell)?) }));
                let works = cells.collect::<Result<_, ApiError>>()?;
                Ok(Parts { works, whole: Some(WholeImage::Grid(Box::new(GridCells::new(grid)))) })
            }
            Work::Upscale { image, model, scale } => {
                let (works, tiles) = EnlargedTiles::split(image, model, scale)?;
                Ok(Parts { works, whole: tiles.map(|tiles| WholeImage::Enlarged(Box::new(tiles))) })
            }
            work => Ok(Parts { works: vec![work], whole: None }),
        }
    }
}

/// Whether no seed of a grid is still to be chosen: another would be after the next start of the front.
fn has_one_seed(job: &Job, axes: &[Option<GridAxis>; 2]) -> bool {
    let has = |option: &str| axes.iter().flatten().any(|axis| axis.option == option);
    let is_varied = job.sampling.variation_strength.is_some() || has("variation-strength");
    let has_variation = job.sampling.variation_seed.is_some() || has("variation-seed");
    (job.sampling.seed.is_some() || has("seed")) && (!is_varied || has_variation)
}

/// The images of a job.
fn split(job: Box<Job>) -> Vec<Work> {
    // The seed was chosen when the job was accepted; without one the parts would not belong together.
    if job.batch.count() < 2 || job.sampling.seed.is_none() {
        return vec![Work::Draw { job }];
    }
    let (seeds, variations) = (job.seeds(), job.variation_seeds());
    let part = |(index, seed): (usize, &u64)| {
        let mut job = job.clone();
        job.sampling.seed = Some(*seed);
        if let Some(variation) = variations.get(index) {
            job.sampling.variation_seed = Some(*variation);
        }
        job.batch = Default::default();
        Work::Draw { job }
    };
    seeds.iter().enumerate().map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_has_the_seed_of_its_image() {
        let mut job = Job::txt2img("a sun");
        job.sampling.seed = Some(u64::MAX);
        job.set("batch-count", &["3"]).unwrap();
        job.set("batch-size", &["2"]).unwrap();
        let seeds = |job: &Job| -> Vec<(Vec<u64>, Vec<u64>)> {
            let parts = Parts::of(Work::Draw { job: Box::new(job.clone()) }).unwrap();
            let of = |part: &Work| match part {
                Work::Draw { job } => (job.seeds(), job.variation_seeds()),
                _ => panic!(),
            };
            parts.works.iter().map(of).collect()
        };
        assert_eq!(seeds(&job), [(vec![u64::MAX], vec![]), (vec![0], vec![]), (vec![1], vec![])]);
        job.sampling.variation_seed = Some(4);
        job.sampling.variation_strength = Some(0.5);
        let varied = [4, 5, 6].map(|variation| (vec![u64::MAX], vec![variation]));
        assert_eq!(seeds(&job), varied);
        job.sampling.seed = None;
        assert_eq!(seeds(&job).len(), 1);
    }

    #[test]
    fn each_part_of_a_grid_is_a_cell_unless_a_seed_is_still_to_be_chosen() {
        let count = |job: &Job, x: &str| {
            let axes = [Some(x.parse().unwrap()), None];
            let parts = Parts::of(Work::Grid { job: Box::new(job.clone()), axes }).unwrap();
            (parts.works.len(), parts.whole.is_some())
        };
        let mut job = Job::txt2img("a sun");
        assert_eq!(count(&job, "steps=1,2,3"), (1, false));
        assert_eq!(count(&job, "seed=1,2,3"), (3, true));
        job.sampling.seed = Some(7);
        assert_eq!(count(&job, "steps=1,2,3"), (3, true));
        assert_eq!(count(&job, "variation-strength=0,0.5"), (1, false));
        job.sampling.variation_seed = Some(8);
        assert_eq!(count(&job, "variation-strength=0,0.5"), (2, true));
    }
}
