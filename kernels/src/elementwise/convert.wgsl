// Copies, converting if the dtypes differ: `Elem` is that of the result.

struct Params {
    count: u32,   // of vectors
    x_first: u32, // vector
    out_first: u32,
    pad: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
#if FROM_F16
// Pairs of `f16`, as a GPU without them can read them.
@group(0) @binding(1) var<storage, read> x: array<vec2<u32>>;
#else
#if FROM_F32
@group(0) @binding(1) var<storage, read> x: array<Floats>;
#else
@group(0) @binding(1) var<storage, read> x: array<Elems>;
#endif
#endif
@group(0) @binding(2) var<storage, read_write> out: array<Elems>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let i = index(workgroup, local);
    if (i >= params.count) {
        return;
    }
    let v = x[params.x_first + i];
#if FROM_F16
    out[params.out_first + i] = Elems(unpack2x16float(v.x), unpack2x16float(v.y));
#else
    out[params.out_first + i] = Elems(v);
#endif
}
