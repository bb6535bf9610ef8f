// A weighted sum of up to four arrays of `f32`.

struct Params {
    factors: vec4<f32>,
    count: u32, // of vectors
    a_first: u32, // vector
    b_first: u32,
    c_first: u32,
    d_first: u32,
    out_first: u32,
    terms: u32,
    pad: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<Elems>;
@group(0) @binding(2) var<storage, read> b: array<Elems>;
@group(0) @binding(3) var<storage, read> c: array<Elems>;
@group(0) @binding(4) var<storage, read> d: array<Elems>;
@group(0) @binding(5) var<storage, read_write> out: array<Elems>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let i = index(workgroup, local);
    if (i >= params.count) {
        return;
    }
    var sum = params.factors.x * a[params.a_first + i];
    // Arrays that are not terms are the first one again, and are not read: an infinity times 0 would be NaN.
    if (params.terms > 1u) {
        sum += params.factors.y * b[params.b_first + i];
    }
    if (params.terms > 2u) {
        sum += params.factors.z * c[params.c_first + i];
    }
    if (params.terms > 3u) {
        sum += params.factors.w * d[params.d_first + i];
    }
    out[params.out_first + i] = sum;
}
