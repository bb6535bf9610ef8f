//! The loops around the micro-kernel, shared by matrix product and convolution.
//!
//! The output is cut into tasks of some rows by at most [`PANELS_PER_TASK`] panels. A task walks the sum in parts of at
//! most [`PART`] terms. For each part it widens its panels to `f32` once, then goes down its rows [`BLOCK_ROWS`] at a
//! time; within these, panel by panel, each panel staying in L1 while the rows come from L2 (Goto and van de Geijn, Anatomy
//! of High-Performance Matrix Multiplication, 2008, without the copy of the left side: the micro-kernel takes row pointers
//! instead, as in Dukhan, The Indirect Convolution Algorithm, 2019).
//!
//! Every output element is the sum of its parts in order, whatever the cut into tasks, so the result is the same for any
//! number of threads and for a row alone or among others.

use super::micro::{Block, Kernels, MAX_COLUMNS, MAX_ROWS};
use super::weight::{PANEL, WeightMatrix};
use crate::activation::geglu_rows;
use crate::parallel::{self, SharedMut};
use crate::simd::Isa;
use std::cell::RefCell;
use std::ops::Range;

/// Longest part of the sum: a widened panel of 384 x 16 values takes 24 of the 32 KiB of L1. 384 is three taps of 128
/// channels, and 320, 640, 960, 1280 are cut into parts of 320.
const PART: usize = 384;
/// Rows that share one pass over a task's panels: 96 x 384 values are 147 KiB of L2, which holds the panels too.
const BLOCK_ROWS: usize = 96;
/// Panels of a task: 8 x 24 KiB widened, in L2.
const PANELS_PER_TASK: usize = 8;
/// Most rows of a task: widening the panels then costs under 1 % of the product.
const MAX_TASK_ROWS: usize = 16 * BLOCK_ROWS;
/// Most rows of a task that comes back to its part of the output, which stays in L2 so: the sum has several parts, or the
/// gate waits for the end of the sums.
const MAX_KEPT_ROWS: usize = 4 * BLOCK_ROWS;
/// Tasks end between tiles: a multiple of the rows of every tile.
const TILE_ROWS: usize = 24;
/// Tasks to aim at for each thread, so that none waits long at the end.
const TASKS_PER_THREAD: usize = 8;

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

/// A weight to multiply the rows by, and what becomes of the sums.
pub(crate) struct Factor<'a> {
    pub(crate) weight: &'a WeightMatrix,
    /// One value an output, added.
    pub(crate) bias: Option<&'a [f32]>,
    /// A value for each output of each row, added.
    pub(crate) residual: Option<&'a [f32]>,
    /// Add to what the output holds; not of a gated factor.
    pub(crate) accumulate: bool,
    /// The first half of the outputs are values and the second half their gates: the result is `value * gelu(gate)`, half as
    /// wide. Half of the outputs must be whole panels.
    pub(crate) gated: bool,
    pub(crate) out: &'a mut [f32],
}

/// Inputs `from..from + len`, all their taps.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Part {
    from: usize,
    len: usize,
}

/// Cuts a sum over `inputs` of some taps into parts of at most [`PART`] terms, or of one input.
fn parts(inputs: usize, taps: usize) -> Vec<Part> {
    let most = (PART / taps).max(1);
    let len = inputs.div_ceil(inputs.div_ceil(most));
    (0..inputs).step_by(len).map(|from| Part { from, len: len.min(inputs - from) }).collect()
}

/// Some rows and panels of one factor.
struct Task {
    factor: usize,
    rows: Range<usize>,
    /// Of a gated factor, those of the values; the gates' are as many.
    panels: Range<usize>,
}

/// Cuts the output of a factor into tasks.
fn cut(
    tasks: &mut Vec<Task>,
    factor: usize,
    m: usize,
    panels: usize,
    is_kept: bool,
    wanted: usize,
    widest: usize,
) {
    let most_rows = if is_kept { MAX_KEPT_ROWS } else { MAX_TASK_ROWS };
    let mut row_tasks = m.div_ceil(most_rows);
    let mut column_tasks = panels.div_ceil(widest);
    // Columns first: panels are then widened as often as before.
    if row_tasks * column_tasks < wanted {
        column_tasks = wanted.div_ceil(row_tasks).clamp(column_tasks, panels.div_ceil(2).max(column_tasks));
    }
    if row_tasks * column_tasks < wanted {
        row_tasks = wanted.div_ceil(column_tasks).min(m.div_ceil(BLOCK_ROWS));
    }
    let rows = m.div_ceil(row_tasks).next_multiple_of(TILE_ROWS);
    let columns = panels.div_ceil(column_tasks);
    // Neighbouring tasks share their panels, which stay in the last-level cache.
    for panel in (0..panels).step_by(columns) {
        for row in (0..m).step_by(rows) {
            let (rows, panels) = (row..m.min(row + rows), panel..panels.min(panel + columns));
            tasks.push(Task { factor, rows, panels });
        }
    }
}

