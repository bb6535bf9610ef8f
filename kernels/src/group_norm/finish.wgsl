// The mean of each group and its standard deviation, from the pieces of its channels, for each channel; the deviation
// as a scale that includes the weight. A workgroup for each group of each image.

struct Params {
    channels: u32,
    width: u32,       // channels of a group
    pieces: u32,      // of an image
    piece: u32,       // pixels of a piece in each part of the image
    before: u32,      // pixels of a piece in all parts but the last
    last: u32,        // pixels of the last part
    state_first: u32,
    out_first: u32,
    count: f32,       // values of a group
    eps: f32,
    pad_0: u32,
    pad_1: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
// For each piece, the means of all channels, then their squares.
@group(0) @binding(1) var<storage, read> state: array<f32>;
@group(0) @binding(2) var<storage, read> weight: array<f32>;
// For each image, the means of all channels, then their scales.
@group(0) @binding(3) var<storage, read_write> out: array<f32>;

const THREADS = 256u;

var<workgroup> sums: array<f32, 256>;

// The sum over the workgroup.
fn all_of(value: f32, local: u32) -> f32 {
    workgroupBarrier();
    sums[local] = value;
    for (var half = THREADS / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if (local < half) {
            sums[local] += sums[local + half];
        }
    }
    workgroupBarrier();
    return sums[0];
}

// Pixels of a piece.
fn pixels(piece: u32) -> f32 {
    let start = piece * params.piece;
    let rest = params.last - min(start, params.last);
    return f32(params.before + min(rest, params.piece));
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let group = workgroup.x * params.width;
    let image = params.state_first + workgroup.y * params.pieces * 2u * params.channels + group;
    let count = params.pieces * params.width;
    let origin = state[image];
    var sum = 0.0;
    for (var i = local; i < count; i += THREADS) {
        let piece = i / params.width;
        let at = image + piece * 2u * params.channels + i - piece * params.width;
        sum += pixels(piece) * (state[at] - origin);
    }
    let mean = origin + all_of(sum, local) / params.count;
    var square = 0.0;
    for (var i = local; i < count; i += THREADS) {
        let piece = i / params.width;
        let at = image + piece * 2u * params.channels + i - piece * params.width;
        let distance = state[at] - mean;
        square += state[at + params.channels] + pixels(piece) * distance * distance;
    }
    let variance = all_of(square, local) / params.count;
    let inverse = 1.0 / sqrt(variance + params.eps);
    for (var c = local; c < params.width; c += THREADS) {
        let at = params.out_first + workgroup.y * 2u * params.channels + group + c;
        out[at] = mean;
        out[at + params.channels] = weight[group + c] * inverse;
    }
}
