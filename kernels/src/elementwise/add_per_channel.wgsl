// Adds the vector of an image to each of its pixels, or multiplies negative values by it (PReLU).

struct Params {
    count: u32,        // of vectors of four or one
    width: u32,        // of them in a pixel
    positions: u32,    // pixels of an image
    skipped: u32,      // pixels of the first image before the binding
    x_first: u32,
    vector_first: u32, // of the first image
    pad_0: u32,
    pad_1: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> x: array<Elems>;
#if F32_VECTOR
@group(0) @binding(2) var<storage, read> vector: array<Floats>;
#else
@group(0) @binding(2) var<storage, read> vector: array<Elems>;
#endif

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let i = index(workgroup, local);
    if (i >= params.count) {
        return;
    }
    let pixel = i / params.width;
    let channel = i - pixel * params.width;
    let image = (params.skipped + pixel) / params.positions;
    let at = params.x_first + i;
    let own = Floats(vector[params.vector_first + image * params.width + channel]);
    let v = Floats(x[at]);
#if PRELU
    x[at] = Elems(select(v, v * own, v < Floats(0.0)));
#else
    x[at] = Elems(v + own);
#endif
}
