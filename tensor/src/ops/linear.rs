//! Linear layers.

use super::check_len;
use super::parameter::Vector;
use crate::error::{ShapeRequirement, TensorOp};
use crate::profile::{self, OpClass};
use crate::{Device, Precision, Shape, Tensor, TensorError, Weight};
#[cfg(feature = "gpu")]
use latent_kernels::gemm::gpu::{self, GpuLayer, PackedWeight};
use latent_kernels::gemm::{self as kernel, Product, WeightMatrix};

/// The parameters of a linear layer (`torch.nn.Linear`).
#[derive(Clone, Debug)]
pub struct Linear {
    weight: LinearWeight,
    bias: Option<Vector>,
    pub(super) precision: Precision,
}

/// A weight in the memory of the device that uses it.
#[derive(Clone, Debug)]
enum LinearWeight {
    Cpu(WeightMatrix),
    #[cfg(feature = "gpu")]
    Gpu(PackedWeight),
}

impl Linear {
    /// A layer of a weight `[outputs, inputs]`, which is not copied.
    ///
    /// # Errors
    /// A weight or bias of another length.
    pub fn new(
        weight: impl Into<Weight>,
        [outputs, inputs]: [usize; 2],
        bias: Option<Vec<f32>>,
    ) -> Result<Linear, TensorError> {
        let weight = weight.into();
        let values = weight.view().len();
        if values == 0 || values != outputs * inputs {
            let expected = ShapeRequirement::Parameter { name: "weight", dims: vec![outputs, inputs] };
            return Err(TensorError::shape(TensorOp::Linear, expected, values));
        }
        if let Some(bias) = &bias {
            check_len(TensorOp::Linear, "bias", bias, outputs)?;
        }
        let weight = LinearWeight::Cpu(WeightMatrix::new(weight, outputs, inputs));
        Ok(Linear { weight, bias: bias.map(Vector::Cpu), precision: Precision::F32 })
    }

    /// The layer on a device, its weight packed for the kernels there.
    ///
    /// # Errors
    /// No memory there, a lost GPU.
    pub fn to(self, device: &Device) -> Result<Linear, TensorError> {
        let weight = match (self.weight, device) {
            #[cfg(feature = "gpu")]
            (LinearWeight::Cpu(weight), Device::Gpu { gpu, dtype }) => {
                LinearWeight::Gpu(PackedWeight::new(gpu, &weight, *dtype == crate::DType::F16)?)
            }
            (weight, _) => weight,
        };
        Ok(Linear { weight, bias: self.bias.map(|bias| bias.to(device)).transpose()?, ..self })
    }

    /// The layer with products in a precision on the CPU; a GPU computes in its own.
    #[must_use]
    pub fn in_precision(self, precision: Precision) -> Linear {
        Linear { precision, ..self }
    }

    /// Channels of the input.
    #[must_use]
    pub fn inputs(&self) -> usize {
        match &self.weight {
            LinearWeight::Cpu(weight) => weight.inputs(),
            #[cfg(feature = "gpu")]
            LinearWeight::Gpu(weight) => weight.inputs(),
        }
    }

    /// Channels of the output.
    #[must_use]
    pub fn outputs(&self) -> usize {
        match &self.weight {
            LinearWeight::Cpu(weight) => weight.outputs(),
            #[cfg(feature = "gpu")]
            LinearWeight::Gpu(weight) => weight.outputs(),
        }
    }

    /// Bytes of memory that it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let weight = match &self.weight {
            LinearWeight::Cpu(weight) => weight.bytes(),
            #[cfg(feature = "gpu")]
            LinearWeight::Gpu(weight) => weight.bytes() as usize,
        };
        weight + self.bias.as_ref().map_or(0, |bias| size_of::<f32>() * bias.len())
    }

    /// Weight and bias of a layer on a GPU.
    #[cfg(feature = "gpu")]
    pub(super) fn on_gpu(&self) -> Result<GpuLayer<'_>, TensorError> {
        match &self.weight {
            LinearWeight::Cpu(_) => Err(TensorError::wrong_device(TensorOp::Linear, "a GPU", "the CPU")),
            LinearWeight::Gpu(weight) => {
                Ok(GpuLayer { weight, bias: self.bias.as_ref().map(Vector::array).transpose()? })
            }
        }
    }

    /// Weight and bias of a layer on the CPU.
    pub(super) fn on_cpu(&self) -> Result<(&WeightMatrix, Option<&[f32]>), TensorError> {
        match &self.weight {
            LinearWeight::Cpu(weight) => Ok((weight, self.bias.as_ref().map(Vector::values).transpose()?)),
            #[cfg(feature = "gpu")]
            LinearWeight::Gpu(_) => Err(TensorError::wrong_device(TensorOp::Linear, "the CPU", "a GPU")),
        }
    }
}

/// `x Wᵀ + b`: `[.., inputs]` to `[.., outputs]`.
///
/// # Errors
/// Another last dimension.
pub fn linear(x: &Tensor, layer: &Linear) -> Result<Tensor, TensorError> {
    let mut out = Tensor::scratch_like(x, &dims(x, layer, layer.outputs())?)?;
    run(x, layer, None, false, &mut out)?;
    Ok(out)
}

