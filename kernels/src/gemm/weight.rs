//! Weights as they lie in their file, and the panels that a product reads.
//!
//! A weight `[n, k]` (out, in) is used in panels of [`PANEL`] outputs: for each `k` its 16 values side by side, which a
//! micro-kernel reads from front to back. Panels are never stored. A product transposes and widens the part of one that
//! it needs next into a buffer that fits the cache, and uses it for hundreds of rows. So opening a model copies nothing,
//! a weight takes the bytes that it has in the file, and it may as well be a part of a mapped file.

use crate::dtype::{DType, WeightBytes};
use crate::q8_0::widen_panel;
use crate::simd::{Isa, Simd, SimdOp, prefetch};
use std::fmt;
use std::sync::Arc;

/// Outputs in a panel: two AVX2 vectors, one of AVX-512, four of NEON.
pub const PANEL: usize = 16;

/// Columns that are transposed at once.
const COLUMNS: usize = 8;

/// Columns of a cache line in 16 bits, and how far ahead it is asked for.
const LINE: usize = 32;
const AHEAD: usize = 64;

/// Shared ownership of a weight's bytes: a vector, a part of a mapped file, a part of the program.
pub type SharedBytes = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// A weight with its bytes, little-endian values of one number format. Cheap to clone.
#[derive(Clone)]
pub struct Weight {
    dtype: DType,
    bytes: SharedBytes,
}

impl Weight {
    /// # Panics
    /// If the bytes are no whole number of values, or of blocks.
    #[must_use]
    pub fn new(dtype: DType, bytes: SharedBytes) -> Weight {
        let len = (*bytes).as_ref().len();
        assert_eq!(len % dtype.block_bytes(), 0, "{len} bytes are no whole number of {dtype}");
        Weight { dtype, bytes }
    }

    /// Its values.
    #[must_use]
    pub fn view(&self) -> WeightBytes<'_> {
        WeightBytes::new(self.dtype, (*self.bytes).as_ref())
    }
}

impl From<WeightBytes<'_>> for Weight {
    /// A copy.
    fn from(weight: WeightBytes<'_>) -> Weight {
        Weight::new(weight.dtype(), Arc::new(weight.bytes().to_vec()))
    }
}

impl fmt::Debug for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Weight({} of {})", self.view().len(), self.dtype)
    }
}

/// A weight `[n, inputs, taps]`, row-major: a matrix has one tap, a convolution those of its kernel.
#[derive(Clone, Debug)]
pub struct WeightMatrix {
    weight: Weight,
    outputs: usize,
    inputs: usize,
    taps: usize,
}

impl WeightMatrix {
    /// A matrix `[outputs, inputs]`: `out = x · weightᵀ`, as `torch.nn.Linear` stores it.
    ///
    /// # Panics
    /// If `weight` has not `outputs * inputs` values, either is 0, or `inputs` are no whole blocks of its format.
    #[must_use]
    pub fn new(weight: impl Into<Weight>, outputs: usize, inputs: usize) -> WeightMatrix {
        WeightMatrix::with_taps(weight.into(), outputs, inputs, 1)
    }

    /// A weight `[outputs, inputs, taps]`, as `torch.nn.Conv2d` stores it.
    pub(crate) fn with_taps(weight: Weight, outputs: usize, inputs: usize, taps: usize) -> WeightMatrix {
        assert!(outputs * inputs * taps > 0, "an empty weight [{outputs}, {inputs}, {taps}]");
        let values = weight.view().len();
        assert_eq!(values, outputs * inputs * taps, "a weight [{outputs}, {inputs}, {taps}]");
        assert!(
            (inputs * taps).is_multiple_of(weight.dtype.block()),
            "rows of whole blocks of {}",
            weight.dtype
        );
        WeightMatrix { weight, outputs, inputs, taps }
    }

    /// Number of outputs.
    #[must_use]
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Number of inputs; of a convolution, channels.
    #[must_use]
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Taps of each input.
    pub(crate) fn taps(&self) -> usize {
        self.taps
    }

    /// The number format.
    #[must_use]
    pub fn dtype(&self) -> DType {
        self.weight.dtype
    }

    /// Bytes of memory that the values take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.weight.view().bytes().len()
    }

    /// Widens a part of a panel: inputs `from..from + len` of the 16 outputs from `panel * 16` on, to `out`
    /// `[taps][len][16]`. Outputs that do not exist are zero.
    ///
    /// # Panics
    /// If `out` is too short, or the inputs do not exist.
    pub(crate) fn widen(&self, isa: Isa, panel: usize, from: usize, len: usize, out: &mut [f32]) {
        assert!(from + len <= self.inputs && panel * PANEL < self.outputs, "part of a panel");
        let out = &mut out[..self.taps * len * PANEL];
        isa.run(Widen { matrix: self, panel, from, len, out });
    }
}

struct Widen<'a> {
    matrix: &'a WeightMatrix,
    panel: usize,
    from: usize,
    len: usize,
    out: &'a mut [f32],
}

impl SimdOp for Widen<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Widen { matrix, panel, from, len, out } = self;
        let WeightMatrix { outputs, inputs, taps, .. } = *matrix;
        let (dtype, values) = (matrix.dtype(), matrix.weight.view());
        let real = PANEL.min(outputs - panel * PANEL);
        let columns = taps * len;
        // A row holds the taps of an input side by side. They go to planes of their own.
        let (mut input, mut tap) = (0, 0);
        let mut next_place = || {
            let place = (tap * len + input) * PANEL;
            tap += 1;
            if tap == taps {
                (input, tap) = (input + 1, 0);
            }
            place
        };
        if dtype == DType::Q8_0 {
            let bytes = dtype.bytes(inputs * taps);
            let mut rows = [[].as_slice(); PANEL];
            for (row, bytes) in
                rows.iter_mut().zip(values.bytes()[panel * PANEL * bytes..].chunks_exact(bytes))
            {
                *row = bytes;
            }
            return widen_panel(s, &rows[..real], from * taps..from * taps + columns, next_place, out);
        }
        let row = |r: usize| {
            let first = ((panel * PANEL + r) * inputs + from) * taps;
            &values.bytes()[first * dtype.size()..][..columns * dtype.size()]
        };
        let mut whole = 0;
        if real == PANEL {
            whole = columns / COLUMNS * COLUMNS;
            let starts: [*const u8; PANEL] = std::array::from_fn(|r| row(r).as_ptr());
            let to = out.as_mut_ptr();
            for first in (0..whole).step_by(COLUMNS) {
                if first % LINE == 0 {
                    starts.iter().for_each(|start| {
                        prefetch(start.wrapping_add((first + AHEAD) * dtype.size()).cast(), 1);
                    });
                }
                // SAFETY: eight more columns of each row, and places in `out`, which holds `columns` times 16 values.
                unsafe {
                    let rows = starts.map(|start| start.add(first * dtype.size()));
                    let places = std::array::from_fn(|_| to.add(next_place()));
                    s.widen_columns(dtype, &rows, &places);
                }
            }
        }
        for column in whole..columns {
            let to = &mut out[next_place()..][..PANEL];
            to[real..].fill(0.0);
            for (r, to) in to[..real].iter_mut().enumerate() {
                *to = WeightBytes::new(dtype, row(r)).get(column);
            }
        }
    }
}
