//! Recording of the shaders for products.

use super::pack::TERMS;
use super::strip::COLUMNS;
use super::tile::{self, MATRIX_TERMS, Method, PARTIAL, ProductTile, WIDE};
use super::{PackedWeight, SUM};
use crate::DType;
use crate::activation::{Activation, LEAKY_SLOPE};
use crate::gpu::{Array, Binding, BindingAccess, Dispatch, Gpu, GpuError, Shader, ShaderVariant, in_rows};
use bytemuck::{Pod, Zeroable};
use std::ops::Range;

/// Bias, vector, residual, output, input, weight.
pub(crate) const BINDINGS: [BindingAccess; 6] = [
    BindingAccess::Read,
    BindingAccess::Read,
    BindingAccess::Read,
    BindingAccess::Write,
    BindingAccess::Read,
    BindingAccess::Read,
];

/// Operations of one run: half a second on a small GPU of 0.2 TFLOP/s. Drivers reset a GPU that takes longer than two.
const FLOPS: u64 = 100_000_000_000;

/// As `params.wgsl` has them.
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Params {
    pub(super) rows: u32,
    pub(super) outputs: u32,
    pub(super) column: u32,
    pub(super) columns: u32,
    pub(super) depth: u32,
    pub(super) begin: u32,
    pub(super) end: u32,
    pub(super) part: u32,
    pub(super) panel: u32,
    pub(super) weight_first: u32,
    pub(super) x_first: u32,
    pub(super) vector_first: u32,
    pub(super) residual_first: u32,
    pub(super) out_first: u32,
    pub(super) addends: u32,
    pub(super) images: ImageParams,
    pub(super) gate: GateParams,
}

/// The part of the parameters that describes a gate.
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
#[repr(C)]
pub(super) struct GateParams {
    pub(super) value_column: u32,
    pub(super) gate_column: u32,
    pub(super) gate_first: u32,
    pub(super) slope: f32,
}

/// The part of the parameters that describes the images to which the rows belong.
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct ImageParams {
    pub(crate) pixels: u32,
    pub(crate) channels: u32,
    pub(crate) kernel: u32,
    pub(crate) stride: u32,
    pub(crate) out_width: u32,
    pub(crate) height: u32,
    pub(crate) width: u32,
    pub(crate) to_height: u32,
    pub(crate) to_width: u32,
    pub(crate) top: u32,
    pub(crate) left: u32,
    pub(crate) source: u32,
    pub(crate) image: u32,
}

pub(super) const BIAS: u32 = 1;
const VECTOR: u32 = 2;
const RESIDUAL: u32 = 4;
const OUT: u32 = 8;
pub(super) const GATE_BIAS: u32 = 16;

/// The epilogue of a product: what is added to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Addends<'a> {
    /// `[outputs]` of `f32`.
    pub(crate) bias: Option<&'a Array>,
    /// `[images, outputs]`
    pub(crate) vector: Option<&'a Array>,
    /// The result's shape.
    pub(crate) residual: Option<&'a Array>,
    /// The previous contents of the result.
    pub(crate) accumulate: bool,
}

impl Addends<'_> {
    /// # Panics
    /// If an array has the wrong length or dtype.
    pub(crate) fn assert_lengths(&self, x: &Array, rows: usize, images: usize, outputs: usize, out: &Array) {
        assert_eq!((out.len(), out.dtype()), (rows * outputs, x.dtype()), "output [{rows}, {outputs}]");
        assert!(self.bias.is_none_or(|b| (b.len(), b.dtype()) == (outputs, DType::F32)), "bias");
        assert!(
            self.vector.is_none_or(|v| (v.len(), v.dtype()) == (images * outputs, x.dtype())),
            "vector [{images}, {outputs}]"
        );
        assert!(self.residual.is_none_or(|r| (r.len(), r.dtype()) == (out.len(), x.dtype())), "residual");
    }
}

/// Rows of a result that one run may compute, if a row takes that many products of two numbers and its widest array
/// `row_bytes`.
pub(crate) fn rows_at_once(gpu: &Gpu, row_bytes: usize, multiplications: usize) -> usize {
    let quick = (FLOPS / (2 * multiplications as u64)).max(1) as usize;
    let rows = gpu.rows_at_once(row_bytes).min(quick);
    // Whole tiles, of whatever height.
    if rows > 128 { rows / 128 * 128 } else { rows }
}

/// The parts of split sums.
#[derive(Clone, Copy)]
pub(super) struct SumParts {
    pub(super) count: usize,
    /// Terms of each but the last, which has the rest.
    pub(super) terms: usize,
}

