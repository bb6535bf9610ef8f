// Values times the activation of their gates, in place.

struct Params {
    count: u32,        // of vectors
    values_first: u32, // vector
    gates_first: u32,
    slope: f32,        // of a leaky ReLU
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> values: array<Elems>;
@group(0) @binding(2) var<storage, read> gates: array<Elems>;

// As `activated` has them.
override KIND: u32 = 0u;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let i = index(workgroup, local);
    if (i >= params.count) {
        return;
    }
    let gate = Floats(gates[params.gates_first + i]);
    let at = params.values_first + i;
    values[at] = Elems(Floats(values[at]) * activated(KIND, gate, params.slope));
}
