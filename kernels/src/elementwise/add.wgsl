// `a += b`, or an attention without parameters.

struct Params {
    count: u32,   // of vectors
    a_first: u32, // vector
    b_first: u32,
    pad: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> a: array<Elems>;
@group(0) @binding(2) var<storage, read> b: array<Elems>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let i = index(workgroup, local);
    if (i >= params.count) {
        return;
    }
    let at = params.a_first + i;
    let x = Floats(a[at]);
    let sum = x + Floats(b[params.b_first + i]);
#if ATTENTION
    a[at] = Elems(sum * (sigmoid(x) - Floats(0.5)));
#else
    a[at] = Elems(sum);
#endif
}
