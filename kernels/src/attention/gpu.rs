//! The kernel for GPUs.

mod matrices;

use super::Attention;
use crate::DType;
use crate::gemm::gpu::tile::Method;
use crate::gpu::{Array, BindingAccess, Dispatch, Gpu, GpuError, Shader, ShaderVariant, in_rows, prelude};
use bytemuck::{Pod, Zeroable};
use matrices::MatrixTile;
use std::f32::consts::LOG2_E;

/// Maximum operations of one command: drivers reset a GPU that takes longer than two seconds, and a small GPU may.
const FLOPS: usize = 150_000_000_000;

/// Maximum columns of the output of one command: wider heads take several.
const MAX_COLUMNS: usize = 512;

/// What both shaders share.
const PARAMS: &str = include_str!("params.wgsl");

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Params {
    queries: u32,
    keys: u32,
    heads: u32,
    head_dim: u32,
    tiles: u32,
    groups: u32,
    shift: i32,
    scale: f32,
    q_first: u32,
    k_first: u32,
    v_first: u32,
    out_first: u32,
    column: u32,
    begins: u32,
    pad: [u32; 2],
}

/// All keys in one command.
pub(crate) static ATTENTION: Shader = Shader {
    name: "attention",
    sources: &[PARAMS, include_str!("attention.wgsl")],
    bindings: &[BindingAccess::Read, BindingAccess::Read, BindingAccess::Read, BindingAccess::Write],
    params: size_of::<Params>(),
    variants: || variants(false),
};

/// All keys in one command, by cooperative matrices.
pub(crate) static ATTENTION_MATRICES: Shader = Shader {
    name: "attention_matrices",
    sources: &[
        PARAMS,
        prelude::MATRICES,
        include_str!("tiles.wgsl"),
        include_str!("attention_matrices.wgsl"),
    ],
    bindings: &[BindingAccess::Read, BindingAccess::Read, BindingAccess::Read, BindingAccess::Write],
    params: size_of::<Params>(),
    variants: matrices::variants,
};

/// A part of the keys. Instead of the output it writes the state that is carried to the next part.
pub(crate) static ATTENTION_PART: Shader = Shader {
    name: "attention_part",
    sources: &[PARAMS, include_str!("attention.wgsl")],
    bindings: &[BindingAccess::Read, BindingAccess::Read, BindingAccess::Read, BindingAccess::Write],
    params: size_of::<Params>(),
    variants: || variants(true),
};

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct EndParams {
    count: u32,
    head_dim: u32,
    out_first: u32,
    pad: u32,
}

/// The output, from the carried state.
pub(crate) static ATTENTION_END: Shader = Shader {
    name: "attention_end",
    sources: &[include_str!("attention_end.wgsl")],
    bindings: &[BindingAccess::Read, BindingAccess::Write],
    params: size_of::<EndParams>(),
    variants: || {
        let of = |dtype| [4, 1].map(|head_dim| of_head(dtype, head_dim));
        [DType::F32, DType::F16].into_iter().flat_map(of).collect()
    },
};

fn of_head(dtype: DType, head_dim: usize) -> ShaderVariant {
    ShaderVariant::of_width(dtype, head_dim).flag("SCALAR", !head_dim.is_multiple_of(4))
}

/// How a workgroup divides its work, as described in `attention.wgsl`; columns are vectors of four.
#[derive(Clone, Copy, Debug)]
struct AttentionTile {
    query_threads: usize,
    key_threads: usize,
    keys_each: usize,
    columns_each: usize,
    chunk: usize,
    step: usize,
}

impl AttentionTile {
    /// For heads of `head_dim` and workgroup memory of `room` bytes.
    ///
    /// Up to 160 columns, 64 queries: a thread has four of them and a share of the columns, at most 64 values. For wider
    /// heads, 32 queries.
    fn new(head_dim: usize, room: usize) -> AttentionTile {
        let columns = head_dim.min(MAX_COLUMNS).div_ceil(4);
        let [query_threads, key_threads, keys_each] = match columns {
            // The head sizes of Stable Diffusion that are multiples of 40 fill the columns of ten threads.
            10 | 20 | 30 | 33..=40 => [16, 10, 4],
            ..=32 => [16, 8, 4],
            _ => [8, 32, 2],
        };
        let columns_each = columns.div_ceil(key_threads);
        let all = head_dim.div_ceil(4);
        let chunk = all.div_ceil(all.div_ceil(8));
        let keys = key_threads * keys_each;
        // Wide rows of values need more than 16 KiB, else a step would be short; long steps gain nothing.
        let room = room.min(if key_threads == 32 { 24 << 10 } else { 16 << 10 }) / 16;
        let fits = |step: usize| {
            keys.is_multiple_of(step) && keys * query_threads + step * columns_each * key_threads <= room
        };
        let step = (1..=20).rev().find(|step| fits(*step)).expect("a step of one value fits");
        AttentionTile { query_threads, key_threads, keys_each, columns_each, chunk, step }
    }

