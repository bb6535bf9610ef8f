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

// Stores the matrices in `results`; that of this subgroup begins at the given row and column of this run.
fn store_matrix(part: u32, first_row: u32, first_column: u32, local: u32) {
    workgroupBarrier();
    let first = local / SUBGROUP * MATRIX;
    for (var i = local % SUBGROUP; i < SIDE * SIDE / 4u; i += SUBGROUP) {
#if SIDE_8
        let at = first + 4u * i;
        let sums = vec4<f32>(results[at], results[at + 1u], results[at + 2u], results[at + 3u]);
#else
        let sums = results[first + i];
#endif
        let row = first_row + i / (SIDE / 4u);
        if (row < params.rows) {
            store(part, row, first_column + i % (SIDE / 4u) * 4u, sums);
        }
    }
    workgroupBarrier();
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
