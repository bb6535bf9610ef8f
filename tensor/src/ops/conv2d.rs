//! Convolutions.

use super::parameter::Vector;
use super::{Epilogue, Prologue, check_len};
use crate::error::{ShapeRequirement, TensorOp};
use crate::profile::{self, OpClass};
use crate::{Device, Padding, Precision, Shape, Tensor, TensorError, Weight};
#[cfg(feature = "gpu")]
use latent_kernels::conv2d::gpu::{self, PackedConv};
use latent_kernels::conv2d::{self as kernel, ConvWeight};

const OP: TensorOp = TensorOp::Conv2d;

/// The parameters of a convolution (`torch.nn.Conv2d`).
#[derive(Clone, Debug)]
pub struct Conv2d {
    weight: Conv2dWeight,
    bias: Option<Vector>,
    pub(super) precision: Precision,
    /// What the other side of the image continues it by, in place of zeros, before the kernel is applied.
    wrap: Option<Padding>,
    /// Multiply-adds of one value of the result, by the direct algorithm.
    pub(super) multiply_adds: usize,
}

/// A weight in the memory of the device that uses it.
#[derive(Clone, Debug)]
enum Conv2dWeight {
    Cpu(ConvWeight),
    #[cfg(feature = "gpu")]
    Gpu(PackedConv),
}

impl Conv2d {
    /// A layer of a weight `[outputs, inputs, kernel, kernel]`, which is not copied.
    ///
    /// # Errors
    /// A weight or bias of another length, a kernel or stride of 0.
    pub fn new(
        weight: impl Into<Weight>,
        [outputs, inputs, kernel]: [usize; 3],
        stride: usize,
        padding: Padding,
        bias: Option<Vec<f32>>,
    ) -> Result<Conv2d, TensorError> {
        let weight = weight.into();
        let values = weight.view().len();
        if values == 0 || stride == 0 || values != outputs * inputs * kernel * kernel {
            let expected =
                ShapeRequirement::Parameter { name: "weight", dims: vec![outputs, inputs, kernel, kernel] };
            return Err(TensorError::shape(TensorOp::Conv2d, expected, values));
        }
        if let Some(bias) = &bias {
            check_len(TensorOp::Conv2d, "bias", bias, outputs)?;
        }
        let multiply_adds = inputs * kernel * kernel;
        let weight = ConvWeight::new(weight, outputs, inputs, kernel, stride, padding);
        let (weight, bias) = (Conv2dWeight::Cpu(weight), bias.map(Vector::Cpu));
        Ok(Conv2d { weight, bias, precision: Precision::F32, wrap: None, multiply_adds })
    }

    /// The same layer, whose padding is the image's other side and not zeros (`padding_mode="circular"`): above and below if
    /// `vertical`, left and right if `horizontal`. Only padding that is the same on both sides is so.
    ///
    /// # Errors
    /// As [`Conv2d::new`].
    pub fn wrapping(
        weight: impl Into<Weight>,
        dims: [usize; 3],
        stride: usize,
        padding: Padding,
        bias: Option<Vec<f32>>,
        [vertical, horizontal]: [bool; 2],
    ) -> Result<Conv2d, TensorError> {
        let (mut zeros, mut wrap) = (padding, Padding::default());
        if vertical && padding.top == padding.bottom {
            (zeros.top, zeros.bottom, wrap.top, wrap.bottom) = (0, 0, padding.top, padding.bottom);
        }
        if horizontal && padding.left == padding.right {
            (zeros.left, zeros.right, wrap.left, wrap.right) = (0, 0, padding.left, padding.right);
        }
        let layer = Conv2d::new(weight, dims, stride, zeros, bias)?;
        Ok(Conv2d { wrap: (wrap != Padding::default()).then_some(wrap), ..layer })
    }

