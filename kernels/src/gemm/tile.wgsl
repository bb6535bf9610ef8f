// A tile of `left . weight^T` for each workgroup: `ROWS` rows by `COLUMNS` columns, summed in `f32`, of which RESULTS
// columns are stored.
//
// For `DEPTH` terms at a time, the threads load both sides into workgroup memory, and then add their products to sums in
// registers, while the loads for the next terms are under way. `fma.wgsl` and `matrices.wgsl` define the layout of tiles
// in workgroup memory, and the sums of a thread; `columns.wgsl` which columns of the weight they are of.

const DEPTH4 = DEPTH / 4u;
const COLUMNS4 = COLUMNS / 4u;
const LEFT = ROWS * DEPTH4;
const RIGHT = DEPTH * COLUMNS4;
// Loads of a thread.
const LEFT_LOADS = LEFT / THREADS;
const RIGHT_LOADS = (RIGHT + THREADS - 1u) / THREADS;
// Rows of tiles that are consecutive in the order of workgroups, so that workgroups that run together share their reads.
const BAND = 8u;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let tiles_down = (params.rows + ROWS - 1u) / ROWS;
    let tiles_across = (params.columns + RESULTS - 1u) / RESULTS;
    let tile = workgroup.x + 32768u * workgroup.y;
    if (tile >= tiles_down * tiles_across) {
        return;
    }
    let band = tile / (BAND * tiles_across);
    let in_band = tile % (BAND * tiles_across);
    let band_height = min(BAND, tiles_down - band * BAND);
    let first_row = (band * BAND + in_band % band_height) * ROWS;
    let first_column = in_band / band_height * RESULTS;

    let begin = params.begin + workgroup.z * params.part;
    let end = min(begin + params.part, params.end);
    let steps = (end - begin + DEPTH - 1u) / DEPTH;

    // What this thread loads. Rows past the end are replaced by the last one: their sums are not stored.
    var places: array<Place, LEFT_LOADS>;
    for (var i = 0u; i < LEFT_LOADS; i++) {
        places[i] = place(min(first_row + (local + i * THREADS) / DEPTH4, params.rows - 1u));
    }
    var at = term(begin + local % DEPTH4 * 4u);
    var weight_at: array<u32, RIGHT_LOADS>;
    for (var i = 0u; i < RIGHT_LOADS; i++) {
        let load = local + i * THREADS;
        weight_at[i] = weight_place(load, first_column, begin - params.begin + term_of(load));
    }
    var lefts: array<Four, LEFT_LOADS>;
    var rights: array<Packed, RIGHT_LOADS>;
    for (var i = 0u; i < LEFT_LOADS; i++) {
        lefts[i] = left(places[i], at);
    }
    for (var i = 0u; i < RIGHT_LOADS; i++) {
        let load = local + i * THREADS;
        if (RIGHT % THREADS == 0u || load < RIGHT) {
            rights[i] = right(load, weight_at[i]);
        }
    }

#if MATRICES
    // The matrices of this subgroup: four down by two across.
    let subgroup = local / SUBGROUP;
    let down = subgroup / ACROSS * 4u * SIDE;
    let across = subgroup % ACROSS * 2u * SIDE;
    var c00 = Matrix();
    var c01 = Matrix();
    var c10 = Matrix();
    var c11 = Matrix();
    var c20 = Matrix();
    var c21 = Matrix();
    var c30 = Matrix();
    var c31 = Matrix();
#else
    let down = local / THREADS_ACROSS;
    let across = local % THREADS_ACROSS;
    var sums: array<vec4<f32>, DOWN * ACROSS>;
    for (var i = 0u; i < DOWN * ACROSS; i++) {
        sums[i] = vec4<f32>();
    }
