//! The loops around the micro-kernel, shared by matrix product and convolution, for any [`Arithmetic`].
//!
//! The output is cut into tasks of some rows by a few panels, as many as the kernels' set says. A task walks the sum in parts whose
//! panels take at most [`PANEL_BYTES`]. For each part it packs its panels once, then goes down its rows [`BLOCK_ROWS`] at a
//! time; within these, panel by panel, each panel staying in L1 while the rows come from L2 (Goto and van de Geijn, Anatomy
//! of High-Performance Matrix Multiplication, 2008). The left side is prepared for each part and block of rows: single
//! precision lists pointers to the rows and copies nothing, as in Dukhan, The Indirect Convolution Algorithm, 2019; other
//! arithmetics may pack tiles.
//!
//! Every output element is the sum of its parts in order, whatever the cut into tasks, so the result is the same for any
//! number of threads and for a row alone or among others.

use super::arithmetic::{Arithmetic, KernelSetOf, OutputElement, Scratch};
use super::factor::{Factor, FactorEnd, PanelSource};
use super::lhs::{LeftSide, LhsRows, SumPart};
use super::micro::{KernelSet, MAX_COLUMNS, PanelLayout, ProductBlock};
use super::shared_panels::SharedPanels;
use super::weight::PANEL;
use crate::parallel::{self, SharedMut};
use crate::simd::{Isa, vendor};
use std::ops::Range;

/// Bytes of a panel's part of the sum: three quarters of an L1 of 32 KiB. In `f32` that is 384 terms of 16 outputs: three
/// taps of 128 channels, while sums of 320, 640, 960 and 1280 are cut into parts of 320.
const PANEL_BYTES: usize = 24 << 10;
/// Rows that share one pass over a task's panels: 96 x 384 values are 147 KiB of L2, which holds the panels too.
const BLOCK_ROWS: usize = 96;
/// Maximum rows of a task: packing the panels then costs under 1 % of the product.
const MAX_TASK_ROWS: usize = 16 * BLOCK_ROWS;
/// Maximum rows of a task that returns to its part of the output, which then stays in L2: the sum has several parts, or
/// the gate waits for the end of the sums.
const MAX_KEPT_ROWS: usize = 4 * BLOCK_ROWS;
/// Tasks to aim at for each thread, so that none waits long at the end.
const TASKS_PER_THREAD: usize = 8;

/// The terms of a sum that a part holds at most.
fn max_terms<Rhs>(panels: &PanelLayout<Rhs>) -> usize {
    PANEL_BYTES / (panels.step_len * size_of::<Rhs>()) * panels.k_step
}

/// Cuts a sum over `inputs` of some taps into parts of at most `max_terms` terms, or of one step of inputs.
fn parts(inputs: usize, taps: usize, max_terms: usize, k_step: usize) -> Vec<SumPart> {
    let max_len = (max_terms / taps / k_step).max(1) * k_step;
    let len = inputs.div_ceil(inputs.div_ceil(max_len)).next_multiple_of(k_step);
    (0..inputs).step_by(len).map(|from| SumPart { from, len: len.min(inputs - from) }).collect()
}

/// The panels of a task whose sum has one part, of `terms` terms. Where the left side is packed, short panels may be more of
/// them in the same memory.
fn max_panels_of<Lhs: LeftSide, Rhs, Out>(kernels: &KernelSet<Lhs, Rhs, Out>, terms: usize) -> usize {
    let bytes = kernels.rhs.len(terms) * size_of::<Rhs>();
    let grown = if Lhs::IS_PACKED { kernels.max_panels * PANEL_BYTES / bytes } else { 0 };
    grown.max(kernels.max_panels)
}

/// Whether gates are applied block of rows by block of rows, and not to all rows of a task. That makes tasks larger, which
/// pays where their left side is packed.
fn gates_blocks<A: Arithmetic>(parts: &[SumPart]) -> bool {
    A::Lhs::IS_PACKED && parts.len() == 1
}

/// Some rows and panels of one factor.
struct OutputTask {
    factor: usize,
    rows: Range<usize>,
    /// Of a gated factor, those of the values; there are as many for the gates.
    panels: Range<usize>,
}

/// How an output is cut into tasks.
struct Cut {
    max_rows: usize,
    max_panels: usize,
    /// Tasks end at a multiple of this many rows, or with the output.
    row_step: usize,
    /// The left side is packed for each task anew: few tasks should share rows.
    rows_first: bool,
    /// Tasks to aim at.
    wanted: usize,
}