    /// The layer on a device, its weight packed for the kernels there.
    ///
    /// # Errors
    /// No memory there, a lost GPU.
    pub fn to(self, device: &Device) -> Result<Conv2d, TensorError> {
        let weight = match (self.weight, device) {
            #[cfg(feature = "gpu")]
            (Conv2dWeight::Cpu(weight), Device::Gpu { gpu, dtype }) => {
                Conv2dWeight::Gpu(PackedConv::new(gpu, &weight, *dtype == crate::DType::F16)?)
            }
            (weight, _) => weight,
        };
        Ok(Conv2d { weight, bias: self.bias.map(|bias| bias.to(device)).transpose()?, ..self })
    }

    /// The layer with products in a precision on the CPU; a GPU computes in its own.
    #[must_use]
    pub fn in_precision(self, precision: Precision) -> Conv2d {
        Conv2d { precision, ..self }
    }

    /// Channels of the input.
    #[must_use]
    pub fn inputs(&self) -> usize {
        match &self.weight {
            Conv2dWeight::Cpu(weight) => weight.in_channels(),
            #[cfg(feature = "gpu")]
            Conv2dWeight::Gpu(weight) => weight.in_channels(),
        }
    }

    /// Channels of the output.
    #[must_use]
    pub fn outputs(&self) -> usize {
        match &self.weight {
            Conv2dWeight::Cpu(weight) => weight.out_channels(),
            #[cfg(feature = "gpu")]
            Conv2dWeight::Gpu(weight) => weight.out_channels(),
        }
    }

    /// Bytes of memory that it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let weight = match &self.weight {
            Conv2dWeight::Cpu(weight) => weight.bytes(),
            #[cfg(feature = "gpu")]
            Conv2dWeight::Gpu(weight) => weight.bytes() as usize,
        };
        weight + self.bias.as_ref().map_or(0, |bias| size_of::<f32>() * bias.len())
    }

    fn output_size(&self, height: usize, width: usize) -> Option<(usize, usize)> {
        let geometry = match &self.weight {
            Conv2dWeight::Cpu(weight) => weight.geometry(),
            #[cfg(feature = "gpu")]
            Conv2dWeight::Gpu(weight) => weight.geometry(),
        };
        geometry.output_size(height, width)
    }

    /// Weight and bias of a layer on the CPU.
    pub(super) fn on_cpu(&self) -> Result<(&ConvWeight, Option<&[f32]>), TensorError> {
        match &self.weight {
            Conv2dWeight::Cpu(weight) => Ok((weight, self.bias.as_ref().map(Vector::values).transpose()?)),
            #[cfg(feature = "gpu")]
            Conv2dWeight::Gpu(_) => Err(TensorError::wrong_device(TensorOp::Conv2d, "the CPU", "a GPU")),
        }
    }
}

/// Convolves `[batch, height, width, inputs]` to `[batch, height', width', outputs]`.
///
/// # Errors
/// Other channels, an image smaller than the kernel.
pub fn conv2d(x: &Tensor, layer: &Conv2d) -> Result<Tensor, TensorError> {
    conv2d_fused(x, layer, Prologue::none(), Epilogue::none())
}

/// Convolves, together with work on the input and on the output.
///
/// # Errors
/// As [`conv2d`], and vectors or residuals of other shapes.
pub fn conv2d_fused(
    x: &Tensor,
    layer: &Conv2d,
    prologue: Prologue<'_>,
    epilogue: Epilogue<'_>,
) -> Result<Tensor, TensorError> {
    let [batch, height, width, channels] = x.rank(OP)?;
    if channels != layer.inputs() {
        return Err(TensorError::shape(OP, ShapeRequirement::Channels(layer.inputs()), x.shape()));
    }
    if let Some(wrap) = layer.wrap {
        let inner = Conv2d { wrap: None, ..layer.clone() };
        let continued = super::wrap::continued(x, &prologue, wrap)?;
        return conv2d_fused(&continued, &inner, Prologue::none(), epilogue);
    }
    let [to_height, to_width] = prologue.resize.unwrap_or([height, width]);
    let size = layer.output_size(to_height, to_width).filter(|_| batch * height * width > 0);
    let (h, w) = size.ok_or_else(|| TensorError::shape(OP, "an image as large as the kernel", x.shape()))?;
    let shape = Shape::new(&[batch, h, w, layer.outputs()])?;
    let Epilogue { vector, mut residual } = epilogue;
    if let Some(residual) = residual.as_ref().filter(|residual| residual.shape() != shape) {
        return Err(TensorError::shape(OP, shape, residual.shape()));
    }
    let unique = residual.take_if(|residual| residual.is_unique());
    let accumulate = unique.is_some();
    let mut out = unique.map_or_else(|| Tensor::scratch_like(x, shape.dims()), Ok)?;
    if let Some(vector) = vector.filter(|vector| vector.dims() != [batch, layer.outputs()]) {
        let expected = ShapeRequirement::VectorPerImage([batch, layer.outputs()]);
        return Err(TensorError::shape(OP, expected, vector.shape()));
    }
    let epilogue = Epilogue { vector, residual };
    #[cfg(feature = "gpu")]
    if out.array().is_some() {
        on_gpu(x, layer, prologue, &epilogue, accumulate, &mut out)?;
        return Ok(out);
    }
    on_cpu(x, layer, prologue, &epilogue, accumulate, &mut out)?;
    Ok(out)
}

