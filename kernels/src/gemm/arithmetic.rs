//! The types of a product: what a micro-kernel reads on the left and on the right, and what it writes.
//!
//! Activations and results are `f32` in memory whatever the arithmetic. An [`Arithmetic`] names the types between them:
//! [`super::single_precision`] reads rows of `f32` where they are and panels of `f32`. An arithmetic that needs another
//! element or another order on the left (bf16, 8-bit integers, tile instructions) declares packed tiles
//! ([`super::packed`]).

use super::lhs::LeftSide;
use super::micro::{Element, KernelSet};
use crate::activation::{Activation, activate_rows, gate_rows};
use crate::aligned::AlignedBuffer;
use crate::simd::Isa;
use std::fmt;

/// The element of an output.
pub(crate) trait OutputElement: Element {
    /// `out = value * activation(gate)` for each row of `x`: `width` values before `width` gates.
    ///
    /// # Safety
    /// - `out` is valid for writes of a row of `width` values for each row of `x`, `stride` apart.
    unsafe fn gate(isa: Isa, kind: Activation, x: &[Self], width: usize, out: *mut Self, stride: usize);

    /// Applies an activation to `[rows, width, stride]`: rows of `width` values, `stride` apart.
    ///
    /// # Safety
    /// - `x` is valid for reads and writes of these rows, and nothing else accesses them meanwhile.
    unsafe fn activate(isa: Isa, kind: Activation, x: *mut Self, rows: [usize; 3]);
}

impl OutputElement for f32 {
    unsafe fn gate(isa: Isa, kind: Activation, x: &[f32], width: usize, out: *mut f32, stride: usize) {
        // SAFETY: the caller's promise is the one needed.
        unsafe { gate_rows(isa, kind, x, width, out, stride) }
    }

    unsafe fn activate(isa: Isa, kind: Activation, x: *mut f32, rows: [usize; 3]) {
        // SAFETY: the caller's promise is the one needed.
        unsafe { activate_rows(isa, kind, x, rows) }
    }
}

/// The triple of types that a product is computed with, and the micro-kernels for it.
///
/// A new arithmetic is an implementation and its list of kernels; the loops of [`super::blocking`] serve all of them.
///
/// # Safety
/// - The kernels access nothing beyond what [`super::micro::MicroKernel::run`] promises them, in the layouts of their set.
/// - They have at most [`super::micro::MAX_COLUMNS`] columns.
/// - A set requires all that its kernels are compiled for; the first set runs on every CPU.
pub(crate) unsafe trait Arithmetic: Sized + 'static {
    /// What a kernel reads on the left.
    type Lhs: LeftSide;
    /// The element of a panel.
    type Rhs: Element;
    /// The element of the output, of the bias and of the residual.
    type Out: OutputElement;

    /// The one list of the kernels, slowest set first.
    fn kernel_sets() -> &'static [KernelSetOf<Self>];

    /// Calls `f` with the buffers of the calling thread.
    fn with_scratch(f: impl FnOnce(&mut Scratch<Self>));

    /// The fastest kernels for an instruction set, looked up once for many blocks.
    fn kernels(isa: Isa) -> &'static KernelSetOf<Self> {
        KernelSet::select(Self::kernel_sets(), isa)
    }
}

/// The kernels of an arithmetic on one kind of CPU.
pub(crate) type KernelSetOf<A> =
    KernelSet<<A as Arithmetic>::Lhs, <A as Arithmetic>::Rhs, <A as Arithmetic>::Out>;

/// Buffers of a thread.
pub(crate) struct Scratch<A: Arithmetic> {
    /// Packed panels of the task.
    pub(crate) panels: AlignedBuffer<A::Rhs>,
    /// Packed panels of a product that the thread began, between two of them.
    pub(crate) shared: AlignedBuffer<A::Rhs>,
    /// The left side of the block of rows.
    pub(crate) lhs: <A::Lhs as LeftSide>::Buffer,
    /// Sums that wait for their gate, `[rows][panels * width]`.
    pub(crate) sums: Vec<A::Out>,
}

impl<A: Arithmetic> Default for Scratch<A> {
    fn default() -> Scratch<A> {
        Scratch {
            panels: AlignedBuffer::new(),
            shared: AlignedBuffer::new(),
            lhs: Default::default(),
            sums: Vec::new(),
        }
    }
}

impl<A: Arithmetic> fmt::Debug for Scratch<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scratch({} in panels, {} sums)", self.panels.len(), self.sums.len())
    }
}
