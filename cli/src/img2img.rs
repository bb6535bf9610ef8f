//! `latent img2img`: an image redrawn.

use crate::args::{DrawingArgs, Img2imgArgs};
use crate::drawing::{Fact, Job, Verb};
use crate::image_file;
use latent_app::AppError;
use latent_diffusion::families::Model;
use latent_diffusion::{Image, Settings, Task};

impl Verb for Img2imgArgs {
    fn name(&self) -> &'static str {
        "img2img"
    }

    fn prompt(&self) -> &str {
        self.prompt.as_ref().or(self.prompt_flag.as_ref()).map_or("", String::as_str)
    }

    fn args(&self) -> &DrawingArgs {
        &self.drawing
    }

    fn job(&self, settings: &mut Settings, model: &Model) -> Result<Box<dyn Job>, AppError> {
        let image = image_file::read_sized(&self.image, self.size.resize, settings, model)?;
        Ok(Box::new(Redrawing { image, strength: self.strength }))
    }
}

struct Redrawing {
    image: Image,
    strength: f64,
}

impl Job for Redrawing {
    fn task(&self) -> Task<'_> {
        Task::ImageToImage { image: &self.image, strength: self.strength }
    }

    fn facts(&self) -> Vec<Fact> {
        vec![Fact::strength(self.strength)]
    }
}