fn on_cpu(
    x: &Tensor,
    layer: &Conv2d,
    prologue: Prologue<'_>,
    epilogue: &Epilogue<'_>,
    accumulate: bool,
    out: &mut Tensor,
) -> Result<(), TensorError> {
    let [batch, height, width, _] = x.rank(OP)?;
    let (weight, bias) = layer.on_cpu()?;
    let summed = epilogue.vector.map(|vector| bias_for_each(bias, vector)).transpose()?;
    let norm = prologue.norm_silu.map(|norm| norm.of(x)).transpose()?;
    let _timer = profile::timer(OpClass::Conv).multiply_adds(out.shape().elements(), layer.multiply_adds);
    let conv = kernel::Convolution {
        norm: norm.as_ref().map(|norm| norm.map(true)),
        resize: prologue.resize,
        bias: summed.as_deref().or(bias),
        residual: epilogue.residual.as_ref().map(Tensor::f32s).transpose()?,
        accumulate,
        precision: layer.precision,
        ..kernel::Convolution::plain(x.f32s()?, [batch, height, width])
    };
    kernel::conv2d_fused(&conv, weight, out.f32s_mut()?);
    Ok(())
}

#[cfg(feature = "gpu")]
fn on_gpu(
    x: &Tensor,
    layer: &Conv2d,
    prologue: Prologue<'_>,
    epilogue: &Epilogue<'_>,
    accumulate: bool,
    out: &mut Tensor,
) -> Result<(), TensorError> {
    let [batch, height, width, _] = x.rank(OP)?;
    // A norm within the product would be computed once for each tap and tile, so it is a pass of its own.
    let normal = prologue.norm_silu.map(|norm| super::group_norm_silu(x, norm)).transpose()?;
    let x = normal.as_ref().unwrap_or(x).array();
    let _timer = profile::timer(OpClass::Conv).multiply_adds(out.shape().elements(), layer.multiply_adds);
    let (Some(x), Conv2dWeight::Gpu(weight), Some(to)) = (x, &layer.weight, out.array_mut()?) else {
        return Err(TensorError::wrong_device(OP, "the GPU", "the CPU"));
    };
    let conv = gpu::GpuConvolution {
        x,
        shape: [batch, height, width],
        resize: prologue.resize,
        bias: layer.bias.as_ref().map(Vector::array).transpose()?,
        vector: epilogue.vector.and_then(Tensor::array),
        residual: epilogue.residual.as_ref().and_then(Tensor::array),
        accumulate,
    };
    Ok(gpu::conv2d(&conv, weight, to)?)
}

/// The bias plus the vector of each image.
fn bias_for_each(bias: Option<&[f32]>, vector: &Tensor) -> Result<Vec<f32>, TensorError> {
    let mut sums = vector.f32s()?.to_vec();
    if let Some(bias) = bias {
        for sums in sums.chunks_exact_mut(bias.len()) {
            sums.iter_mut().zip(bias).for_each(|(sum, bias)| *sum += bias);
        }
    }
    Ok(sums)
}
