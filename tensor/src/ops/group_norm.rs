//! Group norm.

use super::check_len;
use crate::{Tensor, TensorError};
use latent_kernels::group_norm as kernel;

/// The parameters of a group norm (`torch.nn.GroupNorm`).
#[derive(Clone, Debug)]
pub struct GroupNorm {
    weight: Vec<f32>,
    bias: Vec<f32>,
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
        Ok(GroupNorm { weight, bias, groups, eps })
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
    const OP: &str = "group_norm";
    let [batch, height, width, channels] = x.rank(OP)?;
    if channels != norm.weight.len() || height * width == 0 {
        let expected = format_args!("pixels of {} channels", norm.weight.len()).to_string();
        return Err(TensorError::shape(OP, expected, x.shape()));
    }
    let (groups, eps) = (norm.groups, norm.eps);
    let shape = kernel::GroupNorm { batch, positions: height * width, channels, groups, eps, silu };
    let mut out = Tensor::scratch(x.dims())?;
    kernel::group_norm(shape, x.f32s()?, &norm.weight, &norm.bias, out.f32s_mut()?);
    Ok(out)
}