impl SumParts {
    /// At most `count` parts of sums of `terms` terms.
    pub(super) fn new(terms: usize, count: usize) -> SumParts {
        let part = terms.div_ceil(count).next_multiple_of(MATRIX_TERMS);
        SumParts { count: terms.div_ceil(part), terms: part }
    }
}

/// A command of a product, without its epilogue.
pub(super) struct ProductCommand {
    pub(super) variant: ShaderVariant,
    pub(super) input: Binding,
    pub(super) weights: Binding,
    pub(super) params: Params,
    pub(super) groups: [u32; 3],
    pub(super) flops: u64,
}

/// A product of some rows, small enough for `x` and the result to be bound.
pub(crate) struct ProductRun<'a> {
    pub(crate) shader: &'static Shader,
    pub(crate) method: Method,
    pub(crate) x: &'a Array,
    /// The part of `x` that is needed.
    pub(crate) x_part: Range<usize>,
    pub(crate) weight: &'a PackedWeight,
    pub(crate) addends: &'a Addends<'a>,
    /// Of the sums with all that is added; the numbers of outputs and of inputs are multiples of four.
    pub(crate) activation: Option<Activation>,
    /// The rows of the result.
    pub(crate) rows: Range<usize>,
    /// The image of the first row.
    pub(crate) first_image: usize,
    pub(crate) images: ImageParams,
}

