// The tiles of `attention_matrices.wgsl` in workgroup memory, and the matrices that subgroups load from them.
//
// Matrices in workgroup memory are row by row, with strides in elements of the array. Drivers ask that rows begin at
// multiples of 16 bytes, and neighbouring rows should not begin in the same bank: hence the padding of each row.

#if DOWN_4
const DOWN = 4u;
#else
const DOWN = 2u;
#endif
#if ACROSS_2
const ACROSS = 2u;
#else
const ACROSS = 1u;
#endif

const THREADS = SUBGROUP * SUBGROUPS_ACROSS;
const QUERIES = DOWN * SIDE;
const KEYS = 32u;
// Columns of a row of a head, with zeros at the end.
const WIDTH = SUBGROUPS_ACROSS * ACROSS * SIDE;
const WIDTH4 = WIDTH / 4u;

const STRIDE = (WIDTH + 8u) / PACK;
const SCORES_STRIDE = (KEYS + 4u) / PACK;
const WEIGHTS_STRIDE = (KEYS + 8u) / PACK;
const RESULT_STRIDE = SIDE / PACK;
const RESULT = SIDE * RESULT_STRIDE;

// Matrices of scores of a tile.
const SCORES_ACROSS = KEYS / SIDE;
const SCORES = DOWN * SCORES_ACROSS;
// Vectors of four columns of keys or values that a thread loads: all threads load the same number.
const LOADS = KEYS * WIDTH4 / THREADS;
const QUERY_LOADS = QUERIES * WIDTH4 / THREADS;
// A unit is the scores of four keys for a query. UNITS is their number, and OWN that of a thread.
const UNITS_ACROSS = KEYS / 4u;
const UNITS = QUERIES * UNITS_ACROSS;
const OWN = (UNITS + THREADS - 1u) / THREADS;

var<workgroup> queries: array<Half, QUERIES * STRIDE>;
// Keys, then values.
var<workgroup> others: array<Half, KEYS * STRIDE>;
// Also a value of each unit, which threads exchange, or a matrix of each subgroup on its way to the output.
var<workgroup> scores: array<Float, max(QUERIES * SCORES_STRIDE, SUBGROUPS_ACROSS * RESULT)>;
var<workgroup> weights: array<Half, QUERIES * WEIGHTS_STRIDE>;
// The sum of the weights of each query.
var<workgroup> sums: array<f32, QUERIES>;

// Vector `e` of the tile of queries, row by row.
fn put_query(e: u32, x: vec4<f16>) {
    let at = tile_index(e / WIDTH4, e % WIDTH4 * 4u);
#if SIDE_8
    queries[at] = x.x;
    queries[at + 1u] = x.y;
    queries[at + 2u] = x.z;
    queries[at + 3u] = x.w;
#else
    queries[at] = x;
#endif
}

// Vector `e` of a tile of keys or values, row by row.
fn put_other(e: u32, x: vec4<f16>) {
    let at = tile_index(e / WIDTH4, e % WIDTH4 * 4u);
#if SIDE_8
    others[at] = x.x;
    others[at + 1u] = x.y;
    others[at + 2u] = x.z;
    others[at + 3u] = x.w;
#else
    others[at] = x;
#endif
}

fn put_weights(at: u32, x: vec4<f16>) {
#if SIDE_8
    weights[at] = x.x;
    weights[at + 1u] = x.y;
    weights[at + 2u] = x.z;
    weights[at + 3u] = x.w;
#else
    weights[at] = x;
#endif
}

fn four_scores(at: u32) -> vec4<f32> {
#if SIDE_8
    return vec4<f32>(scores[at], scores[at + 1u], scores[at + 2u], scores[at + 3u]);
#else
    return scores[at];
#endif
}

fn unit_value(unit: u32) -> f32 {
#if SIDE_8
    return scores[unit];
#else
    return scores[unit].x;
#endif
}

// The index of an element: columns are multiples of four.
fn tile_index(row: u32, column: u32) -> u32 {
    return row * STRIDE + column / PACK;
}

fn score_index(query: u32, key: u32) -> u32 {
    return query * SCORES_STRIDE + key / PACK;
}

fn weight_index(query: u32, key: u32) -> u32 {
    return query * WEIGHTS_STRIDE + key / PACK;
}

#if COOPERATIVE
#else
// This is SIDE, but compilers cannot tell, and so do not unroll the loops, which would take them long.
fn side() -> u32 {
    return min(SIDE, SIDE + params.keys);
}

// What coopMultiplyAdd(coopLoadT(&queries[left], ..), coopLoad(&others[right], ..), sums) is.
fn add_scores(lane: u32, left: u32, right: u32, sums: Matrix) -> Matrix {
    var result = sums;
    for (var i = 0u; i < SIDE * SIDE / SUBGROUP; i++) {
        let row = (lane + i * SUBGROUP) / SIDE;
        let column = (lane + i * SUBGROUP) % SIDE;
        for (var n = 0u; n < side(); n++) {
            let l = left + row * STRIDE + n / PACK;
            let r = right + column * STRIDE + n / PACK;
#if SIDE_8
            result[i] += f32(queries[l]) * f32(others[r]);
#else
            result[i] += f32(queries[l][n % 4u]) * f32(others[r][n % 4u]);
#endif
        }
    }
    return result;
}

// What coopMultiplyAdd(coopLoadT(&weights[left], ..), coopLoadT(&others[right], ..), sums) is.
fn add_values(lane: u32, left: u32, right: u32, sums: Matrix) -> Matrix {
    var result = sums;
    for (var i = 0u; i < SIDE * SIDE / SUBGROUP; i++) {
        let row = (lane + i * SUBGROUP) / SIDE;
        let column = (lane + i * SUBGROUP) % SIDE;
        for (var n = 0u; n < side(); n++) {
            let l = left + row * WEIGHTS_STRIDE + n / PACK;
            let r = right + n * STRIDE + column / PACK;
#if SIDE_8
            result[i] += f32(weights[l]) * f32(others[r]);
#else
            result[i] += f32(weights[l][n % 4u]) * f32(others[r][column % 4u]);
#endif
        }
    }
    return result;
}

// What coopStoreT(matrix, &scores[at], stride) does.
fn emulated_store(matrix: Matrix, lane: u32, at: u32, stride: u32) {
    var sums = matrix;
    for (var i = 0u; i < SIDE * SIDE / SUBGROUP; i++) {
        let row = (lane + i * SUBGROUP) / SIDE;
        let column = (lane + i * SUBGROUP) % SIDE;
#if SIDE_8
        scores[at + row * stride + column] = sums[i];
#else
        scores[at + row * stride + column / 4u][column % 4u] = sums[i];
#endif
    }
}
#endif
