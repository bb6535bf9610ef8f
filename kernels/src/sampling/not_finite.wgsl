// For each thread, whether it found NaN or an infinity among its share of the values. Compilers may assume that a number is neither,
// so the bits of the exponent are compared.

struct Params {
    count: u32,
    first: u32, // value
    threads: u32,
    pad: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let thread = index(workgroup, local);
    var found = 0.0;
    for (var i = thread; i < params.count; i += params.threads) {
        if ((x[params.first + i] & 0x7f800000u) == 0x7f800000u) {
            found = 1.0;
        }
    }
    out[thread] = found;
}
