//! Convolutions.

use super::{check_len, same_shape};
use crate::{Padding, Tensor, TensorError, WeightBytes};
use latent_kernels::conv2d::{self as kernel, PackedConv};

/// The parameters of a convolution, packed (`torch.nn.Conv2d`).
#[derive(Clone, Debug)]
pub struct Conv2d {
    weight: PackedConv,
    bias: Option<Vec<f32>>,
}

impl Conv2d {
    /// Packs a weight `[outputs, inputs, kernel, kernel]`.
    ///
    /// # Errors
    /// A weight or bias of another length, a kernel or stride of 0.
    pub fn new(
        weight: WeightBytes<'_>,
        [outputs, inputs, kernel]: [usize; 3],
        stride: usize,
        padding: Padding,
        bias: Option<Vec<f32>>,
    ) -> Result<Conv2d, TensorError> {
        if weight.is_empty() || stride == 0 || weight.len() != outputs * inputs * kernel * kernel {
            let expected =
                format_args!("a weight of {outputs} x {inputs} x {kernel} x {kernel} values").to_string();
            return Err(TensorError::shape("conv2d", expected, weight.len()));
        }
        if let Some(bias) = &bias {
            check_len("conv2d", "a bias", bias, outputs)?;
        }
        Ok(Conv2d { weight: PackedConv::new(weight, outputs, inputs, kernel, stride, padding), bias })
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

/// Convolves `[batch, height, width, inputs]` to `[batch, height', width', outputs]`.
///
/// # Errors
/// Other channels, a picture smaller than the kernel.
pub fn conv2d(x: &Tensor, layer: &Conv2d) -> Result<Tensor, TensorError> {
    run(x, layer, None)
}

/// Convolves and adds a residual of the result's shape.
///
/// # Errors
/// As [`conv2d`], and another shape of the residual.
pub fn conv2d_add(x: &Tensor, layer: &Conv2d, residual: &Tensor) -> Result<Tensor, TensorError> {
    run(x, layer, Some(residual))
}

fn run(x: &Tensor, layer: &Conv2d, residual: Option<&Tensor>) -> Result<Tensor, TensorError> {
    let [batch, height, width, channels] = x.rank("conv2d")?;
    if channels != layer.inputs() {
        return Err(TensorError::shape("conv2d", format_args!("{} channels", layer.inputs()), x.shape()));
    }
    let size = layer.weight.output_size(height, width);
    let (h, w) =
        size.ok_or_else(|| TensorError::shape("conv2d", "a picture as large as the kernel", x.shape()))?;
    let mut out = Tensor::scratch(&[batch, h, w, layer.outputs()])?;
    if let Some(residual) = residual {
        same_shape("conv2d", &out, residual)?;
    }
    let residual = residual.map(Tensor::f32s).transpose()?;
    let bias = layer.bias.as_deref();
    kernel::conv2d(x.f32s()?, [batch, height, width], &layer.weight, bias, residual, out.f32s_mut()?);
    Ok(out)
}
