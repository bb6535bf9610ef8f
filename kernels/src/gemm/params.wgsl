// What matrix products and convolutions share: parameters, arrays, and the epilogue.
//
// Indices into arrays of activations are counted in accesses: of `V` values in `x`, of four values (or of one, if the
// number of outputs is not a multiple of four) in the result and its addends.

struct Params {
    rows: u32,         // of the result
    outputs: u32,      // columns of the result
    column: u32,       // the first column that this run computes
    columns: u32,      // the number of columns that it computes
    depth: u32,        // terms of a sum: taps times channels
    begin: u32,        // the first term of this run
    end: u32,          // one past the last term of this run; a multiple of 16, so terms past `depth` are zero
    part: u32,         // terms of each part, if the sum is split
    panel: u32,        // accesses of four values in a panel of the weight
    weight_first: u32,
    x_first: u32,
    vector_first: u32,
    residual_first: u32,
    out_first: u32,
    addends: u32,      // a set of BIAS, VECTOR, RESIDUAL, OUT
    pixels: u32,       // rows of the result for each image
    // Of a convolution:
    channels: u32,     // accesses
    kernel: u32,
    stride: u32,
    out_width: u32,
    height: u32,       // of `x`
    width: u32,
    to_height: u32,    // the size to which it is resized
    to_width: u32,
    top: u32,          // where the kernel of the first output begins; negative values wrap
    left: u32,
    source: u32,       // the first row of an image that `x` holds
    image: u32,      // accesses of an image of `x`
    // Of a product that ends in a gate or in an activation:
    value_column: u32, // the values' first output in their layer
    gate_column: u32,  // the gates' first output in theirs
    gate_first: u32,   // of the gates' weight
    slope: f32,        // of a leaky ReLU
}

@group(0) @binding(0) var<uniform> params: Params;

const BIAS = 1u;
const VECTOR = 2u;
const RESIDUAL = 4u;
const OUT = 8u;
const GATE_BIAS = 16u;

#if WIDE
alias Out = vec4<Elem>;
alias Sum = vec4<f32>;
const W = 4u;
#else
alias Out = Elem;
alias Sum = f32;
const W = 1u;
#endif

@group(0) @binding(1) var<storage, read> bias: array<Sum>;
#if GATED
// Binding 2 is that of the shader: the gates' weight, or their sums.
@group(0) @binding(3) var<storage, read> gate_bias: array<Sum>;
#else
@group(0) @binding(2) var<storage, read> vector: array<Out>;
@group(0) @binding(3) var<storage, read> residual: array<Out>;
#endif
#if PARTIAL
@group(0) @binding(4) var<storage, read_write> out: array<Sum>;
#else
@group(0) @binding(4) var<storage, read_write> out: array<Out>;

#if ACTIVATED
// As `activated` has them.
override KIND: u32 = 0u;
#endif

#if GATED
// Stores values times the activation of their gates, which are sums without their biases.
fn finish_gated(row: u32, column: u32, values: Sum, gates: Sum) {
    var value = values;
    var gate = gates;
    if ((params.addends & BIAS) != 0u) {
        value += bias[params.value_column / W + column];
    }
    if ((params.addends & GATE_BIAS) != 0u) {
        gate += gate_bias[params.gate_column / W + column];
    }
    out[params.out_first + row * (params.outputs / W) + column] = Out(value * activated(KIND, gate, params.slope));
}
#else
// Applies the epilogue to a sum and stores it.
fn finish(row: u32, column: u32, sum: Sum) {
    let width = params.outputs / W;
    let at = params.out_first + row * width + column;
    var value = sum;
    if ((params.addends & BIAS) != 0u) {
        value += bias[column];
    }
    if ((params.addends & VECTOR) != 0u) {
        value += Sum(vector[params.vector_first + row / params.pixels * width + column]);
    }
    if ((params.addends & RESIDUAL) != 0u) {
        value += Sum(residual[params.residual_first + row * width + column]);
    }
    if ((params.addends & OUT) != 0u) {
        value += Sum(out[at]);
    }
#if ACTIVATED
    out[at] = Out(activated(KIND, value, params.slope));
#else
    out[at] = Out(value);
#endif
}
#endif
#endif