/// `x Wᵀ + b + residual`, where the residual has the shape of the result. The result is written into it unless its
/// memory is shared.
///
/// # Errors
/// Another last dimension, another shape of the residual.
pub fn linear_add(x: &Tensor, layer: &Linear, mut residual: Tensor) -> Result<Tensor, TensorError> {
    let shape = Shape::new(&dims(x, layer, layer.outputs())?)?;
    if shape != residual.shape() {
        return Err(TensorError::shape(TensorOp::Linear, shape, residual.shape()));
    }
    if residual.is_unique() {
        run(x, layer, None, true, &mut residual)?;
        return Ok(residual);
    }
    let mut out = Tensor::scratch_like(x, shape.dims())?;
    run(x, layer, Some(&residual), false, &mut out)?;
    Ok(out)
}

/// Bytes of the result that [`linear_in_place`] computes before it writes them over the input.
const BAND_BYTES: usize = 8 << 20;

/// `x Wᵀ + b` of at most as many outputs as inputs, written over `x` unless its memory is shared: a band of rows is
/// computed, and then replaces rows that were read. Memory of `x` that the result does not need is freed.
///
/// # Errors
/// Another last dimension.
pub fn linear_in_place(mut x: Tensor, layer: &Linear) -> Result<Tensor, TensorError> {
    let (inputs, outputs) = (layer.inputs(), layer.outputs());
    let dims = dims(&x, layer, outputs)?;
    let rows = x.shape().elements() / inputs;
    if outputs > inputs || !x.is_unique() || x.device() != Device::Cpu {
        return linear(&x, layer);
    }
    let (weight, bias) = layer.on_cpu()?;
    let band = (BAND_BYTES / size_of::<f32>() / outputs).clamp(1, rows.max(1));
    let mut scratch = Tensor::scratch(&[band, outputs])?;
    let _timer = profile::timer(OpClass::Linear).multiply_adds(rows * outputs, inputs);
    for first in (0..rows).step_by(band) {
        let count = band.min(rows - first);
        let out = &mut scratch.f32s_mut()?[..count * outputs];
        let values = &x.f32s()?[first * inputs..][..count * inputs];
        let precision = layer.precision;
        kernel::gemm_many(
            values,
            &mut [Product { weight, bias, residual: None, accumulate: false, precision, out }],
        );
        x.f32s_mut()?[first * outputs..][..count * outputs].copy_from_slice(out);
    }
    x.shrink(&dims)
}

/// Several layers of the same input at once, such as queries, keys and values: threads synchronise only once.
///
/// # Errors
/// Another last dimension than a layer's.
pub fn linear_many<const N: usize>(x: &Tensor, layers: [&Linear; N]) -> Result<[Tensor; N], TensorError> {
    let mut outs: [Option<Tensor>; N] = std::array::from_fn(|_| None);
    if x.device() != Device::Cpu {
        for (layer, out) in layers.iter().zip(&mut outs) {
            *out = Some(linear(x, layer)?);
        }
        return Ok(outs.map(|out| out.expect("a tensor for each layer")));
    }
    let mut products = Vec::with_capacity(N);
    let mut elements = 0;
    for (layer, out) in layers.iter().zip(&mut outs) {
        let out = out.insert(Tensor::scratch(&dims(x, layer, layer.outputs())?)?);
        elements += out.shape().elements();
        let (weight, bias) = layer.on_cpu()?;
        let (precision, out) = (layer.precision, out.f32s_mut()?);
        products.push(Product { weight, bias, residual: None, accumulate: false, precision, out });
    }
    let inputs = x.dims().last().copied().unwrap_or(0);
    let _timer = profile::timer(OpClass::Linear).multiply_adds(elements, inputs);
    kernel::gemm_many(x.f32s()?, &mut products);
    Ok(outs.map(|out| out.expect("a tensor for each layer")))
}

/// The dimensions of `x` with another last one.
pub(super) fn dims(x: &Tensor, layer: &Linear, outputs: usize) -> Result<Vec<usize>, TensorError> {
    let mut dims = x.dims().to_vec();
    match dims.last_mut() {
        Some(last) if *last == layer.inputs() => *last = outputs,
        _ => {
            let expected = format_args!("a last dimension of {}", layer.inputs());
            return Err(TensorError::shape(TensorOp::Linear, expected, x.shape()));
        }
    }
    Ok(dims)
}

fn run(
    x: &Tensor,
    layer: &Linear,
    residual: Option<&Tensor>,
    accumulate: bool,
    out: &mut Tensor,
) -> Result<(), TensorError> {
    let _timer = profile::timer(OpClass::Linear).multiply_adds(out.shape().elements(), layer.inputs());
    #[cfg(feature = "gpu")]
    if let (Some(x), Some(out), LinearWeight::Gpu(_)) = (x.array(), out.array_mut()?, &layer.weight) {
        let GpuLayer { weight, bias } = layer.on_gpu()?;
        let residual = residual.and_then(Tensor::array);
        return Ok(gpu::gemm(&gpu::GpuProduct { x, weight, bias, residual, accumulate }, out)?);
    }
    let residual = residual.map(Tensor::f32s).transpose()?;
    let (weight, bias) = layer.on_cpu()?;
    let (precision, out) = (layer.precision, out.f32s_mut()?);
    kernel::gemm_many(x.f32s()?, &mut [Product { weight, bias, residual, accumulate, precision, out }]);
    Ok(())
}
