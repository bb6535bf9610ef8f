//! Products that end in an activation or a gate: the first layer of a feed-forward, whose sums are never stored.
//!
//! With a gate a tile has columns of values and, beside them, those of their gates, which `columns.wgsl` takes from where they are in the
//! panels of a weight: no weight is packed in another order. So weights of block formats have their gate here, too.

use super::run::{self, Addends, BIAS, GATE_BIAS, GateParams, ImageParams, Params, ProductRun, SumParts};
use super::tile::{self, Method, ProductTile, WIDE, activated};
use super::{GEMM, GpuProduct, PackedWeight, SUM, gemm, matrices_activated, strip::COLUMNS};
use crate::DType;
use crate::activation::{Activation, Gate, LEAKY_SLOPE, gpu as activation};
use crate::gpu::{Array, Binding, Dispatch, GpuError, ShaderVariant, in_rows};
use std::ops::Range;

/// The activation is that of gates.
const GATED: &str = "GATED";

const NONE: Addends<'static> = Addends { bias: None, vector: None, residual: None, accumulate: false };

/// The weight `[outputs, inputs]` and the bias `[outputs]` of a layer on a GPU.
#[derive(Clone, Copy, Debug)]
pub struct GpuLayer<'a> {
    /// `[outputs, inputs]`
    pub weight: &'a PackedWeight,
    /// `[outputs]` of `f32`
    pub bias: Option<&'a Array>,
}

/// As [`GatedWeights`](super::super::GatedWeights), on a GPU.
#[derive(Clone, Copy, Debug)]
pub enum GpuGatedWeights<'a> {
    /// Values and gates are halves of one layer's outputs.
    Fused(GpuLayer<'a>, Gate),
    /// Values and gates are the outputs of a layer each.
    Pair {
        /// The layer of the values.
        values: GpuLayer<'a>,
        /// The layer of the gates.
        gates: GpuLayer<'a>,
        /// Of the gates.
        activation: Activation,
    },
}

/// As [`gemm_activated`](super::super::gemm_activated).
///
/// # Errors
/// No memory, a lost GPU, a command that it refused.
///
/// # Panics
/// As [`gemm_activated`](super::super::gemm_activated), and if the bias is not of `f32` or the dtypes of `x` and `out` differ.
pub fn gemm_activated(
    x: &Array,
    layer: GpuLayer<'_>,
    kind: Activation,
    out: &mut Array,
) -> Result<(), GpuError> {
    activated_by(Method::best(x.gpu()), x, layer, kind, out)
}

/// As [`gemm_activated`], by a given method.
pub(crate) fn activated_by(
    method: Method,
    x: &Array,
    GpuLayer { weight, bias }: GpuLayer<'_>,
    kind: Activation,
    out: &mut Array,
) -> Result<(), GpuError> {
    let addends = Addends { bias, ..NONE };
    // An activation is of four values.
    let is_wide = weight.inputs().is_multiple_of(4) && weight.outputs().is_multiple_of(4);
    matrices_activated(method, x, weight, &addends, usize::MAX, is_wide.then_some(kind), out)?;
    if is_wide { Ok(()) } else { activation::activate(kind, out) }
}

/// As [`gemm_gated`](super::super::gemm_gated): `out` is `[rows, width]`, where `width` is the number of values.
///
/// # Errors
/// No memory, a lost GPU, a command that it refused.
///
/// # Panics
/// As [`gemm_gated`](super::super::gemm_gated), and if a bias is not of `f32` or the dtypes of `x` and `out` differ.
pub fn gemm_gated(x: &Array, weights: GpuGatedWeights<'_>, out: &mut Array) -> Result<(), GpuError> {
    gated_by(Method::best(x.gpu()), x, weights, out)
}