thread_local! {
    /// What a thread works in.
    static SCRATCH: RefCell<Scratch> =
        const { RefCell::new(Scratch { panels: Vec::new(), pointers: Vec::new(), sums: Vec::new() }) };
}

struct Scratch {
    /// Widened panels of the task.
    panels: Vec<f32>,
    /// Row pointers of the block.
    pointers: Vec<*const f32>,
    /// Sums that wait for their gate, `[rows][panels * 16]`.
    sums: Vec<f32>,
}

/// For each factor, `out[m, n] = rows · weightᵀ + bias + residual`, or the gated half of it, for any left side.
///
/// # Panics
/// If a length disagrees with `m`, a weight's outputs and its inputs.
pub(crate) fn product<R: Rows>(isa: Isa, rows: &R, m: usize, factors: &mut [Factor<'_>]) {
    let (inputs, taps) = (rows.segment_len(), rows.segments());
    let parts = parts(inputs, taps);
    let wanted = (TASKS_PER_THREAD * parallel::threads()).div_ceil(factors.len().max(1));
    let mut tasks = Vec::new();
    for (index, factor) in factors.iter().enumerate() {
        let n = factor.weight.outputs();
        let halves = if factor.gated { 2 } else { 1 };
        assert_eq!((factor.weight.inputs(), factor.weight.taps()), (inputs, taps), "length of the sum");
        assert!(n.is_multiple_of(halves) && factor.out.len() == m * n / halves, "output of {m} x {n}");
        assert!(factor.bias.is_none_or(|b| b.len() == n), "bias of {n}");
        assert!(factor.residual.is_none_or(|r| r.len() == m * n && !factor.gated), "residual of {m} x {n}");
        let can_gate = n.is_multiple_of(2 * PANEL) && !factor.accumulate;
        assert!(!factor.gated || can_gate, "gated outputs in whole panels, of their own");
        if m > 0 {
            let (panels, is_kept) = ((n / halves).div_ceil(PANEL), factor.gated || parts.len() > 1);
            cut(&mut tasks, index, m, panels, is_kept, wanted, PANELS_PER_TASK / halves);
        }
    }
    let outs: Vec<SharedMut> = factors.iter_mut().map(|factor| SharedMut::new(factor.out)).collect();
    let product = Product { isa, kernels: Kernels::of(isa), rows, parts: &parts, factors, outs: &outs };
    parallel::for_each(tasks.len(), |index| {
        SCRATCH.with_borrow_mut(|scratch| product.run(&tasks[index], scratch));
    });
}

/// What all tasks of a product share.
struct Product<'a, R> {
    isa: Isa,
    kernels: Kernels,
    rows: &'a R,
    parts: &'a [Part],
    factors: &'a [Factor<'a>],
    outs: &'a [SharedMut],
}

/// Where the sums of a task go: the value of a row of the output and a panel of the task.
struct Place {
    c: *mut f32,
    stride: usize,
}

