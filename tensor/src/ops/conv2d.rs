//! Convolutions.

use super::parameter::Vector;
use super::{GroupNorm, check_len};
use crate::profile::{self, Class};
use crate::shape::expect_blocks;
use crate::{Device, Padding, Shape, Tensor, TensorError, Weight};
#[cfg(feature = "gpu")]
use latent_kernels::conv2d::gpu::{self, PackedConv};
use latent_kernels::conv2d::{self as kernel, ConvWeight};

/// The parameters of a convolution (`torch.nn.Conv2d`).
#[derive(Clone, Debug)]
pub struct Conv2d {
    weight: Filters,
    bias: Option<Vector>,
    /// Multiply-adds of one value of the result, by the direct algorithm.
    pub(super) multiply_adds: usize,
}

/// A weight where it is used.
#[derive(Clone, Debug)]
enum Filters {
    Cpu(ConvWeight),
    #[cfg(feature = "gpu")]
    Gpu(PackedConv),
}

impl Conv2d {
    /// A layer of a weight `[outputs, inputs, kernel, kernel]`, which is not copied.
    ///
    /// # Errors
    /// A weight or bias of another length, rows that are no whole blocks of the weight's format, a kernel or stride of 0.
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
                format_args!("a weight of {outputs} x {inputs} x {kernel} x {kernel} values").to_string();
            return Err(TensorError::shape("conv2d", expected, values));
        }
        expect_blocks("conv2d", weight.view().dtype(), inputs * kernel * kernel)?;
        if let Some(bias) = &bias {
            check_len("conv2d", "a bias", bias, outputs)?;
        }
        let multiply_adds = inputs * kernel * kernel;
        let weight = ConvWeight::new(weight, outputs, inputs, kernel, stride, padding);
        Ok(Conv2d { weight: Filters::Cpu(weight), bias: bias.map(Vector::Cpu), multiply_adds })
    }

    /// The layer on a device, its weight packed for the kernels there.
    ///
    /// # Errors
    /// No memory there, a lost GPU.
    pub fn to(self, device: &Device) -> Result<Conv2d, TensorError> {
        let weight = match (self.weight, device) {
            #[cfg(feature = "gpu")]
            (Filters::Cpu(weight), Device::Gpu { gpu, dtype }) => {
                Filters::Gpu(PackedConv::new(gpu, &weight, *dtype == crate::DType::F16)?)
            }
            (weight, _) => weight,
        };
        Ok(Conv2d { weight, bias: self.bias.map(|bias| bias.to(device)).transpose()?, ..self })
    }

    /// Channels that it takes.
    #[must_use]
    pub fn inputs(&self) -> usize {
        match &self.weight {
            Filters::Cpu(weight) => weight.in_channels(),
            #[cfg(feature = "gpu")]
            Filters::Gpu(weight) => weight.in_channels(),
        }
    }

    /// Channels that it gives.
    #[must_use]
    pub fn outputs(&self) -> usize {
        match &self.weight {
            Filters::Cpu(weight) => weight.out_channels(),
            #[cfg(feature = "gpu")]
            Filters::Gpu(weight) => weight.out_channels(),
        }
    }

    /// Bytes of memory that it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let weight = match &self.weight {
            Filters::Cpu(weight) => weight.bytes(),
            #[cfg(feature = "gpu")]
            Filters::Gpu(weight) => weight.bytes() as usize,
        };
        weight + self.bias.as_ref().map_or(0, |bias| size_of::<f32>() * bias.len())
    }

    fn output_size(&self, height: usize, width: usize) -> Option<(usize, usize)> {
        match &self.weight {
            Filters::Cpu(weight) => weight.output_size(height, width),
            #[cfg(feature = "gpu")]
            Filters::Gpu(weight) => weight.output_size(height, width),
        }
    }

    /// Weight and bias of a layer on the CPU.
    pub(super) fn on_cpu(&self) -> Result<(&ConvWeight, Option<&[f32]>), TensorError> {
        match &self.weight {
            Filters::Cpu(weight) => Ok((weight, self.bias.as_ref().map(Vector::values).transpose()?)),
            #[cfg(feature = "gpu")]
            Filters::Gpu(_) => Err(TensorError::elsewhere("conv2d", "the CPU", "a GPU")),
        }
    }
}

