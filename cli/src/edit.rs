//! `latent edit`: an image changed by an instruction.

use crate::args::{DrawingArgs, EditArgs};
use crate::drawing::{Fact, Job, Verb};
use crate::image_file;
use latent_app::AppError;
use latent_diffusion::families::Model;
use latent_diffusion::{Image, Settings, Task};

impl Verb for EditArgs {
    fn name(&self) -> &'static str {
        "edit"
    }

    fn prompt(&self) -> &str {
        self.prompt.as_ref().or(self.prompt_flag.as_ref()).map_or("", String::as_str)
    }

    fn args(&self) -> &DrawingArgs {
        &self.drawing
    }

    fn job(&self, settings: &mut Settings, model: &Model) -> Result<Box<dyn Job>, AppError> {
        let image = image_file::read_sized(&self.image, self.size.resize, settings, model)?;
        Ok(Box::new(Change { image, guidance: self.img_cfg_scale }))
    }
}

struct Change {
    image: Image,
    guidance: f64,
}

impl Job for Change {
    fn task(&self) -> Task<'_> {
        Task::Edit { image: &self.image, guidance: self.guidance }
    }

    fn facts(&self) -> Vec<Fact> {
        vec![Fact { label: "Image CFG scale", key: "img_cfg_scale", value: self.guidance.into() }]
    }
}
