//! 3x3 convolution of stride 1 as fused Winograd F(4x4, 3x3): 36 products for 16 outputs where the direct sum takes 144.
//!
//! The picture is cut into tiles of 4x4 outputs, and the tiles into blocks that fit the last-level cache. For a block:
//!
//! 1. **Input** ([`gather`]): each strip of tiles is copied with its border, normalised on the way if asked for, and
//!    transformed to `V` `[36][tiles][channels]`.
//! 2. **Products**: each task takes 16 outputs. For a part of the channels it transforms the filters from their own
//!    number format to `U` `[36][channels][16]`, which fits L2 (all of them, transformed, would take 4 times the
//!    model's memory and more), and adds `V U` to `M` `[36][tiles][16]` with the micro-kernel of the matrix product.
//! 3. **Output**: the same task transforms `M`, adds bias and residual and writes pixels.
//!
//! `V` is read from the last-level cache, `U` and `M` from L2; none is ever written out. The parts of a sum depend on
//! the channels alone, so a result does not depend on threads, batch or block.

mod gather;
mod scatter;
mod transform;

use super::{Fused, PackedConv};
use crate::gemm::PANEL;
use crate::gemm::micro::{Heights, MAX_ROWS, Tile};
use crate::gemm::pack::Values;
use crate::parallel::{self, SharedMut};
use crate::simd::{Isa, Simd, SimdOp, prefetch};
use std::cell::{Cell, RefCell};
use transform::{IN, OUT, POINTS};

/// Channels below which the direct sum is as fast: the transforms cost as much as the products they save.
const LEAST_CHANNELS: usize = 16;
/// Bytes of `V`: a share of the last-level cache that other processes leave.
const V_BYTES: usize = 8 << 20;
/// Most tiles of a block: `M` takes 2.3 KB for each. A multiple of the tile's rows on every instruction set; 128, which is
/// none of 6, took up to a fifth more time.
const MOST_TILES: usize = 96;
/// Fewest tiles of a block: a filter's transform costs as much as its products with about five tiles.
const LEAST_TILES: usize = 48;
/// Most channels of a part of the sum: `U` takes 2.3 KB for each.
const PART: usize = 160;
/// Tiles of a strip; its copy of 64 channels takes 100 KB.
const STRIP: usize = 16;
/// Values between neighbouring points' planes beyond what they hold. Without them the 36 lines that a transform writes
/// at once would lie 4096 bytes apart or a multiple of it, in the same set of L1.
const PLANE_GAP: usize = 16;

/// Whether this is the faster way for a convolution.
pub(super) fn fits(weight: &PackedConv) -> bool {
    weight.kernel == 3 && weight.stride == 1 && weight.in_channels() >= LEAST_CHANNELS
}

/// Where a tile lies.
#[derive(Clone, Copy)]
struct Place {
    picture: usize,
    /// First row and column of its outputs.
    y: usize,
    x: usize,
}

/// Neighbouring tiles of one row of tiles.
#[derive(Clone, Copy)]
struct Strip {
    first: Place,
    tiles: usize,
}

thread_local! {
    /// `V` of the thread that called; kept from call to call.
    static V: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
    /// `U` and `M` of the thread that computes.
    static PRODUCTS: RefCell<(Vec<f32>, Vec<f32>)> = const { RefCell::new((Vec::new(), Vec::new())) };
}

