// A tile of `left . weight^T` for each workgroup: `ROWS` rows by `COLUMNS` columns, in `f32`.
//
// For `DEPTH` terms at a time, the threads load both sides into workgroup memory, and then each adds to its own
// `DOWN` rows by `ACROSS` times four columns, in registers, while the loads for the next terms are under way. A thread's
// rows and columns are spread over the tile, so that neighbours read and write side by side.
//
// THREADS_ACROSS, THREADS_DOWN, ACROSS, DOWN and DEPTH are constants of the variant.

const THREADS = THREADS_ACROSS * THREADS_DOWN;
const ROWS = THREADS_DOWN * DOWN;
const COLUMNS4 = THREADS_ACROSS * ACROSS;
const COLUMNS = 4u * COLUMNS4;
const DEPTH4 = DEPTH / 4u;
const LEFT = ROWS * DEPTH4;
const RIGHT = DEPTH * COLUMNS4;
// Loads of a thread.
const LEFT_LOADS = LEFT / THREADS;
const RIGHT_LOADS = (RIGHT + THREADS - 1u) / THREADS;
// Rows of tiles that are neighbours in the order of workgroups, so that those which run together share what they read.
const BAND = 8u;

// Rows, four terms at a time.
var<workgroup> left_tile: array<vec4<f32>, LEFT>;
// Terms, four columns at a time.
var<workgroup> right_tile: array<vec4<f32>, RIGHT>;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let tiles_down = (params.rows + ROWS - 1u) / ROWS;
    let tiles_across = (params.columns + COLUMNS - 1u) / COLUMNS;
    let tile = workgroup.x + 32768u * workgroup.y;
    if (tile >= tiles_down * tiles_across) {
        return;
    }
    let band = tile / (BAND * tiles_across);
    let in_band = tile % (BAND * tiles_across);
    let band_height = min(BAND, tiles_down - band * BAND);
    let first_row = (band * BAND + in_band % band_height) * ROWS;
    let first_column = in_band / band_height * COLUMNS;

    let begin = params.begin + workgroup.z * params.part;
    let end = min(begin + params.part, params.end);
    let steps = (end - begin + DEPTH - 1u) / DEPTH;

    // What this thread loads. Rows and panels that are not there are replaced by the last: what comes of it is not stored.
    let last_panel = (params.columns - 1u) / 64u;
    var places: array<Place, LEFT_LOADS>;
    for (var i = 0u; i < LEFT_LOADS; i++) {
        places[i] = place(min(first_row + (local + i * THREADS) / DEPTH4, params.rows - 1u));
    }
    var at = term(begin + local % DEPTH4 * 4u);
    var weight_at: array<u32, RIGHT_LOADS>;
    for (var i = 0u; i < RIGHT_LOADS; i++) {
        let load = local + i * THREADS;
        let column4 = first_column / 4u + load % COLUMNS4;
        let depth = begin - params.begin + load / COLUMNS4;
        weight_at[i] = params.weight_first + min(column4 / 16u, last_panel) * params.panel + depth * 16u + column4 % 16u;
    }
    var lefts: array<vec4<f32>, LEFT_LOADS>;
    var rights: array<Packed, RIGHT_LOADS>;
    for (var i = 0u; i < LEFT_LOADS; i++) {
        lefts[i] = left(places[i], at);
    }
    for (var i = 0u; i < RIGHT_LOADS; i++) {
        if (RIGHT % THREADS == 0u || local + i * THREADS < RIGHT) {
            rights[i] = weight[weight_at[i]];
        }
    }

    let down = local / THREADS_ACROSS;
    let across = local % THREADS_ACROSS;
    var sums: array<vec4<f32>, DOWN * ACROSS>;
    for (var i = 0u; i < DOWN * ACROSS; i++) {
        sums[i] = vec4<f32>();
    }
    for (var step = 0u; step < steps; step++) {
        for (var i = 0u; i < LEFT_LOADS; i++) {
            left_tile[local + i * THREADS] = lefts[i];
        }
        for (var i = 0u; i < RIGHT_LOADS; i++) {
            if (RIGHT % THREADS == 0u || local + i * THREADS < RIGHT) {
                right_tile[local + i * THREADS] = widened(rights[i]);
            }
        }
        workgroupBarrier();
        if (step + 1u < steps) {
            at = next(at);
            for (var i = 0u; i < LEFT_LOADS; i++) {
                lefts[i] = left(places[i], at);
            }
            for (var i = 0u; i < RIGHT_LOADS; i++) {
                weight_at[i] += DEPTH * 16u;
                if (RIGHT % THREADS == 0u || local + i * THREADS < RIGHT) {
                    rights[i] = weight[weight_at[i]];
                }
            }
        }
        for (var q = 0u; q < DEPTH4; q++) {
            var rows: array<vec4<f32>, DOWN>;
            for (var i = 0u; i < DOWN; i++) {
                rows[i] = left_tile[(down + i * THREADS_DOWN) * DEPTH4 + q];
            }
            for (var j = 0u; j < ACROSS; j++) {
                let column = q * 4u * COLUMNS4 + across + j * THREADS_ACROSS;
                let w0 = right_tile[column];
                let w1 = right_tile[column + COLUMNS4];
                let w2 = right_tile[column + 2u * COLUMNS4];
                let w3 = right_tile[column + 3u * COLUMNS4];
                for (var i = 0u; i < DOWN; i++) {
                    let r = rows[i];
                    var sum = sums[i * ACROSS + j];
                    sum = fma(vec4<f32>(r.x), w0, sum);
                    sum = fma(vec4<f32>(r.y), w1, sum);
                    sum = fma(vec4<f32>(r.z), w2, sum);
                    sum = fma(vec4<f32>(r.w), w3, sum);
                    sums[i * ACROSS + j] = sum;
                }
            }
        }
        workgroupBarrier();
    }

    for (var i = 0u; i < DOWN; i++) {
        let row = first_row + down + i * THREADS_DOWN;
        if (row >= params.rows) {
            continue;
        }
        for (var j = 0u; j < ACROSS; j++) {
            let column = first_column + 4u * (across + j * THREADS_ACROSS);
            store(workgroup.z, row, column, sums[i * ACROSS + j]);
        }
    }
}

// Stores four columns of this run, as far as they are there.
fn store(part: u32, row: u32, column: u32, sum: vec4<f32>) {
#if WIDE
    if (column < params.columns) {
        put(part, row, (params.column + column) / 4u, sum);
    }
#else
    for (var i = 0u; i < 4u; i++) {
        if (column + i < params.columns) {
            put(part, row, params.column + column + i, sum[i]);
        }
    }
#endif
}

fn put(part: u32, row: u32, column: u32, sum: Sum) {
#if PARTIAL
    out[params.out_first + (part * params.rows + row) * (params.outputs / W) + column] = sum;
#else
    finish(row, column, sum);
#endif
}
