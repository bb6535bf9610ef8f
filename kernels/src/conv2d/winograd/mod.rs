//! 3x3 convolution of stride 1 as fused Winograd F(4x4, 3x3): 36 products for 16 outputs where the direct sum takes 144.
//!
//! The output is cut into tiles of 4x4, and the tiles into blocks that fit the last-level cache. Where there are enough
//! tiles each thread takes blocks of its own, else all threads share a block. For a block:
//!
//! 1. **Input** ([`gather`]): each strip of tiles is copied with its border, normalised on the way if asked for, and
//!    transformed to `V` `[36][tiles][channels]`, or `[parts][36][tiles][channels of a part]`.
//! 2. **Products**: a task takes one panel of 16 outputs, or two where the micro-kernel multiplies two at once. For a part
//!    of the channels it transforms the filters from their own dtype to `U` `[36][channels][16]`, which fits L2 (all
//!    filters, transformed, would take 4 times the model's memory and more), and adds `V U` to `M` `[36][tiles][16]` with
//!    the micro-kernel of the matrix product.
//! 3. **Output**: the same task transforms `M`, adds bias and residual and writes pixels.
//!
//! `V` is read from the last-level cache, `U` and `M` from L2; none is ever written out. The parts of a sum depend on
//! the channels and the instruction set alone, so a result does not depend on threads, batch or block.

mod blocking;
mod gather;
mod scatter;
mod transform;

use super::{ConvWeight, Convolution};
use crate::aligned::AlignedBuffer;
use crate::gemm::PANEL;
use crate::gemm::arithmetic::{Arithmetic, KernelSetOf};
use crate::gemm::lhs::{MAX_ROWS, RowPointers};
use crate::gemm::micro::ProductBlock;
use crate::gemm::single_precision::SinglePrecision;
use crate::parallel::{self, SharedMut};
use crate::simd::{Isa, Simd, SimdOp};
use blocking::{Blocking, VLayout, sum_part, v_part};
use gather::Planes;
use std::cell::RefCell;
use std::ops::Range;
pub(super) use transform::OUT;
use transform::{IN, POINTS};

/// Channels below which the direct sum is as fast: the transforms cost as much as the products they save.
const MIN_CHANNELS: usize = 16;
/// Bytes of `V` of a block that all threads share: the part of the last-level cache that other processes leave.
const V_BYTES: usize = 8 << 20;
/// Bytes of `V` of a block that a thread has for itself: about a core's share of the last-level cache.
const OWN_BYTES: usize = 4 << 20;
/// Minimum tiles of a block: a filter's transform costs as much as its products with about five tiles.
const MIN_TILES: usize = 48;
/// Maximum channels of a part of the sum, for all panels together: `U` takes 2.3 KB for each.
const PART: usize = 160;
/// Taps of a filter.
const TAPS: usize = 9;
/// Tiles of a strip; its copy of 64 to 80 channels takes 100 to 127 KB.
const STRIP: usize = 16;
/// Unused values between the planes of neighbouring points. Without them the 36 lines that a transform writes at once would
/// be a multiple of 4096 bytes apart, in the same set of L1.
const PLANE_GAP: usize = 16;

/// Whether this is the faster way for a convolution.
pub(super) fn fits(weight: &ConvWeight) -> bool {
    weight.geometry.kernel == 3 && weight.geometry.stride == 1 && weight.in_channels() >= MIN_CHANNELS
}

/// The position of a tile in the output.
#[derive(Clone, Copy, Debug)]
struct TilePosition {
    image: usize,
    /// First row and column of its outputs.
    y: usize,
    x: usize,
}

/// Neighbouring tiles of one row of tiles.
#[derive(Clone, Copy, Debug)]
struct Strip {
    first: TilePosition,
    tiles: usize,
}