/// Convolves. The caller has checked all lengths.
pub(super) fn conv2d(isa: Isa, conv: &Fused<'_>, weight: &PackedConv, out: &mut [f32]) {
    let [batch, height, width] = conv.size();
    let (out_height, out_width) =
        weight.output_size(height, width).expect("a kernel within the padded input");
    let mut strips = Vec::new();
    for picture in 0..batch {
        for y in (0..out_height).step_by(OUT) {
            let tiles = out_width.div_ceil(OUT);
            for tile in (0..tiles).step_by(STRIP) {
                strips.push(Strip {
                    first: Place { picture, y, x: tile * OUT },
                    tiles: STRIP.min(tiles - tile),
                });
            }
        }
    }
    let stride = weight.in_channels().next_multiple_of(PANEL);
    let most = (V_BYTES / (POINTS * stride * size_of::<f32>())).clamp(LEAST_TILES, MOST_TILES);
    let task = Task {
        isa,
        kernels: Heights::of(isa),
        conv,
        weight,
        stride,
        output: scatter::Output {
            out: SharedMut::new(out),
            height: out_height,
            width: out_width,
            channels: weight.out_channels(),
            bias: conv.bias,
            residual: conv.residual,
        },
    };
    let mut v = V.take();
    let mut rest = &strips[..];
    while !rest.is_empty() {
        let mut tiles = 0;
        let fit = rest.iter().take_while(|strip| {
            tiles += strip.tiles;
            tiles <= most
        });
        let (block, after) = rest.split_at(fit.count().max(1));
        task.block(block, &mut v);
        rest = after;
    }
    V.set(v);
}

/// What all blocks share.
struct Task<'a> {
    isa: Isa,
    kernels: Heights,
    conv: &'a Fused<'a>,
    weight: &'a PackedConv,
    /// Values from a tile of `V` to the next: the channels, rounded up to whole vectors.
    stride: usize,
    output: scatter::Output<'a>,
}

impl Task<'_> {
    fn block(&self, strips: &[Strip], v: &mut Vec<f32>) {
        let places: Vec<Place> = strips
            .iter()
            .flat_map(|strip| (0..strip.tiles).map(|i| Place { x: strip.first.x + i * OUT, ..strip.first }))
            .collect();
        let plane = places.len() * self.stride + PLANE_GAP;
        if v.len() < POINTS * plane {
            v.resize(POINTS * plane, 0.0);
        }
        let starts: Vec<usize> = strips
            .iter()
            .scan(0, |tiles, strip| {
                *tiles += strip.tiles;
                Some(*tiles - strip.tiles)
            })
            .collect();
        let parts = self.stride.div_ceil(gather::CHANNELS);
        let shared = SharedMut::new(v);
        parallel::for_each(strips.len() * parts, |index| {
            let (strip, part) = (index / parts, index % parts);
            let channel = part * gather::CHANNELS;
            // SAFETY: each task has tiles or channels of its own, within the buffer sized above.
            let to = unsafe { shared.get().add(starts[strip] * self.stride + channel) };
            gather::strip(self.isa, self.conv, self.weight, strips[strip], channel, to, self.stride, plane);
        });
        // More threads than panels: each takes a part of the tiles, and transforms the filters again.
        let panels = self.weight.out_channels().div_ceil(PANEL);
        let splits = parallel::threads().div_ceil(panels).min(places.len().div_ceil(MAX_ROWS));
        let share = places.len().div_ceil(splits).next_multiple_of(MAX_ROWS);
        let splits = places.len().div_ceil(share);
        let v = &v[..];
        parallel::for_each(panels * splits, |index| {
            let (panel, first) = (index / splits, index % splits * share);
            let tiles = first..places.len().min(first + share);
            PRODUCTS.with_borrow_mut(|(u, m)| self.outputs(panel, &places, tiles, plane, v, u, m));
        });
    }

    /// 16 outputs of some tiles.
    #[expect(clippy::too_many_arguments, reason = "the block, the share and the buffers")]
    fn outputs(
        &self,
        panel: usize,
        places: &[Place],
        tiles: std::ops::Range<usize>,
        v_plane: usize,
        v: &[f32],
        u: &mut Vec<f32>,
        m: &mut Vec<f32>,
    ) {
        let channels = self.weight.in_channels();
        let part = channels.div_ceil(channels.div_ceil(PART));
        // Tiles are computed in whole groups of rows; what is beyond the last is never read.
        let m_plane = (tiles.len() + MAX_ROWS) * PANEL + PLANE_GAP;
        let u_plane = part * PANEL + PLANE_GAP;
        m.resize(POINTS * m_plane, 0.0);
        u.resize(POINTS * u_plane, 0.0);
        for from in (0..channels).step_by(part) {
            let len = part.min(channels - from);
            self.transform_filters(panel, from, len, u, u_plane);
            for point in 0..POINTS {
                let v = &v[point * v_plane..][..v_plane];
                let (u, m) = (&u[point * u_plane..][..u_plane], &mut m[point * m_plane..][..m_plane]);
                self.products(v, u, m, tiles.clone(), from, len);
            }
        }
        self.output.write(self.isa, &places[tiles], panel, m, m_plane);
    }

    /// `m[tile][..16] (+)= v[tile][from..from + len] · u`, for one point.
    fn products(
        &self,
        v: &[f32],
        u: &[f32],
        m: &mut [f32],
        tiles: std::ops::Range<usize>,
        from: usize,
        len: usize,
    ) {
        assert!(v.len() >= tiles.end * self.stride && from + len <= self.stride && u.len() >= len * PANEL);
        let mut tile = tiles.start;
        while tile < tiles.end {
            let kernel = self.kernels.for_rows(tiles.end - tile);
            let rows: [*const f32; MAX_ROWS] =
                std::array::from_fn(|row| v[(tile + row).min(tiles.end - 1) * self.stride + from..].as_ptr());
            let m = &mut m[(tile - tiles.start) * PANEL..][..kernel.rows * PANEL];
            let work = Tile {
                rows: rows.as_ptr(),
                pieces: 1,
                len,
                panel: u.as_ptr(),
                c: m.as_mut_ptr(),
                c_stride: PANEL,
                accumulate: from > 0,
                bias: std::ptr::null(),
                residual: std::ptr::null(),
                valid_rows: kernel.rows,
                valid_columns: PANEL,
            };
            for row in tile + kernel.rows..tiles.end.min(tile + 2 * kernel.rows) {
                prefetch(v[row * self.stride + from..].as_ptr(), len);
            }
            // SAFETY: each row points to `len` values of `v`, the panel holds `len` times 16, the sums a row of 16 for
            // each row of the kernel; all checked above.
            unsafe { kernel.run(&work) };
            tile += kernel.rows;
        }
    }

    /// Filters of 16 outputs and `len` channels from `from` on, to `u` `[36][len][16]`.
    fn transform_filters(&self, panel: usize, from: usize, len: usize, u: &mut [f32], plane: usize) {
        let channels = self.weight.in_channels();
        let tap = |tap: usize| self.weight.matrix.columns(panel, tap * channels + from, len);
        let taps: [Values<'_>; 9] = std::array::from_fn(tap);
        self.isa.run(Filters { taps, len, u, plane });
    }
}

