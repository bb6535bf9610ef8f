//! Some rows of an image, for ops that run on one band of rows at a time.

use crate::error::{ShapeRequirement, TensorOp};
use crate::{Tensor, TensorError};
use std::ops::Range;

const OP: TensorOp = TensorOp::Window;

/// Neighbouring rows of one image `[height, width, channels]`. Rows are appended at the bottom and dropped at the top,
/// so a window that moves down an image takes only the memory of its own rows.
///
/// ```
/// use latent_tensor::Window;
///
/// let mut window = Window::new([10, 1, 1], 4)?;
/// window.append(&[0.0, 1.0, 2.0, 3.0])?;
/// window.forget_above(2);
/// window.append(&[4.0, 5.0])?;
/// assert_eq!((window.rows(), window.values(3..5)?), (2..6, &[3.0, 4.0][..]));
/// # Ok::<(), latent_tensor::TensorError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Window {
    height: usize,
    rows: Range<usize>,
    /// `[1, max_rows, width, channels]`; its first row is the first of `rows`.
    tensor: Tensor,
}

impl Window {
    /// An empty window of at most `max_rows` rows: the first to be appended is row 0.
    ///
    /// # Errors
    /// No memory for it.
    pub fn new([height, width, channels]: [usize; 3], max_rows: usize) -> Result<Window, TensorError> {
        let tensor = Tensor::scratch(&[1, max_rows.min(height), width, channels])?;
        Ok(Window { height, rows: 0..0, tensor })
    }

    /// All rows of an image `[1, height, width, channels]`.
    ///
    /// # Errors
    /// A tensor of another shape.
    pub fn whole(tensor: Tensor) -> Result<Window, TensorError> {
        match tensor.rank(OP)? {
            [1, height, _, _] => Ok(Window { height, rows: 0..height, tensor }),
            _ => Err(TensorError::shape(OP, "one image", tensor.shape())),
        }
    }

    /// The image.
    ///
    /// # Errors
    /// Rows are missing.
    pub fn into_tensor(self) -> Result<Tensor, TensorError> {
        let Window { height, rows, tensor } = self;
        if rows == (0..height) {
            return Ok(tensor);
        }
        Err(TensorError::shape(OP, format_args!("all {height} rows"), rows))
    }

    /// `[height, width, channels]` of the whole image.
    #[must_use]
    pub fn dims(&self) -> [usize; 3] {
        let dims = self.tensor.dims();
        [self.height, dims[2], dims[3]]
    }

    /// The rows in the window.
    #[must_use]
    pub fn rows(&self) -> Range<usize> {
        self.rows.clone()
    }

    /// Drops all rows: the next to be appended is row 0.
    pub fn clear(&mut self) {
        self.rows = 0..0;
    }

    /// Drops the rows above `row`, at most all.
    ///
    /// # Panics
    /// Never: the tensor of a window that moves is not shared.
    pub fn forget_above(&mut self, row: usize) {
        let row = row.clamp(self.rows.start, self.rows.end);
        let (from, to) = (self.offset(row), self.offset(self.rows.end));
        if from > 0 {
            let values = self.tensor.f32s_mut().expect("an f32 tensor of its own");
            values.copy_within(from..to, 0);
            self.rows.start = row;
        }
    }

    /// Appends rows.
    ///
    /// # Errors
    /// Not whole rows, or more than there is room for or than the image has.
    pub fn append(&mut self, values: &[f32]) -> Result<(), TensorError> {
        let line = self.line();
        if !values.len().is_multiple_of(line) {
            return Err(TensorError::shape(OP, format_args!("rows of {line} values"), values.len()));
        }
        self.extend(values.len() / line)?.copy_from_slice(values);
        Ok(())
    }

    /// The values of rows in the window.
    ///
    /// # Errors
    /// Rows that are not in the window.
    pub fn values(&self, rows: Range<usize>) -> Result<&[f32], TensorError> {
        let range = self.range(rows)?;
        Ok(&self.tensor.f32s()?[range])
    }

    /// The values of rows in the window, to write.
    pub(crate) fn values_mut(&mut self, rows: Range<usize>) -> Result<&mut [f32], TensorError> {
        let range = self.range(rows)?;
        Ok(&mut self.tensor.f32s_mut()?[range])
    }

    /// Appends rows whose contents are unspecified, for an op to write.
    pub(crate) fn extend(&mut self, count: usize) -> Result<&mut [f32], TensorError> {
        let rows = self.rows.end..self.rows.end + count;
        let room = self.tensor.dims()[1];
        if rows.end > self.height || rows.end - self.rows.start > room {
            let expected = format_args!("at most {room} of {} rows", self.height);
            return Err(TensorError::shape(OP, expected, self.rows.start..rows.end));
        }
        self.rows.end = rows.end;
        self.values_mut(rows)
    }

    /// Number of values in a row.
    fn line(&self) -> usize {
        let [_, width, channels] = self.dims();
        (width * channels).max(1)
    }

    /// Where a row begins. It must not be above the first.
    fn offset(&self, row: usize) -> usize {
        (row - self.rows.start) * self.line()
    }

    fn range(&self, rows: Range<usize>) -> Result<Range<usize>, TensorError> {
        if rows.start > rows.end || rows.start < self.rows.start || rows.end > self.rows.end {
            let expected = ShapeRequirement::RowsWithin(self.rows.clone());
            return Err(TensorError::shape(OP, expected, rows));
        }
        Ok(self.offset(rows.start)..self.offset(rows.end))
    }
}
