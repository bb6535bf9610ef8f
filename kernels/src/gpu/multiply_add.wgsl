// Multiply-adds in registers, for the peak performance of the arithmetic units.

struct Params {
    rounds: u32,
    a: f32,
    b: f32,
    pad: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> out: array<Elems>;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let a = Elems(Elem(params.a));
    let b = Elems(Elem(params.b));
    // Eight independent sums.
    var s: array<Elems, 8>;
    for (var i = 0u; i < 8u; i++) {
        s[i] = Elems(Elem(f32(id.x + i)));
    }
    for (var round = 0u; round < params.rounds; round++) {
        s[0] = fma(s[0], a, b);
        s[1] = fma(s[1], a, b);
        s[2] = fma(s[2], a, b);
        s[3] = fma(s[3], a, b);
        s[4] = fma(s[4], a, b);
        s[5] = fma(s[5], a, b);
        s[6] = fma(s[6], a, b);
        s[7] = fma(s[7], a, b);
    }
    out[id.x] = ((s[0] + s[1]) + (s[2] + s[3])) + ((s[4] + s[5]) + (s[6] + s[7]));
}