/// The transform of the filters of one panel.
struct Filters<'a> {
    /// For each tap, `[len][16]`.
    taps: [Values<'a>; 9],
    len: usize,
    u: &'a mut [f32],
    plane: usize,
}

impl SimdOp for Filters<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Filters { taps, len, u, plane } = self;
        let count = len * PANEL;
        assert!(u.len() >= (POINTS - 1) * plane + count && taps.iter().all(|tap| tap.len() == count));
        let u = u.as_mut_ptr();
        for at in (0..count).step_by(S::LANES) {
            let mut columns = [[s.splat(0.0); IN]; 3];
            for (x, column) in columns.iter_mut().enumerate() {
                let mut filter = [s.splat(0.0); 3];
                for (y, value) in filter.iter_mut().enumerate() {
                    // SAFETY: each tap holds `count` values, a multiple of the lanes.
                    *value = unsafe {
                        match taps[3 * y + x] {
                            Values::F32(from) => s.load_ptr(from.as_ptr().add(at)),
                            Values::F16(from) => s.load_f16_ptr(from.as_ptr().add(at)),
                            Values::BF16(from) => s.load_bf16_ptr(from.as_ptr().add(at)),
                        }
                    };
                }
                *column = transform::filter(s, filter);
            }
            let [left, middle, right] = columns;
            for (y, ((left, middle), right)) in left.into_iter().zip(middle).zip(right).enumerate() {
                let row = transform::filter(s, [left, middle, right]);
                for (x, value) in row.into_iter().enumerate() {
                    // SAFETY: a vector at `at` in plane `6 y + x`, all of which lie in `u`.
                    unsafe { s.store_ptr(u.add((y * IN + x) * plane + at), value) };
                }
            }
        }
    }
}
