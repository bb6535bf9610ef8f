//! `latent inpaint`: a part of an image drawn anew.

use crate::args::{DrawingArgs, InpaintArgs};
use crate::drawing::{Fact, Job, Verb};
use crate::image_file::{self, InputImage, Resize};
use latent_app::AppError;
use latent_diffusion::families::Model;
use latent_diffusion::names::Named;
use latent_diffusion::{Fill, Image, MAX_SIDE, Mask, Settings, Task};
use std::path::{Path, PathBuf};

impl InpaintArgs {
    /// The mask's file and the prompt, of which each may stand in two places.
    fn mask_and_prompt(&self) -> (Option<PathBuf>, &str) {
        let (mask, prompt) = match (&self.words[..], &self.prompt_flag) {
            ([mask], Some(prompt)) => (Some(mask), prompt.as_str()),
            ([prompt], None) => (None, prompt.as_str()),
            ([mask, prompt], _) => (Some(mask), prompt.as_str()),
            (_, prompt) => (None, prompt.as_deref().unwrap_or("")),
        };
        (self.mask.clone().or(mask.map(PathBuf::from)), prompt)
    }

    /// The mask's file, if it is none of a flag.
    pub(crate) fn mask_by_place(&self) -> Option<PathBuf> {
        if self.mask.is_some() { None } else { self.mask_and_prompt().0 }
    }

    /// Refuses a mask or a prompt that stands in both places.
    fn check_words(&self) -> Result<(), AppError> {
        let twice = |what: &str, flag: &str| {
            Err(AppError::BadInput(format!(
                "{what}: is given twice, by its place and by {flag}; leave one out"
            )))
        };
        match (&self.words[..], &self.prompt_flag, &self.mask) {
            ([_, _], Some(_), _) => twice("prompt", "--prompt"),
            ([_, _], _, Some(_)) | ([_], Some(_), Some(_)) => twice("mask", "--mask"),
            _ => Ok(()),
        }
    }

    /// The image, and what of it is to be drawn.
    fn read(&self) -> Result<(Image, Mask, Fill), AppError> {
        self.check_words()?;
        let given = image_file::read(&self.image)?;
        let (mask, _) = self.mask_and_prompt();
        let (mut mask, usual) = match &mask {
            Some(path) => (mask_of(path, &given)?, Fill::Original),
            None => (
                given.hole().ok_or_else(|| self.bad("has no transparent part, and no mask is given"))?,
                Fill::Nearest,
            ),
        };
        if self.invert {
            mask = mask.inverted();
        }
        if mask.is_empty() {
            let file = self.mask_and_prompt().0.unwrap_or(self.image.clone());
            let what = if self.mask_and_prompt().0.is_some() { "is black" } else { "is opaque" };
            let line = format!("{}: {what} everywhere, so nothing would be drawn; --invert?", file.display());
            return Err(AppError::BadInput(line));
        }
        // Colours under a hole that is a mask's are none to show.
        let image = if usual == Fill::Nearest { given.image } else { given.over(image_file::BACKGROUND) };
        Ok((image, mask, self.fill.unwrap_or(usual)))
    }

    fn bad(&self, what: &str) -> AppError {
        AppError::BadInput(format!("{}: {what}", self.image.display()))
    }
}

/// The mask of a file, which must be of the image's size.
fn mask_of(path: &Path, given: &InputImage) -> Result<Mask, AppError> {
    let mask = image_file::read(path)?.into_mask();
    let (width, height) = (given.image.width, given.image.height);
    if (mask.width, mask.height) == (width, height) {
        return Ok(mask);
    }
    Err(AppError::BadInput(format!(
        "{}: the mask is {}x{} and the image {width}x{height}; make them the same size",
        path.display(),
        mask.width,
        mask.height
    )))
}

/// Refuses a size where the image's own is drawn.
pub(crate) fn no_size(settings: &Settings, instead: &str) -> Result<(), AppError> {
    match settings.width.or(settings.height) {
        Some(side) => {
            Err(AppError::BadInput(format!("width, height: {side} cannot be chosen here; {instead}")))
        }
        None => Ok(()),
    }
}

impl Verb for InpaintArgs {
    fn name(&self) -> &'static str {
        "inpaint"
    }

    fn prompt(&self) -> &str {
        self.mask_and_prompt().1
    }

    fn args(&self) -> &DrawingArgs {
        &self.drawing
    }

    fn job(&self, settings: &mut Settings, model: &Model) -> Result<Box<dyn Job>, AppError> {
        let (image, mask, fill) = self.read()?;
        let &InpaintArgs { strength, mask_blur, padding, .. } = self;
        let mut job = Repair { image, mask, fill, strength, mask_blur, whole: None };
        if padding > MAX_SIDE {
            return Err(AppError::BadInput(format!("padding: {padding} pixels are more than {MAX_SIDE}")));
        }
        if self.only_masked {
            let size =
                (settings.width.unwrap_or(model.resolution.0), settings.height.unwrap_or(model.resolution.1));
            // A size that the model cannot draw is refused before the image is brought to it.
            settings.size(model)?;
            job = job.only_masked(padding, size);
        } else {
            no_size(settings, "the image's own size is drawn, or with --only-masked a part in any size")?;
        }
        Ok(Box::new(job))
    }
}

