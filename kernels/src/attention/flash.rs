//! Attention with an online softmax (Milakov and Gimelshein, Online normalizer calculation for softmax, 2018; Dao et
//! al., FlashAttention, 2022): a tile of queries goes along the keys and keeps, for each query, the largest score so far,
//! the sum of the exponentials and the weighted sum of the values. When a larger score arrives, both sums are scaled down
//! by the exponential of the difference.
//!
//! Keys and values of a head are packed once, when they are first needed, into panels for the micro-kernel of the matrix
//! product: `q kᵀ` takes panels of 16 keys, `p v` panels of 16 channels. Every query's result depends on its own row alone,
//! so it is the same for any batch and any number of threads.

use super::{Attention, ScoreTerms};
use crate::aligned::AlignedBuffer;
use crate::gemm::PANEL;
use crate::gemm::arithmetic::{Arithmetic, KernelSetOf};
use crate::gemm::bf16::{self, Bf16, Bf16Line};
use crate::gemm::lhs::{LeftSide, LhsRows, SumPart};
use crate::gemm::micro::ProductBlock;
use crate::gemm::packed::PackedTiles;
use crate::gemm::single_precision::SinglePrecision;
use crate::parallel::{self, SharedMut};
use crate::simd::{Isa, Simd, SimdOp};
use crate::softmax::{largest, powers};
use std::cell::RefCell;
use std::f32::consts::LOG2_E;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Queries that go along the keys together: 16 tiles of 6 rows.
const QUERY_TILE: usize = 96;
/// Keys of a step. The scores of a tile, 96 x 256 values, take 96 KiB; with the keys and values of a step of 40 to
/// 160 channels they stay in L2.
const KEY_TILE: usize = 256;

// A step begins with a step of the sum of each arithmetic, and with a panel of keys.
const _: () = assert!(KEY_TILE.is_multiple_of(bf16::LINE) && KEY_TILE.is_multiple_of(PANEL));

/// An arithmetic for both products. Its panels have 16 outputs.
pub(super) trait AttentionArithmetic: Arithmetic<Out = f32> {
    /// Packs a panel of `[terms][16]` values.
    fn pack(isa: Isa, terms: &[f32], out: &mut [Self::Rhs]);

    /// Packs a panel of `[16][terms]` values.
    fn pack_outputs(isa: Isa, outputs: &[f32], out: &mut [Self::Rhs]);

    /// Replaces a step's scores by their weights, and prepares these as the left side of the product with the values.
    fn weights<F: Fn(usize) -> usize>(
        isa: Isa,
        kernels: &KernelSetOf<Self>,
        mut softmax: OnlineSoftmax<'_, F>,
        buffer: &mut <Self::Lhs as LeftSide>::Buffer,
    ) -> Self::Lhs {
        let (rows, count) = (softmax.state.len(), softmax.count);
        softmax.run(isa, 0..rows);
        let source = StridedRows { x: softmax.scores, stride: KEY_TILE, len: count };
        Self::Lhs::prepare(&kernels.lhs, &source, 0..rows, SumPart { from: 0, len: count }, buffer)
    }
}

impl AttentionArithmetic for SinglePrecision {
    fn pack(_: Isa, terms: &[f32], out: &mut [f32]) {
        out[..terms.len()].copy_from_slice(terms);
    }

    fn pack_outputs(_: Isa, outputs: &[f32], out: &mut [f32]) {
        for (output, values) in outputs.chunks_exact(outputs.len() / PANEL).enumerate() {
            out.iter_mut().skip(output).step_by(PANEL).zip(values).for_each(|(to, from)| *to = *from);
        }
    }
}

impl AttentionArithmetic for Bf16 {
    fn pack(isa: Isa, terms: &[f32], out: &mut [Bf16Line]) {
        bf16::pack_panel(isa, terms, out);
    }

    fn pack_outputs(isa: Isa, outputs: &[f32], out: &mut [Bf16Line]) {
        bf16::pack_outputs(isa, outputs, out);
    }

    /// Tile by tile: the weights are packed while they are in the first-level cache.
    fn weights<F: Fn(usize) -> usize>(
        isa: Isa,
        kernels: &KernelSetOf<Bf16>,
        mut softmax: OnlineSoftmax<'_, F>,
        buffer: &mut <Self::Lhs as LeftSide>::Buffer,
    ) -> Self::Lhs {
        let (rows, count) = (softmax.state.len(), softmax.count);
        let layout = &kernels.lhs;
        let read = |first: usize, pointers: &mut Vec<*const f32>| {
            softmax.run(isa, first..rows.min(first + layout.rows));
            let row = |row: usize| softmax.scores[row.min(rows - 1) * KEY_TILE..][..count].as_ptr();
            pointers.extend((first..first + layout.rows).map(row));
        };
        // SAFETY: the pointers are to `count` scores, which nothing changes before the next tile; the set was selected for this CPU.
        unsafe { PackedTiles::pack(layout, rows, [1, count], buffer, read) }
    }
}

