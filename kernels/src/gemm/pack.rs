//! Weights in the order in which the product reads them.
//!
//! A weight `[n, k]` (out, in) is cut into panels of [`PANEL`] outputs. A panel holds, for each `k`, its 16 values
//! side by side: a micro-kernel reads one panel from front to back. The values keep the file's number format; a block
//! of them becomes `f32` in a buffer that fits the cache, when it is used.

use crate::dtype::{DType, WeightBytes};
use crate::parallel;
use crate::simd::{Isa, Simd, SimdOp};
use half::{bf16, f16};

/// Outputs in a panel: two AVX2 vectors, one of AVX-512, four of NEON.
pub const PANEL: usize = 16;

/// A weight matrix `[n, k]` cut into panels, in the number format it came in.
#[derive(Clone, Debug)]
pub struct PackedMatrix {
    n: usize,
    k: usize,
    panels: Panels,
}

#[derive(Clone, Debug)]
enum Panels {
    F32(Vec<f32>),
    F16(Vec<u16>),
    BF16(Vec<u16>),
}

/// Some values of a panel, in their own number format; 16 bits as they lie in the file.
#[derive(Clone, Copy)]
pub(crate) enum Values<'a> {
    F32(&'a [f32]),
    F16(&'a [u16]),
    BF16(&'a [u16]),
}

impl Values<'_> {
    /// How many.
    pub(crate) fn len(self) -> usize {
        match self {
            Values::F32(values) => values.len(),
            Values::F16(values) | Values::BF16(values) => values.len(),
        }
    }
}

impl PackedMatrix {
    /// Packs a row-major `[n, k]` weight: `out = x · weightᵀ`, as `torch.nn.Linear` stores it.
    ///
    /// # Panics
    /// If `weight` has not `n * k` values, or either is 0.
    #[must_use]
    pub fn new(weight: WeightBytes<'_>, n: usize, k: usize) -> PackedMatrix {
        PackedMatrix::with_index(weight, n, k, |row, column| row * k + column)
    }

    /// Packs `weight` where value `(row, column)` of the matrix `[n, k]` lies at `index(row, column)`.
    pub(crate) fn with_index(
        weight: WeightBytes<'_>,
        n: usize,
        k: usize,
        index: impl Fn(usize, usize) -> usize + Sync + Send,
    ) -> PackedMatrix {
        assert!(n > 0 && k > 0, "an empty weight [{n}, {k}]");
        assert_eq!(weight.len(), n * k, "a weight [{n}, {k}] of {} values", weight.len());
        let panels = match weight.dtype() {
            DType::F32 => Panels::F32(fill_panels(n, k, |row, column| weight.get(index(row, column)))),
            DType::F16 => Panels::F16(fill_panels(n, k, |row, column| weight.bits16(index(row, column)))),
            DType::BF16 => Panels::BF16(fill_panels(n, k, |row, column| weight.bits16(index(row, column)))),
        };
        PackedMatrix { n, k, panels }
    }

    /// Number of outputs.
    #[must_use]
    pub fn outputs(&self) -> usize {
        self.n
    }

    /// Length of the sum.
    #[must_use]
    pub fn inputs(&self) -> usize {
        self.k
    }

    /// The number format that the values are kept in.
    #[must_use]
    pub fn dtype(&self) -> DType {
        match self.panels {
            Panels::F32(_) => DType::F32,
            Panels::F16(_) => DType::F16,
            Panels::BF16(_) => DType::BF16,
        }
    }

    /// Bytes of memory that the panels take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.n.next_multiple_of(PANEL) * self.k * self.dtype().size()
    }

    /// Value `(row, column)`, widened.
    #[must_use]
    pub fn get(&self, row: usize, column: usize) -> f32 {
        let at = (row / PANEL * self.k + column) * PANEL + row % PANEL;
        match &self.panels {
            Panels::F32(p) => p[at],
            Panels::F16(p) => f16::from_bits(p[at]).to_f32(),
            Panels::BF16(p) => bf16::from_bits(p[at]).to_f32(),
        }
    }

    /// Columns `k0..k0 + len` of one panel, as they are kept: 16 values each.
    pub(crate) fn columns(&self, panel: usize, k0: usize, len: usize) -> Values<'_> {
        let range = (panel * self.k + k0) * PANEL..(panel * self.k + k0 + len) * PANEL;
        match &self.panels {
            Panels::F32(p) => Values::F32(&p[range]),
            Panels::F16(p) => Values::F16(&p[range]),
            Panels::BF16(p) => Values::BF16(&p[range]),
        }
    }

    /// Widens columns `k0..k0 + len` of one panel into `out[..len * PANEL]`.
    pub(crate) fn widen(&self, isa: Isa, panel: usize, k0: usize, len: usize, out: &mut [f32]) {
        let out = &mut out[..len * PANEL];
        match self.columns(panel, k0, len) {
            Values::F32(from) => out.copy_from_slice(from),
            Values::F16(from) => isa.run(Widen { from, out, bfloat: false }),
            Values::BF16(from) => isa.run(Widen { from, out, bfloat: true }),
        }
    }
}

/// Builds the panels from `value(row, column)`; rows past `n` are zero.
fn fill_panels<T: Copy + Default + Send>(
    n: usize,
    k: usize,
    value: impl Fn(usize, usize) -> T + Sync + Send,
) -> Vec<T> {
    let mut panels = vec![T::default(); n.next_multiple_of(PANEL) * k];
    parallel::chunks_mut(&mut panels, k * PANEL, |panel, out| {
        let rows = PANEL.min(n - panel * PANEL);
        for (column, out) in out.chunks_exact_mut(PANEL).enumerate() {
            for (row, out) in out[..rows].iter_mut().enumerate() {
                *out = value(panel * PANEL + row, column);
            }
        }
    });
    panels
}

/// Widens 16-bit values; both slices have the same length, a multiple of [`PANEL`].
struct Widen<'a> {
    from: &'a [u16],
    out: &'a mut [f32],
    bfloat: bool,
}

impl SimdOp for Widen<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for (from, out) in self.from.chunks_exact(S::LANES).zip(self.out.chunks_exact_mut(S::LANES)) {
            // SAFETY: the chunk holds LANES values.
            let v = unsafe {
                if self.bfloat { s.load_bf16_ptr(from.as_ptr()) } else { s.load_f16_ptr(from.as_ptr()) }
            };
            s.store(out, v);
        }
    }
}
