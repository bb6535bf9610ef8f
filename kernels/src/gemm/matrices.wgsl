#if MATRICES
// Tiles of `f16`, and matrices of `SIDE` by `SIDE` sums that a subgroup holds together: four down by two across for
// each of DOWN by ACROSS subgroups of SUBGROUP threads.
//
// Loads and stores are "T", row by row, with a stride in elements of the array. Drivers ask that rows begin at
// multiples of 16 bytes, and neighbouring rows should not begin in the same bank: hence the eight more values in each.

const THREADS = SUBGROUP * DOWN * ACROSS;
const ROWS = 4u * SIDE * DOWN;
const COLUMNS = 2u * SIDE * ACROSS;

const LEFT_STRIDE = (DEPTH + 8u) / PACK;
const RIGHT_STRIDE = (COLUMNS + 8u) / PACK;
const RESULT_STRIDE = SIDE / PACK;
const MATRIX = SIDE * RESULT_STRIDE;

var<workgroup> left_tile: array<Half, ROWS * LEFT_STRIDE>;
var<workgroup> right_tile: array<Half, DEPTH * RIGHT_STRIDE>;
// A matrix of each subgroup, on its way to the result.
var<workgroup> results: array<Float, DOWN * ACROSS * MATRIX>;

// `term` and `column` are multiples of four.
fn left_index(row: u32, term: u32) -> u32 {
    return row * LEFT_STRIDE + term / PACK;
}

fn right_index(term: u32, column: u32) -> u32 {
    return term * RIGHT_STRIDE + column / PACK;
}

fn put_left(row: u32, term4: u32, values: Four) {
    let at = left_index(row, 4u * term4);
#if SIDE_8
    left_tile[at] = values.x;
    left_tile[at + 1u] = values.y;
    left_tile[at + 2u] = values.z;
    left_tile[at + 3u] = values.w;
#else
    left_tile[at] = values;
#endif
}

fn put_right(term: u32, column4: u32, values: Four) {
    let at = right_index(term, 4u * column4);
#if SIDE_8
    right_tile[at] = values.x;
    right_tile[at + 1u] = values.y;
    right_tile[at + 2u] = values.z;
    right_tile[at + 3u] = values.w;
#else
    right_tile[at] = values;
#endif
}

// What a thread stores of a matrix, four columns at a time.
const STORES = (SIDE * SIDE / 4u + SUBGROUP - 1u) / SUBGROUP;
alias Stored = array<vec4<f32>, STORES>;

// This thread's part of the matrix of its subgroup in `results`, which may be written again afterwards.
fn taken(local: u32) -> Stored {
    workgroupBarrier();
    let first = local / SUBGROUP * MATRIX;
    var values: Stored;
    for (var n = 0u; n < STORES; n++) {
        let i = local % SUBGROUP + n * SUBGROUP;
        if (i < SIDE * SIDE / 4u) {
#if SIDE_8
            let at = first + 4u * i;
            values[n] = vec4<f32>(results[at], results[at + 1u], results[at + 2u], results[at + 3u]);
#else
            values[n] = results[first + i];
#endif
        }
    }
    workgroupBarrier();
    return values;
}

// Stores two matrices of this subgroup. The left one begins at the given row and column of this run, the right one beside
// it; with GATED it has the gates of the left one.
fn store_pair(part: u32, first_row: u32, first_column: u32, local: u32, left: Stored, right: Stored) {
    var lefts = left;
    var rights = right;
    for (var n = 0u; n < STORES; n++) {
        let i = local % SUBGROUP + n * SUBGROUP;
        let row = first_row + i / (SIDE / 4u);
        let column = first_column + i % (SIDE / 4u) * 4u;
        if (i < SIDE * SIDE / 4u && row < params.rows) {
#if GATED
            store_gated(row, column, lefts[n], rights[n]);
#else
            store(part, row, column, lefts[n]);
            store(part, row, column + SIDE, rights[n]);
#endif
        }
    }
}

#if COOPERATIVE
#else
// What coopMultiplyAdd(coopLoadT(&left_tile[left], ..), coopLoadT(&right_tile[right], ..), sums) is.
fn multiply_add(lane: u32, left: u32, right: u32, sums: Matrix) -> Matrix {
    var result = sums;
    // This is SIDE, but compilers cannot tell, and so do not unroll the loop, which would take them long.
    let terms = min(SIDE, params.depth);
    for (var i = 0u; i < SIDE * SIDE / SUBGROUP; i++) {
        let row = (lane + i * SUBGROUP) / SIDE;
        let column = (lane + i * SUBGROUP) % SIDE;
        for (var k = 0u; k < terms; k++) {
            let l = left + row * LEFT_STRIDE + k / PACK;
            let r = right + k * RIGHT_STRIDE + column / PACK;
#if SIDE_8
            result[i] += f32(left_tile[l]) * f32(right_tile[r]);
#else
            result[i] += f32(left_tile[l][k % 4u]) * f32(right_tile[r][column % 4u]);
#endif
        }
    }
    return result;
}

// What coopStoreT(matrix, &results[at], RESULT_STRIDE) does.
fn emulated_store(matrix: Matrix, lane: u32, at: u32) {
    var sums = matrix;
    for (var i = 0u; i < SIDE * SIDE / SUBGROUP; i++) {
        let element = lane + i * SUBGROUP;
#if SIDE_8
        results[at + element] = sums[i];
#else
        results[at + element / 4u][element % 4u] = sums[i];
#endif
    }
}
#endif
#endif
