//! The loops around the micro-kernel, shared by matrix product and convolution.
//!
//! The output is cut into tasks of some rows by at most [`PANELS_PER_TASK`] panels. A task walks the sum in blocks of
//! at most [`BLOCK_K`] terms. For each block it widens its panels to `f32` once, then goes down its rows
//! [`BLOCK_ROWS`] at a time; within these, panel by panel, each panel staying in L1 while the rows come from L2
//! (Goto and van de Geijn, Anatomy of High-Performance Matrix Multiplication, 2008, without the copy of the left
//! side: the micro-kernel takes row pointers instead, as in Dukhan, The Indirect Convolution Algorithm, 2019).
//!
//! Every output element is the sum of its blocks in order, whatever the cut into tasks, so the result is the same
//! for any number of threads and for a row alone or among others.

use super::micro::{Heights, MicroKernel, Tile};
use super::pack::{PANEL, PackedMatrix};
use crate::parallel::{self, SharedMut};
use crate::simd::Isa;
use std::cell::RefCell;

/// Longest block of the sum: a widened panel of 384 x 16 values takes 24 of the 32 KiB of L1. 384 is three taps of
/// 128 channels, and 320, 640, 960, 1280 cut into blocks of 320.
pub(crate) const BLOCK_K: usize = 384;
/// Rows that share one pass over a task's panels: 96 x 384 values are 147 KiB of L2, which holds the panels too.
const BLOCK_ROWS: usize = 96;
/// Panels of a task: 8 x 24 KiB widened, in L2.
const PANELS_PER_TASK: usize = 8;
/// Most rows of a task, when threads have enough tasks: widening the panels then costs under 1 % of the product.
const MAX_TASK_ROWS: usize = 16 * BLOCK_ROWS;
/// Most rows of a task whose sum has several blocks: their part of the output stays in L2 from one block to the next.
const MAX_SUMMED_ROWS: usize = 4 * BLOCK_ROWS;
/// Tasks to aim at for each thread, so that none waits long at the end.
const TASKS_PER_THREAD: usize = 4;

/// The left side of a product: rows whose terms lie in `segments` runs of `segment_len` values.
///
/// # Safety
/// `pointer` returns pointers valid for reads of `segment_len` values while `self` lives, for every row and segment
/// that the product has.
pub(crate) unsafe trait Rows: Sync {
    /// Number of runs (1 for a matrix, the taps of a convolution).
    fn segments(&self) -> usize;
    /// Values in a run.
    fn segment_len(&self) -> usize;
    /// First value of a run.
    fn pointer(&self, row: usize, segment: usize) -> *const f32;
}

/// What is added to the sums.
#[derive(Clone, Copy, Default)]
pub(crate) struct Epilogue<'a> {
    /// One value an output.
    pub(crate) bias: Option<&'a [f32]>,
    /// A value for each output of each row.
    pub(crate) residual: Option<&'a [f32]>,
}

/// A block of the sum: `pieces` whole segments, or part of one.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Block {
    segment: usize,
    pieces: usize,
    offset: usize,
    len: usize,
}

/// Cuts a sum of `segments` runs of `segment_len` terms into blocks of at most [`BLOCK_K`].
fn blocks(segments: usize, segment_len: usize) -> Vec<Block> {
    let mut list = Vec::new();
    if segment_len <= BLOCK_K {
        let together = (BLOCK_K / segment_len).min(segments);
        for segment in (0..segments).step_by(together) {
            list.push(Block {
                segment,
                pieces: together.min(segments - segment),
                offset: 0,
                len: segment_len,
            });
        }
    } else {
        let len = segment_len.div_ceil(segment_len.div_ceil(BLOCK_K));
        for segment in 0..segments {
            for offset in (0..segment_len).step_by(len) {
                list.push(Block { segment, pieces: 1, offset, len: len.min(segment_len - offset) });
            }
        }
    }
    list
}

thread_local! {
    /// Widened panels of the task that a thread works on.
    static PANELS: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// `out[m, n] = rows · weightᵀ + bias + residual`, for any left side.
///
/// # Panics
/// If a length disagrees with `m`, the weight's outputs and its inputs.
pub(crate) fn product<R: Rows>(
    isa: Isa,
    rows: &R,
    m: usize,
    weight: &PackedMatrix,
    epilogue: Epilogue<'_>,
    out: &mut [f32],
) {
    let n = weight.outputs();
    assert_eq!(rows.segments() * rows.segment_len(), weight.inputs(), "length of the sum");
    assert_eq!(out.len(), m * n, "output of {m} x {n}");
    assert!(epilogue.bias.is_none_or(|b| b.len() == n), "bias of {n}");
    assert!(epilogue.residual.is_none_or(|r| r.len() == m * n), "residual of {m} x {n}");
    if m == 0 {
        return;
    }
    let blocks = blocks(rows.segments(), rows.segment_len());
    let most = if blocks.len() > 1 { MAX_SUMMED_ROWS } else { MAX_TASK_ROWS };
    let panels = n.div_ceil(PANEL);
    let column_tasks = panels.div_ceil(PANELS_PER_TASK);
    let task_panels = panels.div_ceil(column_tasks);
    let wanted = (TASKS_PER_THREAD * parallel::threads()).div_ceil(column_tasks);
    let task_rows = m.div_ceil(wanted).next_multiple_of(BLOCK_ROWS).min(most);
    let row_tasks = m.div_ceil(task_rows);
    let task = Task {
        kernel: Heights::of(isa).for_rows(m),
        isa,
        rows,
        weight,
        blocks: &blocks,
        epilogue,
        out: SharedMut::new(out),
        m,
    };
    parallel::for_each(column_tasks * row_tasks, |index| {
        // Neighbouring tasks share their panels, which stay in the last-level cache.
        let (column, row) = (index / row_tasks, index % row_tasks);
        let panel_range = column * task_panels..panels.min((column + 1) * task_panels);
        task.run(row * task_rows..m.min((row + 1) * task_rows), panel_range);
    });
}

/// What all tasks of a product share.
struct Task<'a, R> {
    kernel: &'static MicroKernel,
    isa: Isa,
    rows: &'a R,
    weight: &'a PackedMatrix,
    blocks: &'a [Block],
    epilogue: Epilogue<'a>,
    out: SharedMut,
    m: usize,
}