pub(super) fn attention<A: AttentionArithmetic>(
    isa: Isa,
    shape: Attention,
    terms: &ScoreTerms<'_>,
    [q, k, v]: [&[f32]; 3],
    out: &mut [f32],
) {
    let tiles = shape.queries.div_ceil(QUERY_TILE);
    // Heads of queries that share keys and values are neighbours.
    let group = shape.heads / shape.kv_heads;
    let heads = (0..shape.batch * shape.kv_heads).map(|_| SharedHead::new(group * tiles));
    let heads: Vec<SharedHead<A>> = heads.collect();
    let kernels = A::kernels(isa);
    let context = FlashAttention::<A> { isa, kernels, shape, terms, q, out: SharedMut::new(out) };
    parallel::for_each(heads.len() * group * tiles, |task| {
        let index = task / (group * tiles);
        let run = |head: &PackedHead<A>| context.run(head, task / tiles, task % tiles * QUERY_TILE);
        heads[index].with(|| context.pack(index, k, v), run);
    });
}

/// The keys and values of one head of one sequence, in panels.
struct PackedHead<A: Arithmetic> {
    /// A panel for 16 keys, of `head_dim` terms, already times the scale and `log2(e)`: the softmax works with powers of 2.
    keys: AlignedBuffer<A::Rhs>,
    /// A panel for 16 channels, of `keys` terms.
    values: AlignedBuffer<A::Rhs>,
}

/// A head that is packed by the first task that needs it and dropped by the last: tasks go from head to head, so that about
/// one for each thread exists at a time.
struct SharedHead<A: Arithmetic> {
    packed: Mutex<Option<Arc<PackedHead<A>>>>,
    /// Tasks that still need it.
    tasks: AtomicUsize,
}

impl<A: Arithmetic> SharedHead<A> {
    fn new(tasks: usize) -> SharedHead<A> {
        SharedHead { packed: Mutex::new(None), tasks: AtomicUsize::new(tasks) }
    }

    /// The value is complete at any time: a panic elsewhere cannot leave it broken.
    fn lock(&self) -> MutexGuard<'_, Option<Arc<PackedHead<A>>>> {
        self.packed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls `f` with the head, for one of its tasks.
    fn with(&self, pack: impl FnOnce() -> PackedHead<A>, f: impl FnOnce(&PackedHead<A>)) {
        let head = self.lock().get_or_insert_with(|| Arc::new(pack())).clone();
        f(&head);
        if self.tasks.fetch_sub(1, Ordering::AcqRel) == 1 {
            *self.lock() = None;
        }
    }
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = const { RefCell::new(Scratch { scores: Vec::new(), sums: Vec::new() }) };
}

/// Buffers of a thread for a tile of queries.
struct Scratch {
    /// `[QUERY_TILE][KEY_TILE]`: scores, then their exponentials.
    scores: Vec<f32>,
    /// `[QUERY_TILE][head_dim, rounded up to panels]`: weighted sums of the values.
    sums: Vec<f32>,
}

/// What all tasks of an attention share.
struct FlashAttention<'a, A: Arithmetic> {
    isa: Isa,
    kernels: &'static KernelSetOf<A>,
    shape: Attention,
    terms: &'a ScoreTerms<'a>,
    q: &'a [f32],
    out: SharedMut,
}

