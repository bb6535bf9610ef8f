//! Attention with an online softmax (Milakov and Gimelshein, Online normalizer calculation for softmax, 2018; Dao et
//! al., FlashAttention, 2022): a tile of queries goes along the keys and keeps, for each query, the largest score so far,
//! the sum of the exponentials and the weighted sum of the values. When a larger score arrives, both sums are scaled down
//! by the exponential of the difference.
//!
//! Keys and values of a head are packed once, when they are first needed, into panels for the micro-kernel of the matrix
//! product: `q kᵀ` takes panels of 16 keys, `p v` panels of 16 channels. Every query's result depends on its own row alone,
//! so it is the same for any batch and any number of threads.

use super::Attention;
use crate::gemm::PANEL;
use crate::gemm::arithmetic::{Arithmetic, KernelSetOf};
use crate::gemm::lhs::{MAX_ROWS, RowPointers};
use crate::gemm::micro::ProductBlock;
use crate::gemm::single_precision::SinglePrecision;
use crate::parallel::{self, SharedMut};
use crate::simd::{Isa, Simd, SimdOp};
use crate::softmax::{largest, powers};
use std::cell::RefCell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Queries that go along the keys together: 16 tiles of 6 rows.
const QUERY_TILE: usize = 96;
/// Keys of a step. The scores of a tile, 96 x 256 values, take 96 KiB; with the keys and values of a step of 40 to
/// 160 channels they stay in L2.
const KEY_TILE: usize = 256;

pub(super) fn attention(isa: Isa, shape: Attention, q: &[f32], k: &[f32], v: &[f32], out: &mut [f32]) {
    let tiles = shape.queries.div_ceil(QUERY_TILE);
    let heads: Vec<SharedHead> = (0..shape.batch * shape.heads).map(|_| SharedHead::new(tiles)).collect();
    let kernels = SinglePrecision::kernels(isa);
    let context = FlashAttention { isa, kernels, shape, q, out: SharedMut::new(out) };
    parallel::for_each(heads.len() * tiles, |task| {
        let index = task / tiles;
        let run = |head: &PackedHead| context.run(head, index, task % tiles * QUERY_TILE);
        heads[index].with(|| PackedHead::pack(&shape, index, k, v), run);
    });
}

/// The keys and values of one head of one sequence, in panels.
struct PackedHead {
    /// `[keys / 16][head_dim][16]`, already times `log2(e) / sqrt(head_dim)`: the softmax works with powers of 2.
    keys: Vec<f32>,
    /// `[head_dim / 16][keys][16]`
    values: Vec<f32>,
}

impl PackedHead {
    /// Packs head `index % heads` of sequence `index / heads`.
    fn pack(shape: &Attention, index: usize, k: &[f32], v: &[f32]) -> PackedHead {
        let Attention { keys: count, heads, head_dim, .. } = *shape;
        let scale = (std::f64::consts::LOG2_E / (head_dim as f64).sqrt()) as f32;
        let row = |j: usize| ((index / heads * count + j) * heads + index % heads) * head_dim;
        let mut keys = vec![0.0; count.next_multiple_of(PANEL) * head_dim];
        let mut values = vec![0.0; head_dim.next_multiple_of(PANEL) * count];
        for j in 0..count {
            for (d, x) in k[row(j)..][..head_dim].iter().enumerate() {
                keys[(j / PANEL * head_dim + d) * PANEL + j % PANEL] = x * scale;
            }
            for (panel, x) in v[row(j)..][..head_dim].chunks(PANEL).enumerate() {
                values[(panel * count + j) * PANEL..][..x.len()].copy_from_slice(x);
            }
        }
        PackedHead { keys, values }
    }
}

/// A head that is packed by the first task that needs it and dropped by the last: tasks go from head to head, so that about
/// one for each thread exists at a time.
struct SharedHead {
    packed: Mutex<Option<Arc<PackedHead>>>,
    /// Tasks that still need it.
    tasks: AtomicUsize,
}

impl SharedHead {
    fn new(tasks: usize) -> SharedHead {
        SharedHead { packed: Mutex::new(None), tasks: AtomicUsize::new(tasks) }
    }