/// As [`gemm_gated`], by a given method.
pub(crate) fn gated_by(
    method: Method,
    x: &Array,
    weights: GpuGatedWeights<'_>,
    out: &mut Array,
) -> Result<(), GpuError> {
    let (values, gates, kind) = match weights {
        GpuGatedWeights::Fused(layer, gate) => (layer, layer, gate.activation),
        GpuGatedWeights::Pair { values, gates, activation } => (values, gates, activation),
    };
    let is_pair = matches!(weights, GpuGatedWeights::Pair { .. });
    let value_weight = values.weight.ready()?;
    let gate_weight = if is_pair { gates.weight.ready()? } else { value_weight.clone() };
    let outputs = value_weight.outputs();
    let (columns, width) = match weights {
        GpuGatedWeights::Fused(_, gate) => {
            assert!(outputs.is_multiple_of(2), "{outputs} outputs are not two halves");
            (if gate.gate_first { [outputs / 2, 0] } else { [0, outputs / 2] }, outputs / 2)
        }
        GpuGatedWeights::Pair { .. } => {
            let size = |weight: &PackedWeight| (weight.outputs(), weight.inputs());
            assert_eq!(size(&gate_weight), size(&value_weight), "gates of other sizes than values");
            ([0, 0], outputs)
        }
    };
    let values = GpuLayer { weight: &value_weight, ..values };
    let gates = GpuLayer { weight: &gate_weight, ..gates };
    let call = GatedCall { method, x, values, gates, columns, width, kind };
    call.assert_lengths(out);
    match call.columns_at_once() {
        0 => call.separately(out),
        columns => call.record(columns, out),
    }
}

/// A product whose weights are ready to be read.
struct GatedCall<'a> {
    method: Method,
    x: &'a Array,
    values: GpuLayer<'a>,
    gates: GpuLayer<'a>,
    /// The first output of the values and that of the gates in their layers.
    columns: [usize; 2],
    width: usize,
    kind: Activation,
}

