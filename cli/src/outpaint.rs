//! `latent outpaint`: an image grown past its edges.

use crate::args::{DrawingArgs, OutpaintArgs};
use crate::drawing::{Fact, Job, Verb};
use crate::image_file;
use crate::inpaint::no_size;
use latent_app::AppError;
use latent_diffusion::families::Model;
use latent_diffusion::{Fill, Image, MAX_SIDE, Margins, Mask, Settings, Task};

impl Verb for OutpaintArgs {
    fn name(&self) -> &'static str {
        "outpaint"
    }

    fn prompt(&self) -> &str {
        self.prompt.as_ref().or(self.prompt_flag.as_ref()).map_or("", String::as_str)
    }

    fn args(&self) -> &DrawingArgs {
        &self.drawing
    }

    fn job(&self, settings: &mut Settings, _: &Model) -> Result<Box<dyn Job>, AppError> {
        no_size(settings, "the image grows by --left, --right, --top and --bottom")?;
        let &OutpaintArgs { left, right, top, bottom, .. } = self;
        let sides = [("left", left), ("right", right), ("top", top), ("bottom", bottom)];
        if let Some((name, side)) = sides.into_iter().find(|(_, side)| *side > MAX_SIDE) {
            return Err(AppError::BadInput(format!("{name}: {side} pixels are more than {MAX_SIDE}")));
        }
        if sides.iter().all(|(_, side)| *side == 0) {
            let line = "left, right, top, bottom: all are 0; tell by how many pixels the image is to grow";
            return Err(AppError::BadInput(line.into()));
        }
        let image = image_file::read(&self.image)?.over(image_file::BACKGROUND);
        let grown = [left + image.width + right, top + image.height + bottom];
        if let Some(side) = grown.into_iter().find(|side| *side > MAX_SIDE) {
            return Err(AppError::BadInput(format!(
                "the image would be {side} pixels; {MAX_SIDE} are the most"
            )));
        }
        let margins = Margins { left, right, top, bottom };
        let (canvas, mask) = image.grown(margins);
        let &OutpaintArgs { strength, mask_blur, .. } = self;
        Ok(Box::new(Growth { canvas, mask, margins, strength, mask_blur }))
    }
}

struct Growth {
    canvas: Image,
    mask: Mask,
    margins: Margins,
    strength: f64,
    mask_blur: f64,
}

impl Job for Growth {
    fn task(&self) -> Task<'_> {
        Task::Inpaint {
            image: &self.canvas,
            mask: &self.mask,
            strength: self.strength,
            fill: Fill::Nearest,
            feather: self.mask_blur,
        }
    }

    fn facts(&self) -> Vec<Fact> {
        let Margins { left, right, top, bottom } = self.margins;
        let side = |label, key, value: usize| Fact { label, key, value: value.into() };
        vec![
            Fact::strength(self.strength),
            Fact::mask_blur(self.mask_blur),
            side("Outpaint left", "left", left),
            side("Outpaint right", "right", right),
            side("Outpaint top", "top", top),
            side("Outpaint bottom", "bottom", bottom),
        ]
    }
}
