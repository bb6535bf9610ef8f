// Attention without the score matrix: Dao et al., FlashAttention, 2022; the running sums of a softmax are those of
// Milakov and Gimelshein, Online normalizer calculation for softmax, 2018.
//
// A workgroup takes a tile of queries of one head and walks over the keys tile by tile. Thread `(tq, td)` has the four
// queries `tq + QUERY_THREADS * (0..4)`, as the components of a vector. It computes the scores of `KEYS_EACH` keys, and
// `COLUMNS_EACH` vectors of the output of each query, `td + KEY_THREADS * (0..COLUMNS_EACH)`. `tq` runs faster than
// `td`, so that a subgroup reads few keys and few values, and its queries from different banks.
//
// Constants of a variant; columns are counted in vectors of four:
// QUERY_THREADS, KEY_THREADS, KEYS_EACH, COLUMNS_EACH;
// CHUNK: columns of queries and keys that are in workgroup memory at once, for scores;
// STEP: values that are in workgroup memory at once, a divisor of the keys of a tile.

const THREADS = QUERY_THREADS * KEY_THREADS;
const QUERIES = 4u * QUERY_THREADS;
const KEYS = KEYS_EACH * KEY_THREADS;
const COLUMNS = COLUMNS_EACH * KEY_THREADS;

// An odd distance between rows, so that the rows of neighbouring threads are in different banks.
const STRIDE = CHUNK | 1u;

// Workgroup memory holds queries and keys, then weights and either values or what threads exchange.
const KEYS_AT = QUERIES * STRIDE;
const VALUES_AT = KEYS * QUERY_THREADS;
const MEMORY = max(KEYS_AT + KEYS * STRIDE, VALUES_AT + max(STEP * COLUMNS, THREADS));

// Vectors that a thread loads into workgroup memory at once: of queries, keys and values.
const QUERY_LOADS = (QUERIES * CHUNK + THREADS - 1u) / THREADS;
const KEY_LOADS = (KEYS * CHUNK + THREADS - 1u) / THREADS;
const VALUE_LOADS = (STEP * COLUMNS + THREADS - 1u) / THREADS;

var<workgroup> memory: array<vec4<f32>, MEMORY>;

// Four columns of a head's row that begins at vector `row`: zeros past the last column, without a branch, so that many
// loads are under way at once.
#if SCALAR
fn query(row: u32, column: u32) -> vec4<f32> {
    var x = vec4<f32>();
    for (var i = 0u; i < min(4u, params.head_dim - min(4u * column, params.head_dim)); i++) {
        x[i] = f32(q[row + 4u * column + i]);
    }
    return x;
}

fn key(row: u32, column: u32) -> vec4<f32> {
    var x = vec4<f32>();
    for (var i = 0u; i < min(4u, params.head_dim - min(4u * column, params.head_dim)); i++) {
        x[i] = f32(k[row + 4u * column + i]);
    }
    return x;
}

fn value(row: u32, column: u32) -> vec4<f32> {
    var x = vec4<f32>();
    for (var i = 0u; i < min(4u, params.head_dim - min(4u * column, params.head_dim)); i++) {
        x[i] = f32(v[row + 4u * column + i]);
    }
    return x;
}
#else
fn query(row: u32, column: u32) -> vec4<f32> {
    let x = Floats(q[row + min(column, params.head_dim / 4u - 1u)]);
    return select(vec4<f32>(), x, 4u * column < params.head_dim);
}

fn key(row: u32, column: u32) -> vec4<f32> {
    let x = Floats(k[row + min(column, params.head_dim / 4u - 1u)]);
    return select(vec4<f32>(), x, 4u * column < params.head_dim);
}

fn value(row: u32, column: u32) -> vec4<f32> {
    let x = Floats(v[row + min(column, params.head_dim / 4u - 1u)]);
    return select(vec4<f32>(), x, 4u * column < params.head_dim);
}
#endif

#if BIAS
// The bias of four queries and a key, for powers of two.
fn biases(queries: vec4<u32>, head: u32, key: u32) -> vec4<f32> {
    let first = params.bias_first + (head - params.head_first) * params.bias_head + min(key, params.keys - 1u);
    let at = first + min(queries, vec4<u32>(params.queries - 1u)) * params.bias_row;
    return vec4<f32>(f32(bias[at.x]), f32(bias[at.y]), f32(bias[at.z]), f32(bias[at.w])) * 1.442695;
}
#endif

