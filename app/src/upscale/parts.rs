//! An enlargement in parts, which several machines compute beside each other.
//!
//! Tiles do not blend: each yields pixels of its own, and sees those around them. So a part is a rectangle of tiles of the
//! network's last run, and has the bytes of the whole. Where the network runs more than once, a part computes what it sees of the
//! runs before: that is a fraction of its own work, as the images are smaller there by the network's factor.

use super::Enlarger;
use crate::AppError;
use latent_diffusion::tensor::Device;
use latent_diffusion::upscaler::{PixelRect, UpscaledPart, UpscalerFile};
use latent_diffusion::{Error, Image, Listener, Setting};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Bytes of weights times pixels of the network's input that are worth a message: half a second of two cores.
const MIN_WORK: u64 = 200_000_000_000;

/// A part of an enlarged image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpscalePart {
    /// Width and height of the whole image.
    pub from: (usize, usize),
    /// Those that it is to have, which say how often the network runs.
    pub to: (usize, usize),
    /// Rows of what the network's last run makes of it.
    pub rows: Range<usize>,
    /// Columns of the same.
    pub columns: Range<usize>,
}

impl Enlarger {
    /// The parts of an enlargement, row by row; none for one that is a single part.
    pub(super) fn parts(&self, from: (usize, usize), to: (usize, usize)) -> Result<Vec<UpscalePart>, Error> {
        self.parts_of(from, to, MIN_WORK)
    }

    /// The same with at least so much work in a part, but in the last of a row.
    fn parts_of(
        &self,
        from: (usize, usize),
        to: (usize, usize),
        min_work: u64,
    ) -> Result<Vec<UpscalePart>, Error> {
        let runs = self.runs(from, to);
        let (Some((file, _)), Some(last)) = (&self.network, runs.last()) else { return Ok(Vec::new()) };
        let (tiles, scale) = (file.config().yields(*last, self.tiling)?, file.config().scale());
        let work = |tile: &PixelRect| {
            file.weights().total_bytes() * (tile.rows.len() * tile.columns.len() / (scale * scale)) as u64
        };
        let mut parts: Vec<UpscalePart> = Vec::new();
        let mut rest = 0;
        for tile in tiles {
            match parts.last_mut() {
                Some(part) if rest > 0 && part.rows == tile.rows => part.columns.end = tile.columns.end,
                _ => {
                    rest = min_work;
                    parts.push(UpscalePart {
                        from,
                        to,
                        rows: tile.rows.clone(),
                        columns: tile.columns.clone(),
                    });
                }
            }
            rest = rest.saturating_sub(work(&tile));
        }
        Ok(if parts.len() > 1 { parts } else { Vec::new() })
    }

    /// The pixels of the image that a part depends on.
    ///
    /// # Errors
    /// A part that is none.
    pub(super) fn seen(&self, part: &UpscalePart) -> Result<PixelRect, Error> {
        let (file, runs) = self.runs_of(part)?;
        file.config().seen(&runs[0], self.tiling)
    }

    /// Computes a part from the pixels that it depends on.
    ///
    /// # Errors
    /// As [`Enlarger::enlarge`]; a part that is none of what this enlarges, pixels of another size than it depends on.
    pub fn enlarge_part(
        &self,
        seen: &Image,
        part: &UpscalePart,
        device: &Device,
        listener: &mut Listener<'_>,
    ) -> Result<Image, Error> {
        let (file, runs) = self.runs_of(part)?;
        let mut image = file.upscale_part(seen, &runs[0], device, self.tiling, listener)?;
        for run in &runs[1..] {
            image = file.upscale_part(&image, run, device, self.tiling, listener)?;
        }
        Ok(image)
    }

    /// The network, and what each of its runs must yield for a part; at least one.
    fn runs_of(&self, part: &UpscalePart) -> Result<(&UpscalerFile, Vec<UpscaledPart>), Error> {
        let Some((file, _)) = &self.network else {
            let reason = "a part of it is to be enlarged by a network, and there is none".to_owned();
            return Err(Error::Setting { setting: Setting::Image, problem: reason.into() });
        };
        let mut wanted = PixelRect { rows: part.rows.clone(), columns: part.columns.clone() };
        let mut runs = Vec::new();
        for size in self.runs(part.from, part.to).into_iter().rev() {
            let run = UpscaledPart { size, wanted };
            wanted = file.config().seen(&run, self.tiling)?;
            runs.insert(0, run);
        }
        Ok((file, runs))
    }
}