impl GatedCall<'_> {
    fn assert_lengths(&self, out: &Array) {
        let GatedCall { x, values, gates, width, .. } = self;
        let inputs = values.weight.inputs();
        assert_eq!(values.weight.terms(), inputs, "the weight of a convolution");
        assert!(x.len().is_multiple_of(inputs), "{} values are not rows of {inputs}", x.len());
        let rows = x.len() / inputs;
        assert_eq!((out.len(), out.dtype()), (rows * width, x.dtype()), "output [{rows}, {width}]");
        for GpuLayer { weight, bias } in [values, gates] {
            let fits = |b: &Array| (b.len(), b.dtype()) == (weight.outputs(), DType::F32);
            assert!(bias.is_none_or(fits), "bias");
        }
    }

    /// How many columns of values, and as many of gates, one run can have; 0 if they must be computed separately.
    fn columns_at_once(&self) -> usize {
        let GatedCall { x, values, gates, columns, width, .. } = self;
        let (data, depth) = (&values.weight.data, values.weight.depth());
        let panel = depth * COLUMNS * data.dtype().size();
        let is_wide = values.weight.inputs().is_multiple_of(4) && width.is_multiple_of(4);
        if !is_wide || data.dtype() != gates.weight.data.dtype() || !x.gpu().binds(panel) {
            return 0;
        }
        let panels = x.gpu().rows_at_once(panel);
        // Columns that begin within a panel end within another one.
        let is_aligned = columns.iter().all(|column| column.is_multiple_of(COLUMNS));
        let columns = if is_aligned { panels } else { panels - 1 } * COLUMNS;
        columns.min(*width)
    }

    /// Whether values and gates are halves of one layer.
    fn is_fused(&self) -> bool {
        self.values.weight.outputs() > self.width
    }

    /// Records the products, and then the gate, which reads them from memory.
    fn separately(&self, out: &mut Array) -> Result<(), GpuError> {
        let GatedCall { x, values, gates, kind, width, .. } = *self;
        let product = |GpuLayer { weight, bias }: GpuLayer<'_>, out: &mut Array| {
            gemm(&GpuProduct { x, weight, bias, residual: None, accumulate: false }, out)
        };
        let len = if self.is_fused() { 2 * out.len() } else { out.len() };
        let mut scratch = Array::scratch(x.gpu(), x.dtype(), len)?;
        product(gates, &mut scratch)?;
        if self.is_fused() {
            let gate = Gate { activation: kind, gate_first: self.columns[1] == 0 };
            return activation::gated(gate, &scratch, width, out);
        }
        product(values, out)?;
        activation::multiply_activated(kind, out, &scratch)
    }

    /// Records the product, with as many columns at once.
    fn record(&self, columns: usize, out: &Array) -> Result<(), GpuError> {
        let GatedCall { x, values, width, .. } = self;
        let (gpu, weight) = (x.gpu(), values.weight);
        let (inputs, outputs, depth) = (weight.inputs(), weight.outputs(), weight.depth());
        let rows = x.len() / inputs;
        let row_bytes = inputs.max(*width) * x.dtype().size();
        let at_once = run::rows_at_once(gpu, row_bytes, weight.terms() * 2 * width);
        let binds_all = gpu.binds(weight.data.len() * weight.data.dtype().size());
        for row in (0..rows).step_by(at_once) {
            let rows = row..rows.min(row + at_once);
            let run = self.product(self.values, rows.clone());
            let (tile, parts) = ProductTile::choose(run.method_for(depth), rows.len(), 2 * width, depth);
            let splits = binds_all && parts <= gpu.rows_at_once(4 * rows.len() * outputs);
            let parts = SumParts::new(depth, if splits { parts } else { 1 });
            if parts.count > 1 {
                self.in_parts(rows, tile, parts, out)?;
                continue;
            }
            for column in (0..*width).step_by(columns) {
                self.piece(&run, column..(*width).min(column + columns), tile.gated(), out)?;
            }
        }
        Ok(())
    }

    /// The product of some rows with one of the layers.
    fn product<'b>(&'b self, layer: GpuLayer<'b>, rows: Range<usize>) -> ProductRun<'b> {
        let inputs = layer.weight.inputs();
        ProductRun {
            shader: &GEMM,
            method: self.method,
            x: self.x,
            x_part: rows.start * inputs..rows.end * inputs,
            weight: layer.weight,
            addends: &NONE,
            activation: None,
            rows,
            first_image: 0,
            images: ImageParams { pixels: u32::MAX, ..ImageParams::default() },
        }
    }

    /// Records some rows and columns of the result.
    fn piece(
        &self,
        run: &ProductRun<'_>,
        columns: Range<usize>,
        tile: ProductTile,
        out: &Array,
    ) -> Result<(), GpuError> {
        let GatedCall { x, values, gates, width, .. } = self;
        let (inputs, depth) = (values.weight.inputs(), values.weight.depth());
        let panels = |layer: &GpuLayer<'_>, first: usize| {
            let (from, to) = (first + columns.start, first + columns.end);
            let (from, to) = (from / COLUMNS, to.div_ceil(COLUMNS));
            layer.weight.data.window(from * depth * COLUMNS, (to - from) * depth * COLUMNS)
        };
        let (weight, weight_first) = panels(values, self.columns[0]);
        let (gate_weight, gate_first) = panels(gates, self.columns[1]);
        let (input, x_first) = x.window(run.x_part.start, run.x_part.len());
        let (to, out_first) = out.window(run.rows.start * width, run.rows.len() * width);
        let params = Params {
            rows: run.rows.len() as u32,
            outputs: *width as u32,
            column: columns.start as u32,
            columns: columns.len() as u32,
            depth: inputs as u32,
            end: depth as u32,
            part: depth as u32,
            panel: (depth * COLUMNS / 4) as u32,
            weight_first: weight_first / 4,
            x_first: x_first / 4,
            out_first: out_first / 4,
            addends: self.addends(),
            images: run.images,
            gate: self.gate_params(gate_first / 4),
            ..Params::default()
        };
        let [bias, gate_bias] = self.biases();
        x.gpu().dispatch(&Dispatch {
            shader: &GEMM,
            variant: variant(tile.variant(x.dtype(), values.weight.data.dtype(), inputs, *width), self.kind),
            arrays: &[bias, gate_weight, gate_bias, to, input, weight],
            params,
            groups: in_rows(tile.count(run.rows.len(), 2 * columns.len())),
            flops: 4 * (run.rows.len() * columns.len() * inputs) as u64,
        })
    }

    /// Records sums in parts, and the pass that adds the parts and ends in the gate.
    fn in_parts(
        &self,
        rows: Range<usize>,
        tile: ProductTile,
        parts: SumParts,
        out: &Array,
    ) -> Result<(), GpuError> {
        let GatedCall { x, values, gates, width, .. } = self;
        let (outputs, depth) = (values.weight.outputs(), values.weight.depth());
        let sums_of = |layer: GpuLayer<'_>| {
            let run = self.product(layer, rows.clone());
            run.split_sums(run.command(0..outputs, 0..depth, tile, parts), parts)
        };
        let sums = sums_of(*values)?;
        // All outputs of a layer that has both.
        let gate_sums = if self.is_fused() { sums.clone() } else { sums_of(*gates)? };
        let (to, out_first) = out.window(rows.start * width, rows.len() * width);
        let params = Params {
            rows: rows.len() as u32,
            outputs: *width as u32,
            columns: outputs as u32,
            part: parts.count as u32,
            out_first: out_first / 4,
            addends: self.addends(),
            gate: self.gate_params(0),
            ..Params::default()
        };
        let [bias, gate_bias] = self.biases();
        x.gpu().dispatch(&Dispatch {
            shader: &SUM,
            variant: variant(ShaderVariant::new(x.dtype(), 4).flag(WIDE, true), self.kind),
            arrays: &[bias, gate_sums.whole(), gate_bias, to, sums.whole()],
            params,
            groups: in_rows((rows.len() * width / 4).div_ceil(256)),
            flops: 0,
        })
    }

    fn gate_params(&self, gate_first: u32) -> GateParams {
        let [value_column, gate_column] = self.columns.map(|column| column as u32);
        GateParams { value_column, gate_column, gate_first, slope: LEAKY_SLOPE }
    }

    /// The set of biases that there are.
    fn addends(&self) -> u32 {
        let flag = |layer: &GpuLayer<'_>, flag| if layer.bias.is_some() { flag } else { 0 };
        flag(&self.values, BIAS) | flag(&self.gates, GATE_BIAS)
    }

    /// The biases, or what is bound in their place and not read.
    fn biases(&self) -> [Binding; 2] {
        [&self.values, &self.gates]
            .map(|layer| layer.bias.map_or_else(|| self.x.window(0, 1).0, Array::whole))
    }
}

/// The variant of a shader that ends in a gate.
pub(super) fn variant(plain: ShaderVariant, kind: Activation) -> ShaderVariant {
    activated(plain, Some(kind)).flag(GATED, true)
}

/// The variants that end in an activation and in a gate.
pub(super) fn with_both_ends(plain: ShaderVariant) -> [ShaderVariant; 2] {
    [activated(plain.clone(), Some(Activation::GeluTanh)), variant(plain, Activation::Gelu)]
}

/// The variants of [`GEMM`] that end in an activation or in a gate.
pub(super) fn variants() -> Vec<ShaderVariant> {
    let activated =
        tile::wide_variants(|tile| tile).into_iter().map(|v| activated(v, Some(Activation::GeluTanh)));
    let gated = tile::wide_variants(ProductTile::gated).into_iter().map(|v| variant(v, Activation::Gelu));
    // Other activations are the same code up to a constant.
    let others = [Activation::Silu, Activation::GeluTanh];
    let first = tile::wide_variants(ProductTile::gated).into_iter().take(1);
    let others = first.flat_map(|v| others.map(|kind| variant(v.clone(), kind)));
    activated.chain(gated).chain(others).collect()
}
