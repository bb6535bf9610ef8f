// Rotations of the heads of tokens, in place.
//
// A thread takes one vector of pairs: of a head whose pairs are interleaved a vector of channels, which are `V / 2` pairs, or
// a single pair; of a head of two halves a vector of each.

struct Params {
    count: u32,       // threads with work
    units: u32,       // of a head
    heads: u32,
    width: u32,       // channels of a head
    x_first: u32,     // element
    table_first: u32,
    pad_0: u32,
    pad_1: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> x: array<Elems>;
// For each token the cosines, then the sines.
@group(0) @binding(2) var<storage, read> table: array<f32>;

#if SCALAR
fn angles(at: u32) -> f32 {
    return table[at];
}
#else
fn angles(at: u32) -> vec4<f32> {
    return vec4<f32>(table[at], table[at + 1u], table[at + 2u], table[at + 3u]);
}
#endif

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let i = index(workgroup, local);
    if (i >= params.count) {
        return;
    }
    let unit = i % params.units;
    let head = i / params.units;
    let half = params.width / 2u;
    let cosines = params.table_first + head / params.heads * params.width;
    let first = params.x_first + head * params.width;
#if HALVES
    let a = (first + unit * V) / V;
    let b = (first + half + unit * V) / V;
    let cos = angles(cosines + unit * V);
    let sin = angles(cosines + half + unit * V);
    let re = Floats(x[a]);
    let im = Floats(x[b]);
    x[a] = Elems(re * cos - im * sin);
    x[b] = Elems(re * sin + im * cos);
#else
#if SCALAR
    let a = first + 2u * unit;
    let cos = table[cosines + unit];
    let sin = table[cosines + half + unit];
    let re = f32(x[a]);
    let im = f32(x[a + 1u]);
    x[a] = Elem(re * cos - im * sin);
    x[a + 1u] = Elem(re * sin + im * cos);
#else
    let at = first / 4u + unit;
    let pair = cosines + 2u * unit;
    let cos = vec2<f32>(table[pair], table[pair + 1u]);
    let sin = vec2<f32>(table[pair + half], table[pair + half + 1u]);
    let v = Floats(x[at]);
    x[at] = Elems(v * cos.xxyy + vec4<f32>(-v.y, v.x, -v.w, v.z) * sin.xxyy);
#endif
#endif
}
