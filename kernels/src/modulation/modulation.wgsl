// The values of each token times or plus the vectors of its sequence, in place.

struct Params {
    count: u32,        // of vectors of four or one
    width: u32,        // of them in a token
    tokens: u32,       // of a sequence
    skipped: u32,      // tokens of the first sequence before the binding
    x_first: u32,
    other_first: u32,  // of the summand, or of the first sequence's shift
    vector_first: u32, // of the first sequence's scale or gate
    pad: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> x: array<Elems>;
// GATED: what is multiplied by the gate and added; else the shifts.
@group(0) @binding(2) var<storage, read> other: array<Elems>;
@group(0) @binding(3) var<storage, read> vector: array<Elems>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let i = index(workgroup, local);
    if (i >= params.count) {
        return;
    }
    let token = i / params.width;
    let own = (params.skipped + token) / params.tokens * params.width + i - token * params.width;
    let at = params.x_first + i;
    let v = Floats(x[at]);
    let factor = Floats(vector[params.vector_first + own]);
#if GATED
    x[at] = Elems(v + factor * Floats(other[params.other_first + i]));
#else
    x[at] = Elems(v * (1.0 + factor) + Floats(other[params.other_first + own]));
#endif
}
