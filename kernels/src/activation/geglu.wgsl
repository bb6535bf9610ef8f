// Rows of a value half and a gate half to `value * gelu(gate)`.

struct Params {
    count: u32,   // of vectors of the result
    width: u32,   // vectors of half a row
    x_first: u32, // vector
    out_first: u32,
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
    let value = params.x_first + i + i / params.width * params.width;
    let gate = Floats(x[value + params.width]);
    out[params.out_first + i] = Elems(Floats(x[value]) * gelu(gate));
}
