// What shaders that treat each element alone share: the index of an element, and the activations.

// Elements, `V` at a time, of a flat array.
fn index(workgroup: vec3<u32>, local: u32) -> u32 {
    return (workgroup.x + 32768u * workgroup.y) * 256u + local;
}

fn sigmoid(x: Floats) -> Floats {
    // Beyond 80 the result hardly changes, and compilers may assume that nothing is infinite.
    return 1.0 / (1.0 + exp(min(-x, Floats(80.0))));
}

// Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26: an error of at most 1.5e-7.
fn erf(x: Floats) -> Floats {
    let t = 1.0 / (1.0 + 0.3275911 * abs(x));
    let p = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
    return sign(x) * (1.0 - p * exp(-x * x));
}

fn gelu(x: Floats) -> Floats {
    return 0.5 * x * (1.0 + erf(x * 0.70710678));
}

// SiLU (0), GELU (1), quick GELU (2), ReLU (4), leaky ReLU of a slope (5), GELU by tanh (6).
fn activated(kind: u32, v: Floats, slope: f32) -> Floats {
    if (kind == 0u) {
        return v * sigmoid(v);
    } else if (kind == 1u) {
        return gelu(v);
    } else if (kind == 2u) {
        return v * sigmoid(1.702 * v);
    } else if (kind == 4u) {
        return max(v, Floats(0.0));
    } else if (kind == 5u) {
        return max(v, slope * v);
    }
    // Beyond 10 it is the value itself, and cubes may be infinite.
    let inner = clamp(v, Floats(-10.0), Floats(10.0));
    return v * sigmoid(inner * (1.5957692 + 0.07135482 * inner * inner));
}
