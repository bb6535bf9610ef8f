// The destination of the sums of a product.

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