/// Cuts the output of a factor into tasks.
fn cut(tasks: &mut Vec<OutputTask>, factor: usize, m: usize, panels: usize, cut: &Cut) {
    let &Cut { max_rows, max_panels, row_step, rows_first, wanted } = cut;
    let mut row_tasks = m.div_ceil(max_rows);
    let mut column_tasks = panels.div_ceil(max_panels);
    if rows_first && row_tasks * column_tasks < wanted {
        row_tasks = wanted.div_ceil(column_tasks).clamp(row_tasks, m.div_ceil(MAX_KEPT_ROWS).max(row_tasks));
    }
    // Columns first: the panels are then packed no more often.
    if row_tasks * column_tasks < wanted {
        column_tasks = wanted.div_ceil(row_tasks).clamp(column_tasks, panels.div_ceil(2).max(column_tasks));
    }
    if row_tasks * column_tasks < wanted {
        row_tasks = wanted.div_ceil(column_tasks).min(m.div_ceil(BLOCK_ROWS));
    }
    let rows = m.div_ceil(row_tasks).next_multiple_of(row_step);
    let columns = panels.div_ceil(column_tasks);
    // Neighbouring tasks share their panels, which stay in the last-level cache.
    for panel in (0..panels).step_by(columns) {
        for row in (0..m).step_by(rows) {
            let (rows, panels) = (row..m.min(row + rows), panel..panels.min(panel + columns));
            tasks.push(OutputTask { factor, rows, panels });
        }
    }
}

/// For each factor, `out[m, n] = rows · weightᵀ + bias + residual`, or the gated half of it, for any left side.
///
/// # Panics
/// If a length disagrees with `m`, a weight's outputs and its inputs.
pub(crate) fn product<A: Arithmetic, R: LhsRows>(
    isa: Isa,
    rows: &R,
    m: usize,
    factors: &mut [Factor<'_, A::Out>],
) {
    let kernels = A::kernels(isa);
    let (inputs, taps, width) = (rows.segment_len(), rows.segments(), kernels.rhs.width);
    let parts = parts(inputs, taps, max_terms(&kernels.rhs), kernels.rhs.k_step);
    let wanted = (TASKS_PER_THREAD * parallel::threads()).div_ceil(factors.len().max(1));
    let mut tasks = Vec::new();
    for (index, factor) in factors.iter().enumerate() {
        let gated = factor.gate().is_some();
        let halves = if gated { 2 } else { 1 };
        assert_eq!((factor.weight.inputs(), factor.weight.taps()), (inputs, taps), "length of the sum");
        factor.assert_lengths(m, width);
        if m > 0 {
            let is_kept = parts.len() > 1 || gated && !gates_blocks::<A>(&parts);
            let max_rows = if is_kept { MAX_KEPT_ROWS } else { MAX_TASK_ROWS };
            let panels = if is_kept { kernels.max_panels } else { max_panels_of(kernels, inputs * taps) };
            let max_panels = (panels / halves).max(1);
            let (row_step, rows_first) = (kernels.row_step, A::Lhs::IS_PACKED);
            let limits = Cut { max_rows, max_panels, row_step, rows_first, wanted };
            cut(&mut tasks, index, m, factor.columns().div_ceil(width), &limits);
        }
    }
    let shares = kernels.shares_panels && m > 0;
    let shared = shares.then(|| SharedPanels::pack(isa, kernels, factors, &parts, taps)).flatten();
    let outs: Vec<SharedMut<A::Out>> = factors.iter_mut().map(|factor| SharedMut::new(factor.out)).collect();
    let prefetch = !vendor::is_intel();
    let product =
        BlockedProduct::<A, R> { isa, kernels, rows, parts: &parts, factors, outs: &outs, shared, prefetch };
    parallel::for_each(tasks.len(), |index| A::with_scratch(|scratch| product.run(&tasks[index], scratch)));
}

/// What all tasks of a product share.
struct BlockedProduct<'a, A: Arithmetic, R> {
    isa: Isa,
    kernels: &'static KernelSetOf<A>,
    rows: &'a R,
    parts: &'a [SumPart],
    factors: &'a [Factor<'a, A::Out>],
    outs: &'a [SharedMut<A::Out>],
    /// The panels, if tasks share them.
    shared: Option<SharedPanels<A>>,
    /// Whether rows are prefetched: Intel's CPUs find them better by themselves, and wait where a whole tile is asked for.
    prefetch: bool,
}

/// Where the sums of a task are kept: the value of a row of the output and the task's first panel.
#[derive(Clone, Copy)]
struct SumsPlace<Out> {
    c: *mut Out,
    /// The row of the output that `c` belongs to.
    row: usize,
    stride: usize,
}

