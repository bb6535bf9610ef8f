// Nearest-neighbour resize of a part of an image: a range of columns of some lines.

struct Params {
    count: u32,    // of vectors of the result
    channels: u32, // vectors of a pixel
    columns: u32,  // of the part
    line: u32,     // where the part begins: its first line, counted over all images,
    column: u32,   // and column
    height: u32,   // of an image
    width: u32,
    out_height: u32,
    out_width: u32,
    x_pixel: u32,  // the first pixel that is bound, and the index of its first vector
    x_first: u32,
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
    let pixel = i / params.channels;
    let channel = i - pixel * params.channels;
    let down = pixel / params.columns;
    let line = params.line + down;
    let column = params.column + pixel - down * params.columns;
    let image = line / params.out_height;
    let y = (line - image * params.out_height) * params.height / params.out_height;
    let source = (image * params.height + y) * params.width + column * params.width / params.out_width;
    out[params.out_first + i] = x[params.x_first + (source - params.x_pixel) * params.channels + channel];
}