    fn queries(&self) -> usize {
        4 * self.query_threads
    }

    fn variant(&self, dtype: DType, head_dim: usize, part: bool) -> ShaderVariant {
        of_head(dtype, head_dim)
            .flag("PART", part)
            .constant("QUERY_THREADS", self.query_threads as u32)
            .constant("KEY_THREADS", self.key_threads as u32)
            .constant("KEYS_EACH", self.keys_each as u32)
            .constant("COLUMNS_EACH", self.columns_each as u32)
            .constant("CHUNK", self.chunk as u32)
            .constant("STEP", self.step as u32)
    }
}

fn variants(part: bool) -> Vec<ShaderVariant> {
    let mut all = Vec::new();
    for dtype in [DType::F32, DType::F16] {
        for head_dim in [1, 8, 40, 64, 80, 97, 128, 160, 200, 511, 512] {
            for room in [16352, 32 << 10] {
                let variant = AttentionTile::new(head_dim, room).variant(dtype, head_dim, part);
                if !all.contains(&variant) {
                    all.push(variant);
                }
            }
        }
    }
    all
}

/// As [`super::attention`].
///
/// # Errors A lost GPU, a command that it refused, no memory for the state between parts of the keys, if these are too
/// many for one binding.
///
/// # Panics
/// As [`super::attention`], and if a dtype disagrees.
pub fn attention(shape: Attention, q: &Array, k: &Array, v: &Array, out: &mut Array) -> Result<(), GpuError> {
    by(Method::best(q.gpu()), shape, q, k, v, out)
}

/// As [`attention`], by a given method where it is suitable.
pub(crate) fn by(
    method: Method,
    shape: Attention,
    q: &Array,
    k: &Array,
    v: &Array,
    out: &mut Array,
) -> Result<(), GpuError> {
    let Attention { batch, queries, keys, heads, head_dim, .. } = shape;
    let width = heads * head_dim;
    shape.assert_lengths(q.len(), k.len(), v.len(), out.len());
    for array in [k, v, out] {
        assert_eq!(array.dtype(), q.dtype(), "dtypes of {shape:?}");
    }

    let gpu = q.gpu().clone();
    let tile = AttentionTile::new(head_dim, gpu.workgroup_memory() as usize);
    let fit = gpu.rows_at_once(width * q.dtype().size());
    let in_parts = keys > fit;
    let matrices = if in_parts { None } else { MatrixTile::of(method, q.dtype(), head_dim) };
    let call = AttentionCall { gpu: &gpu, shape, tile, matrices, q, k, v, out };
    let busy = FLOPS / (4 * keys * width);
    let all = AttentionRange { batch: 0, batches: batch, queries: [0, queries], keys: [0, keys] };
    if batch * queries.max(keys) <= fit && batch * queries <= busy {
        return call.run(&all);
    }
    let carry_fit = gpu.rows_at_once(carried(&shape) * size_of::<f32>());
    let piece = fit.min(busy).min(if in_parts { carry_fit } else { fit });
    // Whole tiles, if at least one fits.
    let of_tile = call.queries();
    let piece = if piece < of_tile { piece.max(1) } else { piece / of_tile * of_tile };
    let carry = match in_parts {
        true => Some(Array::scratch(&gpu, DType::F32, piece.min(queries) * carried(&shape))?),
        false => None,
    };
    for b in 0..batch {
        for i in (0..queries).step_by(piece) {
            let queries = [i, piece.min(queries - i)];
            let range = AttentionRange { batch: b, batches: 1, queries, keys: [0, keys] };
            match &carry {
                Some(carry) => call.run_in_parts(&range, fit, carry)?,
                None => call.run(&range)?,
            }
        }
    }
    Ok(())
}

/// Values that one part of the keys hands to the next for a query: for each head a vector of four, of which two are the
/// largest score and the sum of the weights, then the weighted sum of values.
fn carried(shape: &Attention) -> usize {
    shape.heads * (4 + shape.head_dim.next_multiple_of(4))
}

/// The sequences, queries and keys of a command: `queries` and `keys` are `[first, count]`.
#[derive(Clone, Copy)]
struct AttentionRange {
    batch: usize,
    batches: usize,
    queries: [usize; 2],
    keys: [usize; 2],
}

struct AttentionCall<'a> {
    gpu: &'a Gpu,
    shape: Attention,
    tile: AttentionTile,
    /// Used instead of `tile`, if there is one.
    matrices: Option<MatrixTile>,
    q: &'a Array,
    k: &'a Array,
    v: &'a Array,
    out: &'a Array,
}

