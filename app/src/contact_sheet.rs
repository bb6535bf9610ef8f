//! Several images in one: a contact sheet, or a grid with labels.

use crate::AppError;
use crate::metadata::OutputTexts;
use latent_diffusion::Image;
use noto_sans_mono_bitmap::{FontWeight, RasterHeight, get_raster, get_raster_width};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Maximum number of images of a contact sheet, which are all in memory at its end.
const MAX_IMAGES: usize = 256;
/// Pixels between images, and around labels.
const GAP: usize = 4;
/// Maximum number of characters of a label that are shown.
const MAX_LABEL: usize = 32;
/// Images of at least this side in pixels are labelled in large letters.
const MIN_LARGE: usize = 384;

/// Images in rows, with a label above each column and before each row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageGrid {
    /// The images row by row; a cell may be empty.
    pub cells: Vec<Option<Image>>,
    /// Number of columns, at least 1.
    pub columns: usize,
    /// A label for each column, or none at all.
    pub above: Vec<String>,
    /// A label for each row, or none at all.
    pub before: Vec<String>,
}

impl ImageGrid {
    /// The grid as one image: black letters on white, cells as large as the largest image.
    ///
    /// # Panics
    /// If there are no columns.
    #[must_use]
    pub fn image(&self) -> Image {
        let rows = self.cells.len().div_ceil(self.columns);
        let sides = |side: fn(&Image) -> usize| self.cells.iter().flatten().map(side).max().unwrap_or(0);
        let [width, height] = [sides(|image| image.width), sides(|image| image.height)];
        let font = if width.min(height) >= MIN_LARGE { RasterHeight::Size32 } else { RasterHeight::Size16 };
        let longest = |labels: &[String]| {
            labels
                .iter()
                .map(|label| shown(label).count() * get_raster_width(FontWeight::Regular, font))
                .max()
        };
        let column = width.max(longest(&self.above).unwrap_or(0));
        let row = height.max(if self.before.is_empty() { 0 } else { font.val() });
        let left = longest(&self.before).map_or(0, |width| width + GAP);
        let top = if self.above.is_empty() { 0 } else { font.val() + GAP };
        let mut canvas =
            Canvas::white(GAP + left + self.columns * (column + GAP), GAP + top + rows * (row + GAP));
        let x = |c: usize| GAP + left + c * (column + GAP);
        let y = |r: usize| GAP + top + r * (row + GAP);
        for (c, label) in self.above.iter().enumerate() {
            let indent = (column - longest(std::slice::from_ref(label)).unwrap_or(0)) / 2;
            canvas.write(label, x(c) + indent, GAP, font);
        }
        for (r, label) in self.before.iter().enumerate() {
            canvas.write(label, GAP, y(r) + (row - font.val()) / 2, font);
        }
        for (i, cell) in self.cells.iter().enumerate() {
            if let Some(image) = cell {
                let (c, r) = (i % self.columns, i / self.columns);
                let [indent, lower] = [(column - image.width) / 2, (row - image.height) / 2];
                canvas.put(image, x(c) + indent, y(r) + lower);
            }
        }
        canvas.0
    }
}

/// The images of a run, which become one contact sheet.
#[derive(Clone, Debug, Default)]
pub struct ContactSheet {
    images: Vec<Option<Image>>,
    /// The first image's file, and its texts.
    first: Option<(PathBuf, OutputTexts)>,
}

impl ContactSheet {
    /// A contact sheet of so many images.
    ///
    /// # Errors
    /// Bad input, if there are more than 256.
    pub fn new(count: usize) -> Result<ContactSheet, AppError> {
        match count {
            ..=MAX_IMAGES => Ok(ContactSheet::default()),
            _ => Err(AppError::BadInput(format!(
                "grid: {count} images are too many for one; the maximum is {MAX_IMAGES}"
            ))),
        }
    }

    /// Adds an image, the texts of its file and the file's path.
    pub fn add(&mut self, image: Image, texts: OutputTexts, path: &Path) {
        self.images.push(Some(image));
        self.first.get_or_insert_with(|| (path.to_owned(), texts));
    }

