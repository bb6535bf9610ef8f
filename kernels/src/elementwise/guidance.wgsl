// `without + k (conditioned - without)`.

struct Params {
    count: u32,             // of vectors
    without_first: u32,     // vector
    conditioned_first: u32,
    out_first: u32,
    k: f32,
    pad_0: u32,
    pad_1: u32,
    pad_2: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> without: array<Elems>;
@group(0) @binding(2) var<storage, read> conditioned: array<Elems>;
@group(0) @binding(3) var<storage, read_write> out: array<Elems>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let i = index(workgroup, local);
    if (i >= params.count) {
        return;
    }
    let base = Floats(without[params.without_first + i]);
    let guided = Floats(conditioned[params.conditioned_first + i]);
    out[params.out_first + i] = Elems(base + params.k * (guided - base));
}
