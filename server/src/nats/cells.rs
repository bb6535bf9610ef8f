//! The cells of a grid, which machines draw beside each other, and which become one image here.

use crate::error::ApiError;
use latent_app::grid::{DrawnCell, DrawnGrid, JobGrid};
use latent_app::metadata::container;
use latent_app::{AppError, image_file};
use std::io::Cursor;

/// A grid, and those of its cells that came.
#[derive(Debug)]
pub(super) struct GridCells {
    grid: JobGrid,
    /// The file of each cell with its seed, or why there is none.
    cells: Vec<Option<Result<(Vec<u8>, u64), ApiError>>>,
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
    pub(super) fn set(&mut self, index: usize, cell: Result<(Vec<u8>, u64), ApiError>) {
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
