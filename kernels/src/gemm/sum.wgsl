// Adds the parts of a split product, `[parts][rows][outputs]` to `[rows][outputs]`, with the epilogue. `part` is the
// number of parts. With GATED values and gates have parts of their own, or are columns of the same ones, which `columns`
// counts.

#if GATED
@group(0) @binding(2) var<storage, read> gate_parts: array<Sum>;
#endif
@group(0) @binding(5) var<storage, read> parts: array<Sum>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let width = params.outputs / W;
    let count = params.rows * width;
    let i = (workgroup.x + 32768u * workgroup.y) * 256u + local;
    if (i >= count) {
        return;
    }
    var sum = Sum();
#if GATED
    var gate = Sum();
    let row = params.columns / W;
    let first = i / width * row + i % width;
    for (var part = 0u; part < params.part; part++) {
        let at = first + part * params.rows * row;
        sum += parts[at + params.value_column / W];
        gate += gate_parts[at + params.gate_column / W];
    }
    finish_gated(i / width, i % width, sum, gate);
#else
    for (var part = 0u; part < params.part; part++) {
        sum += parts[params.x_first + part * count + i];
    }
    finish(i / width, i % width, sum);
#endif
}
