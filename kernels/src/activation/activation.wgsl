// Activations, in place.

struct Params {
    count: u32,   // of vectors
    first: u32,   // vector
    factor: f32,
    pad: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> x: array<Elems>;

// 0 SiLU, 1 GELU, 2 quick GELU, 3 a product with the factor, 4 ReLU, 5 leaky ReLU of that slope.
override KIND: u32 = 0u;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let i = index(workgroup, local);
    if (i >= params.count) {
        return;
    }
    let at = params.first + i;
    let v = Floats(x[at]);
    var y = v * params.factor;
    if (KIND == 0u) {
        y = v * sigmoid(v);
    } else if (KIND == 1u) {
        y = gelu(v);
    } else if (KIND == 2u) {
        y = v * sigmoid(1.702 * v);
    } else if (KIND == 4u) {
        y = max(v, Floats(0.0));
    } else if (KIND == 5u) {
        y = max(v, y);
    }
    x[at] = Elems(y);
}
