//! The residual block in bands of rows, so that its hidden tensor is never whole in memory.
//!
//! A group norm needs the whole image before its first value is known, so the hidden tensor is computed twice: for the norm
//! of the second convolution, then for that convolution. A convolution of a band reads one row above and one below it.
//! Hidden rows are computed a little ahead of the result, and the last ones are kept, so that none is computed more than
//! once in each pass; as the result is behind them, it can be written over the input.

use super::ResnetBlock;
use crate::Error;
use crate::blocks::BlockCount;
use latent_tensor::{BAND_UNIT, Linear, PrecomputedNorm, Prologue, Tensor, Window, ops};
use std::ops::Range;

/// Where a residual block reads its input and writes its result, band by band.
pub(crate) trait BandStream {
    /// `[height, width, channels]` of the input.
    fn dims(&self) -> [usize; 3];

    /// At least these rows of the input. Rows above them are not asked for again before a new pass starts at the first row.
    fn input(&mut self, rows: Range<usize>) -> Result<&Window, Error>;

    /// The rows of the result. They already contain the residual: these rows of the input, through the `shortcut` if there
    /// is one.
    fn result(&mut self, rows: Range<usize>, shortcut: Option<&Linear>) -> Result<&mut Window, Error>;
}

/// A whole image whose rows are overwritten, for blocks without a shortcut, whose input and output have the same channels.
pub(crate) struct InPlace(pub(crate) Window);

impl BandStream for InPlace {
    fn dims(&self) -> [usize; 3] {
        self.0.dims()
    }

    fn input(&mut self, _: Range<usize>) -> Result<&Window, Error> {
        Ok(&self.0)
    }

    fn result(&mut self, _: Range<usize>, shortcut: Option<&Linear>) -> Result<&mut Window, Error> {
        debug_assert!(
            shortcut.is_none(),
            "a shortcut changes the channels, so the result does not fit in place"
        );
        Ok(&mut self.0)
    }
}

/// The image's rows from the first, `count` at a time.
fn bands(height: usize, count: usize) -> impl Iterator<Item = Range<usize>> {
    (0..height).step_by(count).map(move |row| row..height.min(row + count))
}

impl ResnetBlock {
    /// As [`ResnetBlock::forward`] of one image without a time embedding, `count` rows at a time, a multiple of
    /// [`BAND_UNIT`]: the same values, bit for bit.
    /// Each band of each pass over the image is a block of `progress`.
    pub(crate) fn forward_in_bands(
        &self,
        stream: &mut impl BandStream,
        count: usize,
        progress: &mut BlockCount<'_>,
    ) -> Result<(), Error> {
        let [height, width, channels] = stream.dims();
        let mut sums = self.norm1.sums([height, width, channels])?;
        for rows in bands(height, count) {
            sums.add_rows(stream.input(rows.clone())?, rows)?;
            progress.add()?;
        }
        let norm1 = sums.finish()?;

        let image = [height, width, self.conv1.outputs()];
        let mut hidden = Window::new(image, count + BAND_UNIT + 1)?;
        let mut sums = self.norm2.sums(image)?;
        for rows in bands(height, count) {
            hidden.forget_above(rows.start);
            self.extend_hidden(stream, rows.start, rows.end, &norm1, &mut hidden)?;
            sums.add_rows(&hidden, rows)?;
            progress.add()?;
        }
        let norm2 = sums.finish()?;

        // If the whole tensor fits the window, it is not computed again.
        if hidden.rows().start > 0 {
            hidden.clear();
        }
        let prologue = Prologue::norm_silu(&norm2);
        for rows in bands(height, count) {
            hidden.forget_above(rows.start.saturating_sub(1));
            let end = height.min(rows.end + BAND_UNIT);
            self.extend_hidden(stream, rows.start, end, &norm1, &mut hidden)?;
            let result = stream.result(rows.clone(), self.conv_shortcut.as_ref())?;
            ops::conv2d_add(&hidden, &self.conv2, prologue, rows, result)?;
            progress.add()?;
        }
        Ok(())
    }

    /// Computes the hidden tensor up to row `end`. Rows of the input from `first` on are needed now or later.
    fn extend_hidden(
        &self,
        stream: &mut impl BandStream,
        first: usize,
        end: usize,
        norm1: &PrecomputedNorm<'_>,
        hidden: &mut Window,
    ) -> Result<(), Error> {
        let start = hidden.rows().end;
        if start == end {
            return Ok(());
        }
        let height = hidden.dims()[0];
        let input = stream.input(first.min(start.saturating_sub(1))..height.min(end + 1))?;
        let prologue = Prologue::norm_silu(norm1);
        Ok(ops::conv2d_append(input, &self.conv1, prologue, end, hidden)?)
    }

    /// Passes over the image that [`ResnetBlock::forward_in_bands`] makes.
    pub(crate) fn passes_in_bands() -> usize {
        3
    }

    /// Channels of the input.
    pub(crate) fn inputs(&self) -> usize {
        self.conv1.inputs()
    }

    /// Channels of the result.
    pub(crate) fn outputs(&self) -> usize {
        self.conv2.outputs()
    }
}

impl InPlace {
    /// The image.
    pub(crate) fn into_tensor(self) -> Result<Tensor, Error> {
        Ok(self.0.into_tensor()?)
    }
}