thread_local! {
    /// `V` of the block that a thread has started.
    static V: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
    /// Buffers of a thread for products.
    static SCRATCH: RefCell<Scratch> =
        const { RefCell::new(Scratch { filters: Vec::new(), u: AlignedBuffer::new(), m: Vec::new(), rows: Vec::new() }) };
}

struct Scratch {
    /// `[9][channels of a part][16]`
    filters: Vec<f32>,
    u: AlignedBuffer<f32>,
    m: Vec<f32>,
    /// The start of each tile of a point in `V`.
    rows: Vec<*const f32>,
}

/// Convolves. The caller has checked all lengths.
pub(super) fn conv2d(isa: Isa, conv: &Convolution<'_>, weight: &ConvWeight, out: &mut [f32]) {
    conv2d_with(Blocking::of_this_cpu(), isa, conv, weight, out);
}

fn conv2d_with(blocking: Blocking, isa: Isa, conv: &Convolution<'_>, weight: &ConvWeight, out: &mut [f32]) {
    let (rows, out_width) = conv.wanted(weight);
    let strips = strips(conv, rows.start..rows.end, out_width);
    let run = WinogradRun {
        isa,
        kernels: SinglePrecision::kernels(isa),
        conv,
        weight,
        part: v_part(blocking, isa, weight),
        output: scatter::WinogradOutput {
            out: SharedMut::new(out),
            rows,
            width: out_width,
            channels: weight.out_channels(),
            bias: conv.bias,
            residual: conv.residual,
            accumulate: conv.accumulate,
        },
    };
    let tiles: usize = strips.iter().map(|strip| strip.tiles).sum();
    let tile_bytes = POINTS * weight.in_channels().next_multiple_of(PANEL) * size_of::<f32>();
    let threads = parallel::threads();
    let Blocking { max_tiles, min_own_tiles, .. } = blocking;
    // A block for each thread: what a thread gathers stays in its own caches.
    let own = (OWN_BYTES / tile_bytes).min(max_tiles);
    if own >= min_own_tiles && tiles >= threads * min_own_tiles {
        let count = tiles.div_ceil(own).next_multiple_of(threads).min(strips.len());
        parallel::for_each(count, |i| run.block(&strips[part(strips.len(), count, i)], 1));
    } else {
        let max_tiles = (V_BYTES / tile_bytes).clamp(MIN_TILES, max_tiles);
        let count = tiles.div_ceil(max_tiles).min(strips.len());
        for i in 0..count {
            run.block(&strips[part(strips.len(), count, i)], threads);
        }
    }
}

/// The strips of some rows of the output.
fn strips(conv: &Convolution<'_>, rows: Range<usize>, out_width: usize) -> Vec<Strip> {
    let [batch, ..] = conv.size();
    let mut strips = Vec::new();
    for image in 0..batch {
        for y in (rows.start..rows.end).step_by(OUT) {
            let tiles = out_width.div_ceil(OUT);
            for tile in (0..tiles).step_by(STRIP) {
                strips.push(Strip {
                    first: TilePosition { image, y, x: tile * OUT },
                    tiles: STRIP.min(tiles - tile),
                });
            }
        }
    }
    strips
}

/// Part `i` of `count` parts of about the same size.
fn part(len: usize, count: usize, i: usize) -> Range<usize> {
    i * len / count..(i + 1) * len / count
}

/// What all blocks share.
struct WinogradRun<'a> {
    isa: Isa,
    kernels: &'static KernelSetOf<SinglePrecision>,
    conv: &'a Convolution<'a>,
    weight: &'a ConvWeight,
    /// Channels of a part of `V`.
    part: usize,
    output: scatter::WinogradOutput<'a>,
}

