// Attention as in `attention.wgsl`, with both products by cooperative matrices.
//
// A workgroup takes a tile of queries of one head and walks over the keys twice. First it finds the largest score of each
// query. Then it computes the scores again, and from them the final weights, so that the weighted sums of values stay in
// matrices and are never rescaled: matrices give no access to single elements, and storing and loading them would cost
// more than computing the scores twice.
//
// The matrices of scores and weights are divided among the subgroups. Of the weighted sums, a subgroup has all queries
// and ACROSS matrices of columns. The threads turn scores into weights in workgroup memory. For every tile of keys a
// thread has the same queries, so it keeps their largest score and the sum of its weights in registers, and combines
// them with those of other threads only at the end.
//
// Constants of a variant:
// SUBGROUP: threads of a subgroup;
// SUBGROUPS_ACROSS: subgroups of a workgroup, side by side;
// flags SIDE_8: matrices are of 8x8, else of 16x16; DOWN_4: four matrices of queries, else two; ACROSS_2: two matrices of
// columns for each subgroup, else one.

// Vector `e` of the tile that begins at key `start`: zeros past the last column; past the last key, that key again.
fn a_key(first: u32, start: u32, e: u32, width: u32) -> vec4<f16> {
    let columns = params.head_dim / 4u;
    let row = min(start + e / WIDTH4, params.keys - 1u);
    let x = k[first + row * width + min(e % WIDTH4, columns - 1u)];
    return select(vec4<f16>(), x, e % WIDTH4 < columns);
}

fn a_value(first: u32, start: u32, e: u32, width: u32) -> vec4<f16> {
    let columns = params.head_dim / 4u;
    let row = min(start + e / WIDTH4, params.keys - 1u);
    let x = v[first + row * width + min(e % WIDTH4, columns - 1u)];
    return select(vec4<f16>(), x, e % WIDTH4 < columns);
}

// The scores of a unit, in the tile that begins at key `start`: MIN_SCORE where the query does not see the key.
fn unit_scores(unit: u32, start: u32, last: i32) -> vec4<f32> {
    let s = four_scores(score_index(unit / UNITS_ACROSS, unit % UNITS_ACROSS * 4u)) * params.scale;
    let key = vec4<i32>(i32(start + unit % UNITS_ACROSS * 4u)) + vec4<i32>(0, 1, 2, 3);
    return select(vec4<f32>(MIN_SCORE), s, key <= vec4<i32>(last));
}

// Computes the matrices of scores of this subgroup, from `queries` and the keys in `others`.
fn compute_scores(local: u32) {
    let subgroup = local / SUBGROUP;
    let lane = local % SUBGROUP;
    for (var m = subgroup; m < SCORES; m += SUBGROUPS_ACROSS) {
        let row = m / SCORES_ACROSS * SIDE;
        let key = m % SCORES_ACROSS * SIDE;
        var s = Matrix();
        for (var c = 0u; c < WIDTH; c += SIDE) {
            let l = tile_index(row, c);
            let r = tile_index(key, c);
#if COOPERATIVE
            // Keys are columns of the right side.
            let a = coopLoadT<Left>(&queries[l], STRIDE);
            let b = coopLoad<Right>(&others[r], STRIDE);
            s = coopMultiplyAdd(a, b, s);
#else
            s = add_scores(lane, l, r, s);
#endif
        }
#if COOPERATIVE
        coopStoreT(s, &scores[score_index(row, key)], SCORES_STRIDE);
#else
        emulated_store(s, lane, score_index(row, key), SCORES_STRIDE);
#endif
    }
}

