// The result of attention that went over its keys in parts: the weighted sums of values by the sums of the weights.

struct Params {
    count: u32,     // vectors of four columns
    head_dim: u32,  // elements
    out_first: u32, // vector
    pad: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
// For each query and head a vector of the largest score and the sum of the weights, then the weighted sum of values.
@group(0) @binding(1) var<storage, read> carried: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> out: array<Elems>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let i = (workgroup.x + 32768u * workgroup.y) * 256u + local;
    if (i >= params.count) {
        return;
    }
    let columns = (params.head_dim + 3u) / 4u;
    let row = i / columns;
    let column = i % columns;
    let source = row * (columns + 1u);
    let y = carried[source + 1u + column] / carried[source].y;
    let to = params.out_first + row * (params.head_dim / V);
#if SCALAR
    for (var j = 0u; j < min(4u, params.head_dim - 4u * column); j++) {
        out[to + 4u * column + j] = Elem(y[j]);
    }
#else
    out[to + column] = Elems(y);
#endif
}
