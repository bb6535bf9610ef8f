#if MATRICES
#else
// Tiles of `f32`. Each thread has `DOWN` rows by `ACROSS` times four columns of the sums, spread over the tile so that
// neighbouring threads read and write neighbouring memory. THREADS_ACROSS, THREADS_DOWN, ACROSS, DOWN and DEPTH are
// constants of the variant.

const THREADS = THREADS_ACROSS * THREADS_DOWN;
const ROWS = THREADS_DOWN * DOWN;
const COLUMNS = 4u * THREADS_ACROSS * ACROSS;

// Rows, four terms at a time.
var<workgroup> left_tile: array<vec4<f32>, ROWS * DEPTH / 4u>;
// Terms, four columns at a time.
var<workgroup> right_tile: array<vec4<f32>, DEPTH * COLUMNS / 4u>;

fn put_left(row: u32, term4: u32, values: Four) {
    left_tile[row * (DEPTH / 4u) + term4] = values;
}

fn put_right(term: u32, column4: u32, values: Four) {
    right_tile[term * (COLUMNS / 4u) + column4] = values;
}
#endif
