//! `latent txt2img`: words to images.

use crate::args::{DrawingArgs, HiresArgs, Txt2imgArgs};
use crate::drawing::{Job, Verb};
use latent_app::AppError;
use latent_diffusion::families::Model;
use latent_diffusion::{Settings, Task};

impl Verb for Txt2imgArgs {
    fn name(&self) -> &'static str {
        "txt2img"
    }

    fn prompt(&self) -> &str {
        self.prompt.as_ref().or(self.prompt_flag.as_ref()).map_or("", String::as_str)
    }

    fn args(&self) -> &DrawingArgs {
        &self.drawing
    }

    fn hires(&self) -> Option<&HiresArgs> {
        Some(&self.hires)
    }

    fn job(&self, _: &mut Settings, _: &Model) -> Result<Box<dyn Job>, AppError> {
        Ok(Box::new(Words))
    }
}

/// Words alone.
struct Words;

impl Job for Words {
    fn task(&self) -> Task<'_> {
        Task::TextToImage
    }
}
