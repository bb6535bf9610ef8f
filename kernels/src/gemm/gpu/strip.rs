//! Some inputs of a panel, put in order where they fit into a cache.

use crate::dtype::DType;
use crate::gemm::WeightMatrix;
use crate::gemm::panel::{self, PANEL, PanelPart};
use crate::simd::{Isa, Simd, SimdOp};
use bytemuck::Pod;

/// Outputs of a panel.
pub(crate) const COLUMNS: usize = 64;

/// Inputs of a strip: with one tap or with nine, the values of a part fit in the L1 cache, and the strip in the L2 cache.
pub(super) const fn inputs_at_once(taps: usize) -> usize {
    if taps < 4 { 128 } else { 32 }
}

/// Values `[taps][inputs][64]` of a panel, for at most [`inputs_at_once`] inputs.
pub(super) struct WeightStrip<T> {
    /// The values of 16 outputs in `f32`, or pairs of values of 16 bits.
    wide: Vec<f32>,
    /// The same in the stored dtype.
    narrowed: Vec<T>,
    pub(super) values: Vec<T>,
}

/// A part of a strip: inputs `from..from + len` of the 16 outputs of a panel of the CPU, which is the `part`th of the strip.
#[derive(Clone, Copy)]
pub(super) struct StripPart {
    pub(super) panel: usize,
    pub(super) part: usize,
    pub(super) from: usize,
    pub(super) len: usize,
}

impl<T: Pod> WeightStrip<T> {
    /// A strip of zeros.
    pub(super) fn new(taps: usize) -> WeightStrip<T> {
        let columns = taps * inputs_at_once(taps);
        WeightStrip {
            wide: vec![0.0; columns * PANEL],
            narrowed: vec![T::zeroed(); columns * PANEL],
            values: vec![T::zeroed(); columns * COLUMNS],
        }
    }

    /// Fills a part with values that are widened to `f32` and then narrowed. Outputs that do not exist become zero.
    ///
    /// # Panics
    /// If there is no such part.
    pub(super) fn convert(
        &mut self,
        isa: Isa,
        weight: &WeightMatrix,
        at: StripPart,
        narrow: impl Fn(&[f32], &mut [T]),
    ) {
        let WeightStrip { wide, narrowed, values } = self;
        weight.widen(isa, at.panel, at.from, at.len, wide);
        narrow(wide, narrowed);
        for (from, to) in narrowed.chunks_exact(PANEL).zip(values.chunks_exact_mut(COLUMNS)) {
            to[at.part * PANEL..][..PANEL].copy_from_slice(from);
        }
    }
}

impl WeightStrip<u16> {
    /// Fills a part with values of 16 bits without a look at them, be they `f16` or `bf16`. Outputs that do not exist become zero.
    ///
    /// Two neighbours in a row are one value of 32 bits. The routine that transposes rows of `f32` transposes such pairs, and of each 16
    /// of them one half are the values of a column and the other half those of the next.
    ///
    /// # Panics
    /// If the weight's values do not have 16 bits, or there is no such part.
    pub(super) fn transpose(&mut self, isa: Isa, weight: &WeightMatrix, at: StripPart) {
        assert_eq!(weight.dtype().size(), 2, "values of 16 bits");
        let taps = weight.taps();
        let columns = at.from * taps..(at.from + at.len) * taps;
        let real = PANEL.min(weight.outputs() - at.panel * PANEL);
        // The part begins with a whole pair, and may end with half of one.
        let mut rows = weight.rows_of_panel(at.panel).0;
        rows[..real].iter_mut().for_each(|row| *row = &row[2 * columns.start..2 * columns.end]);
        let count = columns.len() / 2;
        let pairs = &mut self.wide[..count * PANEL];
        if count > 0 {
            let part = PanelPart {
                rows: &rows[..real],
                skips: [0; PANEL],
                columns: 0..count,
                inputs: count,
                taps: 1,
                out: &mut *pairs,
            };
            panel::dequantize(isa, DType::F32, part);
        }
        let values = &mut self.values[..columns.len() * COLUMNS];
        isa.run(SplitPairs { pairs, taps, at, values: &mut *values });
        if columns.len() % 2 == 1 {
            let last = &mut values[(columns.len() - 1) * COLUMNS + at.part * PANEL..][..PANEL];
            last[real..].fill(0);
            for (to, row) in last.iter_mut().zip(&rows[..real]) {
                *to = u16::from_le_bytes([row[4 * count], row[4 * count + 1]]);
            }
        }
    }
}

/// Parts pairs of columns, and puts each of these where its tap and its input have their place.
struct SplitPairs<'a> {
    pairs: &'a [f32],
    taps: usize,
    at: StripPart,
    values: &'a mut [u16],
}

impl SimdOp for SplitPairs<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let SplitPairs { pairs, taps, at, values } = self;
        let (mut input, mut tap) = (0, 0);
        for pair in pairs.as_chunks::<PANEL>().0 {
            for shift in [0, 16] {
                let place = (tap * at.len + input) * COLUMNS + at.part * PANEL;
                // The compiler vectorizes this loop.
                for (to, pair) in values[place..][..PANEL].iter_mut().zip(pair) {
                    *to = (u32::from_le_bytes(pair.to_ne_bytes()) >> shift) as u16;
                }
                tap += 1;
                if tap == taps {
                    (tap, input) = (0, input + 1);
                }
            }
        }
    }
}