impl AttentionCall<'_> {
    /// Number of queries of a tile.
    fn queries(&self) -> usize {
        self.matrices.map_or(self.tile.queries(), MatrixTile::queries)
    }

    /// All of the range's keys at once.
    fn run(&self, range: &AttentionRange) -> Result<(), GpuError> {
        (0..self.shape.head_dim)
            .step_by(MAX_COLUMNS)
            .try_for_each(|column| self.dispatch(range, column, None))
    }

    /// The range's keys, `piece` at a time.
    fn run_in_parts(&self, range: &AttentionRange, piece: usize, carry: &Array) -> Result<(), GpuError> {
        let head_dim = self.shape.head_dim;
        let ([_, queries], [_, keys]) = (range.queries, range.keys);
        // Columns are the outer loop: each pass computes the sums again.
        for column in (0..head_dim).step_by(MAX_COLUMNS) {
            for j in (0..keys).step_by(piece) {
                self.dispatch(
                    &AttentionRange { keys: [j, piece.min(keys - j)], ..*range },
                    column,
                    Some(carry),
                )?;
            }
        }
        let (from, _) = carry.window(0, queries * carried(&self.shape));
        let (first, len) = self.output(range);
        let (to, out_first) = self.out.window(first, len);
        let variant = of_head(self.out.dtype(), head_dim);
        let count = queries * self.shape.heads * head_dim.div_ceil(4);
        let out_first = out_first / variant.vector;
        self.gpu.dispatch(&Dispatch {
            shader: &ATTENTION_END,
            variant,
            arrays: &[from, to],
            params: EndParams { count: count as u32, head_dim: head_dim as u32, out_first, pad: 0 },
            groups: in_rows(count.div_ceil(256)),
            flops: 0,
        })
    }

    /// Where the range's queries and output begin, and their length.
    fn output(&self, range: &AttentionRange) -> (usize, usize) {
        let width = self.shape.heads * self.shape.head_dim;
        let [query, queries] = range.queries;
        ((range.batch * self.shape.queries + query) * width, range.batches * queries * width)
    }

    /// One command: at most [`MAX_COLUMNS`] columns of the output, from `column` on. A carry is started by the range
    /// whose keys begin at 0, and continued by the others.
    fn dispatch(&self, range: &AttentionRange, column: usize, carry: Option<&Array>) -> Result<(), GpuError> {
        let Attention { heads, head_dim, causal, .. } = self.shape;
        let width = heads * head_dim;
        let ([query, queries], [key, keys]) = (range.queries, range.keys);
        let key_row = range.batch * self.shape.keys + key;
        let (first, len) = self.output(range);
        let (q, q_first) = self.q.window(first, len);
        let (k, k_first) = self.k.window(key_row * width, range.batches * keys * width);
        let (v, v_first) = self.v.window(key_row * width, range.batches * keys * width);
        let (to, out_first) = match carry {
            Some(carry) => carry.window(0, queries * carried(&self.shape)),
            None => self.out.window(first, len),
        };

        let (shader, variant) = match (self.matrices, carry) {
            (Some(tile), _) => (&ATTENTION_MATRICES, tile.variant()),
            (None, Some(_)) => (&ATTENTION_PART, self.tile.variant(self.q.dtype(), head_dim, true)),
            (None, None) => (&ATTENTION, self.tile.variant(self.q.dtype(), head_dim, false)),
        };
        let vector = variant.vector;
        let tiles = queries.div_ceil(self.queries());
        let groups = range.batches * heads * tiles;
        // Without a mask each query sees every key.
        let shift = if causal { query as i32 - key as i32 } else { 1 << 30 };
        // As on the CPU, masked scores count. Scores that are computed again for further columns count once.
        let pairs = (queries * keys) as u64;
        let flops = if column == 0 { 4 * (range.batches * width) as u64 * pairs } else { 0 };
        let params = Params {
            queries: queries as u32,
            keys: keys as u32,
            heads: heads as u32,
            head_dim: head_dim as u32,
            tiles: tiles as u32,
            groups: groups as u32,
            shift,
            scale: LOG2_E / (head_dim as f32).sqrt(),
            q_first: q_first / vector,
            k_first: k_first / vector,
            v_first: v_first / vector,
            out_first: out_first / vector,
            column: (column / 4) as u32,
            begins: u32::from(key == 0),
            pad: [0; 2],
        };
        let (arrays, groups) = (&[q, k, v, to], in_rows(groups));
        self.gpu.dispatch(&Dispatch { shader, variant, arrays, params, groups, flops })
    }
}
