//! From pixels to `V`: a strip of tiles with its border is copied, normalised on the way, and transformed.

use super::transform::{self, IN, OUT};
use super::{STRIP, Strip};
use crate::conv2d::{ConvWeight, Fused};
use crate::simd::{Isa, MAX_LANES};
use crate::simd::{Simd, SimdOp, prefetch, silu};
use std::cell::RefCell;

/// Channels that a task copies and transforms.
pub(super) const CHANNELS: usize = 64;

/// Pixels ahead that are asked for.
const AHEAD: usize = 6;

thread_local! {
    /// `[6][columns][CHANNELS]`
    static COPY: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Writes the transform of a strip's channels `channel..channel + 64` (zeros past the last, up to a whole panel).
///
/// `to` is valid for the strip's tiles, `stride` values apart, in each of 36 planes `plane` values apart.
#[expect(clippy::too_many_arguments, reason = "what is read, and where it is written")]
pub(super) fn strip(
    isa: Isa,
    conv: &Fused<'_>,
    weight: &ConvWeight,
    strip: Strip,
    channel: usize,
    to: *mut f32,
    stride: usize,
    plane: usize,
) {
    let width = CHANNELS.min(stride - channel);
    let real = width.min(weight.in_channels() - channel);
    COPY.with_borrow_mut(|copy| {
        copy.resize(IN * (STRIP * OUT + 2) * CHANNELS, 0.0);
        isa.run(Copy { conv, weight, strip, channel, real, width, copy });
        isa.run(Transform { copy, tiles: strip.tiles, width, to, stride, plane });
    });
}

/// The pixels that a strip needs, zeros outside the picture.
struct Copy<'a> {
    conv: &'a Fused<'a>,
    weight: &'a ConvWeight,
    strip: Strip,
    channel: usize,
    /// Channels that exist.
    real: usize,
    /// Channels that are written.
    width: usize,
    /// `[6][columns][width]`
    copy: &'a mut [f32],
}

impl SimdOp for Copy<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Copy { conv, weight, strip, channel, real, width, copy } = self;
        let [_, height, picture_width] = conv.size();
        let columns = strip.tiles * OUT + 2;
        let norm = conv.norm.map(|norm| norm.of(strip.first.picture, channel, real));
        for (row, line) in copy.chunks_exact_mut(columns * width).take(IN).enumerate() {
            // Above the picture this wraps to a huge value, and fails the comparison like one below.
            let y = (strip.first.y + row).wrapping_sub(weight.geometry.padding.top);
            if y >= height {
                line.fill(0.0);
                continue;
            }
            for (column, pixel) in line.chunks_exact_mut(width).enumerate() {
                let x = (strip.first.x + column).wrapping_sub(weight.geometry.padding.left);
                if x >= picture_width {
                    pixel.fill(0.0);
                    continue;
                }
                let from = &conv.pixel(strip.first.picture, y, x)[channel..][..real];
                prefetch(from.as_ptr().wrapping_add(AHEAD * weight.in_channels()), real);
                let (pixel, beyond) = pixel.split_at_mut(real);
                beyond.fill(0.0);
                let Some(norm) = norm else {
                    pixel.copy_from_slice(from);
                    continue;
                };
                let whole = real / S::LANES * S::LANES;
                for at in (0..whole).step_by(S::LANES) {
                    let distance = s.sub(s.load(&from[at..]), s.load(&norm.mean[at..]));
                    let y = s.mul_add(distance, s.load(&norm.scale[at..]), s.load(&norm.bias[at..]));
                    s.store(&mut pixel[at..], if norm.silu { silu(s, y) } else { y });
                }
                if whole < real {
                    let part = |v: &[f32]| s.load_partial(&v[whole..], 0.0);
                    let y = s.mul_add(s.sub(part(from), part(norm.mean)), part(norm.scale), part(norm.bias));
                    s.store_partial(&mut pixel[whole..], if norm.silu { silu(s, y) } else { y });
                }
            }
        }
    }
}

/// The transform of a copy.
struct Transform<'a> {
    /// `[6][columns][width]`
    copy: &'a [f32],
    tiles: usize,
    /// A multiple of the lanes of every instruction set.
    width: usize,
    to: *mut f32,
    stride: usize,
    plane: usize,
}

impl SimdOp for Transform<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Transform { copy, tiles, width, to, stride, plane } = self;
        let line = (tiles * OUT + 2) * width;
        assert!(copy.len() >= IN * line && width.is_multiple_of(MAX_LANES));
        for tile in 0..tiles {
            for at in (0..width).step_by(S::LANES) {
                let mut columns = [[s.splat(0.0); IN]; IN];
                for (x, column) in columns.iter_mut().enumerate() {
                    for (y, value) in column.iter_mut().enumerate() {
                        // SAFETY: pixel (y, x) of the tile lies in the copy, whose length was checked.
                        *value = unsafe {
                            s.load_ptr(copy.as_ptr().add(y * line + (tile * OUT + x) * width + at))
                        };
                    }
                    *column = transform::input(s, *column);
                }
                for y in 0..IN {
                    let mut row = [s.splat(0.0); IN];
                    for (value, column) in row.iter_mut().zip(&columns) {
                        *value = column[y];
                    }
                    for (x, value) in transform::input(s, row).into_iter().enumerate() {
                        // SAFETY: the caller of `strip` vouches for this place in each plane.
                        unsafe { s.store_ptr(to.add((y * IN + x) * plane + tile * stride + at), value) };
                    }
                }
            }
        }
    }
}
