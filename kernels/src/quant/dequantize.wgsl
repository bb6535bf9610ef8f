// The blocks of a weight as its values, in the order in which products read them: `[panels][taps * inputs][64]`.
// The formats are those of `latent_dtype::block`.

struct Params {
    count: u32,      // of threads: 64 outputs by the groups of 32 values of a row by the panels
    groups: u32,     // of a row
    outputs: u32,    // that there are, counted from the first of these panels
    row_bytes: u32,
    inputs: u32,
    taps: u32,
    byte_first: u32, // of the first row in `blocks`
    out_first: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> blocks: array<u32>;
@group(0) @binding(2) var<storage, read_write> out: array<Elem>;

fn byte_at(i: u32) -> u32 {
    return (blocks[i >> 2u] >> (8u * (i & 3u))) & 255u;
}

// A GPU may flush denormals, which are the scales of blocks of small weights.
fn half_at(i: u32) -> f32 {
    let bits = byte_at(i) | (byte_at(i + 1u) << 8u);
    let denormal = f32(bits & 1023u) * 5.9604645e-8;
    let is_denormal = (bits & 0x7c00u) == 0u;
    return select(unpack2x16float(bits).x, select(denormal, -denormal, bits >= 0x8000u), is_denormal);
}

fn signed_byte(byte: u32) -> f32 {
    return f32(i32(byte << 24u) >> 24u);
}

// Number `i` of 32 of four bits.
fn nibble(at: u32, i: u32) -> u32 {
    return (byte_at(at + (i & 15u)) >> (4u * (i >> 4u))) & 15u;
}

fn of_table(number: u32) -> f32 {
    var table = array<f32, 16>(
        -127.0, -104.0, -83.0, -65.0, -49.0, -35.0, -22.0, -10.0, 1.0, 13.0, 25.0, 38.0, 53.0, 69.0, 89.0, 113.0
    );
    return table[number];
}

#if K_PAIRS
// Scale and offset of six bits of a group of Q4_K and Q5_K.
fn pair(at: u32, group: u32) -> vec2<f32> {
    if (group < 4u) {
        return vec2<f32>(f32(byte_at(at + group) & 63u), f32(byte_at(at + 4u + group) & 63u));
    }
    let low = byte_at(at + 4u + group);
    let scale = (low & 15u) | ((byte_at(at + group - 4u) >> 6u) << 4u);
    let offset = (low >> 4u) | ((byte_at(at + group) >> 6u) << 4u);
    return vec2<f32>(f32(scale), f32(offset));
}
#endif

// Scale of value `i` of the block at `at`, which is the same for sixteen values, and what is added to the product.
fn scales(at: u32, i: u32) -> vec2<f32> {
#if PLAIN_SCALE
    return vec2<f32>(half_at(at), 0.0);
#endif
#if PLAIN_OFFSET
    return vec2<f32>(half_at(at), half_at(at + 2u));
#endif
#if K_PAIRS
    let both = pair(at + 4u, i / 32u);
    return vec2<f32>(half_at(at) * both.x, -(half_at(at + 2u) * both.y));
#endif
#if Q2_K
    let both = byte_at(at + i / 16u);
    return vec2<f32>(half_at(at + 80u) * f32(both & 15u), -(half_at(at + 82u) * f32(both >> 4u)));
#endif
#if Q3_K
    let group = i / 16u;
    let low = (byte_at(at + 96u + (group & 7u)) >> (4u * (group / 8u))) & 15u;
    let high = (byte_at(at + 104u + (group & 3u)) >> (2u * (group / 4u))) & 3u;
    return vec2<f32>(half_at(at + 108u) * (f32(low | (high << 4u)) - 32.0), 0.0);
#endif
#if Q6_K
    return vec2<f32>(half_at(at + 208u) * signed_byte(byte_at(at + 192u + i / 16u)), 0.0);
#endif
#if IQ4_XS
    let group = i / 32u;
    let low = (byte_at(at + 4u + group / 2u) >> (4u * (group & 1u))) & 15u;
    let high = ((byte_at(at + 2u) | (byte_at(at + 3u) << 8u)) >> (2u * group)) & 3u;
    return vec2<f32>(half_at(at) * (f32(low | (high << 4u)) - 32.0), 0.0);
#endif
}

// What the scale of value `i` of the block at `at` is multiplied by.
fn number(at: u32, i: u32) -> f32 {
#if Q8_0
    return signed_byte(byte_at(at + 2u + i));
#endif
#if Q4_0
    return f32(nibble(at + 2u, i)) - 8.0;
#endif
#if Q4_1
    return f32(nibble(at + 4u, i));
#endif
#if Q5_0
    let fifth = (byte_at(at + 2u + i / 8u) >> (i & 7u)) & 1u;
    return f32(nibble(at + 6u, i) | (fifth << 4u)) - 16.0;
#endif
#if Q5_1
    let fifth = (byte_at(at + 4u + i / 8u) >> (i & 7u)) & 1u;
    return f32(nibble(at + 8u, i) | (fifth << 4u));
#endif
#if IQ4_NL
    return of_table(nibble(at + 2u, i));
#endif
#if Q4_K
    let group = i / 32u;
    return f32((byte_at(at + 16u + 32u * (group / 2u) + (i & 31u)) >> (4u * (group & 1u))) & 15u);
#endif
#if Q5_K
    let group = i / 32u;
    let low = (byte_at(at + 48u + 32u * (group / 2u) + (i & 31u)) >> (4u * (group & 1u))) & 15u;
    let fifth = (byte_at(at + 16u + (i & 31u)) >> group) & 1u;
    return f32(low | (fifth << 4u));
#endif
#if Q6_K
    let upper = i / 128u;
    let row = (i / 32u) & 3u;
    let low = (byte_at(at + 64u * upper + 32u * (row & 1u) + (i & 31u)) >> (4u * (row / 2u))) & 15u;
    let high = (byte_at(at + 128u + 32u * upper + (i & 31u)) >> (2u * row)) & 3u;
    return f32(low | (high << 4u)) - 32.0;
#endif
#if Q2_K
    return f32((byte_at(at + 16u + 32u * (i / 128u) + (i & 31u)) >> (2u * ((i / 32u) & 3u))) & 3u);
#endif
#if Q3_K
    let low = (byte_at(at + 32u + 32u * (i / 128u) + (i & 31u)) >> (2u * ((i / 32u) & 3u))) & 3u;
    let third = (byte_at(at + (i & 31u)) >> (i / 32u)) & 1u;
    return f32(low | (third << 2u)) - 4.0;
#endif
#if IQ4_XS
    return of_table(nibble(at + 8u + 16u * (i / 32u), i & 31u));
#endif
}

// Each thread has 32 values of a row; neighbours have neighbouring outputs.
@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let i = index(workgroup, local);
    if (i >= params.count) {
        return;
    }
    let lane = i & 63u;
    let group = (i / 64u) % params.groups;
    let panel = i / 64u / params.groups;
    let output = panel * 64u + lane;
    let terms = params.inputs * params.taps;
    let first = 32u * group;
    let at = params.byte_first + output * params.row_bytes + first / BLOCK * BYTES;
    let to = params.out_first + panel * terms * 64u + lane;
    for (var part = 0u; part < 32u; part += 16u) {
        var both = vec2<f32>(0.0, 0.0);
        if (output < params.outputs) {
            both = scales(at, first % BLOCK + part);
        }
        for (var j = part; j < part + 16u; j++) {
            var value = 0.0;
            if (output < params.outputs) {
                value = both.x * number(at, first % BLOCK + j) + both.y;
            }
            let column = first + j;
            let term = column % params.taps * params.inputs + column / params.taps;
            out[to + term * 64u] = Elem(value);
        }
    }
}
