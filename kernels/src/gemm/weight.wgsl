// A packed weight, `[panels][depth][64]`, four values at a time, and the type of four values of either side in a tile.

#if MATRICES
alias Four = vec4<f16>;
alias Packed = vec4<f16>;
#else
alias Four = vec4<f32>;
#if WEIGHT_F32
alias Packed = vec4<f32>;
#else
alias Packed = vec2<u32>;
#endif
#endif

@group(0) @binding(6) var<storage, read> weight: array<Packed>;

fn widened(v: Packed) -> Four {
#if MATRICES
    return v;
#else
#if WEIGHT_F32
    return v;
#endif
#if WEIGHT_F16
    return vec4<f32>(unpack2x16float(v.x), unpack2x16float(v.y));
#endif
#if WEIGHT_BF16
    let bits = vec4<u32>(v.x << 16u, v.x & 0xffff0000u, v.y << 16u, v.y & 0xffff0000u);
    return bitcast<vec4<f32>>(bits);
#endif
#endif
}
