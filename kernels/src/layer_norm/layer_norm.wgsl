// Layer normalisation of rows, two passes over each for its variance.

struct Params {
    rows: u32,
    width: u32,     // vectors of a row
    x_first: u32,   // vector
    out_first: u32,
    eps: f32,
    tokens: u32,       // rows of a sequence, which share their vectors
    skipped: u32,      // rows of the first sequence before the binding
    vector_first: u32, // vector
    shift_first: u32,
    pad0: u32,
    pad1: u32,
    pad2: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<Elems>;
#if MODULATED
// Scales, which are added to 1, and shifts of each sequence.
@group(0) @binding(2) var<storage, read> weight: array<Elems>;
@group(0) @binding(3) var<storage, read> bias: array<Elems>;
#else
@group(0) @binding(2) var<storage, read> weight: array<Floats>;
@group(0) @binding(3) var<storage, read> bias: array<Floats>;
#endif
@group(0) @binding(4) var<storage, read_write> out: array<Elems>;

fn normalise(workgroup: vec3<u32>, thread: u32) {
    let row = (workgroup.x + 32768u * workgroup.y) * (THREADS / LANES) + thread / LANES;
    let lane = thread % LANES;
    // Threads past the last row compute it too, as all must reach the barriers in the sums, but write nothing.
    let first = params.x_first + min(row, params.rows - 1u) * params.width;

    var sum = Floats();
    for (var i = lane; i < params.width; i += LANES) {
        sum += Floats(x[first + i]);
    }
    let count = f32(params.width * V);
    let mean = row_sum(thread, total(sum)) / count;

    var squares = Floats();
    for (var i = lane; i < params.width; i += LANES) {
        let difference = Floats(x[first + i]) - mean;
        squares += difference * difference;
    }
    let variance = row_sum(thread, total(squares)) / count;
    if (row >= params.rows) {
        return;
    }

    let factor = inverseSqrt(variance + params.eps);
    let to = params.out_first + row * params.width;
#if MODULATED
    let own = (params.skipped + row) / params.tokens * params.width;
#endif
    for (var i = lane; i < params.width; i += LANES) {
        let y = (Floats(x[first + i]) - mean) * factor;
#if MODULATED
        let scale = Floats(weight[params.vector_first + own + i]);
        out[to + i] = Elems(y * (1.0 + scale) + Floats(bias[params.shift_first + own + i]));
#else
        out[to + i] = Elems(y * weight[i] + bias[i]);
#endif
    }
}
