// Products of cooperative matrices in registers, for the peak performance of the matrix units. Eight subgroups of
// SUBGROUP threads, each with four independent sums.

struct Params {
    rounds: u32,
    a: f32,
    b: f32,
    pad: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;

const SUBGROUPS = 8u;
const SIZE = SIDE * SIDE;

var<workgroup> factors: array<f16, 2u * SIZE>;
var<workgroup> results: array<f32, SUBGROUPS * SIZE>;

@compute @workgroup_size(SUBGROUPS * SUBGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    for (var i = local; i < 2u * SIZE; i += SUBGROUPS * SUBGROUP) {
        factors[i] = f16(select(params.b, params.a, i < SIZE));
    }
    workgroupBarrier();
    let left = coopLoadT<Left>(&factors[0], SIDE);
    let right = coopLoadT<Right>(&factors[SIZE], SIDE);
    var s0 = Matrix();
    var s1 = Matrix();
    var s2 = Matrix();
    var s3 = Matrix();
    for (var round = 0u; round < params.rounds; round++) {
        s0 = coopMultiplyAdd(left, right, s0);
        s1 = coopMultiplyAdd(left, right, s1);
        s2 = coopMultiplyAdd(left, right, s2);
        s3 = coopMultiplyAdd(left, right, s3);
    }
    // Each sum is used, so that the compiler drops none.
    let place = local / SUBGROUP * SIZE;
    var total = 0.0;
    coopStoreT(s0, &results[place], SIDE);
    workgroupBarrier();
    total += results[place + local % SUBGROUP];
    workgroupBarrier();
    coopStoreT(s1, &results[place], SIDE);
    workgroupBarrier();
    total += results[place + local % SUBGROUP];
    workgroupBarrier();
    coopStoreT(s2, &results[place], SIDE);
    workgroupBarrier();
    total += results[place + local % SUBGROUP];
    workgroupBarrier();
    coopStoreT(s3, &results[place], SIDE);
    workgroupBarrier();
    total += results[place + local % SUBGROUP];
    out[workgroup.x * SUBGROUPS * SUBGROUP + local] = total;
}