impl ProductRun<'_> {
    /// Records the product, in pieces that fit the binding limit.
    pub(crate) fn record(&self, out: &Array) -> Result<(), GpuError> {
        let ProductRun { weight, x, .. } = *self;
        let gpu = x.gpu();
        let (outputs, depth, size) = (weight.outputs(), weight.depth(), weight.data.dtype().size());
        let row = COLUMNS * size;
        let terms = gpu.rows_at_once(row);
        if terms >= depth {
            let columns = gpu.rows_at_once(depth * row) * COLUMNS;
            for column in (0..outputs).step_by(columns) {
                self.piece(column..outputs.min(column + columns), 0..depth, out)?;
            }
        } else {
            // Not even one panel can be bound at once.
            let terms = (terms / TERMS * TERMS).max(TERMS);
            for column in (0..outputs).step_by(COLUMNS) {
                for from in (0..depth).step_by(terms) {
                    self.piece(column..outputs.min(column + COLUMNS), from..depth.min(from + terms), out)?;
                }
            }
        }
        Ok(())
    }

    /// Records a product with some outputs, and some terms of its sums, of the weight.
    fn piece(&self, columns: Range<usize>, terms: Range<usize>, out: &Array) -> Result<(), GpuError> {
        let ProductRun { x, weight, rows, .. } = self;
        let (gpu, outputs) = (x.gpu(), weight.outputs());
        let method = self.method_for(terms.len());
        let (tile, parts) = ProductTile::choose(method, rows.len(), columns.len(), terms.len());
        // Split sums are of whole rows, and all parts are bound at once.
        let splits = columns.len() == outputs && parts <= gpu.rows_at_once(4 * rows.len() * outputs);
        let parts = SumParts::new(terms.len(), if splits { parts } else { 1 });
        let is_first = terms.start == 0;
        let activation = self.activation.filter(|_| terms.end == weight.depth());
        let command = self.command(columns, terms, tile, parts);
        if parts.count == 1 {
            let ProductCommand { variant, input, weights, mut params, groups, flops } = command;
            let variant = tile::activated(variant, activation);
            let [bias, vector, residual, to] = self.ends(&mut params, is_first, out);
            let arrays = &[bias, vector, residual, to, input, weights];
            return gpu.dispatch(&Dispatch { shader: self.shader, variant, arrays, params, groups, flops });
        }
        let params = command.params;
        let sums = self.split_sums(command, parts)?;
        self.add_parts(&sums, parts.count, params, out)
    }

    /// The command for some outputs, and some terms of their sums, without its epilogue.
    pub(super) fn command(
        &self,
        columns: Range<usize>,
        terms: Range<usize>,
        tile: ProductTile,
        parts: SumParts,
    ) -> ProductCommand {
        let ProductRun { x, weight, rows, .. } = self;
        let (outputs, depth) = (weight.outputs(), weight.depth());
        let variant = tile.variant(x.dtype(), weight.data.dtype(), weight.inputs(), outputs);
        let (input, x_first) = x.window(self.x_part.start, self.x_part.len());
        let panels = columns.len().div_ceil(COLUMNS);
        let (weights, weight_first) = weight.data.window(
            columns.start * depth + terms.start * COLUMNS,
            ((panels - 1) * depth + terms.len()) * COLUMNS,
        );
        let params = Params {
            gate: GateParams { slope: LEAKY_SLOPE, ..GateParams::default() },
            rows: rows.len() as u32,
            outputs: outputs as u32,
            column: columns.start as u32,
            columns: columns.len() as u32,
            depth: weight.terms() as u32,
            begin: terms.start as u32,
            end: terms.end as u32,
            part: parts.terms as u32,
            panel: (depth * COLUMNS / 4) as u32,
            weight_first: weight_first / 4,
            x_first: x_first / variant.vector,
            images: self.images,
            ..Params::default()
        };
        let mut groups = in_rows(tile.count(rows.len(), columns.len()));
        groups[2] = parts.count as u32;
        let flops = 2 * (rows.len() * columns.len() * (weight.terms().min(terms.end) - terms.start)) as u64;
        ProductCommand { variant, input, weights, params, groups, flops }
    }

    /// Records the first half of a product whose sums are split: the sums are `[parts, rows, outputs]`.
    pub(super) fn split_sums(&self, command: ProductCommand, parts: SumParts) -> Result<Array, GpuError> {
        let ProductCommand { variant, input, weights, params, groups, flops } = command;
        let (gpu, shader) = (self.x.gpu(), self.shader);
        let sums = Array::scratch(gpu, DType::F32, parts.count * self.rows.len() * self.weight.outputs())?;
        let [bias, vector, residual] = [(); 3].map(|()| self.absent());
        let arrays = &[bias, vector, residual, sums.whole(), input, weights];
        let variant = variant.flag(PARTIAL, true);
        gpu.dispatch(&Dispatch { shader, variant, arrays, params, groups, flops })?;
        Ok(sums)
    }

    /// The method for sums of `terms` terms.
    pub(super) fn method_for(&self, terms: usize) -> Method {
        let ProductRun { x, weight, .. } = self;
        let is_half = x.dtype() == DType::F16 && weight.data.dtype() == DType::F16;
        let fits = weight.inputs().is_multiple_of(4) && terms.is_multiple_of(MATRIX_TERMS);
        if is_half && fits { self.method } else { Method::Fma }
    }

    /// Records the second half of a product whose sums were split: the parts `[parts, rows, outputs]` are added.
    fn add_parts(&self, sums: &Array, parts: usize, params: Params, out: &Array) -> Result<(), GpuError> {
        let outputs = self.weight.outputs();
        let variant = ShaderVariant::of_width(self.x.dtype(), outputs);
        let wide = variant.vector as usize;
        let mut params = Params { part: parts as u32, x_first: 0, ..params };
        let [bias, vector, residual, to] = self.ends(&mut params, true, out);
        self.x.gpu().dispatch(&Dispatch {
            shader: &SUM,
            variant: tile::activated(variant.flag(WIDE, wide == 4), self.activation),
            arrays: &[bias, vector, residual, to, sums.whole()],
            params,
            groups: in_rows((self.rows.len() * outputs / wide).div_ceil(256)),
            flops: 0,
        })
    }

    /// Bound in place of an array that is not read.
    pub(super) fn absent(&self) -> Binding {
        self.x.window(self.x_part.start, 1).0
    }

    /// Binds the result and the addends. Only the run with the `first` terms of the sums has addends; the others add to
    /// the contents of the result.
    fn ends(&self, params: &mut Params, first: bool, out: &Array) -> [Binding; 4] {
        let ProductRun { addends, rows, weight, .. } = self;
        let outputs = weight.outputs();
        let wide = if outputs.is_multiple_of(4) { 4 } else { 1 };
        let mut flags = 0;
        let mut bind = |array: Option<&Array>, flag, part: Range<usize>| match array {
            Some(array) if first => {
                flags |= flag;
                let (binding, first) = array.window(part.start, part.len());
                (binding, first / wide)
            }
            _ => (self.absent(), 0),
        };
        let images = self.first_image..self.first_image + rows.len().div_ceil(params.images.pixels as usize);
        let result = rows.start * outputs..rows.end * outputs;
        let (bias, _) = bind(addends.bias, BIAS, 0..outputs);
        let (vector, vector_first) =
            bind(addends.vector, VECTOR, images.start * outputs..images.end * outputs);
        let (residual, residual_first) = bind(addends.residual, RESIDUAL, result.clone());
        if addends.accumulate || !first {
            flags |= OUT;
        }
        let (to, out_first) = out.window(result.start, result.len());
        *params =
            Params { vector_first, residual_first, out_first: out_first / wide, addends: flags, ..*params };
        [bias, vector, residual, to]
    }
}
