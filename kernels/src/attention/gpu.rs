//! The kernel for GPUs.

mod matrices;
mod tile;

use super::{Attention, ScoreTerms};
use crate::DType;
use crate::gemm::gpu::tile::Method;
use crate::gpu::{Array, Binding, BindingAccess, Dispatch, Gpu, GpuError, Shader, in_rows, prelude};
use bytemuck::{Pod, Zeroable};
use matrices::MatrixTile;
use std::f32::consts::LOG2_E;
use tile::{AttentionTile, MAX_COLUMNS, of_head};

/// Maximum operations of one command: half a second on a small GPU of 0.2 TFLOP/s. Drivers reset a GPU that takes longer than
/// two.
const FLOPS: u64 = 100_000_000_000;

/// What both shaders share.
const PARAMS: &str = include_str!("params.wgsl");

/// The arrays of an attention.
const PLAIN: &[BindingAccess] =
    &[BindingAccess::Read, BindingAccess::Read, BindingAccess::Read, BindingAccess::Write];

/// The arrays of an attention with a bias.
const BIASED: &[BindingAccess] = &[
    BindingAccess::Read,
    BindingAccess::Read,
    BindingAccess::Read,
    BindingAccess::Write,
    BindingAccess::Read,
];

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
    kv_heads: u32,
    heads_here: u32,
    head_first: u32,
    bias_first: u32,
    bias_head: u32,
    bias_row: u32,
}

/// All keys in one command.
pub(crate) static ATTENTION: Shader = Shader {
    name: "attention",
    sources: &[PARAMS, include_str!("attention.wgsl")],
    bindings: PLAIN,
    params: size_of::<Params>(),
    variants: || tile::variants([false, false]),
};

/// As [`ATTENTION`], with a bias of the scores.
pub(crate) static ATTENTION_BIASED: Shader = Shader {
    name: "attention_biased",
    sources: &[PARAMS, include_str!("attention.wgsl")],
    bindings: BIASED,
    params: size_of::<Params>(),
    variants: || tile::variants([false, true]),
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
    bindings: PLAIN,
    params: size_of::<Params>(),
    variants: matrices::variants,
};

/// A part of the keys. Instead of the output it writes the state that is carried to the next part.
pub(crate) static ATTENTION_PART: Shader = Shader {
    name: "attention_part",
    sources: &[PARAMS, include_str!("attention.wgsl")],
    bindings: PLAIN,
    params: size_of::<Params>(),
    variants: || tile::variants([true, false]),
};

