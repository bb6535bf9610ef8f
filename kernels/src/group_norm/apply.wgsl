// `(x - mean) scale + bias` for each channel of each image, then SiLU if asked for. The mean is subtracted first:
// where a group hardly varies, the scale is large, and would magnify the rounding of a combined shift.

struct Params {
    width: u32,           // vectors of a pixel
    count: u32,           // pixels of an image that are bound
    x_first: u32,         // vector
    out_first: u32,
    statistic_first: u32,
    pad_0: u32,
    pad_1: u32,
    pad_2: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<Elems>;
// For each image, the means of all channels, then their scales.
@group(0) @binding(2) var<storage, read> statistics: array<Floats>;
@group(0) @binding(3) var<storage, read> biases: array<Floats>;
@group(0) @binding(4) var<storage, read_write> out: array<Elems>;

const LANES = 16u;
const ROWS = 16u;
// Pixels of a thread.
const EACH = 4u;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let lane = workgroup.x * LANES + local % LANES;
    if (lane >= params.width) {
        return;
    }
    let statistic = params.statistic_first + workgroup.z * 2u * params.width + lane;
    let mean = statistics[statistic];
    let scale = statistics[statistic + params.width];
    let bias = biases[lane];
    let image = workgroup.z * params.count * params.width + lane;
    let first = workgroup.y * ROWS * EACH + local / LANES;
    for (var i = 0u; i < EACH; i++) {
        let pixel = first + i * ROWS;
        if (pixel < params.count) {
            let at = image + pixel * params.width;
            let y = (Floats(x[params.x_first + at]) - mean) * scale + bias;
#if SILU
            out[params.out_first + at] = Elems(y * sigmoid(y));
#else
            out[params.out_first + at] = Elems(y);
#endif
        }
    }
}