#endif
    for (var step = 0u; step < steps; step++) {
        for (var i = 0u; i < LEFT_LOADS; i++) {
            let load = local + i * THREADS;
            put_left(load / DEPTH4, load % DEPTH4, lefts[i]);
        }
        for (var i = 0u; i < RIGHT_LOADS; i++) {
            let load = local + i * THREADS;
            if (RIGHT % THREADS == 0u || load < RIGHT) {
                put_right(term_of(load), column4_of(load), widened(rights[i]));
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
                let load = local + i * THREADS;
                if (RIGHT % THREADS == 0u || load < RIGHT) {
                    rights[i] = right(load, weight_at[i]);
                }
            }
        }
#if MATRICES
        for (var k = 0u; k < DEPTH; k += SIDE) {
            let l0 = left_index(down, k);
            let l1 = left_index(down + SIDE, k);
            let l2 = left_index(down + 2u * SIDE, k);
            let l3 = left_index(down + 3u * SIDE, k);
            let r0 = right_index(k, across);
            let r1 = right_index(k, across + SIDE);
#if COOPERATIVE
            let a0 = coopLoadT<Left>(&left_tile[l0], LEFT_STRIDE);
            let a1 = coopLoadT<Left>(&left_tile[l1], LEFT_STRIDE);
            let a2 = coopLoadT<Left>(&left_tile[l2], LEFT_STRIDE);
            let a3 = coopLoadT<Left>(&left_tile[l3], LEFT_STRIDE);
            let b0 = coopLoadT<Right>(&right_tile[r0], RIGHT_STRIDE);
            let b1 = coopLoadT<Right>(&right_tile[r1], RIGHT_STRIDE);
            c00 = coopMultiplyAdd(a0, b0, c00);
            c01 = coopMultiplyAdd(a0, b1, c01);
            c10 = coopMultiplyAdd(a1, b0, c10);
            c11 = coopMultiplyAdd(a1, b1, c11);
            c20 = coopMultiplyAdd(a2, b0, c20);
            c21 = coopMultiplyAdd(a2, b1, c21);
            c30 = coopMultiplyAdd(a3, b0, c30);
            c31 = coopMultiplyAdd(a3, b1, c31);
#else
            let lane = local % SUBGROUP;
            c00 = multiply_add(lane, l0, r0, c00);
            c01 = multiply_add(lane, l0, r1, c01);
            c10 = multiply_add(lane, l1, r0, c10);
            c11 = multiply_add(lane, l1, r1, c11);
            c20 = multiply_add(lane, l2, r0, c20);
            c21 = multiply_add(lane, l2, r1, c21);
            c30 = multiply_add(lane, l3, r0, c30);
            c31 = multiply_add(lane, l3, r1, c31);
#endif
        }
#else
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
#endif
        workgroupBarrier();
    }

#if MATRICES
    let row = first_row + down;
    let column = first_column + across * RESULTS / COLUMNS;
    let mine = subgroup * MATRIX;
#if COOPERATIVE
    coopStoreT(c00, &results[mine], RESULT_STRIDE);
#else
    emulated_store(c00, local % SUBGROUP, mine);
#endif
    let left0 = taken(local);
#if COOPERATIVE
    coopStoreT(c01, &results[mine], RESULT_STRIDE);
#else
    emulated_store(c01, local % SUBGROUP, mine);
#endif
    store_pair(workgroup.z, row, column, local, left0, taken(local));
#if COOPERATIVE
    coopStoreT(c10, &results[mine], RESULT_STRIDE);
#else
    emulated_store(c10, local % SUBGROUP, mine);
#endif
    let left1 = taken(local);
#if COOPERATIVE
    coopStoreT(c11, &results[mine], RESULT_STRIDE);
#else
    emulated_store(c11, local % SUBGROUP, mine);
#endif
    store_pair(workgroup.z, row + SIDE, column, local, left1, taken(local));
#if COOPERATIVE
    coopStoreT(c20, &results[mine], RESULT_STRIDE);
#else
    emulated_store(c20, local % SUBGROUP, mine);
#endif
    let left2 = taken(local);
#if COOPERATIVE
    coopStoreT(c21, &results[mine], RESULT_STRIDE);
#else
    emulated_store(c21, local % SUBGROUP, mine);
#endif
    store_pair(workgroup.z, row + 2u * SIDE, column, local, left2, taken(local));
#if COOPERATIVE
    coopStoreT(c30, &results[mine], RESULT_STRIDE);
#else
    emulated_store(c30, local % SUBGROUP, mine);
#endif
    let left3 = taken(local);
#if COOPERATIVE
    coopStoreT(c31, &results[mine], RESULT_STRIDE);
#else
    emulated_store(c31, local % SUBGROUP, mine);
#endif
    store_pair(workgroup.z, row + 3u * SIDE, column, local, left3, taken(local));
#else
    for (var i = 0u; i < DOWN; i++) {
        let row = first_row + down + i * THREADS_DOWN;
        if (row >= params.rows) {
            continue;
        }
#if GATED
        store_gated(row, first_column + 4u * across, sums[i * ACROSS], sums[i * ACROSS + 1u]);
#else
        for (var j = 0u; j < ACROSS; j++) {
            let column = first_column + 4u * (across + j * THREADS_ACROSS);
            store(workgroup.z, row, column, sums[i * ACROSS + j]);
        }
#endif
    }
#endif
}