// Stores the matrix of each subgroup, which is in `scores`, in the output. The row of query 0 begins at `to`.
fn store_matrix(to: u32, width: u32, tile: u32, first_row: u32, first_column: u32, local: u32) {
    workgroupBarrier();
    let first = local / SUBGROUP * RESULT;
    for (var i = local % SUBGROUP; i < SIDE * SIDE / 4u; i += SUBGROUP) {
        let row = first_row + i / (SIDE / 4u);
        let column = first_column / 4u + i % (SIDE / 4u);
        if (tile + row < params.queries && column < params.head_dim / 4u) {
            out[to + (tile + row) * width + column] = Elems(four_scores(first + 4u * i / PACK) / sums[row]);
        }
    }
    workgroupBarrier();
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let group = workgroup.x + 32768u * workgroup.y;
    if (group >= params.groups) {
        return;
    }
    let subgroup = local / SUBGROUP;
    let lane = local % SUBGROUP;
    let tile = group % params.tiles * QUERIES;
    let head = params.head_first + group / params.tiles % params.heads_here;
    let kv_head = head / (params.heads / params.kv_heads);
    let batch = group / params.tiles / params.heads_here;
    // Vectors of a row of a head, and of all heads.
    let columns = params.head_dim / 4u;
    let width = params.heads * columns;
    let kv_width = params.kv_heads * columns;
    let q_at = params.q_first + batch * params.queries * width + head * columns;
    let k_at = params.k_first + batch * params.keys * kv_width + kv_head * columns;
    let v_at = params.v_first + batch * params.keys * kv_width + kv_head * columns;
    let out_at = params.out_first + batch * params.queries * width + head * columns;

    // How many keys the tile's last query sees.
    let last_query = min(tile + QUERIES, params.queries) - 1u;
    let seen = u32(clamp(i32(last_query) + params.shift + 1, 0, i32(params.keys)));

    for (var n = 0u; n < QUERY_LOADS; n++) {
        let e = local + n * THREADS;
        let row = min(tile + e / WIDTH4, params.queries - 1u);
        let x = q[q_at + row * width + min(e % WIDTH4, columns - 1u)];
        put_query(e, select(vec4<f16>(), x, e % WIDTH4 < columns));
    }

    // For each unit, the last key that its query sees, and the largest score.
    var last: array<i32, OWN>;
    var most: array<f32, OWN>;
    for (var n = 0u; n < OWN; n++) {
        let query = tile + (local + n * THREADS) / UNITS_ACROSS;
        last[n] = min(i32(query) + params.shift, i32(params.keys) - 1);
        most[n] = MIN_SCORE;
    }

    // Loads are under way while scores are computed.
    var loads: array<vec4<f16>, LOADS>;
    for (var n = 0u; n < LOADS; n++) {
        loads[n] = a_key(k_at, 0u, local + n * THREADS, kv_width);
    }
    for (var start = 0u; start < seen; start += KEYS) {
        for (var n = 0u; n < LOADS; n++) {
            put_other(local + n * THREADS, loads[n]);
        }
        workgroupBarrier();
        for (var n = 0u; n < LOADS; n++) {
            loads[n] = a_key(k_at, start + KEYS, local + n * THREADS, kv_width);
        }
        compute_scores(local);
        workgroupBarrier();
        for (var n = 0u; n < OWN; n++) {
            let unit = local + n * THREADS;
            if (unit < UNITS) {
                let s = unit_scores(unit, start, last[n]);
                most[n] = max(most[n], max(max(s.x, s.y), max(s.z, s.w)));
            }
        }
    }

    workgroupBarrier();
    for (var n = 0u; n < OWN; n++) {
        let unit = local + n * THREADS;
        if (unit < UNITS) {
            scores[unit] = Float(most[n]);
        }
    }
    workgroupBarrier();
    var sum: array<f32, OWN>;
    for (var n = 0u; n < OWN; n++) {
        let unit = min(local + n * THREADS, UNITS - 1u);
        for (var i = 0u; i < UNITS_ACROSS; i++) {
            most[n] = max(most[n], unit_value(unit / UNITS_ACROSS * UNITS_ACROSS + i));
        }
        sum[n] = 0.0;
    }

    // Four or two matrices of queries by one or two of columns.
    var o00 = Matrix();
    var o10 = Matrix();
#if DOWN_4
    var o20 = Matrix();
    var o30 = Matrix();
#endif
#if ACROSS_2
    var o01 = Matrix();
    var o11 = Matrix();
#if DOWN_4
    var o21 = Matrix();
    var o31 = Matrix();
#endif
#endif
    let column = subgroup * ACROSS * SIDE;
    for (var n = 0u; n < LOADS; n++) {
        loads[n] = a_key(k_at, 0u, local + n * THREADS, kv_width);
    }
    for (var start = 0u; start < seen; start += KEYS) {
        for (var n = 0u; n < LOADS; n++) {
            put_other(local + n * THREADS, loads[n]);
        }
        workgroupBarrier();
        for (var n = 0u; n < LOADS; n++) {
            loads[n] = a_value(v_at, start, local + n * THREADS, kv_width);
        }
        compute_scores(local);
        workgroupBarrier();
        for (var n = 0u; n < LOADS; n++) {
            put_other(local + n * THREADS, loads[n]);
        }
        for (var n = 0u; n < OWN; n++) {
            let unit = local + n * THREADS;
            if (unit < UNITS) {
                let weight = vec4<f16>(exp2(unit_scores(unit, start, last[n]) - most[n]));
                sum[n] += total(vec4<f32>(weight));
                put_weights(weight_index(unit / UNITS_ACROSS, unit % UNITS_ACROSS * 4u), weight);
            }
        }
        workgroupBarrier();
        for (var n = 0u; n < LOADS; n++) {
            loads[n] = a_key(k_at, start + KEYS, local + n * THREADS, kv_width);
        }
        for (var key = 0u; key < KEYS; key += SIDE) {
            let l0 = weight_index(0u, key);
            let l1 = weight_index(SIDE, key);
            let l2 = weight_index(2u * SIDE, key);
            let l3 = weight_index(3u * SIDE, key);
            let r0 = tile_index(key, column);
            let r1 = tile_index(key, column + SIDE);
#if COOPERATIVE
            let a0 = coopLoadT<Left>(&weights[l0], WEIGHTS_STRIDE);
            let a1 = coopLoadT<Left>(&weights[l1], WEIGHTS_STRIDE);
#if DOWN_4
            let a2 = coopLoadT<Left>(&weights[l2], WEIGHTS_STRIDE);
            let a3 = coopLoadT<Left>(&weights[l3], WEIGHTS_STRIDE);
#endif
            let b0 = coopLoadT<Right>(&others[r0], STRIDE);
#if ACROSS_2
            let b1 = coopLoadT<Right>(&others[r1], STRIDE);
#endif
            o00 = coopMultiplyAdd(a0, b0, o00);
            o10 = coopMultiplyAdd(a1, b0, o10);
#if DOWN_4
            o20 = coopMultiplyAdd(a2, b0, o20);
            o30 = coopMultiplyAdd(a3, b0, o30);
#endif
#if ACROSS_2
            o01 = coopMultiplyAdd(a0, b1, o01);
            o11 = coopMultiplyAdd(a1, b1, o11);
#if DOWN_4
            o21 = coopMultiplyAdd(a2, b1, o21);
            o31 = coopMultiplyAdd(a3, b1, o31);
#endif
#endif
#else
            o00 = add_values(lane, l0, r0, o00);
            o10 = add_values(lane, l1, r0, o10);
#if DOWN_4
            o20 = add_values(lane, l2, r0, o20);
            o30 = add_values(lane, l3, r0, o30);
#endif
#if ACROSS_2
            o01 = add_values(lane, l0, r1, o01);
            o11 = add_values(lane, l1, r1, o11);
#if DOWN_4
            o21 = add_values(lane, l2, r1, o21);
            o31 = add_values(lane, l3, r1, o31);
#endif
#endif
#endif
        }
        workgroupBarrier();
    }

    for (var n = 0u; n < OWN; n++) {
        let unit = local + n * THREADS;
        if (unit < UNITS) {
            scores[unit] = Float(sum[n]);
        }
    }
    workgroupBarrier();
    for (var query = local; query < QUERIES; query += THREADS) {
        var all = 0.0;
        for (var i = 0u; i < UNITS_ACROSS; i++) {
            all += unit_value(query * UNITS_ACROSS + i);
        }
        sums[query] = all;
    }
    workgroupBarrier();

    let mine = subgroup * RESULT;
#if COOPERATIVE
    coopStoreT(o00, &scores[mine], RESULT_STRIDE);
#else
    emulated_store(o00, lane, mine, RESULT_STRIDE);
#endif
    store_matrix(out_at, width, tile, 0u, column, local);
#if COOPERATIVE
    coopStoreT(o10, &scores[mine], RESULT_STRIDE);
#else
    emulated_store(o10, lane, mine, RESULT_STRIDE);
#endif
    store_matrix(out_at, width, tile, SIDE, column, local);
#if DOWN_4
#if COOPERATIVE
    coopStoreT(o20, &scores[mine], RESULT_STRIDE);
#else
    emulated_store(o20, lane, mine, RESULT_STRIDE);
#endif
    store_matrix(out_at, width, tile, 2u * SIDE, column, local);
#if COOPERATIVE
    coopStoreT(o30, &scores[mine], RESULT_STRIDE);
#else
    emulated_store(o30, lane, mine, RESULT_STRIDE);
#endif
    store_matrix(out_at, width, tile, 3u * SIDE, column, local);
#endif
#if ACROSS_2
#if COOPERATIVE
    coopStoreT(o01, &scores[mine], RESULT_STRIDE);
#else
    emulated_store(o01, lane, mine, RESULT_STRIDE);
#endif
    store_matrix(out_at, width, tile, 0u, column + SIDE, local);
#if COOPERATIVE
    coopStoreT(o11, &scores[mine], RESULT_STRIDE);
#else
    emulated_store(o11, lane, mine, RESULT_STRIDE);
#endif
    store_matrix(out_at, width, tile, SIDE, column + SIDE, local);
#if DOWN_4
#if COOPERATIVE
    coopStoreT(o21, &scores[mine], RESULT_STRIDE);
#else
    emulated_store(o21, lane, mine, RESULT_STRIDE);
#endif
    store_matrix(out_at, width, tile, 2u * SIDE, column + SIDE, local);
#if COOPERATIVE
    coopStoreT(o31, &scores[mine], RESULT_STRIDE);
#else
    emulated_store(o31, lane, mine, RESULT_STRIDE);
#endif
    store_matrix(out_at, width, tile, 3u * SIDE, column + SIDE, local);
#endif
#endif
}