struct Repair {
    image: Image,
    mask: Mask,
    fill: Fill,
    strength: f64,
    mask_blur: f64,
    /// The image of which the drawn one is a part.
    whole: Option<Whole>,
}

struct Whole {
    /// What is under the drawn part, and the part's edge.
    under: Image,
    mask: Mask,
    left: usize,
    top: usize,
    width: usize,
    height: usize,
    padding: usize,
}

impl Repair {
    /// The surroundings of the mask alone, in a size of their own.
    fn only_masked(self, padding: usize, size: (usize, usize)) -> Repair {
        let Some([left, top, width, height]) = self.mask.bounds() else { return self };
        let shape = size.0 as f64 / size.1.max(1) as f64;
        let all = (self.image.width, self.image.height);
        let (mut wanted_width, mut wanted_height) = (width + 2 * padding, height + 2 * padding);
        // Wider or higher, until it has the shape in which it is drawn.
        wanted_width = wanted_width.max((wanted_height as f64 * shape).round() as usize);
        wanted_height = wanted_height.max((wanted_width as f64 / shape).round() as usize);
        let (left, width) = around(left, width, wanted_width, all.0);
        let (top, height) = around(top, height, wanted_height, all.1);
        let part = self.mask_part(left, top, width, height);
        let under = match self.fill {
            Fill::Original => self.image.clone(),
            _ => self.image.with_nearest(&self.mask).expect("sizes were compared"),
        };
        Repair {
            image: image_file::resized(&self.image.cropped(left, top, width, height), size.0, size.1),
            mask: image_file::mask_to(&part, size.0, size.1),
            whole: Some(Whole { under, mask: self.mask, left, top, width, height, padding }),
            ..self
        }
    }

    fn mask_part(&self, left: usize, top: usize, width: usize, height: usize) -> Mask {
        let rows = self.mask.values.chunks_exact(self.mask.width).skip(top).take(height);
        Mask { width, height, values: rows.flat_map(|row| &row[left..left + width]).copied().collect() }
    }
}

/// A range of `wanted` around another, within `all`: its start and length.
fn around(start: usize, length: usize, wanted: usize, all: usize) -> (usize, usize) {
    let wanted = wanted.clamp(length, all);
    let middle = start + length / 2;
    (middle.saturating_sub(wanted / 2).min(all - wanted), wanted)
}

impl Job for Repair {
    fn task(&self) -> Task<'_> {
        // The edge of a part is softened when it is put back.
        let feather = if self.whole.is_some() { 0.0 } else { self.mask_blur };
        let Repair { image, mask, fill, strength, .. } = self;
        Task::Inpaint { image, mask, strength: *strength, fill: *fill, feather }
    }

    fn finish(&self, images: Vec<Image>) -> Result<Vec<Image>, AppError> {
        let Some(whole) = &self.whole else { return Ok(images) };
        let edge = whole.mask.feathered(self.mask_blur);
        let one = |part: &Image| {
            let part = image_file::resized(part, whole.width, whole.height);
            let mut drawn = whole.under.clone();
            let rows = drawn.rgb.chunks_exact_mut(3 * drawn.width).skip(whole.top);
            for (row, part) in rows.zip(part.rgb.chunks_exact(3 * whole.width)) {
                row[3 * whole.left..][..part.len()].copy_from_slice(part);
            }
            Ok(edge.compose(&drawn, &whole.under)?)
        };
        images.iter().map(one).collect()
    }

    fn part(&self, whole: Image) -> Image {
        let Some(Whole { under, left, top, width, height, .. }) = &self.whole else { return whole };
        let whole = image_file::to_size(&whole, (under.width, under.height), Resize::Crop);
        whole.cropped(*left, *top, *width, *height)
    }

    fn facts(&self) -> Vec<Fact> {
        let mut facts = vec![
            Fact::strength(self.strength),
            Fact::mask_blur(self.mask_blur),
            Fact { label: "Masked content", key: "fill", value: self.fill.name().into() },
        ];
        if let Some(Whole { padding, .. }) = self.whole {
            facts.push(Fact { label: "Inpaint area", key: "only_masked", value: true.into() });
            facts.push(Fact { label: "Masked area padding", key: "padding", value: padding.into() });
        }
        facts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_grows_within_bounds() {
        assert_eq!(around(10, 10, 20, 100), (5, 20));
        assert_eq!(around(0, 10, 20, 100), (0, 20));
        assert_eq!(around(95, 5, 20, 100), (80, 20));
        assert_eq!(around(0, 100, 500, 100), (0, 100));
        assert_eq!(around(3, 4, usize::MAX, 9), (0, 9));
    }
}
