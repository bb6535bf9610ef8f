// Rows of a value half and a gate half to `value * activation(gate)`.

struct Params {
    count: u32,   // of vectors of the result
    width: u32,   // vectors of half a row
    x_first: u32, // vector
    out_first: u32,
    slope: f32,   // of a leaky ReLU
    pad_0: u32,
    pad_1: u32,
    pad_2: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<Elems>;
@group(0) @binding(2) var<storage, read_write> out: array<Elems>;

// As `activated` has them.
override KIND: u32 = 0u;
// 1 where the gate half comes before the value half.
override GATE_FIRST: u32 = 0u;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let i = index(workgroup, local);
    if (i >= params.count) {
        return;
    }
    let first = params.x_first + i + i / params.width * params.width;
    let value = Floats(x[first + GATE_FIRST * params.width]);
    let gate = Floats(x[first + (1u - GATE_FIRST) * params.width]);
    out[params.out_first + i] = Elems(value * activated(KIND, gate, params.slope));
}
