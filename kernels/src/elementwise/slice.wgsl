// Some channels of each pixel.

struct Params {
    count: u32,   // of vectors of the result
    width: u32,   // vectors of a pixel of the result
    stride: u32,  // vectors of a pixel
    x_first: u32, // vector
    out_first: u32,
    pad_0: u32,
    pad_1: u32,
    pad_2: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<Elems>;
@group(0) @binding(2) var<storage, read_write> out: array<Elems>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let i = index(workgroup, local);
    if (i >= params.count) {
        return;
    }
    let pixel = i / params.width;
    out[params.out_first + i] = x[params.x_first + pixel * params.stride + i - pixel * params.width];
}
