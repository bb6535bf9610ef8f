// The destination of the sums of a product.

#if GATED
// Stores four columns of this run, if they exist.
fn store_gated(row: u32, column: u32, values: vec4<f32>, gates: vec4<f32>) {
    if (column < params.columns) {
        finish_gated(row, (params.column + column) / 4u, values, gates);
    }
}
#else
// Stores four columns of this run, as far as they exist.
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
#endif
