//! Weights as their file has them, and the panels that a product reads.
//!
//! A weight `[n, k]` (out, in) is used in panels of [`PANEL`] outputs: for each `k` its 16 values side by side, which a
//! micro-kernel reads from front to back. Panels are never stored. A product transposes and converts the part of one that
//! it needs next into a buffer that fits the cache ([`super::panel`]), and uses it for hundreds of rows. So opening a model
//! copies nothing, a weight takes the bytes that it has in the file, and it may as well be a part of a mapped file.

use super::panel::{self, PanelPart};
use crate::dtype::{DType, WeightBytes};
use crate::simd::Isa;
use std::fmt;
use std::sync::Arc;

pub use super::panel::PANEL;

/// Shared ownership of a weight's bytes: a vector, a part of a mapped file, a part of the program.
pub type SharedBytes = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// A weight with its bytes, little-endian values of one dtype. Cheap to clone.
#[derive(Clone)]
pub struct Weight {
    dtype: DType,
    bytes: SharedBytes,
    /// What the values are multiplied by: one factor for all, or one for each row. Empty where there is none.
    scales: Arc<[f32]>,
}

impl Weight {
    /// # Panics
    /// As [`WeightBytes::new`].
    #[must_use]
    pub fn new(dtype: DType, bytes: SharedBytes) -> Weight {
        let _ = WeightBytes::new(dtype, (*bytes).as_ref());
        Weight { dtype, bytes, scales: Arc::new([]) }
    }

    /// The weight with its values multiplied by a factor for each row, or by one for all. A matrix or a filter is multiplied
    /// while it is widened, so that it keeps the bytes that it has; anything else sees the values without them.
    #[must_use]
    pub fn scaled(self, scales: impl Into<Arc<[f32]>>) -> Weight {
        Weight { scales: scales.into(), ..self }
    }

    /// Whether its values are multiplied by something.
    #[cfg(any(feature = "gpu", target_arch = "x86_64"))]
    pub(crate) fn is_scaled(&self) -> bool {
        !self.scales.is_empty()
    }

    /// Its values, without the factors of a [`scaled`](Weight::scaled) one.
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
    /// If `weight` has not `outputs * inputs` values, either is 0, or its factors are neither one nor one for each output.
    #[must_use]
    pub fn new(weight: impl Into<Weight>, outputs: usize, inputs: usize) -> WeightMatrix {
        WeightMatrix::with_taps(weight.into(), outputs, inputs, 1)
    }

    /// A weight `[outputs, inputs, taps]`, as `torch.nn.Conv2d` stores it.
    pub(crate) fn with_taps(weight: Weight, outputs: usize, inputs: usize, taps: usize) -> WeightMatrix {
        assert!(outputs * inputs * taps > 0, "an empty weight [{outputs}, {inputs}, {taps}]");
        let values = weight.view().len();
        assert_eq!(values, outputs * inputs * taps, "a weight [{outputs}, {inputs}, {taps}]");
        let scales = weight.scales.len();
        assert!(scales < 2 || scales == outputs, "{scales} scales of {outputs} outputs");
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

    /// The dtype.
    #[must_use]
    pub fn dtype(&self) -> DType {
        self.weight.dtype
    }

    /// Bytes of memory that the values take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.weight.view().bytes().len()
    }

    /// The values as they are stored.
    #[cfg(feature = "gpu")]
    pub(crate) fn stored_bytes(&self) -> &[u8] {
        self.weight.view().bytes()
    }

    /// Converts a part of a panel to `f32`, exactly: inputs `from..from + len` of the 16 outputs from `panel * 16` on, to
    /// `out` `[taps][len][16]`. Outputs that do not exist are zero.
    ///
    /// # Panics
    /// If `out` is too short, or the inputs do not exist.
    pub(crate) fn widen(&self, isa: Isa, panel: usize, from: usize, len: usize, out: &mut [f32]) {
        assert!(from + len <= self.inputs && panel * PANEL < self.outputs, "part of a panel");
        let (dtype, taps) = (self.dtype(), self.taps);
        let real = PANEL.min(self.outputs - panel * PANEL);
        let (rows, skips) = self.rows_of_panel(panel);
        let out = &mut out[..taps * len * PANEL];
        let columns = from * taps..(from + len) * taps;
        let part = PanelPart { rows: &rows[..real], skips, columns, inputs: len, taps, out: &mut *out };
        panel::dequantize(isa, dtype, part);
        self.scale(panel, out);
    }

    /// Multiplies a part of a panel by the scales of its rows.
    fn scale(&self, panel: usize, out: &mut [f32]) {
        let scales = &*self.weight.scales;
        let mut of_panel = [1.0; PANEL];
        match scales {
            [] => return,
            [scale] => of_panel.fill(*scale),
            scales => of_panel.iter_mut().zip(&scales[panel * PANEL..]).for_each(|(to, scale)| *to = *scale),
        }
        for values in out.as_chunks_mut::<PANEL>().0 {
            values.iter_mut().zip(&of_panel).for_each(|(value, scale)| *value *= scale);
        }
    }

    /// Whether its values are multiplied by something while they are widened.
    #[cfg(any(feature = "gpu", target_arch = "x86_64"))]
    pub(crate) fn is_scaled(&self) -> bool {
        self.weight.is_scaled()
    }

    /// Whether each row begins with a block of its own. Where blocks were cut out of the flattened weight, they do not.
    pub(crate) fn has_whole_rows(&self) -> bool {
        (self.inputs * self.taps).is_multiple_of(self.dtype().block_len())
    }

    /// The bytes of the rows of a panel, from the block on that has a row's first value, and how many values of that block
    /// belong to the row before. Rows that do not exist are empty.
    ///
    /// # Panics
    /// If there is no such panel.
    pub(crate) fn rows_of_panel(&self, panel: usize) -> ([&[u8]; PANEL], [usize; PANEL]) {
        let (len, size) = (self.dtype().block_len(), self.dtype().block_bytes());
        let (row, bytes) = (self.inputs * self.taps, self.weight.view().bytes());
        let (mut rows, mut skips) = ([[].as_slice(); PANEL], [0; PANEL]);
        let first = panel * PANEL;
        assert!(first < self.outputs, "a panel");
        for (index, (to, skip)) in (first..self.outputs).zip(rows.iter_mut().zip(&mut skips)) {
            let start = index * row;
            *to = &bytes[start / len * size..(start + row).div_ceil(len) * size];
            *skip = start % len;
        }
        (rows, skips)
    }
}