impl<R: Rows> Task<'_, R> {
    fn run(&self, rows: std::ops::Range<usize>, panels: std::ops::Range<usize>) {
        if panels.is_empty() {
            return;
        }
        PANELS.with_borrow_mut(|buffer| {
            buffer.resize(PANELS_PER_TASK * BLOCK_K * PANEL, 0.0);
            let mut pointers = Vec::new();
            for (index, block) in self.blocks.iter().enumerate() {
                let terms = block.pieces * block.len;
                let k0 = block.segment * self.rows.segment_len() + block.offset;
                for (panel, wide) in panels.clone().zip(buffer.chunks_exact_mut(terms * PANEL)) {
                    self.weight.widen(self.isa, panel, k0, terms, wide);
                }
                for first in rows.clone().step_by(BLOCK_ROWS) {
                    let count = BLOCK_ROWS.min(rows.end - first);
                    self.point(block, first, count, &mut pointers);
                    for (panel, wide) in panels.clone().zip(buffer.chunks_exact(terms * PANEL)) {
                        self.column(index, block, first, count, &pointers, panel, wide);
                    }
                }
            }
        });
    }

    /// Lists the row pointers of a block of rows: for each group of a tile's rows, for each piece, a tile's rows.
    /// Rows past the end repeat the last one; their sums are dropped.
    fn point(&self, block: &Block, first: usize, count: usize, pointers: &mut Vec<*const f32>) {
        pointers.clear();
        for group in (first..first + count).step_by(self.kernel.rows) {
            for piece in 0..block.pieces {
                for row in group..group + self.kernel.rows {
                    let start = self.rows.pointer(row.min(self.m - 1), block.segment + piece);
                    // SAFETY: offset is below segment_len, for which the pointer is valid.
                    pointers.push(unsafe { start.add(block.offset) });
                }
            }
        }
    }

    /// One panel of outputs for a block of rows.
    #[expect(clippy::too_many_arguments, reason = "the loop's variables, named as in the loop")]
    fn column(
        &self,
        index: usize,
        block: &Block,
        first: usize,
        count: usize,
        pointers: &[*const f32],
        panel: usize,
        wide: &[f32],
    ) {
        let n = self.weight.outputs();
        let columns = PANEL.min(n - panel * PANEL);
        let last = index + 1 == self.blocks.len();
        let mut bias = [0f32; PANEL];
        let has_bias = last && self.epilogue.bias.is_some();
        if let (true, Some(values)) = (last, self.epilogue.bias) {
            bias[..columns].copy_from_slice(&values[panel * PANEL..][..columns]);
        }
        let residual = if last { self.epilogue.residual } else { None };
        for (group, row) in (first..first + count).step_by(self.kernel.rows).enumerate() {
            let at = row * n + panel * PANEL;
            let tile = Tile {
                rows: pointers[group * block.pieces * self.kernel.rows..].as_ptr(),
                pieces: block.pieces,
                len: block.len,
                panel: wide.as_ptr(),
                // SAFETY: the element (row, panel * PANEL) lies in the output, whose length was checked.
                c: unsafe { self.out.get().add(at) },
                c_stride: n,
                accumulate: index > 0,
                bias: if has_bias { bias.as_ptr() } else { std::ptr::null() },
                residual: residual.map_or(std::ptr::null(), |r| r[at..].as_ptr()),
                valid_rows: self.kernel.rows.min(first + count - row),
                valid_columns: columns,
            };
            // SAFETY: the kernel is one that the CPU has; pointers hold a list for each group, valid for `len` by
            // the contract of `Rows`; `wide` holds `pieces * len` steps; tasks have disjoint tiles of the output.
            unsafe { self.kernel.run(&tile) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_cover_the_sum_in_order() {
        for (segments, len) in
            [(1, 1), (1, 384), (1, 385), (1, 5120), (9, 4), (9, 128), (9, 320), (9, 1920), (4, 200)]
        {
            let mut next = 0;
            for block in blocks(segments, len) {
                assert_eq!(block.segment * len + block.offset, next);
                assert!(block.pieces * block.len <= BLOCK_K && (block.pieces == 1 || block.len == len));
                next += block.pieces * block.len;
            }
            assert_eq!(next, segments * len);
        }
    }
}
