// Activations, in place.

struct Params {
    count: u32,   // of vectors
    first: u32,   // vector
    factor: f32,
    pad: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> x: array<Elems>;

// 3 is a product with the factor, the others are those of `activated`.
override KIND: u32 = 0u;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let i = index(workgroup, local);
    if (i >= params.count) {
        return;
    }
    let at = params.first + i;
    let v = Floats(x[at]);
    if (KIND == 3u) {
        x[at] = Elems(v * params.factor);
    } else {
        x[at] = Elems(activated(KIND, v, params.factor));
    }
}
