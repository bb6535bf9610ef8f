// Softmax of rows, in place.

struct Params {
    rows: u32,
    width: u32, // vectors of a row
    first: u32, // vector
    pad: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> x: array<Elems>;

fn normalise(workgroup: vec3<u32>, thread: u32) {
    let row = (workgroup.x + 32768u * workgroup.y) * (THREADS / LANES) + thread / LANES;
    let lane = thread % LANES;
    // Threads past the last row reach the barriers in the sums, but read and write nothing.
    let width = select(0u, params.width, row < params.rows);
    let first = params.first + row * params.width;

    var most = Floats(-3.4e38);
    for (var i = lane; i < width; i += LANES) {
        most = max(most, Floats(x[first + i]));
    }
    let largest = row_max(thread, greatest(most));

    var sum = Floats();
    for (var i = lane; i < width; i += LANES) {
        sum += exp(Floats(x[first + i]) - largest);
    }
    let factor = 1.0 / row_sum(thread, total(sum));

    for (var i = lane; i < width; i += LANES) {
        x[first + i] = Elems(exp(Floats(x[first + i]) - largest) * factor);
    }
}
