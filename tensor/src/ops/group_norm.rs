//! Group norm.

use super::check_len;
use super::parameter::Vector;
use crate::profile::{self, Class};
use crate::{Device, Tensor, TensorError};
use latent_kernels::conv2d::Norm;
use latent_kernels::group_norm as kernel;

/// The parameters of a group norm (`torch.nn.GroupNorm`).
#[derive(Clone, Debug)]
pub struct GroupNorm {
    weight: Vector,
    bias: Vector,
    groups: usize,
    eps: f32,
}

impl GroupNorm {
    /// A norm over `groups` groups of neighbouring channels; `eps` is added to the variance.
    ///
    /// # Errors
    /// Groups that do not divide the channels, a bias of another length than the weight.
    pub fn new(weight: Vec<f32>, bias: Vec<f32>, groups: usize, eps: f32) -> Result<GroupNorm, TensorError> {
        if groups == 0 || weight.is_empty() || !weight.len().is_multiple_of(groups) {
            return Err(TensorError::shape(
                "group_norm",
                format_args!("channels in {groups} groups"),
                weight.len(),
            ));
        }
        check_len("group_norm", "a bias", &bias, weight.len())?;
        Ok(GroupNorm { weight: Vector::Cpu(weight), bias: Vector::Cpu(bias), groups, eps })
    }

    /// The layer on a device.
    ///
    /// # Errors
    /// No memory there, a lost GPU.
    pub fn to(self, device: &Device) -> Result<GroupNorm, TensorError> {
        Ok(GroupNorm { weight: self.weight.to(device)?, bias: self.bias.to(device)?, ..self })
    }

    /// What the norm of `x` is, as a kernel knows it.
    fn shape(&self, x: &Tensor, silu: bool) -> Result<kernel::GroupNorm, TensorError> {
        const OP: &str = "group_norm";
        let [batch, height, width, channels] = x.rank(OP)?;
        if channels != self.weight.len() || height * width == 0 {
            let expected = format_args!("pixels of {} channels", self.weight.len()).to_string();
            return Err(TensorError::shape(OP, expected, x.shape()));
        }
        let (groups, eps) = (self.groups, self.eps);
        Ok(kernel::GroupNorm { batch, positions: height * width, channels, groups, eps, silu })
    }

    /// Mean and scale of each channel of each picture.
    pub(super) fn statistics(&self, x: &Tensor, silu: bool) -> Result<kernel::Statistics, TensorError> {
        let shape = self.shape(x, silu)?;
        let _timer = profile::timer(Class::Norm);
        Ok(kernel::Statistics::new(shape, x.f32s()?, self.weight.values()?))
    }

    /// What is left to do when the statistics are known.
    pub(super) fn map<'a>(
        &'a self,
        statistics: &'a kernel::Statistics,
        silu: bool,
    ) -> Result<Norm<'a>, TensorError> {
        Ok(statistics.norm(self.bias.values()?, silu))
    }
}

/// Normalises `[batch, height, width, channels]` (Wu and He, Group Normalization, 2018).
///
/// # Errors
/// Other channels, a picture without pixels.
pub fn group_norm(x: &Tensor, norm: &GroupNorm) -> Result<Tensor, TensorError> {
    run(x, norm, false)
}

/// Normalises, then applies SiLU.
///
/// # Errors
/// As [`group_norm`].
pub fn group_norm_silu(x: &Tensor, norm: &GroupNorm) -> Result<Tensor, TensorError> {
    run(x, norm, true)
}

fn run(x: &Tensor, norm: &GroupNorm, silu: bool) -> Result<Tensor, TensorError> {
    #[cfg(feature = "gpu")]
    if let Some(from) = x.array() {
        let (weight, bias) = (norm.weight.array()?, norm.bias.array()?);
        let mut out = Tensor::scratch_beside(x, x.dims())?;
        if let Some(out) = out.array_mut()? {
            kernel::gpu::group_norm(norm.shape(x, silu)?, from, weight, bias, out)?;
        }
        return Ok(out);
    }
    let statistics = norm.statistics(x, silu)?;
    let mut out = Tensor::scratch(x.dims())?;
    let _timer = profile::timer(Class::Norm);
    kernel::apply(x.f32s()?, &norm.map(&statistics, silu)?, out.f32s_mut()?);
    Ok(out)
}
