//! What the page hears.

use super::host;
use latent_diffusion::Image;
use serde::Serialize;

/// An event for the page, as JSON: an object whose `kind` is the variant's name.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(crate) enum PageEvent<'a> {
    /// A model was opened.
    Opened {
        /// "Stable Diffusion 1.x" and the like.
        family: &'a str,
        /// What it was made for, in pixels.
        width: usize,
        height: usize,
        /// Width and height are multiples of it.
        multiple: usize,
        steps: usize,
        guidance: f64,
        /// The adapter's name, or `None` where the CPU draws.
        adapter: Option<&'a str>,
        /// What it computes in.
        dtype: String,
    },
    /// Weights are read.
    Loading { read: u64, total: u64 },
    /// A step of the sampler ended, or the first begins.
    Step { step: usize, total: usize },
    /// Something within a step.
    Block { block: usize, total: usize },
    /// A coarse image of what there is so far. Its pixels come along.
    Preview { width: usize, height: usize },
    /// The image. Its pixels come along.
    Drawn { seed: u64, width: usize, height: usize },
    /// The command was carried out.
    Done,
    /// It was not, and why.
    Failed { message: &'a str },
}

impl PageEvent<'_> {
    pub(crate) fn send(&self) {
        self.send_with(&[]);
    }

    /// An event with an image.
    pub(crate) fn send_image(&self, image: &Image) {
        self.send_with(&image.rgb);
    }

    fn send_with(&self, rgb: &[u8]) {
        match serde_json::to_string(self) {
            Ok(json) => host::post(&json, rgb),
            Err(error) => host::log(&error.to_string()),
        }
    }
}