/// As [`ATTENTION_PART`], with a bias of the scores.
pub(crate) static ATTENTION_PART_BIASED: Shader = Shader {
    name: "attention_part_biased",
    sources: &[PARAMS, include_str!("attention.wgsl")],
    bindings: BIASED,
    params: size_of::<Params>(),
    variants: || tile::variants([true, true]),
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

/// As [`super::attention`].
///
/// # Errors
/// A lost GPU, a command that it refused, no memory for the state between parts of the keys, if these are too many for one
/// binding.
///
/// # Panics
/// As [`super::attention`], and if a dtype disagrees.
pub fn attention(shape: Attention, q: &Array, k: &Array, v: &Array, out: &mut Array) -> Result<(), GpuError> {
    attention_of_scores(shape, &ScoreTerms::default(), [q, k, v], out)
}

/// As [`super::attention_of_scores`]; the bias has the dtype of the queries.
///
/// # Errors
/// As [`attention`].
///
/// # Panics
/// As [`super::attention_of_scores`], and if a dtype disagrees.
pub fn attention_of_scores(
    shape: Attention,
    terms: &ScoreTerms<'_, Array>,
    qkv: [&Array; 3],
    out: &mut Array,
) -> Result<(), GpuError> {
    by(Method::best(qkv[0].gpu()), shape, terms, qkv, out)
}

/// As [`attention_of_scores`], by a given method where it is suitable.
pub(crate) fn by(
    method: Method,
    shape: Attention,
    terms: &ScoreTerms<'_, Array>,
    [q, k, v]: [&Array; 3],
    out: &mut Array,
) -> Result<(), GpuError> {
    let Attention { batch, queries, keys, heads, head_dim, .. } = shape;
    let (width, size) = (heads * head_dim, q.dtype().size());
    shape.assert_lengths(q.len(), k.len(), v.len(), out.len());
    shape.assert_terms(terms.key_lengths, terms.bias.map(Array::len));
    for array in [Some(k), Some(v), Some(&*out), terms.bias].into_iter().flatten() {
        assert_eq!(array.dtype(), q.dtype(), "dtypes of {shape:?}");
    }

    if q.is_empty() {
        return Ok(());
    }
    let gpu = q.gpu().clone();
    let tile = AttentionTile::new(head_dim, gpu.workgroup_memory() as usize);
    let fit = gpu.rows_at_once(width * size);
    let in_parts = keys > fit;
    let matrices =
        if in_parts || terms.bias.is_some() { None } else { MatrixTile::of(method, q.dtype(), head_dim) };
    // A bias that cannot be bound as a whole is taken head by head, some queries at a time.
    let is_split = terms.bias.is_some_and(|bias| !gpu.binds(bias.len() * size));
    let heads_at_once = if is_split { 1 } else { heads };
    let bias_fit = if is_split { gpu.rows_at_once(keys * size) } else { usize::MAX };
    let call = AttentionCall { gpu: &gpu, shape, terms, heads_at_once, tile, matrices, q, k, v, out };
    let busy = (FLOPS / (4 * keys as u64 * width as u64)) as usize;
    let all = AttentionRange {
        batch: 0,
        batches: batch,
        heads: [0, heads],
        queries: [0, queries],
        keys: [0, keys],
    };
    if batch * queries.max(keys) <= fit && batch * queries <= busy && !is_split && terms.key_lengths.is_none()
    {
        return call.run(&all);
    }
    let carry_fit = gpu.rows_at_once(carried(&shape) * size_of::<f32>());
    let piece = fit.min(busy).min(bias_fit).min(if in_parts { carry_fit } else { fit });
    // Whole tiles, if at least one fits.
    let of_tile = call.queries();
    let piece = if piece < of_tile { piece.max(1) } else { piece / of_tile * of_tile };
    let carry = match in_parts {
        true => Some(Array::scratch(&gpu, DType::F32, piece.min(queries) * carried(&shape))?),
        false => None,
    };
    for b in 0..batch {
        for i in (0..queries).step_by(piece) {
            let (queries, keys) = ([i, piece.min(queries - i)], [0, terms.keys(&shape, b)]);
            let range = AttentionRange { batch: b, batches: 1, queries, keys, ..all };
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

/// The sequences, heads, queries and keys of a command: `heads`, `queries` and `keys` are `[first, count]`.
#[derive(Clone, Copy)]
struct AttentionRange {
    batch: usize,
    batches: usize,
    heads: [usize; 2],
    queries: [usize; 2],
    keys: [usize; 2],
}

struct AttentionCall<'a> {
    gpu: &'a Gpu,
    shape: Attention,
    terms: &'a ScoreTerms<'a, Array>,
    heads_at_once: usize,
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
            .try_for_each(|column| self.dispatch_heads(range, column, None))
    }

    /// The range's heads, as many at a time as the bias allows.
    fn dispatch_heads(
        &self,
        range: &AttentionRange,
        column: usize,
        carry: Option<&Array>,
    ) -> Result<(), GpuError> {
        (0..self.shape.heads).step_by(self.heads_at_once).try_for_each(|head| {
            self.dispatch(&AttentionRange { heads: [head, self.heads_at_once], ..*range }, column, carry)
        })
    }

    /// The range's keys, `piece` at a time.
    fn run_in_parts(&self, range: &AttentionRange, piece: usize, carry: &Array) -> Result<(), GpuError> {
        let head_dim = self.shape.head_dim;
        let ([_, queries], [_, keys]) = (range.queries, range.keys);
        // Columns are the outer loop: each pass computes the sums again.
        for column in (0..head_dim).step_by(MAX_COLUMNS) {
            for j in (0..keys).step_by(piece) {
                let part = AttentionRange { keys: [j, piece.min(keys - j)], ..*range };
                self.dispatch_heads(&part, column, Some(carry))?;
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

    /// The values of the bias that the range needs, and where they begin.
    fn bias(&self, range: &AttentionRange) -> Option<(Binding, u32)> {
        let Attention { queries, keys, .. } = self.shape;
        let ([head, heads], [query, count], [key, key_count]) = (range.heads, range.queries, range.keys);
        let last = ((head + heads - 1) * queries + query + count - 1) * keys + key + key_count;
        let first = (head * queries + query) * keys + key;
        self.terms.bias.map(|bias| bias.window(first, last - first))
    }

    /// One command: at most [`MAX_COLUMNS`] columns of the output, from `column` on. A carry is started by the range
    /// whose keys begin at 0, and continued by the others.
    fn dispatch(&self, range: &AttentionRange, column: usize, carry: Option<&Array>) -> Result<(), GpuError> {
        let Attention { kv_heads, head_dim, .. } = self.shape;
        let kv_width = kv_heads * head_dim;
        let ([_, queries], [key, keys]) = (range.queries, range.keys);
        let key_row = range.batch * self.shape.keys + key;
        let (first, len) = self.output(range);
        let (q, q_first) = self.q.window(first, len);
        let (k, k_first) = self.k.window(key_row * kv_width, range.batches * keys * kv_width);
        let (v, v_first) = self.v.window(key_row * kv_width, range.batches * keys * kv_width);
        let (to, out_first) = match carry {
            Some(carry) => carry.window(0, queries * carried(&self.shape)),
            None => self.out.window(first, len),
        };
        let (dtype, has_bias) = (self.q.dtype(), self.terms.bias.is_some());
        let tiled = |part| self.tile.variant(dtype, head_dim, [part, has_bias]);
        let (shader, variant) = match (self.matrices, carry) {
            (Some(tile), _) => (&ATTENTION_MATRICES, tile.variant()),
            (None, Some(_)) => (if has_bias { &ATTENTION_PART_BIASED } else { &ATTENTION_PART }, tiled(true)),
            (None, None) => (if has_bias { &ATTENTION_BIASED } else { &ATTENTION }, tiled(false)),
        };
        let mut arrays = vec![q, k, v, to];
        let mut params = self.params(range, column);
        let firsts = [q_first, k_first, v_first, out_first].map(|first| first / variant.vector);
        [params.q_first, params.k_first, params.v_first, params.out_first] = firsts;
        if let Some((bias, first)) = self.bias(range) {
            arrays.push(bias);
            params.bias_first = first;
        }
        // As on the CPU, masked scores count. Scores that are computed again for further columns count once.
        let columns = (range.batches * range.heads[1] * head_dim) as u64;
        let flops = if column == 0 { 4 * columns * (queries * keys) as u64 } else { 0 };
        let groups = in_rows(params.groups as usize);
        self.gpu.dispatch(&Dispatch { shader, variant, arrays: &arrays, params, groups, flops })
    }

    /// The parameters of a command, without where its arrays begin.
    fn params(&self, range: &AttentionRange, column: usize) -> Params {
        let Attention { heads, kv_heads, head_dim, causal, .. } = self.shape;
        let ([query, queries], [key, keys]) = (range.queries, range.keys);
        let tiles = queries.div_ceil(self.queries());
        Params {
            queries: queries as u32,
            keys: keys as u32,
            heads: heads as u32,
            head_dim: head_dim as u32,
            tiles: tiles as u32,
            groups: (range.batches * range.heads[1] * tiles) as u32,
            // Without a mask each query sees every key.
            shift: if causal { query as i32 - key as i32 } else { 1 << 30 },
            scale: self.terms.scale.map_or_else(|| LOG2_E / (head_dim as f32).sqrt(), |scale| LOG2_E * scale),
            column: (column / 4) as u32,
            begins: u32::from(key == 0),
            kv_heads: kv_heads as u32,
            heads_here: range.heads[1] as u32,
            head_first: range.heads[0] as u32,
            bias_head: (self.shape.queries * self.shape.keys) as u32,
            bias_row: self.shape.keys as u32,
            ..Params::zeroed()
        }
    }
}