impl<A: AttentionArithmetic> FlashAttention<'_, A> {
    /// Packs head `index % kv_heads` of sequence `index / kv_heads`.
    fn pack(&self, index: usize, k: &[f32], v: &[f32]) -> PackedHead<A> {
        let Attention { keys: count, kv_heads, head_dim, .. } = self.shape;
        let scale = self.terms.scale_of_powers(&self.shape);
        let row = |j: usize| ((index / kv_heads * count + j) * kv_heads + index % kv_heads) * head_dim;
        let panels = |terms: usize, outputs: usize| {
            let len = self.kernels.rhs.len(terms);
            (AlignedBuffer::zeros(outputs.div_ceil(PANEL) * len), len)
        };
        let (mut keys, len) = panels(head_dim, count);
        let mut scaled = vec![0.0; PANEL * head_dim];
        for (panel, out) in keys.chunks_exact_mut(len).enumerate() {
            let first = panel * PANEL;
            scaled[PANEL.min(count - first) * head_dim..].fill(0.0);
            for (key, to) in (first..count).zip(scaled.chunks_exact_mut(head_dim)) {
                for (to, x) in to.iter_mut().zip(&k[row(key)..]) {
                    *to = x * scale;
                }
            }
            A::pack_outputs(self.isa, &scaled, out);
        }
        let (mut values, len) = panels(count, head_dim);
        let mut terms = vec![0.0; KEY_TILE * PANEL];
        for (panel, out) in values.chunks_exact_mut(len).enumerate() {
            let channels = panel * PANEL..head_dim.min((panel + 1) * PANEL);
            for first in (0..count).step_by(KEY_TILE) {
                let keys = first..count.min(first + KEY_TILE);
                terms.fill(0.0);
                for (key, to) in keys.clone().zip(terms.chunks_exact_mut(PANEL)) {
                    to[..channels.len()].copy_from_slice(&v[row(key)..][channels.clone()]);
                }
                let out = &mut out[self.kernels.rhs.len(first)..self.kernels.rhs.len(keys.end)];
                A::pack(self.isa, &terms[..keys.len() * PANEL], out);
            }
        }
        PackedHead { keys, values }
    }

    /// Attention of the queries `first..first + QUERY_TILE` of head `head_index % heads` of sequence `head_index / heads`.
    fn run(&self, head: &PackedHead<A>, head_index: usize, first: usize) {
        let Attention { queries, heads, head_dim, causal, .. } = self.shape;
        let rows = QUERY_TILE.min(queries - first);
        let (sequence, h) = (head_index / heads, head_index % heads);
        let keys = self.terms.keys(&self.shape, sequence);
        let bias_first = (h * queries + first) * self.shape.keys;
        let start = ((sequence * queries + first) * heads + h) * head_dim;
        let (stride, sum_width) = (heads * head_dim, head_dim.next_multiple_of(PANEL));
        let seen = |row: usize| if causal { keys.min(first + row + 1) } else { keys };
        SCRATCH.with_borrow_mut(|scratch| {
            scratch.scores.resize(QUERY_TILE * KEY_TILE, 0.0);
            scratch.sums.clear();
            scratch.sums.resize(QUERY_TILE * sum_width, 0.0);
            let (mut query_buffer, mut weight_buffer) = Default::default();
            let queries = self.prepare(&self.q[start..], stride, rows, head_dim, &mut query_buffer);
            let mut state = [RowState { max: f32::NEG_INFINITY, total: 0.0 }; QUERY_TILE];
            for key in (0..seen(rows - 1)).step_by(KEY_TILE) {
                let count = KEY_TILE.min(keys - key);
                self.scores((queries, rows), head, key, count, &mut scratch.scores);
                let softmax = OnlineSoftmax {
                    scores: &mut scratch.scores,
                    sums: &mut scratch.sums,
                    state: &mut state[..rows],
                    count,
                    seen: |row| seen(row).saturating_sub(key).min(count),
                    bias: self.terms.bias.map(|bias| &bias[bias_first + key..]),
                    bias_stride: self.shape.keys,
                    sum_width,
                };
                let weights = A::weights(self.isa, self.kernels, softmax, &mut weight_buffer);
                self.add_values((weights, rows), head, key, count, &mut scratch.sums, sum_width);
            }
            for (row, state) in state[..rows].iter().enumerate() {
                // SAFETY: (first + row) is a query of this sequence; tasks have disjoint queries or heads.
                let out = unsafe {
                    std::slice::from_raw_parts_mut(self.out.get().add(start + row * stride), head_dim)
                };
                let inverse = 1.0 / state.total;
                for (out, sum) in out.iter_mut().zip(&scratch.sums[row * sum_width..]) {
                    *out = sum * inverse;
                }
            }
        });
    }

    /// The left side of a product: `rows` rows of `len` values in `x`, `stride` apart.
    fn prepare(
        &self,
        x: &[f32],
        stride: usize,
        rows: usize,
        len: usize,
        buffer: &mut <A::Lhs as LeftSide>::Buffer,
    ) -> A::Lhs {
        let source = StridedRows { x, stride, len };
        A::Lhs::prepare(&self.kernels.lhs, &source, 0..rows, SumPart { from: 0, len }, buffer)
    }

    /// Scores of the queries with the keys `key..key + count`.
    fn scores(
        &self,
        queries: (A::Lhs, usize),
        head: &PackedHead<A>,
        key: usize,
        count: usize,
        out: &mut [f32],
    ) {
        let d = self.shape.head_dim;
        let len = self.kernels.rhs.len(d);
        let panels = &head.keys[key / PANEL * len..];
        self.multiply(queries, d, panels, len, out, KEY_TILE, count.next_multiple_of(PANEL), false);
    }

    /// Adds the values `key..key + count`, weighted.
    fn add_values(
        &self,
        weights: (A::Lhs, usize),
        head: &PackedHead<A>,
        key: usize,
        count: usize,
        sums: &mut [f32],
        width: usize,
    ) {
        let layout = &self.kernels.rhs;
        let (values, stride) = (&head.values[layout.len(key)..], layout.len(self.shape.keys));
        self.multiply(weights, count, values, stride, sums, width, self.shape.head_dim, true);
    }

    /// Some columns of a product: `out = [out +] rows · panels`, the panels `panel_stride` apart. The left side has `len`
    /// terms, and comes with the number of its rows. `out` has room for whole panels.
    #[expect(clippy::too_many_arguments, reason = "the three matrices of a product")]
    fn multiply(
        &self,
        (lhs, rows): (A::Lhs, usize),
        len: usize,
        panels: &[A::Rhs],
        panel_stride: usize,
        out: &mut [f32],
        stride: usize,
        columns: usize,
        accumulate: bool,
    ) {
        let count = columns.div_ceil(PANEL);
        assert!(panels.len() >= (count - 1) * panel_stride + self.kernels.rhs.len(len));
        assert!(count * PANEL <= stride && out.len() >= rows * stride);
        let mut done = 0;
        while done < columns {
            let kernel = self.kernels.for_columns(columns - done);
            let block = ProductBlock {
                lhs,
                row_count: rows,
                panel: panels[done / PANEL * panel_stride..].as_ptr(),
                panel_stride,
                c: out[done..].as_mut_ptr(),
                c_stride: stride,
                accumulate,
                bias: std::ptr::null(),
                residual: std::ptr::null(),
                columns: kernel.columns,
                prefetch: false,
            };
            // SAFETY: the left side was prepared for its rows and `len` terms; panels and output have room for whole panels, and
            // a kernel ends with one or with the last column.
            unsafe { kernel.run(&block) };
            done += kernel.columns;
        }
    }
}

