//! From pixels to `V`: a strip of tiles with its border is copied, normalised on the way, and transformed.

use super::transform::{self, IN, OUT};
use super::{STRIP, Strip};
use crate::conv2d::{ConvWeight, Convolution};
use crate::group_norm::Norm;
use crate::simd::{Isa, MAX_LANES};
use crate::simd::{Simd, SimdOp, prefetch, silu};
use std::cell::RefCell;
use std::ops::Range;

/// Channels that a task copies and transforms at most.
pub(super) const CHANNELS: usize = 80;
/// The same where a part has more of them.
pub(super) const CHANNELS_OF_LONG_PART: usize = 64;

/// How many pixels ahead the input is prefetched.
const PREFETCH_DISTANCE: usize = 6;

thread_local! {
    /// `[6][columns][CHANNELS]`
    static COPY: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Where a transform is written: the first value of the first tile, and the distances between tiles and planes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Planes {
    pub(super) first: *mut f32,
    /// Values from a tile to the next.
    pub(super) stride: usize,
    /// Values from a plane to the next; each of the 36 points has one.
    pub(super) plane: usize,
}

/// Writes the transform of some channels of a strip, at most [`CHANNELS`] (zeros past the last, up to a whole panel).
///
/// # Safety
/// - `to` is valid for writes of the strip's tiles, each of these channels rounded up to a whole panel, in 36 planes.
/// - No other task accesses them meanwhile.
pub(super) unsafe fn strip(
    isa: Isa,
    conv: &Convolution<'_>,
    weight: &ConvWeight,
    strip: Strip,
    channels: Range<usize>,
    to: Planes,
) {
    let (channel, real) = (channels.start, channels.len());
    let width = real.next_multiple_of(MAX_LANES);
    assert!(width <= CHANNELS && channels.end <= weight.in_channels());
    COPY.with_borrow_mut(|copy| {
        copy.resize(IN * (STRIP * OUT + 2) * CHANNELS, 0.0);
        isa.run(CopyStrip { conv, weight, strip, channel, real, width, copy });
        // SAFETY: the caller's promise is the one needed.
        isa.run(unsafe { TransformStrip::new(copy, strip.tiles, width, to) });
    });
}

/// The pixels that a strip needs, zeros outside the image.
struct CopyStrip<'a> {
    conv: &'a Convolution<'a>,
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

impl SimdOp for CopyStrip<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let CopyStrip { conv, weight, strip, channel, real, width, copy } = self;
        let [_, height, image_width] = conv.size();
        let columns = strip.tiles * OUT + 2;
        let norm = conv.norm.map(|norm| norm.channels(strip.first.image, channel, real));
        for (row, line) in copy.chunks_exact_mut(columns * width).take(IN).enumerate() {
            // Above the image this wraps to a huge value, and fails the comparison like one below.
            let y = (strip.first.y + row).wrapping_sub(weight.geometry.padding.top);
            if y >= height {
                line.fill(0.0);
                continue;
            }
            for (column, pixel) in line.chunks_exact_mut(width).enumerate() {
                let x = (strip.first.x + column).wrapping_sub(weight.geometry.padding.left);
                if x >= image_width {
                    pixel.fill(0.0);
                    continue;
                }
                let from = &conv.pixel(strip.first.image, y, x)[channel..][..real];
                prefetch(from.as_ptr().wrapping_add(PREFETCH_DISTANCE * weight.in_channels()), real);
                let (pixel, beyond) = pixel.split_at_mut(real);
                beyond.fill(0.0);
                match norm {
                    Some(norm) => normalise(s, norm, from, pixel),
                    None => pixel.copy_from_slice(from),
                }
            }
        }
    }
}

/// Applies a norm to the channels of a pixel.
#[inline(always)]
fn normalise<S: Simd>(s: S, norm: Norm<'_>, from: &[f32], pixel: &mut [f32]) {
    let real = pixel.len();
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

/// The transform of a copy.
struct TransformStrip<'a> {
    /// `[6][columns][width]`
    copy: &'a [f32],
    tiles: usize,
    /// A multiple of the lanes of every instruction set.
    width: usize,
    to: Planes,
}

impl<'a> TransformStrip<'a> {
    /// # Safety
    /// - `to` is valid for writes of `width` values of each tile in 36 planes, and no other task accesses them meanwhile.
    unsafe fn new(copy: &'a [f32], tiles: usize, width: usize, to: Planes) -> TransformStrip<'a> {
        TransformStrip { copy, tiles, width, to }
    }
}

impl SimdOp for TransformStrip<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let TransformStrip { copy, tiles, width, to: Planes { first, stride, plane } } = self;
        let line = (tiles * OUT + 2) * width;
        assert!(copy.len() >= IN * line && width.is_multiple_of(MAX_LANES));
        for tile in 0..tiles {
            for at in (0..width).step_by(S::LANES) {
                let mut columns = [[s.splat(0.0); IN]; IN];
                for (x, column) in columns.iter_mut().enumerate() {
                    for (y, value) in column.iter_mut().enumerate() {
                        // SAFETY: pixel (y, x) of the tile is in the copy, whose length was checked.
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
                        // SAFETY: `new` requires the caller's promise for this place in each plane.
                        unsafe { s.store_ptr(first.add((y * IN + x) * plane + tile * stride + at), value) };
                    }
                }
            }
        }
    }
}
