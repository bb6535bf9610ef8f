// Adds the parts of a split product, `[parts][rows][outputs]` to `[rows][outputs]`, with the epilogue. `part` is the
// number of parts.

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
    for (var part = 0u; part < params.part; part++) {
        sum += parts[params.x_first + part * count + i];
    }
    finish(i / width, i % width, sum);
}
