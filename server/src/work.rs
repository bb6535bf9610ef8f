//! What a job does, as it is kept in the queue until it has ended.

use latent_app::Job;
use latent_app::grid::GridAxis;
use latent_app::job::InlineImage;
use latent_app::upscale::UpscalePart;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What a job does. Files are paths that were found by their names when the job was accepted; images are in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Work {
    /// Images that a session draws. The seed is chosen.
    Draw {
        /// What is drawn.
        job: Box<Job>,
    },
    /// Images whose settings differ, as one.
    Grid {
        /// What its cells share.
        job: Box<Job>,
        /// What changes from left to right, and from top to bottom.
        axes: [Option<GridAxis>; 2],
    },
    /// An image made larger.
    Upscale {
        /// The image.
        image: InlineImage,
        /// A network's file, or the name of what enlarges without one; the built-in network when `None`.
        model: Option<PathBuf>,
        /// How many times as wide and high it becomes.
        scale: Option<f64>,
    },
    /// A part of an image made larger, which is part of another machine's job.
    UpscalePart {
        /// The pixels that it depends on.
        image: InlineImage,
        /// The network, as of the whole.
        model: Option<PathBuf>,
        /// Which part.
        part: UpscalePart,
    },
    /// An image drawn again by its metadata.
    Replay {
        /// The image.
        image: InlineImage,
        /// Whether other files of the same names are taken.
        force: bool,
    },
}

impl Work {
    /// Images that it makes.
    #[must_use]
    pub fn images(&self) -> usize {
        match self {
            Work::Draw { job } => job.batch.count(),
            _ => 1,
        }
    }

    /// How long it takes, in an arbitrary unit: steps times pixels times images, as far as that is known.
    #[must_use]
    pub fn cost(&self) -> f64 {
        let of_job = |job: &Job| {
            let side = |side: Option<usize>| side.unwrap_or(512) as f64 / 512.0;
            let pixels = side(job.sampling.width) * side(job.sampling.height);
            job.sampling.steps.unwrap_or(20) as f64 * pixels
        };
        match self {
            Work::Draw { job } => of_job(job) * job.batch.count() as f64,
            Work::Grid { job, axes } => {
                let cells: usize = axes.iter().flatten().map(|axis| axis.values.len()).product();
                of_job(job) * cells as f64
            }
            Work::Upscale { .. } | Work::UpscalePart { .. } => 4.0,
            Work::Replay { .. } => 20.0,
        }
    }
}