/// Rows of a matrix, `stride` apart, of which the first `len` values count.
struct StridedRows<'a> {
    x: &'a [f32],
    stride: usize,
    len: usize,
}

// SAFETY: `pointer` slices `x`, so it is valid for the values of each row, or panics.
unsafe impl LhsRows for StridedRows<'_> {
    fn segments(&self) -> usize {
        1
    }
    fn segment_len(&self) -> usize {
        self.len
    }
    #[inline]
    fn pointer(&self, row: usize, _segment: usize) -> *const f32 {
        self.x[row * self.stride..][..self.len].as_ptr()
    }
}

/// The state of the online softmax of a query.
#[derive(Clone, Copy)]
struct RowState {
    /// Largest score so far.
    max: f32,
    /// Sum of `2^(score - max)` so far.
    total: f32,
}

/// Replaces a step's scores by their weights, and scales the sums down where a larger score arrived.
pub(super) struct OnlineSoftmax<'a, F> {
    scores: &'a mut [f32],
    sums: &'a mut [f32],
    state: &'a mut [RowState],
    /// Keys of the step; the micro-kernel reads that many weights.
    count: usize,
    /// How many of them a row may see.
    seen: F,
    /// What is added to the scores, for powers of `e`; the values of a row begin `bias_stride` after those of the row before.
    bias: Option<&'a [f32]>,
    bias_stride: usize,
    sum_width: usize,
}

impl<F: Fn(usize) -> usize> OnlineSoftmax<'_, F> {
    fn run(&mut self, isa: Isa, rows: Range<usize>) {
        isa.run(SoftmaxOfRows { step: self, rows });
    }
}

/// Some rows of a step.
struct SoftmaxOfRows<'a, 'b, F> {
    step: &'a mut OnlineSoftmax<'b, F>,
    rows: Range<usize>,
}

impl<F: Fn(usize) -> usize> SimdOp for SoftmaxOfRows<'_, '_, F> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let SoftmaxOfRows { step, rows } = self;
        for row in rows {
            let state = &mut step.state[row];
            let (scores, hidden) = step.scores[row * KEY_TILE..][..step.count].split_at_mut((step.seen)(row));
            hidden.fill(0.0);
            if scores.is_empty() {
                continue;
            }
            if let Some(bias) = step.bias {
                for (score, bias) in scores.iter_mut().zip(&bias[row * step.bias_stride..]) {
                    *score += bias * LOG2_E;
                }
            }
            let max = state.max.max(largest(s, scores));
            let total = powers(s, scores, max, 1.0);
            let shrink = if max > state.max { (state.max - max).exp2() } else { 1.0 };
            state.total = state.total * shrink + total;
            if shrink != 1.0 {
                scale_in_place(s, &mut step.sums[row * step.sum_width..][..step.sum_width], shrink);
            }
            state.max = max;
        }
    }
}

#[inline(always)]
fn scale_in_place<S: Simd>(s: S, x: &mut [f32], by: f32) {
    // The width is a multiple of a panel, so of any vector.
    for x in x.chunks_exact_mut(S::LANES) {
        let v = s.mul(s.load(x), s.splat(by));
        s.store(x, v);
    }
}