    /// The sheet's file, the sheet, and its texts, which are those of the first image and the number of images; `None`
    /// without images.
    #[must_use]
    pub fn finish(self) -> Option<(PathBuf, Image, OutputTexts)> {
        let (first, [parameters, (own, json)]) = self.first?;
        // The text was written by this program.
        let mut json: Value = serde_json::from_str(&json).unwrap_or_default();
        json["sheet"] = self.images.len().into();
        let texts = [parameters, (own, json.to_string())];
        let columns = (1..).find(|side| side * side >= self.images.len())?;
        let sheet = ImageGrid { cells: self.images, columns, ..ImageGrid::default() };
        Some((ContactSheet::path(&first), sheet.image(), texts))
    }

    /// The path of a contact sheet whose first image has this one.
    #[must_use]
    pub fn path(first: &Path) -> PathBuf {
        let mut name = first.file_stem().unwrap_or_default().to_owned();
        name.push("-grid");
        if let Some(ending) = first.extension() {
            name.push(".");
            name.push(ending);
        }
        first.with_file_name(name)
    }
}

/// The characters of a label that are shown.
fn shown(label: &str) -> impl Iterator<Item = char> {
    let cut = label.chars().count() > MAX_LABEL;
    let kept = if cut { MAX_LABEL - 2 } else { MAX_LABEL };
    label.chars().take(kept).chain(cut.then_some("..").into_iter().flat_map(str::chars))
}

/// An image that is being composed.
struct Canvas(Image);

impl Canvas {
    fn white(width: usize, height: usize) -> Canvas {
        Canvas(Image { width, height, rgb: vec![255; width * height * 3] })
    }

    fn put(&mut self, image: &Image, left: usize, top: usize) {
        for (y, row) in image.rgb.chunks_exact(image.width * 3).enumerate() {
            let at = ((top + y) * self.0.width + left) * 3;
            self.0.rgb[at..at + row.len()].copy_from_slice(row);
        }
    }

    fn write(&mut self, label: &str, left: usize, top: usize, font: RasterHeight) {
        let raster = |letter| get_raster(letter, FontWeight::Regular, font);
        let mut x = left;
        for letter in shown(label).filter_map(|letter| raster(letter).or_else(|| raster('?'))) {
            for (dy, row) in letter.rows().enumerate() {
                for (dx, ink) in row.iter().enumerate() {
                    let at = ((top + dy) * self.0.width + x + dx) * 3;
                    self.0.rgb[at..at + 3].fill(255 - ink);
                }
            }
            x += letter.width();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grey(width: usize, height: usize, value: u8) -> Image {
        Image { width, height, rgb: vec![value; width * height * 3] }
    }

    #[test]
    fn images_are_in_rows() {
        let cells = vec![Some(grey(2, 1, 10)), None, Some(grey(2, 1, 30))];
        let sheet = ImageGrid { cells, columns: 2, ..ImageGrid::default() }.image();
        let (width, height) = (GAP + 2 * (2 + GAP), GAP + 2 * (1 + GAP));
        assert_eq!((sheet.width, sheet.height), (width, height));
        let at = |x: usize, y: usize| sheet.rgb[(y * width + x) * 3];
        assert_eq!((at(GAP, GAP), at(GAP + 1, GAP), at(GAP + 2, GAP)), (10, 10, 255));
        assert_eq!(at(GAP, 2 * GAP + 1), 30);
        assert_eq!(sheet.rgb.iter().filter(|value| **value < 255).count(), 2 * 2 * 3);
    }

    #[test]
    fn labels_have_room_beside_small_images() {
        let label = |text: &str| vec![text.to_owned()];
        let labelled = |above: &str, before: &str| {
            let (above, before) = (label(above), label(before));
            ImageGrid { cells: vec![Some(grey(8, 8, 255))], columns: 1, above, before }.image()
        };
        let (short, long) = (labelled("a", "b"), labelled("steps 10", "b"));
        assert!(long.width > short.width && long.height == short.height);
        let inked = |image: &Image| image.rgb.iter().any(|value| *value < 128);
        assert!(inked(&short) && !inked(&labelled(" ", " ")));
        // Characters that the font lacks, and very long labels.
        assert!(inked(&labelled("畫", " ")));
        assert_eq!(labelled(&"x".repeat(1000), "").width, labelled(&"x".repeat(MAX_LABEL), "").width);
    }
}
