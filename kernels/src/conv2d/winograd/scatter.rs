//! From `M` to pixels: the transform of the sums, with bias and residual.

use super::Place;
use super::transform::{self, IN, OUT};
use crate::conv2d::Rows;
use crate::gemm::PANEL;
use crate::gemm::micro::MAX_COLUMNS;
use crate::parallel::SharedMut;
use crate::simd::{Isa, Simd, SimdOp};
use std::ops::Range;

/// The output, and what is added to it.
pub(super) struct Output<'a> {
    pub(super) out: SharedMut,
    /// Those of each picture that it has.
    pub(super) rows: Rows,
    pub(super) width: usize,
    pub(super) channels: usize,
    /// `[channels]`, or `[batch][channels]`
    pub(super) bias: Option<&'a [f32]>,
    /// The output's shape.
    pub(super) residual: Option<&'a [f32]>,
    /// Add to what the output holds.
    pub(super) accumulate: bool,
}

impl Output<'_> {
    /// Writes the channels of some panels of some tiles from their sums `m` `[36][tiles][panels][16]`.
    pub(super) fn write(&self, isa: Isa, places: &[Place], panels: Range<usize>, m: &[f32], plane: usize) {
        isa.run(Write { output: self, places, panels, m, plane });
    }
}

struct Write<'a> {
    output: &'a Output<'a>,
    places: &'a [Place],
    panels: Range<usize>,
    m: &'a [f32],
    plane: usize,
}

impl SimdOp for Write<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Write { output, places, panels, m, plane } = self;
        let Output { rows: Rows { start, end }, width, channels, bias, residual, accumulate, .. } = *output;
        let (first, span) = (panels.start * PANEL, panels.len() * PANEL);
        let real = span.min(channels - first);
        assert!(residual.is_none_or(|r| r.len().is_multiple_of((end - start) * width * channels)));
        assert!(span <= MAX_COLUMNS && m.len() >= (IN * IN - 1) * plane + places.len() * span);
        for (tile, place) in places.iter().enumerate() {
            let mut added = [0f32; MAX_COLUMNS];
            if let Some(bias) = bias {
                // One for all pictures, or one for each.
                let start = if bias.len() == channels { first } else { place.picture * channels + first };
                added[..real].copy_from_slice(&bias[start..][..real]);
            }
            let rows = OUT.min(end - place.y);
            let columns = OUT.min(width - place.x);
            for lane in (0..span).step_by(S::LANES).take_while(|lane| *lane < real) {
                let mut sums = [[s.splat(0.0); OUT]; IN];
                for (x, sums) in sums.iter_mut().enumerate() {
                    let mut column = [s.splat(0.0); IN];
                    for (y, value) in column.iter_mut().enumerate() {
                        // SAFETY: sum (y, x) of the tile lies in its plane, whose length was checked.
                        *value =
                            unsafe { s.load_ptr(m.as_ptr().add((y * IN + x) * plane + tile * span + lane)) };
                    }
                    *sums = transform::output(s, column);
                }
                let bias = s.load(&added[lane..]);
                let here = S::LANES.min(real - lane);
                let is_whole = rows == OUT && columns == OUT && here == S::LANES;
                for y in 0..OUT {
                    let mut row = [s.splat(0.0); IN];
                    for (value, sums) in row.iter_mut().zip(&sums) {
                        *value = sums[y];
                    }
                    let row = transform::output(s, row).map(|value| s.add(value, bias));
                    let pixel = (place.picture * (end - start) + place.y - start + y) * width + place.x;
                    let at = pixel * channels + first + lane;
                    if is_whole {
                        for (x, mut value) in row.into_iter().enumerate() {
                            let at = at + x * channels;
                            // SAFETY: the whole tile lies in the output, and in the residual, which is as long; tasks have
                            // disjoint tiles or channels.
                            unsafe {
                                let out = output.out.get().add(at);
                                if let Some(residual) = residual {
                                    value = s.add(value, s.load_ptr(residual.as_ptr().add(at)));
                                }
                                if accumulate {
                                    value = s.add(value, s.load_ptr(out));
                                }
                                s.store_ptr(out, value);
                            }
                        }
                    } else if y < rows {
                        for (x, mut value) in row.into_iter().enumerate().take(columns) {
                            let at = at + x * channels;
                            // SAFETY: the pixel and the channels that exist lie in the output; as above.
                            let out =
                                unsafe { std::slice::from_raw_parts_mut(output.out.get().add(at), here) };
                            if let Some(residual) = residual {
                                value = s.add(value, s.load_partial(&residual[at..][..here], 0.0));
                            }
                            if accumulate {
                                value = s.add(value, s.load_partial(out, 0.0));
                            }
                            s.store_partial(out, value);
                        }
                    }
                }
            }
        }
    }
}
