//! Convolutions.

use super::{GroupNorm, check_len};
use crate::profile::{self, Class};
use crate::{Padding, Shape, Tensor, TensorError, Weight};
use latent_kernels::conv2d::{self as kernel, ConvWeight};

/// The parameters of a convolution (`torch.nn.Conv2d`).
#[derive(Clone, Debug)]
pub struct Conv2d {
    pub(super) weight: ConvWeight,
    pub(super) bias: Option<Vec<f32>>,
    /// Multiply-adds of one value of the result, by the direct algorithm.
    pub(super) multiply_adds: usize,
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
                format_args!("a weight of {outputs} x {inputs} x {kernel} x {kernel} values").to_string();
            return Err(TensorError::shape("conv2d", expected, values));
        }
        if let Some(bias) = &bias {
            check_len("conv2d", "a bias", bias, outputs)?;
        }
        let multiply_adds = inputs * kernel * kernel;
        let weight = ConvWeight::new(weight, outputs, inputs, kernel, stride, padding);
        Ok(Conv2d { weight, bias, multiply_adds })
    }

    /// Channels that it takes.
    #[must_use]
    pub fn inputs(&self) -> usize {
        self.weight.in_channels()
    }

    /// Channels that it gives.
    #[must_use]
    pub fn outputs(&self) -> usize {
        self.weight.out_channels()
    }

    /// Bytes of memory that it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.weight.bytes() + self.bias.as_ref().map_or(0, |b| size_of_val(&b[..]))
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
    let size = layer.weight.output_size(to_height, to_width).filter(|_| batch * height * width > 0);
    let (h, w) = size.ok_or_else(|| TensorError::shape(OP, "a picture as large as the kernel", x.shape()))?;
    let shape = Shape::new(&[batch, h, w, layer.outputs()])?;
    let mut residual = around.residual;
    if let Some(residual) = residual.as_ref().filter(|residual| residual.shape() != shape) {
        return Err(TensorError::shape(OP, shape, residual.shape()));
    }
    let own = residual.take_if(|residual| residual.is_own());
    let accumulate = own.is_some();
    let mut out = own.map_or_else(|| Tensor::scratch(shape.dims()), Ok)?;
    let bias = match around.vector {
        Some(vector) => Some(bias_for_each(layer, vector, batch)?),
        None => layer.bias.clone(),
    };
    let norm = around.norm_silu.map(|norm| norm.of(x)).transpose()?;
    let _timer = profile::timer(Class::Conv).multiply_adds(out.shape().elements(), layer.multiply_adds);
    let conv = kernel::Fused {
        norm: norm.as_ref().map(|norm| norm.map(true)),
        resize: around.resize,
        bias: bias.as_deref(),
        residual: residual.as_ref().map(Tensor::f32s).transpose()?,
        accumulate,
        ..kernel::Fused::plain(x.f32s()?, [batch, height, width])
    };
    kernel::fused(&conv, &layer.weight, out.f32s_mut()?);
    Ok(out)
}

/// The layer's bias plus each picture's vector.
fn bias_for_each(layer: &Conv2d, vector: &Tensor, batch: usize) -> Result<Vec<f32>, TensorError> {
    let outputs = layer.outputs();
    if vector.dims() != [batch, outputs] {
        return Err(TensorError::shape(
            "conv2d",
            format_args!("a vector [{batch}, {outputs}]"),
            vector.shape(),
        ));
    }
    let mut bias = vector.f32s()?.to_vec();
    if let Some(layer) = &layer.bias {
        for bias in bias.chunks_exact_mut(outputs) {
            bias.iter_mut().zip(layer).for_each(|(sum, bias)| *sum += bias);
        }
    }
    Ok(bias)
}