impl WinogradRun<'_> {
    /// Convolves some strips, on this thread alone or on `threads` threads.
    fn block(&self, strips: &[Strip], threads: usize) {
        let positions: Vec<TilePosition> = strips
            .iter()
            .flat_map(|strip| {
                (0..strip.tiles).map(|i| TilePosition { x: strip.first.x + i * OUT, ..strip.first })
            })
            .collect();
        let layout = VLayout::new(self.part, positions.len());
        let channels = self.weight.in_channels();
        let for_each = |tasks: usize, f: &(dyn Fn(usize) + Sync)| {
            if threads > 1 { parallel::for_each(tasks, f) } else { (0..tasks).for_each(f) }
        };
        // Not borrowed while other tasks may run on this thread.
        let mut v = V.take();
        if v.len() < layout.len(channels) {
            v.resize(layout.len(channels), 0.0);
        }
        let starts: Vec<usize> = strips
            .iter()
            .scan(0, |tiles, strip| {
                *tiles += strip.tiles;
                Some(*tiles - strip.tiles)
            })
            .collect();
        let chunks = layout.chunks(channels);
        let shared = SharedMut::new(&mut v);
        for_each(strips.len() * chunks.len(), &|index| {
            let (strip, chunk) = (index / chunks.len(), &chunks[index % chunks.len()]);
            let at = layout.offset(0, chunk.start) + starts[strip] * layout.stride;
            // SAFETY: each task has tiles or channels of its own, within the buffer sized above.
            unsafe {
                let first = shared.get().add(at);
                let to = Planes { first, stride: layout.stride, plane: layout.plane };
                gather::strip(self.isa, self.conv, self.weight, strips[strip], chunk.clone(), to);
            }
        });
        // As many panels as the kernel multiplies at once. Where there are more threads than groups, each takes a part of the
        // tiles, and transforms the filters again.
        let panels = self.weight.out_channels().div_ceil(PANEL);
        let group = self.kernels.for_panels(panels).columns / PANEL;
        let groups = panels.div_ceil(group);
        let splits = threads.div_ceil(groups).min(positions.len().div_ceil(MAX_ROWS));
        for_each(groups * splits, &|index| {
            let first = index / splits * group;
            let panels = first..panels.min(first + group);
            let tiles = part(positions.len(), splits, index % splits);
            SCRATCH.with_borrow_mut(|scratch| self.outputs(panels, &positions, tiles, layout, &v, scratch));
        });
        V.set(v);
    }

    /// The outputs of some panels, of some tiles.
    fn outputs(
        &self,
        panels: Range<usize>,
        positions: &[TilePosition],
        tiles: Range<usize>,
        layout: VLayout,
        v: &[f32],
        scratch: &mut Scratch,
    ) {
        let Scratch { filters, u, m, rows } = scratch;
        let channels = self.weight.in_channels();
        let part = sum_part(channels, panels.len());
        let m_plane = tiles.len() * panels.len() * PANEL + PLANE_GAP;
        let u_plane = part * panels.len() * PANEL + PLANE_GAP;
        filters.resize(TAPS * part * PANEL, 0.0);
        m.resize(POINTS * m_plane, 0.0);
        u.grow(POINTS * u_plane);
        assert!(layout.plane >= tiles.end * layout.stride && v.len() >= layout.len(channels));
        assert!(layout.part == part || layout.part >= channels, "a part of the sum is in one part of V");
        rows.clear();
        for tile in tiles.start..tiles.end + MAX_ROWS {
            rows.push(v[tile.min(tiles.end - 1) * layout.stride..].as_ptr());
        }
        for from in (0..channels).step_by(part) {
            let len = part.min(channels - from);
            for (i, panel) in panels.clone().enumerate() {
                self.weight.matrix.widen(self.isa, panel, from, len, filters);
                let u = &mut u[i * len * PANEL..];
                self.isa.run(TransformFilters { filters: &filters[..TAPS * len * PANEL], u, plane: u_plane });
            }
            for point in 0..POINTS {
                let (u, m) = (&u[point * u_plane..][..u_plane], &mut m[point * m_plane..][..m_plane]);
                let width = panels.len() * PANEL;
                assert!(u.len() >= len * width && m.len() >= tiles.len() * width);
                let block = ProductBlock {
                    lhs: RowPointers {
                        lists: rows.as_ptr(),
                        list_stride: 0,
                        offset: layout.offset(point, from),
                        pieces: 1,
                        len,
                    },
                    row_count: tiles.len(),
                    panel: u.as_ptr(),
                    panel_stride: len * PANEL,
                    c: m.as_mut_ptr(),
                    c_stride: width,
                    accumulate: from > 0,
                    bias: std::ptr::null(),
                    residual: std::ptr::null(),
                    columns: width,
                    prefetch: true,
                };
                // SAFETY: at the offset each row points to `len` values of `v`, and the list continues after the last; each
                // panel holds `len` times 16, the sums 16 for each tile and panel: all checked above. The kernel is for this
                // number of panels.
                unsafe { self.kernels.for_panels(panels.len()).run(&block) };
            }
        }
        // SAFETY: the positions are in the output, whose lengths the caller of `conv2d` has checked; tasks have tiles or
        // channels of their own.
        unsafe { self.output.write(self.isa, &positions[tiles], panels, m, m_plane) };
    }
}