/// What stands around a convolution in a model. Computed together with it, none of it takes a pass over memory, or
/// memory, of its own.
#[derive(Clone, Debug, Default)]
pub struct Around<'a> {
    /// Before: this norm, then SiLU.
    pub norm_silu: Option<&'a GroupNorm>,
    /// Before, after the norm: nearest-neighbour resize to this height and width.
    pub resize: Option<[usize; 2]>,
    /// After: a vector `[batch, outputs]` added to all pixels of its picture.
    pub vector: Option<&'a Tensor>,
    /// After: a tensor of the result's shape, added. The result is written into it where nothing else shares its memory.
    pub residual: Option<Tensor>,
}

/// Convolves `[batch, height, width, inputs]` to `[batch, height', width', outputs]`.
///
/// # Errors
/// Other channels, a picture smaller than the kernel.
pub fn conv2d(x: &Tensor, layer: &Conv2d) -> Result<Tensor, TensorError> {
    conv2d_with(x, layer, Around::default())
}

/// Convolves, with what stands around the convolution.
///
/// # Errors
/// As [`conv2d`], and other shapes of what stands around.
pub fn conv2d_with(x: &Tensor, layer: &Conv2d, around: Around<'_>) -> Result<Tensor, TensorError> {
    const OP: &str = "conv2d";
    let [batch, height, width, channels] = x.rank(OP)?;
    if channels != layer.inputs() {
        return Err(TensorError::shape(OP, format_args!("{} channels", layer.inputs()), x.shape()));
    }
    let [to_height, to_width] = around.resize.unwrap_or([height, width]);
    let size = layer.output_size(to_height, to_width).filter(|_| batch * height * width > 0);
    let (h, w) = size.ok_or_else(|| TensorError::shape(OP, "a picture as large as the kernel", x.shape()))?;
    let shape = Shape::new(&[batch, h, w, layer.outputs()])?;
    let mut residual = around.residual;
    if let Some(residual) = residual.as_ref().filter(|residual| residual.shape() != shape) {
        return Err(TensorError::shape(OP, shape, residual.shape()));
    }
    let own = residual.take_if(|residual| residual.is_own());
    let accumulate = own.is_some();
    let mut out = own.map_or_else(|| Tensor::scratch_beside(x, shape.dims()), Ok)?;
    if let Some(vector) = around.vector.filter(|vector| vector.dims() != [batch, layer.outputs()]) {
        let expected = format_args!("a vector [{batch}, {}]", layer.outputs()).to_string();
        return Err(TensorError::shape(OP, expected, vector.shape()));
    }
    #[cfg(feature = "gpu")]
    if let Some(to) = out.array_mut()? {
        // A norm within the product would be computed once for each tap and tile, so it is a pass of its own.
        let normal = around.norm_silu.map(|norm| super::group_norm_silu(x, norm)).transpose()?;
        let x = normal.as_ref().unwrap_or(x).array();
        let _timer = profile::timer(Class::Conv).multiply_adds(shape.elements(), layer.multiply_adds);
        let (Some(x), Filters::Gpu(weight)) = (x, &layer.weight) else {
            return Err(TensorError::elsewhere(OP, "the GPU", "the CPU"));
        };
        let conv = gpu::Fused {
            x,
            shape: [batch, height, width],
            resize: around.resize,
            bias: layer.bias.as_ref().map(Vector::array).transpose()?,
            vector: around.vector.and_then(Tensor::array),
            residual: residual.as_ref().and_then(Tensor::array),
            accumulate,
        };
        gpu::fused(&conv, weight, to)?;
        return Ok(out);
    }
    let (weight, bias) = layer.on_cpu()?;
    let summed = around.vector.map(|vector| bias_for_each(bias, vector)).transpose()?;
    let norm = around.norm_silu.map(|norm| norm.of(x)).transpose()?;
    let _timer = profile::timer(Class::Conv).multiply_adds(shape.elements(), layer.multiply_adds);
    let conv = kernel::Convolution {
        norm: norm.as_ref().map(|norm| norm.map(true)),
        resize: around.resize,
        bias: summed.as_deref().or(bias),
        residual: residual.as_ref().map(Tensor::f32s).transpose()?,
        accumulate,
        ..kernel::Convolution::plain(x.f32s()?, [batch, height, width])
    };
    kernel::conv2d_fused(&conv, weight, out.f32s_mut()?);
    Ok(out)
}

/// The bias plus each picture's vector.
fn bias_for_each(bias: Option<&[f32]>, vector: &Tensor) -> Result<Vec<f32>, TensorError> {
    let mut sums = vector.f32s()?.to_vec();
    if let Some(bias) = bias {
        for sums in sums.chunks_exact_mut(bias.len()) {
            sums.iter_mut().zip(bias).for_each(|(sum, bias)| *sum += bias);
        }
    }
    Ok(sums)
}