#if PART
fn place(query: u32, head: u32, columns: u32) -> u32 {
    return (query * params.heads + head) * (columns + 1u);
}
#else
// Four columns of the result.
#if SCALAR
fn store(row: u32, column: u32, x: vec4<f32>) {
    for (var i = 0u; i < min(4u, params.head_dim - 4u * column); i++) {
        out[row + 4u * column + i] = Elem(x[i]);
    }
}
#else
fn store(row: u32, column: u32, x: vec4<f32>) {
    out[row + column] = Elems(x);
}
#endif
#endif

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let group = workgroup.x + 32768u * workgroup.y;
    if (group >= params.groups) {
        return;
    }
    let tq = local % QUERY_THREADS;
    let td = local / QUERY_THREADS;
    let tile = group % params.tiles * QUERIES;
    let head = params.head_first + group / params.tiles % params.heads_here;
    let kv_head = head / (params.heads / params.kv_heads);
    let batch = group / params.tiles / params.heads_here;
    // Vectors of a row of a head, and of all heads.
    let head_width = params.head_dim / V;
    let width = params.heads * head_width;
    let kv_width = params.kv_heads * head_width;
    let q_at = params.q_first + batch * params.queries * width + head * head_width;
    let k_at = params.k_first + batch * params.keys * kv_width + kv_head * head_width;
    let v_at = params.v_first + batch * params.keys * kv_width + kv_head * head_width;
    let columns = (params.head_dim + 3u) / 4u;

    // The last key that each query sees, and how many keys the tile's last query sees.
    let own = vec4<u32>(tile + tq) + QUERY_THREADS * vec4<u32>(0u, 1u, 2u, 3u);
    let last = min(vec4<i32>(own) + params.shift, vec4<i32>(i32(params.keys) - 1));
    let last_query = min(tile + QUERIES, params.queries) - 1u;
    let seen = u32(clamp(i32(last_query) + params.shift + 1, 0, i32(params.keys)));

    var most = vec4<f32>(MIN_SCORE);
    // Over the keys of this thread; the sums of the threads are added at the end.
    var sum = vec4<f32>();
    // Vector `4 j + i` is of query i.
    var o: array<vec4<f32>, 4u * COLUMNS_EACH>;
    for (var j = 0u; j < 4u * COLUMNS_EACH; j++) {
        o[j] = vec4<f32>();
    }
#if PART
    if (params.begins == 0u) {
        for (var i = 0u; i < 4u; i++) {
            let at = place(min(own[i], params.queries - 1u), head, columns);
            most[i] = carried[at].x;
            sum[i] = select(0.0, carried[at].y, td == 0u);
            for (var j = 0u; j < COLUMNS_EACH; j++) {
                let column = params.column + td + KEY_THREADS * j;
                if (column < columns) {
                    o[4u * j + i] = carried[at + 1u + column];
                }
            }
        }
    }
