// Mean and sum of squared distances to it of each channel, in pieces of an image.
//
// Lanes run along channels, so that neighbouring threads read neighbouring memory; the rows of a workgroup take the
// pixels of its piece in turns. Each row sums distances to its own first pixel (Chan, Golub and LeVeque, Algorithms for
// Computing the Sample Variance, 1983), which keeps the digits of data far from zero; parts are joined by their formula
// for two samples.

struct Params {
    width: u32,       // vectors of a pixel
    count: u32,       // pixels of an image that are bound
    piece: u32,       // pixels of a piece
    pieces: u32,      // of an image
    before: u32,      // pixels of each piece in the parts of the image that were bound earlier
    x_first: u32,     // vector
    state_first: u32,
    pad: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<Elems>;
// For each piece, the means of all channels, then their squares.
@group(0) @binding(2) var<storage, read_write> state: array<Floats>;

const LANES = 16u;
const ROWS = 16u;

var<workgroup> row_means: array<Floats, 256>;
var<workgroup> row_squares: array<Floats, 256>;

// The number of pixels, of `pixels` in a piece, that a row takes.
fn share(pixels: u32, row: u32) -> f32 {
    return f32((pixels + ROWS - 1u - row) / ROWS);
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let row = local / LANES;
    let lane = workgroup.x * LANES + local % LANES;
    let start = workgroup.y * params.piece;
    let end = min(start + params.piece, params.count);
    let inside = lane < params.width;
    if (inside && start + row < end) {
        let image = params.x_first + workgroup.z * params.count * params.width + lane;
        let origin = Floats(x[image + (start + row) * params.width]);
        var sum = Floats(0.0);
        var square = Floats(0.0);
        var pixel = start + row + ROWS;
        // Four reads at once, to hide their latency.
        for (; pixel + 3u * ROWS < end; pixel += 4u * ROWS) {
            let at = image + pixel * params.width;
            let step = ROWS * params.width;
            let a = Floats(x[at]) - origin;
            let b = Floats(x[at + step]) - origin;
            let c = Floats(x[at + 2u * step]) - origin;
            let d = Floats(x[at + 3u * step]) - origin;
            sum += (a + b) + (c + d);
            square += (a * a + b * b) + (c * c + d * d);
        }
        for (; pixel < end; pixel += ROWS) {
            let a = Floats(x[image + pixel * params.width]) - origin;
            sum += a;
            square += a * a;
        }
        let mean = sum / share(end - start, row);
        row_means[local] = origin + mean;
        row_squares[local] = max(square - sum * mean, Floats(0.0));
    }
    workgroupBarrier();
    if (row > 0u || !inside) {
        return;
    }

    let pixels = end - start;
    let rows = min(pixels, ROWS);
    let origin = row_means[local];
    var sum = Floats(0.0);
    for (var r = 1u; r < rows; r++) {
        sum += share(pixels, r) * (row_means[local + r * LANES] - origin);
    }
    var mean = origin + sum / f32(pixels);
    var square = Floats(0.0);
    for (var r = 0u; r < rows; r++) {
        let distance = row_means[local + r * LANES] - mean;
        square += row_squares[local + r * LANES] + share(pixels, r) * distance * distance;
    }

    let at = params.state_first + (workgroup.z * params.pieces + workgroup.y) * 2u * params.width + lane;
    if (params.before > 0u) {
        let a = f32(params.before);
        let b = f32(pixels);
        let earlier = state[at];
        let distance = mean - earlier;
        mean = earlier + distance * (b / (a + b));
        square += state[at + params.width] + distance * distance * (a * (b / (a + b)));
    }
    state[at] = mean;
    state[at + params.width] = square;
}
