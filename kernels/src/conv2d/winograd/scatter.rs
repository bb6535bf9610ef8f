//! From `M` to pixels: the transform of the sums, with bias and residual.

use super::TilePosition;
use super::transform::{self, IN, OUT};
use crate::conv2d::RowRange;
use crate::gemm::PANEL;
use crate::gemm::single_precision::MAX_COLUMNS;
use crate::parallel::SharedMut;
use crate::simd::{Isa, Simd, SimdOp};
use std::ops::Range;

/// The output, and what is added to it.
#[derive(Debug)]
pub(super) struct WinogradOutput<'a> {
    /// `[batch][rows][width][channels]`
    pub(super) out: SharedMut,
    /// The rows of each image that the output holds.
    pub(super) rows: RowRange,
    pub(super) width: usize,
    pub(super) channels: usize,
    /// `[channels]`, or `[batch][channels]`
    pub(super) bias: Option<&'a [f32]>,
    /// The output's shape.
    pub(super) residual: Option<&'a [f32]>,
    /// Add to what the output holds.
    pub(super) accumulate: bool,
}

impl WinogradOutput<'_> {
    /// Writes the channels of some panels of some tiles from their sums `m` `[36][tiles][panels][16]`.
    ///
    /// # Safety
    /// - The tiles begin within the rows and the width of the output, whose length follows from its fields and the tiles'
    ///   images; a residual is as long.
    /// - No other task accesses these channels of these tiles meanwhile.
    pub(super) unsafe fn write(
        &self,
        isa: Isa,
        positions: &[TilePosition],
        panels: Range<usize>,
        m: &[f32],
        plane: usize,
    ) {
        isa.run(WriteTiles { output: self, positions, panels, m, plane });
    }
}

/// Made by [`WinogradOutput::write`] alone, whose caller promises what is written.
struct WriteTiles<'a> {
    output: &'a WinogradOutput<'a>,
    positions: &'a [TilePosition],
    panels: Range<usize>,
    m: &'a [f32],
    plane: usize,
}

impl SimdOp for WriteTiles<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let WriteTiles { output, positions, panels, m, plane } = self;
        let WinogradOutput { rows: RowRange { start, end }, width, channels, bias, residual, .. } = *output;
        let (first, span) = (panels.start * PANEL, panels.len() * PANEL);
        let real = span.min(channels - first);
        assert!(residual.is_none_or(|r| r.len().is_multiple_of((end - start) * width * channels)));
        assert!(span <= MAX_COLUMNS && m.len() >= (IN * IN - 1) * plane + positions.len() * span);
        for (tile, position) in positions.iter().enumerate() {
            let mut added = [0f32; MAX_COLUMNS];
            if let Some(bias) = bias {
                // One for all images, or one for each.
                let start = if bias.len() == channels { first } else { position.image * channels + first };
                added[..real].copy_from_slice(&bias[start..][..real]);
            }
            for lane in (0..span).step_by(S::LANES).take_while(|lane| *lane < real) {
                // SAFETY: the tile's sums, at `lane` in each plane, are in `m`, whose length was checked.
                let sums = unsafe { columns(s, m.as_ptr().add(tile * span + lane), plane) };
                let bias = s.load(&added[lane..]);
                let part = OutputPart {
                    rows: OUT.min(end - position.y),
                    columns: OUT.min(width - position.x),
                    lanes: S::LANES.min(real - lane),
                };
                for y in 0..OUT {
                    let mut row = [s.splat(0.0); IN];
                    for (value, sums) in row.iter_mut().zip(&sums) {
                        *value = sums[y];
                    }
                    let row = transform::output(s, row).map(|value| s.add(value, bias));
                    let line = (position.image * (end - start) + position.y - start + y) * width + position.x;
                    let at = line * channels + first + lane;
                    // SAFETY: pixel, row and lanes that exist are in the output, as the caller of `write` promises; the whole
                    // tile is where all of it exists.
                    unsafe {
                        if part.is_whole::<S>() {
                            output.store_row(s, row, at);
                        } else if y < part.rows {
                            output.store_part_of_row(s, row, at, part);
                        }
                    }
                }
            }
        }
    }
}

/// The part of a tile's vectors that is within the output.
#[derive(Clone, Copy)]
struct OutputPart {
    rows: usize,
    columns: usize,
    lanes: usize,
}

impl OutputPart {
    #[inline(always)]
    fn is_whole<S: Simd>(self) -> bool {
        self.rows == OUT && self.columns == OUT && self.lanes == S::LANES
    }
}

/// The sums of a tile, transformed down its six columns.
///
/// # Safety
/// - `m` is valid for reads of a vector in each of 36 planes, `plane` values apart.
#[inline(always)]
unsafe fn columns<S: Simd>(s: S, m: *const f32, plane: usize) -> [[S::F32; OUT]; IN] {
    let mut sums = [[s.splat(0.0); OUT]; IN];
    for (x, sums) in sums.iter_mut().enumerate() {
        let mut column = [s.splat(0.0); IN];
        for (y, value) in column.iter_mut().enumerate() {
            // SAFETY: point (y, x) is one of the 36 that the caller guarantees.
            *value = unsafe { s.load_ptr(m.add((y * IN + x) * plane)) };
        }
        *sums = transform::output(s, column);
    }
    sums
}

impl WinogradOutput<'_> {
    /// Stores a vector for each of four neighbouring pixels, the first at value `at` of the output.
    ///
    /// # Safety
    /// - The pixels and lanes are in the output, and in the residual; no other task accesses them.
    #[inline(always)]
    unsafe fn store_row<S: Simd>(&self, s: S, row: [S::F32; OUT], at: usize) {
        for (x, mut value) in row.into_iter().enumerate() {
            let at = at + x * self.channels;
            // SAFETY: as the caller promises.
            unsafe {
                let out = self.out.get().add(at);
                if let Some(residual) = self.residual {
                    value = s.add(value, s.load_ptr(residual.as_ptr().add(at)));
                }
                if self.accumulate {
                    value = s.add(value, s.load_ptr(out));
                }
                s.store_ptr(out, value);
            }
        }
    }

    /// As [`WinogradOutput::store_row`], for the columns and lanes of a part.
    ///
    /// # Safety
    /// - The pixels and lanes of the part are in the output; no other task accesses them.
    #[inline(always)]
    unsafe fn store_part_of_row<S: Simd>(&self, s: S, row: [S::F32; OUT], at: usize, part: OutputPart) {
        for (x, mut value) in row.into_iter().enumerate().take(part.columns) {
            let at = at + x * self.channels;
            // SAFETY: as the caller promises.
            let out = unsafe { std::slice::from_raw_parts_mut(self.out.get().add(at), part.lanes) };
            if let Some(residual) = self.residual {
                value = s.add(value, s.load_partial(&residual[at..][..part.lanes], 0.0));
            }
            if self.accumulate {
                value = s.add(value, s.load_partial(out, 0.0));
            }
            s.store_partial(out, value);
        }
    }
}
