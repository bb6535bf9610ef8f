// `x` where the mask is not 0, and `other` where it is; written into `x`.

struct Params {
    count: u32,   // of vectors
    x_first: u32, // vector
    mask_first: u32,
    other_first: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> mask: array<Elems>;
@group(0) @binding(2) var<storage, read> other: array<Elems>;
@group(0) @binding(3) var<storage, read_write> x: array<Elems>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let i = index(workgroup, local);
    if (i >= params.count) {
        return;
    }
    let at = params.x_first + i;
    x[at] = select(x[at], other[params.other_first + i], mask[params.mask_first + i] == Elems(0.0));
}
