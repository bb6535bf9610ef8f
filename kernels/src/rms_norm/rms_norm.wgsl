// RMS norm of rows.

struct Params {
    rows: u32,
    width: u32,       // vectors of a row
    x_first: u32,     // vector
    out_first: u32,
    eps: f32,
    tokens: u32,      // rows of a sequence, whose scale they share
    skipped: u32,     // rows of the first sequence before the binding
    scale_first: u32, // vector
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<Elems>;
@group(0) @binding(2) var<storage, read> weight: array<Floats>;
#if MODULATED
@group(0) @binding(3) var<storage, read> scale: array<Elems>;
@group(0) @binding(4) var<storage, read_write> out: array<Elems>;
#else
@group(0) @binding(3) var<storage, read_write> out: array<Elems>;
#endif

fn normalise(workgroup: vec3<u32>, thread: u32) {
    let row = (workgroup.x + 32768u * workgroup.y) * (THREADS / LANES) + thread / LANES;
    let lane = thread % LANES;
    // Threads past the last row compute it too, as all must reach the barriers in the sum, but write nothing.
    let first = params.x_first + min(row, params.rows - 1u) * params.width;

    var squares = Floats();
    for (var i = lane; i < params.width; i += LANES) {
        let v = Floats(x[first + i]);
        squares += v * v;
    }
    let mean = row_sum(thread, total(squares)) / f32(params.width * V);
    if (row >= params.rows) {
        return;
    }

    let factor = inverseSqrt(mean + params.eps);
    let to = params.out_first + row * params.width;
#if MODULATED
    let own = params.scale_first + (params.skipped + row) / params.tokens * params.width;
#endif
    for (var i = lane; i < params.width; i += LANES) {
        let y = Floats(x[first + i]) * factor * weight[i];
#if MODULATED
        out[to + i] = Elems(y * (1.0 + Floats(scale[own + i])));
#else
        out[to + i] = Elems(y);
#endif
    }
}