impl<R: Rows> Product<'_, R> {
    fn run(&self, task: &Task, scratch: &mut Scratch) {
        let factor = &self.factors[task.factor];
        let n = factor.weight.outputs();
        let mut panels: Vec<usize> = task.panels.clone().collect();
        if factor.gated {
            panels.extend(task.panels.clone().map(|panel| panel + n / 2 / PANEL));
        }
        scratch.panels.resize(PANELS_PER_TASK * PART * PANEL, 0.0);
        let width = panels.len() * PANEL;
        let place = if factor.gated {
            scratch.sums.resize(MAX_KEPT_ROWS * PANELS_PER_TASK * PANEL, 0.0);
            Place { c: scratch.sums.as_mut_ptr(), stride: width }
        } else {
            // SAFETY: the task's first row and panel lie in the output, whose length was checked.
            let c =
                unsafe { self.outs[task.factor].get().add(task.rows.start * n + task.panels.start * PANEL) };
            Place { c, stride: n }
        };
        for (index, part) in self.parts.iter().enumerate() {
            let terms = self.rows.segments() * part.len;
            if scratch.panels.len() < panels.len() * terms * PANEL {
                scratch.panels.resize(panels.len() * terms * PANEL, 0.0);
            }
            for (panel, wide) in panels.iter().zip(scratch.panels.chunks_exact_mut(terms * PANEL)) {
                factor.weight.widen(self.isa, *panel, part.from, part.len, wide);
            }
            for first in task.rows.clone().step_by(BLOCK_ROWS) {
                let rows = first..task.rows.end.min(first + BLOCK_ROWS);
                self.point(rows.clone(), &mut scratch.pointers);
                self.block(task, index, rows, &panels, &place, &scratch.panels, &scratch.pointers);
            }
        }
        if factor.gated {
            let sums = &scratch.sums[..task.rows.len() * width];
            let at = task.rows.start * n / 2 + task.panels.start * PANEL;
            // SAFETY: the task's rows and panels lie in the output, half as wide as the sums; tasks have disjoint ones.
            unsafe { geglu_rows(self.isa, sums, width / 2, self.outs[task.factor].get().add(at), n / 2) };
        }
    }

    /// Lists the row pointers of a block of rows, a list for each segment. Past the end they repeat the last row, whose sums
    /// are then dropped.
    fn point(&self, rows: Range<usize>, pointers: &mut Vec<*const f32>) {
        pointers.clear();
        for segment in 0..self.rows.segments() {
            for row in rows.start..rows.end + MAX_ROWS {
                pointers.push(self.rows.pointer(row.min(rows.end - 1), segment));
            }
        }
    }

    /// A block of rows times a part of all panels of a task.
    #[expect(clippy::too_many_arguments, reason = "the loops' variables and the buffers")]
    fn block(
        &self,
        task: &Task,
        index: usize,
        rows: Range<usize>,
        panels: &[usize],
        place: &Place,
        wide: &[f32],
        pointers: &[*const f32],
    ) {
        let factor = &self.factors[task.factor];
        let n = factor.weight.outputs();
        let part = &self.parts[index];
        let terms = self.rows.segments() * part.len;
        let is_last = index + 1 == self.parts.len();
        let residual = if is_last { factor.residual } else { None };
        let mut done = 0;
        while done < panels.len() {
            let kernel = self.kernels.for_panels(panels.len() - done);
            let count = kernel.columns / PANEL;
            let mut bias = [0f32; MAX_COLUMNS];
            let mut columns = 0;
            for (panel, bias) in panels[done..done + count].iter().zip(bias.chunks_exact_mut(PANEL)) {
                let real = PANEL.min(n - panel * PANEL);
                columns += real;
                if let Some(values) = factor.bias {
                    bias[..real].copy_from_slice(&values[panel * PANEL..][..real]);
                }
            }
            let at = rows.start * n + panels[done] * PANEL;
            let block = Block {
                rows: pointers.as_ptr(),
                rows_stride: rows.len() + MAX_ROWS,
                offset: part.from,
                row_count: rows.len(),
                pieces: self.rows.segments(),
                len: part.len,
                panel: wide[done * terms * PANEL..][..count * terms * PANEL].as_ptr(),
                panel_stride: terms * PANEL,
                // SAFETY: the row and the panel belong to the task, whose place in the output or the sums this is.
                c: unsafe { place.c.add((rows.start - task.rows.start) * place.stride + done * PANEL) },
                c_stride: place.stride,
                accumulate: index > 0 || factor.accumulate,
                bias: if is_last && factor.bias.is_some() { bias.as_ptr() } else { std::ptr::null() },
                residual: residual.map_or(std::ptr::null(), |r| r[at..].as_ptr()),
                columns,
                // Later panels find the rows in L2.
                prefetch: done == 0,
            };
            // SAFETY: the kernel is one that the CPU has; `pointers` holds a list for each segment, valid for the part by the
            // contract of `Rows`; each panel holds `pieces * len` steps; tasks have disjoint blocks of the output.
            unsafe { kernel.run(&block) };
            done += count;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_the_sum_in_order() {
        for (taps, inputs) in
            [(1, 1), (1, 384), (1, 385), (1, 5120), (9, 4), (9, 128), (9, 1920), (4, 200), (900, 3)]
        {
            let mut next = 0;
            for part in parts(inputs, taps) {
                assert_eq!(part.from, next);
                assert!(part.len * taps <= PART || part.len == 1);
                next += part.len;
            }
            assert_eq!(next, inputs);
        }
    }

    #[test]
    fn tasks_cover_the_output_once() {
        for (m, panels) in [(1, 1), (2, 80), (154, 48), (512, 640), (8192, 20), (8192, 160), (97, 3)] {
            for wanted in [1, 8, 16, 500] {
                let mut tasks = Vec::new();
                cut(&mut tasks, 0, m, panels, false, wanted, PANELS_PER_TASK);
                let mut hits = vec![0u8; m * panels];
                for task in tasks {
                    assert!(task.panels.len() <= PANELS_PER_TASK && task.rows.len() <= MAX_TASK_ROWS);
                    for row in task.rows {
                        task.panels.clone().for_each(|panel| hits[row * panels + panel] += 1);
                    }
                }
                assert!(hits.iter().all(|hit| *hit == 1), "{m} x {panels}, {wanted} wanted");
            }
        }
    }
}