impl<A: Arithmetic, R: LhsRows> BlockedProduct<'_, A, R> {
    fn run(&self, task: &OutputTask, scratch: &mut Scratch<A>) {
        let factor = &self.factors[task.factor];
        let layout = &self.kernels.rhs;
        let (n, width) = (factor.columns(), layout.width);
        let panels = self.panels(task);
        let columns = panels.len() * width;
        let gated = factor.gate().is_some();
        let by_block = gated && gates_blocks::<A>(self.parts);
        let place = if gated {
            let rows = if by_block { BLOCK_ROWS } else { MAX_KEPT_ROWS };
            if scratch.sums.len() < rows * columns {
                scratch.sums.resize(rows * columns, A::Out::default());
            }
            SumsPlace { c: scratch.sums.as_mut_ptr(), row: task.rows.start, stride: columns }
        } else {
            // SAFETY: the task's first row and panel are in the output, whose length was checked.
            let c =
                unsafe { self.outs[task.factor].get().add(task.rows.start * n + task.panels.start * width) };
            SumsPlace { c, row: task.rows.start, stride: n }
        };
        for (index, part) in self.parts.iter().enumerate() {
            if self.shared.is_none() {
                let panel_len = layout.len(self.rows.segments() * part.len);
                scratch.panels.grow(panels.len() * panel_len);
                let places = scratch.panels.chunks_exact_mut(panel_len);
                for (&(source, panel), packed) in panels.iter().zip(places) {
                    (layout.pack)(self.isa, factor.layer(source).0, panel, *part, packed);
                }
            }
            for first in task.rows.clone().step_by(BLOCK_ROWS) {
                let rows = first..task.rows.end.min(first + BLOCK_ROWS);
                let lhs =
                    A::Lhs::prepare(&self.kernels.lhs, self.rows, rows.clone(), *part, &mut scratch.lhs);
                let place = SumsPlace { row: if by_block { rows.start } else { place.row }, ..place };
                self.block(task, index, rows.clone(), lhs, &panels, &scratch.panels, &place);
                if by_block {
                    self.gate(task, rows, &scratch.sums, columns);
                }
            }
        }
        if gated && !by_block {
            self.gate(task, task.rows.clone(), &scratch.sums, columns);
        }
    }

    /// The panels of a task: of a gated factor, those of the gates follow those of the values.
    fn panels(&self, task: &OutputTask) -> Vec<(PanelSource, usize)> {
        let runs = self.factors[task.factor].panel_runs(self.kernels.rhs.width);
        let of = |(source, run): (PanelSource, Range<usize>)| {
            task.panels.clone().map(move |panel| (source, run.start + panel))
        };
        runs.into_iter().flat_map(of).collect()
    }

    /// Writes the gated values of some rows of a task, from sums that begin with these.
    fn gate(&self, task: &OutputTask, rows: Range<usize>, sums: &[A::Out], columns: usize) {
        let Some(gate) = self.factors[task.factor].gate() else { return };
        let n = gate.outputs;
        let at = rows.start * n + task.panels.start * self.kernels.rhs.width;
        // SAFETY: the task's rows and panels are in the output, half as wide as the sums; tasks have disjoint ones.
        unsafe {
            let out = self.outs[task.factor].get().add(at);
            A::Out::gate(self.isa, gate.activation, &sums[..rows.len() * columns], columns / 2, out, n);
        }
    }

    /// A block of rows times a part of all panels of a task.
    #[expect(clippy::too_many_arguments, reason = "the loops' variables and the buffers")]
    fn block(
        &self,
        task: &OutputTask,
        index: usize,
        rows: Range<usize>,
        lhs: A::Lhs,
        panels: &[(PanelSource, usize)],
        packed: &[A::Rhs],
        place: &SumsPlace<A::Out>,
    ) {
        let factor = &self.factors[task.factor];
        let (n, width) = (factor.columns(), self.kernels.rhs.width);
        let panel_len = self.kernels.rhs.len(self.rows.segments() * self.parts[index].len);
        let panel_at = |at: usize| match &self.shared {
            Some(shared) => shared.part(task.factor, panels[at], index),
            None => &packed[at * panel_len..][..panel_len],
        };
        let is_last = index + 1 == self.parts.len();
        let residual = if is_last { factor.residual } else { None };
        let mut done = 0;
        while done < panels.len() {
            let spacing = even_spacing(panels.len() - done, |at| panel_at(done + at).as_ptr().addr());
            let kernel = self.kernels.for_panels(spacing.count);
            let count = kernel.columns / width;
            let mut bias = [A::Out::default(); MAX_COLUMNS];
            let (mut columns, mut has_bias) = (0, false);
            for (&(source, panel), bias) in
                panels[done..done + count].iter().zip(bias.chunks_exact_mut(width))
            {
                let (weight, values) = factor.layer(source);
                let real = width.min(weight.outputs() - panel * width);
                columns += real;
                has_bias |= values.is_some();
                if let Some(values) = values {
                    bias[..real].copy_from_slice(&values[panel * width..][..real]);
                }
            }
            let at = rows.start * n + panels[done].1 * width;
            let block = ProductBlock {
                lhs,
                row_count: rows.len(),
                panel: panel_at(done).as_ptr(),
                panel_stride: spacing.bytes / size_of::<A::Rhs>(),
                // SAFETY: the row and the panel belong to the task, whose place in the output or the sums this is.
                c: unsafe { place.c.add((rows.start - place.row) * place.stride + done * width) },
                c_stride: place.stride,
                accumulate: index > 0 || factor.accumulate,
                bias: if is_last && has_bias { bias.as_ptr() } else { std::ptr::null() },
                residual: residual.map_or(std::ptr::null(), |r| r[at..].as_ptr()),
                columns,
                // Later panels find the rows in L2.
                prefetch: done == 0 && self.prefetch,
            };
            // SAFETY: the kernel is one that the CPU has; the left side was prepared for these rows and this part; each panel
            // holds as many terms; tasks have disjoint blocks of the output.
            unsafe { kernel.run(&block) };
            if let (true, FactorEnd::Activated(kind)) = (is_last, &factor.end) {
                // SAFETY: the block was just written, and is this task's alone.
                unsafe { A::Out::activate(self.isa, *kind, block.c, [rows.len(), columns, place.stride]) };
            }
            done += count;
        }
    }
}

