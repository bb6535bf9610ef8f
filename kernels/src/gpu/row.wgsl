// What shaders that reduce rows share: `LANES` threads for each row, `THREADS / LANES` rows for each workgroup. Each
// shader has a function `normalise`, which every thread of a workgroup calls with its number; the lanes of a row have
// consecutive numbers.

const THREADS = 128u;
// A power of two; the subgroup size, if subgroups are used.
override LANES: u32 = 32u;

#if SUBGROUPS
@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    normalise(workgroup, subgroup * LANES + lane);
}
#else
@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    normalise(workgroup, local);
}
#endif

#if SCALAR
fn greatest(x: f32) -> f32 {
    return x;
}
#else
fn greatest(x: vec4<f32>) -> f32 {
    return max(max(x.x, x.y), max(x.z, x.w));
}
#endif

#if SUBGROUPS
fn row_sum(thread: u32, x: f32) -> f32 {
    return subgroupAdd(x);
}

fn row_max(thread: u32, x: f32) -> f32 {
    return subgroupMax(x);
}
#else
var<workgroup> partial: array<f32, THREADS>;

// The sum over the threads of a row. All threads of the workgroup must call it.
fn row_sum(thread: u32, x: f32) -> f32 {
    partial[thread] = x;
    for (var step = LANES / 2u; step > 0u; step /= 2u) {
        workgroupBarrier();
        if (thread % LANES < step) {
            partial[thread] += partial[thread + step];
        }
    }
    workgroupBarrier();
    let sum = partial[thread / LANES * LANES];
    // The next call writes.
    workgroupBarrier();
    return sum;
}

// The maximum over the threads of a row, as `row_sum`.
fn row_max(thread: u32, x: f32) -> f32 {
    partial[thread] = x;
    for (var step = LANES / 2u; step > 0u; step /= 2u) {
        workgroupBarrier();
        if (thread % LANES < step) {
            partial[thread] = max(partial[thread], partial[thread + step]);
        }
    }
    workgroupBarrier();
    let most = partial[thread / LANES * LANES];
    workgroupBarrier();
    return most;
}
#endif
