//! The tiles of an image that is made larger, which machines compute beside each other, and which become one image here.

use crate::error::ApiError;
use crate::work::Work;
use latent_app::job::InlineImage;
use latent_app::metadata::OutputTexts;
use latent_app::upscale::{Enlarger, UpscalePlan};
use latent_app::{AppError, image_file, output};
use latent_diffusion::Image;
use latent_diffusion::upscaler::Tiling;
use std::path::PathBuf;

/// An image that is made larger, and the parts of the result that came.
#[derive(Debug)]
pub(super) struct EnlargedTiles {
    plan: UpscalePlan,
    files: Vec<Option<Vec<u8>>>,
}

impl EnlargedTiles {
    /// What each machine does, and what their results become; the job itself where it is too small for parts.
    ///
    /// # Errors
    /// An image or a network that cannot be read, or an image that becomes too large.
    pub(super) fn split(
        image: InlineImage,
        model: Option<PathBuf>,
        scale: Option<f64>,
    ) -> Result<(Vec<Work>, Option<EnlargedTiles>), ApiError> {
        let enlarger = Enlarger::open(model.as_deref(), None, Tiling::default().side)?;
        if !enlarger.has_network() {
            return Ok((vec![Work::Upscale { image, model, scale }], None));
        }
        let pixels = image_file::decode_bytes(&image.name, &image.bytes)?.over(image_file::BACKGROUND);
        let plan = UpscalePlan::new(enlarger, pixels, scale)?;
        let parts = plan.parts().map_err(AppError::from)?;
        if parts.is_empty() {
            return Ok((vec![Work::Upscale { image, model, scale }], None));
        }
        let work = |(part, seen)| {
            let image = InlineImage { name: image.name.clone(), bytes: output::png(&seen)?.into() };
            Ok(Work::UpscalePart { image, model: model.clone(), part })
        };
        let works = parts.into_iter().map(work).collect::<Result<Vec<_>, AppError>>()?;
        let files = vec![None; works.len()];
        Ok((works, Some(EnlargedTiles { plan, files })))
    }

    /// Notes the file of a part.
    pub(super) fn set(&mut self, index: usize, file: Vec<u8>) {
        if let Some(own) = self.files.get_mut(index) {
            *own = Some(file);
        }
    }

    /// The enlarged image, and the texts of its file.
    ///
    /// # Errors
    /// A part that is missing, cannot be read or has another size.
    pub(super) fn compose(mut self) -> Result<(Image, OutputTexts), ApiError> {
        const WHAT: &str = "a part of the enlarged image";
        let image = self.plan.joined(|index| {
            let bytes = self.files.get_mut(index).and_then(Option::take);
            let bytes = bytes.ok_or_else(|| ApiError::failed(format!("{WHAT} is missing")))?;
            Ok::<_, ApiError>(image_file::decode_bytes(WHAT, &bytes)?.over(image_file::BACKGROUND))
        })?;
        Ok((image, self.plan.texts()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inline(width: usize, height: usize) -> InlineImage {
        let image = Image { width, height, rgb: vec![70; 3 * width * height] };
        InlineImage { name: "a.png".into(), bytes: output::png(&image).unwrap().into() }
    }

    #[cfg(feature = "demo")]
    #[test]
    fn an_image_of_several_tiles_is_split_and_a_part_that_is_none_is_an_error() {
        let count = |width, height, model: Option<&str>| {
            let (works, tiles) =
                EnlargedTiles::split(inline(width, height), model.map(PathBuf::from), None).unwrap();
            (works.len(), tiles.is_some())
        };
        assert_eq!(count(540, 540, None), (1, false));
        assert_eq!(count(700, 700, Some("lanczos")), (1, false));
        assert_eq!(count(1024, 1024, None), (4, true));
        let composed = |file: Option<Vec<u8>>| {
            let (_, tiles) = EnlargedTiles::split(inline(1024, 1024), None, None).unwrap();
            let mut tiles = tiles.unwrap();
            file.into_iter().for_each(|file| tiles.set(0, file));
            tiles.compose().unwrap_err().message
        };
        assert_eq!(composed(None), "a part of the enlarged image is missing");
        assert!(composed(Some(b"what".to_vec())).starts_with("a part of the enlarged image: "));
        let line = composed(Some(inline(8, 9).bytes.to_vec()));
        assert!(line.contains("part 0 of the enlarged image is of (8, 9) pixels"), "{line}");
        let damaged = InlineImage { name: "a.png".into(), bytes: b"what".as_slice().into() };
        let error = EnlargedTiles::split(damaged, None, None).unwrap_err();
        assert!(error.message.starts_with("a.png: "), "{error}");
    }
}