/// Panels that a kernel can go through.
#[derive(Debug, PartialEq)]
struct Spacing {
    count: usize,
    /// From a panel to the next.
    bytes: usize,
}

/// How many of the first panels are as far from one another as the first two, given their addresses: values and gates need not
/// be neighbours.
fn even_spacing(panels: usize, address: impl Fn(usize) -> usize) -> Spacing {
    if panels < 2 {
        return Spacing { count: panels, bytes: 0 };
    }
    let distance = |at: usize| address(at + 1).wrapping_sub(address(at));
    let (bytes, most) = (distance(0), panels.min(MAX_COLUMNS / PANEL));
    let even = (1..most - 1).take_while(|at| distance(*at) == bytes).count();
    Spacing { count: 2 + even, bytes }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gemm::single_precision::SinglePrecision;

    #[test]
    fn parts_cover_the_sum_in_order() {
        let max_terms = max_terms(&SinglePrecision::kernels(Isa::Scalar).rhs);
        assert_eq!(max_terms, 384);
        for (taps, inputs) in
            [(1, 1), (1, 384), (1, 385), (1, 5120), (9, 4), (9, 128), (9, 1920), (4, 200), (900, 3)]
        {
            for k_step in [1, 32] {
                let mut next = 0;
                for part in parts(inputs, taps, max_terms, k_step) {
                    assert_eq!(part.from, next);
                    assert!(part.from.is_multiple_of(k_step));
                    assert!(part.len * taps <= max_terms || part.len <= k_step);
                    next += part.len;
                }
                assert_eq!(next, inputs);
            }
        }
    }

    #[test]
    fn a_kernel_goes_through_panels_that_are_evenly_spaced() {
        let addresses = [0, 64, 128, 192, 1024, 1088, 1152, 1216, 1280, 1344, 1408, 1472, 1536, 1600];
        let spacing = |from: usize, to: usize| even_spacing(to - from, |at| addresses[from + at]);
        let even = |count| Spacing { count, bytes: 64 };
        assert_eq!(spacing(0, 14), even(4));
        assert_eq!(spacing(1, 3), even(2));
        assert_eq!(spacing(2, 14), even(2));
        assert_eq!(spacing(3, 14), Spacing { count: 2, bytes: 832 });
        assert_eq!(spacing(3, 4), Spacing { count: 1, bytes: 0 });
        assert_eq!(spacing(4, 14), even(MAX_COLUMNS / PANEL));
    }

    #[test]
    fn tasks_cover_the_output_once() {
        for (m, panels) in [(1, 1), (2, 80), (154, 48), (512, 640), (8192, 20), (8192, 160), (97, 3)] {
            for (wanted, rows_first) in [(1, false), (8, true), (16, false), (16, true), (500, false)] {
                let mut tasks = Vec::new();
                let (max_rows, max_panels) = (MAX_TASK_ROWS, 8);
                let limits = Cut { max_rows, max_panels, row_step: 24, rows_first, wanted };
                cut(&mut tasks, 0, m, panels, &limits);
                let mut hits = vec![0u8; m * panels];
                for task in tasks {
                    assert!(task.panels.len() <= max_panels && task.rows.len() <= MAX_TASK_ROWS);
                    for row in task.rows {
                        task.panels.clone().for_each(|panel| hits[row * panels + panel] += 1);
                    }
                }
                assert!(hits.iter().all(|hit| *hit == 1), "{m} x {panels}, {wanted} wanted");
            }
        }
    }
}
