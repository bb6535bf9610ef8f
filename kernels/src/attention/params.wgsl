// What both attention shaders share: parameters and arrays.

// Less than every score, and finite also after a difference.
const MIN_SCORE = -1e38;

struct Params {
    queries: u32,   // of a sequence, in this command
    keys: u32,      // the same
    heads: u32,
    head_dim: u32,  // elements
    tiles: u32,     // of queries
    groups: u32,    // workgroups with work
    shift: i32,     // query i sees the keys up to i + shift
    scale: f32,     // of scores, for powers of two
    q_first: u32,   // vectors
    k_first: u32,
    v_first: u32,
    out_first: u32,
    column: u32,    // first vector of four columns of the output; 0 with cooperative matrices
    begins: u32,    // whether nothing is carried from a command over earlier keys
    kv_heads: u32,  // of keys and values, a divisor of the heads
    heads_here: u32, // in this command
    head_first: u32,
    bias_first: u32, // element: of the command's first head, query and key
    bias_head: u32,  // elements of a head
    bias_row: u32,   // elements of a query
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> q: array<Elems>;
@group(0) @binding(2) var<storage, read> k: array<Elems>;
@group(0) @binding(3) var<storage, read> v: array<Elems>;
#if PART
// For each query and head a vector of the largest score and the sum of the weights, then the weighted sum of values.
@group(0) @binding(4) var<storage, read_write> carried: array<vec4<f32>>;
#else
@group(0) @binding(4) var<storage, read_write> out: array<Elems>;
#endif
#if BIAS
@group(0) @binding(5) var<storage, read> bias: array<Elem>;
#endif

