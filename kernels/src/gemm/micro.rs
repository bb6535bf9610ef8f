//! Micro-kernels: tiles of the output, their sums held in registers.
//!
//! All products of this crate (matrix product, convolution, attention) end here. A tile is some rows by one or more
//! panels of outputs. Its left side is rows of `f32` by pointers, or packed tiles ([`LeftSide`]). Its right side is panels,
//! read from front to back. A kernel goes down a block of rows tile by tile, while its panels stay in L1.
//!
//! Kernels are typed by what they read on the left, by the element of the right side and by that of the output. Those of
//! one triple of types are in one list of [`KernelSet`]s: dispatch, tests and benches go through it.

use super::lhs::{LeftSide, SumPart};
use super::weight::WeightMatrix;
use crate::simd::{Isa, Requires};

/// A value of a panel or of an output. The default is zero.
pub(crate) trait Element: Copy + Default + Send + Sync + 'static {}

impl<T: Copy + Default + Send + Sync + 'static> Element for T {}

/// Columns of the widest tile of any kernel.
pub(crate) const MAX_COLUMNS: usize = 128;

/// A block of rows times some columns: `c = [c +] rows · panels [+ bias] [+ residual]`.
///
/// Additions happen in this order for every element, whatever the tile's size, so that a result does not depend on
/// where in the matrix a row is.
pub(crate) struct ProductBlock<Lhs, Rhs, Out> {
    /// A part of the sum of each row.
    pub(crate) lhs: Lhs,
    /// Rows of the output.
    pub(crate) row_count: usize,
    /// The first panel: as many terms as the left side has, in the set's layout.
    pub(crate) panel: *const Rhs,
    /// Distance from a panel to the next, for kernels of more than one.
    pub(crate) panel_stride: usize,
    /// First value of the output block.
    pub(crate) c: *mut Out,
    /// Distance between rows of the output.
    pub(crate) c_stride: usize,
    /// Add to what the output holds (a later part of the sum).
    pub(crate) accumulate: bool,
    /// A value for each column to add to each row, or null.
    pub(crate) bias: *const Out,
    /// First value of a block to add, with the output's stride, or null.
    pub(crate) residual: *const Out,
    /// Columns of the output that exist, at most the kernel's.
    pub(crate) columns: usize,
    /// Prefetch the next tile's rows while one is computed: for rows that are in a distant cache.
    pub(crate) prefetch: bool,
}

/// A compiled micro-kernel.
pub(crate) struct MicroKernel<Lhs, Rhs, Out> {
    /// Columns of its tile.
    pub(crate) columns: usize,
    /// Computes a block, under the conditions of [`MicroKernel::run`].
    pub(crate) compute: unsafe fn(&ProductBlock<Lhs, Rhs, Out>),
}

/// The order of the right side. A panel holds some outputs, step after step of the sum; how the terms of a step are
/// arranged, and what a step holds besides, such as the scales of 8-bit values, is between `pack` and the kernels.
pub(crate) struct PanelLayout<Rhs> {
    /// Outputs of a panel.
    pub(crate) width: usize,
    /// Terms of a step. A part of a sum begins at a multiple of it and is padded with zeros to one.
    pub(crate) k_step: usize,
    /// Values that hold a step of all outputs.
    pub(crate) step_len: usize,
    /// Packs a part of a panel of a weight, padding included.
    pub(crate) pack: fn(Isa, &WeightMatrix, panel: usize, SumPart, out: &mut [Rhs]),
}

impl<Rhs> PanelLayout<Rhs> {
    /// Values of a panel with `terms` terms.
    pub(crate) fn len(&self, terms: usize) -> usize {
        terms.div_ceil(self.k_step) * self.step_len
    }
}

/// The micro-kernels that a product chooses from on one kind of CPU. They share the layouts of both sides.
pub(crate) struct KernelSet<Lhs: LeftSide, Rhs: 'static, Out: 'static> {
    /// What the CPU must have.
    pub(crate) requires: Requires,
    /// A multiple of the rows of every tile: tasks end between tiles.
    pub(crate) row_step: usize,
    /// Panels that a task has at most, in the second-level cache. Where the left side is packed, for each task anew, more of
    /// them make up for that.
    pub(crate) max_panels: usize,
    /// Whether the panels of a product are packed before its tasks, for all of them.
    pub(crate) shares_panels: bool,
    /// The layout of the left side.
    pub(crate) lhs: Lhs::Layout,
    /// The layout of the right side.
    pub(crate) rhs: PanelLayout<Rhs>,
    /// The kernels, the narrowest first. One is a panel wide; the first may be narrower, the others are whole panels.
    pub(crate) kernels: &'static [MicroKernel<Lhs, Rhs, Out>],
}

impl<Lhs, Rhs, Out> MicroKernel<Lhs, Rhs, Out> {
    /// Computes a block.
    ///
    /// # Safety
    /// - The CPU has what the kernel's set requires (true for those of [`KernelSet::select`]).
    /// - The left side is as its type documents, valid for reads of `row_count` rows, in the layout of the kernel's set.
    /// - Each panel that the kernel's columns need is valid for reads of all terms of the left side; `bias` is null or valid
    ///   for the kernel's columns.
    /// - `c`, and `residual` unless null, are valid for `row_count` rows of `columns` values, `c_stride` apart.
    #[inline]
    pub(crate) unsafe fn run(&self, block: &ProductBlock<Lhs, Rhs, Out>) {
        assert!(block.columns <= self.columns);
        // SAFETY: the caller's promises are those that the function needs.
        unsafe { (self.compute)(block) }
    }
}

impl<Lhs: LeftSide, Rhs: 'static, Out: 'static> KernelSet<Lhs, Rhs, Out> {
    /// The fastest of some sets that this CPU can run, where the instruction set to use is `isa`. The first, which every
    /// CPU can run, if there is no other.
    pub(crate) fn select(sets: &[Self], isa: Isa) -> &Self {
        sets.iter().rfind(|set| set.requires.is_met(isa)).unwrap_or(&sets[0])
    }

    /// The fastest kernel of whole panels where `remaining` panels are still to be multiplied.
    #[inline]
    pub(crate) fn for_panels(&self, remaining: usize) -> &MicroKernel<Lhs, Rhs, Out> {
        let fits = |kernel: &&MicroKernel<Lhs, Rhs, Out>| kernel.columns <= remaining.max(1) * self.rhs.width;
        self.kernels.iter().rfind(fits).unwrap_or(&self.kernels[0])
    }

    /// The fastest kernel for the next of `remaining` columns: of whole panels, or for the last part of a panel.
    #[inline]
    pub(crate) fn for_columns(&self, remaining: usize) -> &MicroKernel<Lhs, Rhs, Out> {
        let first = &self.kernels[0];
        if remaining <= first.columns { first } else { self.for_panels(remaining / self.rhs.width) }
    }
}
