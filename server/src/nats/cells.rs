//! The cells of a grid, which machines draw beside each other, and which become one image here.

use crate::error::ApiError;
use latent_app::grid::{DrawnCell, DrawnGrid, JobGrid};
use latent_app::metadata::container;
use latent_app::{AppError, image_file};
use std::io::Cursor;

/// The file of a cell with its seed, or why there is none.
type CellFile = Result<(Vec<u8>, u64), ApiError>;

/// A grid, and those of its cells that came.
#[derive(Debug)]
pub(super) struct GridCells {
    grid: JobGrid,
    cells: Vec<Option<CellFile>>,
}

impl GridCells {
    pub(super) fn new(grid: JobGrid) -> GridCells {
        let cells = vec![None; grid.cells()];
        GridCells { grid, cells }
    }

    /// What differs in a cell.
    pub(super) fn label(&self, index: usize) -> String {
        self.grid.label(index)
    }

    /// Notes how a cell ended.
    pub(super) fn set(&mut self, index: usize, cell: CellFile) {
        if let Some(own) = self.cells.get_mut(index) {
            *own = Some(cell);
        }
    }

    /// The grid as one image. Cells that were not drawn are empty.
    ///
    /// # Errors
    /// The first error, if no cell was drawn; an image that cannot be read.
    pub(super) fn compose(self) -> Result<DrawnGrid, ApiError> {
        let is_empty = !self.cells.iter().any(|cell| matches!(cell, Some(Ok(_))));
        let mut cells = Vec::with_capacity(self.cells.len());
        for cell in self.cells {
            match cell {
                Some(Ok((bytes, seed))) => cells.push(Ok(read(&bytes, seed)?)),
                Some(Err(error)) if is_empty => return Err(error),
                Some(Err(error)) => cells.push(Err(AppError::RunTime(error.message))),
                None => return Err(ApiError::failed("a cell of the grid is missing")),
            }
        }
        Ok(self.grid.assemble(cells)?)
    }
}

/// A cell from its file, with the texts that a session gave it.
fn read(bytes: &[u8], seed: u64) -> Result<DrawnCell, ApiError> {
    let image = image_file::decode_bytes("a cell of the grid", bytes)?.over(image_file::BACKGROUND);
    let texts = container::read(&mut Cursor::new(bytes));
    let texts = texts.map_err(|line| ApiError::failed(format!("a cell of the grid {line}")))?;
    let text = |keyword| {
        let found = texts.iter().find(|text| text.keyword == keyword);
        found.map(|text| (keyword, text.text.clone()))
    };
    let missing = || ApiError::failed("a cell of the grid does not say how it was made");
    let texts = [text("parameters").ok_or_else(missing)?, text("latent").ok_or_else(missing)?];
    Ok(DrawnCell { image, seed, texts })
}

#[cfg(test)]
mod tests {
    use super::*;
    use latent_app::Job;

    fn grid() -> GridCells {
        let mut job = Job::txt2img("a sun");
        job.sampling.seed = Some(7);
        GridCells::new(JobGrid::new(job, [Some("steps=1,2".parse().unwrap()), None]).unwrap())
    }

    /// An image of 8x8 pixels with the texts of these keywords.
    fn file(keywords: &[&str]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, 8, 8);
        encoder.set_color(png::ColorType::Rgb);
        for keyword in keywords {
            encoder.add_text_chunk((*keyword).to_owned(), "{}".to_owned()).unwrap();
        }
        let mut writer = encoder.write_header().unwrap();
        writer.write_image_data(&[9; 8 * 8 * 3]).unwrap();
        writer.finish().unwrap();
        bytes
    }

    #[test]
    fn a_cell_that_was_not_drawn_is_empty_and_a_grid_without_a_cell_is_its_first_error() {
        let mut cells = grid();
        assert_eq!(cells.label(1), "steps 2");
        cells.set(0, Err(ApiError::failed("no memory")));
        cells.set(1, Ok((file(&["parameters", "latent"]), 7)));
        let drawn = cells.compose().unwrap();
        assert_eq!((drawn.failed.len(), drawn.cells, drawn.seed), (1, 2, 7));
        assert!(drawn.texts[1].1.contains("\"grid\""), "{:?}", drawn.texts);
        let mut cells = grid();
        cells.set(0, Err(ApiError::failed("no memory")));
        cells.set(1, Err(ApiError::failed("no model")));
        assert_eq!(cells.compose().unwrap_err().message, "no memory");
    }

    #[test]
    fn a_cell_that_is_missing_or_says_nothing_of_itself_is_an_error() {
        assert!(grid().compose().unwrap_err().message.contains("is missing"));
        for (bytes, line) in
            [(file(&["parameters"]), "does not say how it was made"), (b"what".to_vec(), "cell of the grid")]
        {
            let mut cells = grid();
            cells.set(0, Ok((bytes.clone(), 7)));
            cells.set(1, Ok((bytes, 7)));
            let error = cells.compose().unwrap_err().message;
            assert!(error.contains(line), "{error}");
        }
    }
}