/// What the network makes of an image, from all parts of it. `part` gives the pixels of one after the other.
pub(super) fn join<E: From<AppError>>(
    parts: &[UpscalePart],
    mut part: impl FnMut(usize) -> Result<Image, E>,
) -> Result<Image, E> {
    let (width, height) = parts.last().map_or((0, 0), |last| (last.columns.end, last.rows.end));
    let mut large = Image { width, height, rgb: vec![0; 3 * width * height] };
    for (index, UpscalePart { rows, columns, .. }) in parts.iter().enumerate() {
        let image = part(index)?;
        let (given, wanted) = ((image.width, image.height), (columns.len(), rows.len()));
        if given != wanted {
            let line = format!("part {index} of the enlarged image is of {given:?} pixels, not {wanted:?}");
            return Err(AppError::RunTime(line).into());
        }
        for (row, pixels) in rows.clone().zip(image.rgb.chunks_exact(3 * columns.len())) {
            large.rgb[3 * (row * width + columns.start)..][..pixels.len()].copy_from_slice(pixels);
        }
    }
    Ok(large)
}

#[cfg(all(test, feature = "demo"))]
mod tests {
    use super::*;
    use std::ops::ControlFlow;
    use std::path::Path;

    const TILE: usize = 16;

    fn image(width: usize, height: usize) -> Image {
        let rgb = (0..3 * width * height).map(|i| (i * i / 7 % 251) as u8).collect();
        Image { width, height, rgb }
    }

    /// Sizes that tiles do not divide, one row of tiles, and what takes two runs of the network.
    #[test]
    fn the_parts_of_an_image_are_the_image_byte_for_byte() {
        let enlarger = Enlarger::open(None, None, TILE).unwrap();
        let mut go_on = |_: latent_diffusion::Event<'_>| ControlFlow::Continue(());
        for ((width, height), scale, min_work, count) in [
            ((71, 53), 4, 1, 20),
            ((71, 53), 4, u64::MAX, 4),
            ((100, 9), 3, 500_000_000, 2),
            ((19, 13), 7, 1, 5),
        ] {
            let (image, to) = (image(width, height), (scale * width, scale * height));
            let parts = enlarger.parts_of((width, height), to, min_work).unwrap();
            assert_eq!(parts.len(), count, "{width}x{height}");
            let mut compute = |index: usize| {
                let part = &parts[index];
                let seen = enlarger.seen(part).unwrap().cut(&image);
                assert!(seen.width * seen.height < width * height || scale == 7, "{part:?}");
                Ok::<_, AppError>(enlarger.enlarge_part(&seen, part, &Device::Cpu, &mut go_on).unwrap())
            };
            let joined = join(&parts, &mut compute).unwrap();
            let joined = crate::image_file::resized(&joined, to.0, to.1);
            let mut go_on = |_: latent_diffusion::Event<'_>| ControlFlow::Continue(());
            let whole = enlarger.enlarge(&image, to, &Device::Cpu, &mut go_on).unwrap();
            assert!(joined == whole, "{width}x{height}");
        }
    }

    #[test]
    fn a_part_is_worth_a_message_and_what_is_none_is_refused() {
        let enlarger = Enlarger::open(None, None, 512).unwrap();
        let count = |size: (usize, usize)| enlarger.parts(size, (4 * size.0, 4 * size.1)).unwrap().len();
        // One tile; two small ones of a row; rows of small ones; large ones.
        assert_eq!([(540, 540), (700, 300), (700, 700), (2048, 1024)].map(count), [0, 0, 2, 8]);
        let mut part = UpscalePart { from: (9, 9), to: (36, 36), rows: 0..36, columns: 0..37 };
        let mut go_on = |_: latent_diffusion::Event<'_>| ControlFlow::Continue(());
        let mut compute = |enlarger: &Enlarger, part: &UpscalePart, seen: &Image| {
            enlarger.enlarge_part(seen, part, &Device::Cpu, &mut go_on).map_err(|error| error.to_string())
        };
        assert!(compute(&enlarger, &part, &image(9, 9)).unwrap_err().contains("is not a part of"));
        part.columns = 0..36;
        assert!(compute(&enlarger, &part, &image(9, 8)).unwrap_err().contains("9x8 pixels"));
        let filter = Enlarger::open(Some(Path::new("lanczos")), None, 512).unwrap();
        assert_eq!(filter.parts((9000, 9000), (9000, 9000)).unwrap(), []);
        assert!(compute(&filter, &part, &image(9, 9)).unwrap_err().contains("there is none"));
        let wrong = join(&[part], |_| Ok::<_, AppError>(image(36, 35))).unwrap_err().to_string();
        assert!(wrong.contains("part 0 of the enlarged image is of (36, 35) pixels"), "{wrong}");
    }
}