    /// The value is complete at any time: a panic elsewhere cannot leave it broken.
    fn lock(&self) -> MutexGuard<'_, Option<Arc<PackedHead>>> {
        self.packed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls `f` with the head, for one of its tasks.
    fn with(&self, pack: impl FnOnce() -> PackedHead, f: impl FnOnce(&PackedHead)) {
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
struct FlashAttention<'a> {
    isa: Isa,
    kernels: &'static KernelSetOf<SinglePrecision>,
    shape: Attention,
    q: &'a [f32],
    out: SharedMut,
}

impl FlashAttention<'_> {
    /// Attention of the queries `first..first + QUERY_TILE` of one head of one sequence.
    fn run(&self, head: &PackedHead, head_index: usize, first: usize) {
        let Attention { queries, keys, heads, head_dim, causal, .. } = self.shape;
        let rows = QUERY_TILE.min(queries - first);
        let (sequence, h) = (head_index / heads, head_index % heads);
        let start = ((sequence * queries + first) * heads + h) * head_dim;
        let (stride, sum_width) = (heads * head_dim, head_dim.next_multiple_of(PANEL));
        let seen = |row: usize| if causal { first + row + 1 } else { keys };
        SCRATCH.with_borrow_mut(|scratch| {
            scratch.scores.resize(QUERY_TILE * KEY_TILE, 0.0);
            scratch.sums.clear();
            scratch.sums.resize(QUERY_TILE * sum_width, 0.0);
            let queries_list = RowList::new(&self.q[start..], rows, stride, head_dim);
            let mut state = [RowState { max: f32::NEG_INFINITY, total: 0.0 }; QUERY_TILE];
            for key in (0..seen(rows - 1)).step_by(KEY_TILE) {
                let count = KEY_TILE.min(keys - key);
                self.scores(&queries_list, head, key, count, &mut scratch.scores);
                self.isa.run(OnlineSoftmax {
                    scores: &mut scratch.scores,
                    sums: &mut scratch.sums,
                    state: &mut state[..rows],
                    count,
                    seen: |row| seen(row).saturating_sub(key).min(count),
                    sum_width,
                });
                let weights = RowList::new(&scratch.scores, rows, KEY_TILE, count);
                self.add_values(&weights, head, key, count, &mut scratch.sums, sum_width);
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

    /// Scores of the queries with the keys `key..key + count`.
    fn scores(&self, queries: &RowList, head: &PackedHead, key: usize, count: usize, out: &mut [f32]) {
        let d = self.shape.head_dim;
        let panels = &head.keys[key * d..][..count.next_multiple_of(PANEL) * d];
        self.multiply(queries, d, panels, PANEL * d, out, KEY_TILE, count.next_multiple_of(PANEL), false);
    }

    /// Adds the values `key..key + count`, weighted.
    fn add_values(
        &self,
        weights: &RowList,
        head: &PackedHead,
        key: usize,
        count: usize,
        sums: &mut [f32],
        width: usize,
    ) {
        let (values, stride) = (&head.values[key * PANEL..], self.shape.keys * PANEL);
        self.multiply(weights, count, values, stride, sums, width, self.shape.head_dim, true);
    }

    /// Some columns of a product: `out = [out +] rows · panels`, the panels `panel_stride` apart. `out` has room for whole
    /// panels.
    #[expect(clippy::too_many_arguments, reason = "the three matrices of a product")]
    fn multiply(
        &self,
        rows: &RowList,
        len: usize,
        panels: &[f32],
        panel_stride: usize,
        out: &mut [f32],
        stride: usize,
        columns: usize,
        accumulate: bool,
    ) {
        let count = columns.div_ceil(PANEL);
        assert!(panels.len() >= (count - 1) * panel_stride + len * PANEL && len <= rows.values);
        assert!(count * PANEL <= stride && out.len() >= rows.len * stride);
        let mut done = 0;
        while done < columns {
            let kernel = self.kernels.for_columns(columns - done);
            let lists = rows.pointers.as_ptr();
            let block = ProductBlock {
                lhs: RowPointers { lists, list_stride: 0, offset: 0, pieces: 1, len },
                row_count: rows.len,
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
            // SAFETY: the list continues after its rows, each pointer is valid for `len` values; panels and output have room
            // for whole panels, and a kernel ends with one or with the last column.
            unsafe { kernel.run(&block) };
            done += kernel.columns;
        }
    }
}

/// The left side of a product: pointers to rows, listed once for all panels. Past the last row they repeat it, so that
/// every row of a tile has a pointer.
struct RowList {
    pointers: [*const f32; QUERY_TILE + MAX_ROWS],
    len: usize,
    /// Values that each pointer is valid for.
    values: usize,
}

impl RowList {
    /// `len` rows of `values` values in `x`, `stride` apart.
    fn new(x: &[f32], len: usize, stride: usize, values: usize) -> RowList {
        let mut pointers = [x.as_ptr(); QUERY_TILE + MAX_ROWS];
        for (row, pointer) in pointers.iter_mut().enumerate() {
            *pointer = x[row.min(len - 1) * stride..][..values].as_ptr();
        }
        RowList { pointers, len, values }
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
struct OnlineSoftmax<'a, F> {
    scores: &'a mut [f32],
    sums: &'a mut [f32],
    state: &'a mut [RowState],
    /// Keys of the step; the micro-kernel reads that many weights.
    count: usize,
    /// How many of them a row may see.
    seen: F,
    sum_width: usize,
}

impl<F: Fn(usize) -> usize> SimdOp for OnlineSoftmax<'_, F> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for (row, state) in self.state.iter_mut().enumerate() {
            let (scores, hidden) = self.scores[row * KEY_TILE..][..self.count].split_at_mut((self.seen)(row));
            hidden.fill(0.0);
            if scores.is_empty() {
                continue;
            }
            let max = state.max.max(largest(s, scores));
            let total = powers(s, scores, max, 1.0);
            let shrink = if max > state.max { (state.max - max).exp2() } else { 1.0 };
            state.total = state.total * shrink + total;
            if shrink != 1.0 {
                scale_in_place(s, &mut self.sums[row * self.sum_width..][..self.sum_width], shrink);
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
