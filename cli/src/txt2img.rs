//! `latent txt2img`: words to pictures.

use crate::args::{DrawingArgs, Txt2imgArgs};
use crate::drawing::Verb;
use latent_diffusion::{Conditioning, Error, Latents, Listener, Pipeline, Settings};

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

    fn sample(
        &self,
        pipeline: &mut Pipeline,
        conditioning: &Conditioning,
        settings: &Settings,
        listener: &mut Listener<'_>,
    ) -> Result<Latents, Error> {
        pipeline.sample(conditioning, settings, listener)
    }
}