#endif

    for (var start = 0u; start < seen; start += KEYS) {
        // Scores: component i of vector j is of query i and key j.
        var s: array<vec4<f32>, KEYS_EACH>;
        for (var j = 0u; j < KEYS_EACH; j++) {
            s[j] = vec4<f32>();
        }
        for (var chunk = 0u; chunk < columns; chunk += CHUNK) {
            var queries: array<vec4<f32>, QUERY_LOADS>;
            for (var n = 0u; n < QUERY_LOADS; n++) {
                let e = min(local + n * THREADS, QUERIES * CHUNK - 1u);
                let row = min(tile + e / CHUNK, params.queries - 1u);
                queries[n] = query(q_at + row * width, chunk + e % CHUNK) * params.scale;
            }
            var keys: array<vec4<f32>, KEY_LOADS>;
            for (var n = 0u; n < KEY_LOADS; n++) {
                let e = min(local + n * THREADS, KEYS * CHUNK - 1u);
                let row = min(start + e / CHUNK, params.keys - 1u);
                keys[n] = key(k_at + row * kv_width, chunk + e % CHUNK);
            }
            workgroupBarrier();
            for (var n = 0u; n < QUERY_LOADS; n++) {
                let e = local + n * THREADS;
                if (e < QUERIES * CHUNK) {
                    memory[e / CHUNK * STRIDE + e % CHUNK] = queries[n];
                }
            }
            for (var n = 0u; n < KEY_LOADS; n++) {
                let e = local + n * THREADS;
                if (e < KEYS * CHUNK) {
                    memory[KEYS_AT + e / CHUNK * STRIDE + e % CHUNK] = keys[n];
                }
            }
            workgroupBarrier();
            for (var c = 0u; c < CHUNK; c++) {
                let a0 = memory[tq * STRIDE + c];
                let a1 = memory[(tq + QUERY_THREADS) * STRIDE + c];
                let a2 = memory[(tq + 2u * QUERY_THREADS) * STRIDE + c];
                let a3 = memory[(tq + 3u * QUERY_THREADS) * STRIDE + c];
                for (var j = 0u; j < KEYS_EACH; j++) {
                    let b = memory[KEYS_AT + (td * KEYS_EACH + j) * STRIDE + c];
                    s[j] += vec4<f32>(a0.x, a1.x, a2.x, a3.x) * b.x;
                    s[j] += vec4<f32>(a0.y, a1.y, a2.y, a3.y) * b.y;
                    s[j] += vec4<f32>(a0.z, a1.z, a2.z, a3.z) * b.z;
                    s[j] += vec4<f32>(a0.w, a1.w, a2.w, a3.w) * b.w;
                }
            }
        }

        // The largest score so far, of all threads.
        var now = most;
        for (var j = 0u; j < KEYS_EACH; j++) {
            let at = i32(start + td * KEYS_EACH + j);
#if BIAS
            s[j] += biases(own, head, start + td * KEYS_EACH + j);
#endif
            s[j] = select(vec4<f32>(MIN_SCORE), s[j], vec4<i32>(at) <= last);
            now = max(now, s[j]);
        }
        workgroupBarrier();
        memory[VALUES_AT + local] = now;
        workgroupBarrier();
        for (var t = 0u; t < KEY_THREADS; t++) {
            now = max(now, memory[VALUES_AT + t * QUERY_THREADS + tq]);
        }

        // Weights, and the sums so far rescaled to the new largest score.
        let factor = exp2(most - now);
        most = now;
        sum *= factor;
        for (var j = 0u; j < KEYS_EACH; j++) {
            let weight = exp2(s[j] - now);
            sum += weight;
            memory[(td * KEYS_EACH + j) * QUERY_THREADS + tq] = weight;
        }
        for (var j = 0u; j < COLUMNS_EACH; j++) {
            o[4u * j] *= factor.x;
            o[4u * j + 1u] *= factor.y;
            o[4u * j + 2u] *= factor.z;
            o[4u * j + 3u] *= factor.w;
        }

        for (var step = 0u; step < KEYS; step += STEP) {
            var values: array<vec4<f32>, VALUE_LOADS>;
            for (var n = 0u; n < VALUE_LOADS; n++) {
                let e = min(local + n * THREADS, STEP * COLUMNS - 1u);
                // Past the last key weights are 0.
                let row = min(start + step + e / COLUMNS, params.keys - 1u);
                values[n] = value(v_at + row * kv_width, params.column + e % COLUMNS);
            }
            workgroupBarrier();
            for (var n = 0u; n < VALUE_LOADS; n++) {
                let e = local + n * THREADS;
                if (e < STEP * COLUMNS) {
                    memory[VALUES_AT + e] = values[n];
                }
            }
            workgroupBarrier();
            for (var i = 0u; i < STEP; i++) {
                let p = memory[(step + i) * QUERY_THREADS + tq];
                for (var j = 0u; j < COLUMNS_EACH; j++) {
                    let x = memory[VALUES_AT + i * COLUMNS + td + KEY_THREADS * j];
                    o[4u * j] += p.x * x;
                    o[4u * j + 1u] += p.y * x;
                    o[4u * j + 2u] += p.z * x;
                    o[4u * j + 3u] += p.w * x;
                }
            }
        }
    }

    workgroupBarrier();
    memory[local] = sum;
    workgroupBarrier();
#if PART
    // All threads of a query have read what some of them are about to write.
    storageBarrier();
#endif
    sum = vec4<f32>();
    for (var t = 0u; t < KEY_THREADS; t++) {
        sum += memory[t * QUERY_THREADS + tq];
    }
    for (var i = 0u; i < 4u; i++) {
        if (own[i] < params.queries) {
#if PART
            let to = place(own[i], head, columns);
            if (td == 0u) {
                carried[to] = vec4<f32>(most[i], sum[i], 0.0, 0.0);
            }
#else
            let to = params.out_first + (batch * params.queries + own[i]) * width + head * head_width;
#endif
            for (var j = 0u; j < COLUMNS_EACH; j++) {
                let column = params.column + td + KEY_THREADS * j;
                if (column < columns) {
#if PART
                    carried[to + 1u + column] = o[4u * j + i];
#else
                    store(to, column, o[4u * j + i] / sum[i]);
#endif
                }
            }
        }
    }
}
