// The channels of `a`, then those of `b`, for each pixel.

struct Params {
    count: u32,   // of vectors of the result
    a_width: u32, // vectors of a pixel
    b_width: u32,
    a_first: u32, // vector
    b_first: u32,
    out_first: u32,
    pad_0: u32,
    pad_1: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<Elems>;
@group(0) @binding(2) var<storage, read> b: array<Elems>;
@group(0) @binding(3) var<storage, read_write> out: array<Elems>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let i = index(workgroup, local);
    if (i >= params.count) {
        return;
    }
    let width = params.a_width + params.b_width;
    let pixel = i / width;
    let channel = i - pixel * width;
    let to = params.out_first + i;
    if (channel < params.a_width) {
        out[to] = a[params.a_first + pixel * params.a_width + channel];
    } else {
        out[to] = b[params.b_first + pixel * params.b_width + channel - params.a_width];
    }
}