/// The transform of the filters of one panel.
struct TransformFilters<'a> {
    /// `[9][len][16]`
    filters: &'a [f32],
    u: &'a mut [f32],
    plane: usize,
}

impl SimdOp for TransformFilters<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let TransformFilters { filters, u, plane } = self;
        let count = filters.len() / TAPS;
        assert!(u.len() >= (POINTS - 1) * plane + count && count.is_multiple_of(PANEL));
        let u = u.as_mut_ptr();
        for at in (0..count).step_by(S::LANES) {
            let mut columns = [[s.splat(0.0); IN]; 3];
            for (x, column) in columns.iter_mut().enumerate() {
                let mut filter = [s.splat(0.0); 3];
                for (y, value) in filter.iter_mut().enumerate() {
                    // SAFETY: each tap holds `count` values, a multiple of the lanes.
                    *value = unsafe { s.load_ptr(filters.as_ptr().add((3 * y + x) * count + at)) };
                }
                *column = transform::filter(s, filter);
            }
            let [left, middle, right] = columns;
            for (y, ((left, middle), right)) in left.into_iter().zip(middle).zip(right).enumerate() {
                let row = transform::filter(s, [left, middle, right]);
                for (x, value) in row.into_iter().enumerate() {
                    // SAFETY: a vector at `at` in plane `6 y + x`, all of which are in `u`.
                    unsafe { s.store_ptr(u.add((y * IN + x) * plane + at), value) };
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Padding;
    use super::*;
    use crate::testing::{random, to_bytes};
    use crate::{DType, WeightBytes};

    #[test]
    fn no_bit_depends_on_the_blocking() {
        // Channels of one, two and seven parts, and panels that are no multiple of two.
        for [height, width, inputs, outputs] in [[33, 70, 20, 33], [18, 40, 150, 64], [9, 66, 512, 48]] {
            let bytes = to_bytes(&random(1, outputs * inputs * TAPS), DType::F16);
            let weight =
                ConvWeight::new(WeightBytes::new(DType::F16, &bytes), outputs, inputs, 3, 1, Padding::all(1));
            let x = random(2, 2 * height * width * inputs);
            let conv = Convolution::plain(&x, [2, height, width]);
            for isa in Isa::available() {
                let run = |blocking| {
                    let mut out = vec![f32::NAN; 2 * height * width * outputs];
                    conv2d_with(blocking, isa, &conv, &weight, &mut out);
                    out
                };
                let expected = run(Blocking { max_tiles: 96, min_own_tiles: 64, is_by_part: false });
                for (max_tiles, min_own_tiles, is_by_part) in
                    [(48, 40, true), (48, 8, true), (96, 64, true), (48, 40, false)]
                {
                    let blocking = Blocking { max_tiles, min_own_tiles, is_by_part };
                    assert!(run(blocking) == expected, "{isa} {inputs}->{outputs} {blocking:?}");
                }
            }
        }
    }
}
