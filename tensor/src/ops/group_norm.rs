//! Group norm.

use super::check_len;
use super::parameter::Vector;
use crate::error::TensorOp;
use crate::profile::{self, OpClass};
use crate::{Device, Shape, Tensor, TensorError, Window};
use latent_kernels::group_norm::{self as kernel, Norm};
use std::ops::Range;

const OP: TensorOp = TensorOp::GroupNorm;

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
                TensorOp::GroupNorm,
                format_args!("channels in {groups} groups"),
                weight.len(),
            ));
        }
        check_len(TensorOp::GroupNorm, "bias", &bias, weight.len())?;
        Ok(GroupNorm { weight: Vector::Cpu(weight), bias: Vector::Cpu(bias), groups, eps })
    }

    /// The layer on a device.
    ///
    /// # Errors
    /// No memory there, a lost GPU.
    pub fn to(self, device: &Device) -> Result<GroupNorm, TensorError> {
        Ok(GroupNorm { weight: self.weight.to(device)?, bias: self.bias.to(device)?, ..self })
    }

    /// The norm of images `[batch, height, width, channels]`, with the mean and variance computed from them.
    ///
    /// # Errors
    /// Other channels, an image without pixels.
    pub(super) fn of(&self, x: &Tensor) -> Result<PrecomputedNorm<'_>, TensorError> {
        let [batch, height, width, channels] = x.rank(OP)?;
        let mut sums = self.sums_of(batch, [height, width, channels])?;
        sums.add(x.f32s()?);
        Ok(sums.known())
    }

    /// Starts the mean and variance of one image `[height, width, channels]` whose rows are added one after the other.
    ///
    /// # Errors
    /// Other channels, an image without pixels.
    pub fn sums(&self, image: [usize; 3]) -> Result<NormSums<'_>, TensorError> {
        self.sums_of(1, image)
    }

    fn sums_of(&self, batch: usize, image: [usize; 3]) -> Result<NormSums<'_>, TensorError> {
        let (shape, left) = (self.shape(batch, image, false)?, batch * image.iter().product::<usize>());
        let (weight, bias) = (self.weight.values()?, self.bias.values()?);
        Ok(NormSums { weight, bias, left, sums: kernel::GroupNormSums::new(shape) })
    }

    /// The shape for the kernel, of a batch of images.
    fn shape(
        &self,
        batch: usize,
        image: [usize; 3],
        silu: bool,
    ) -> Result<kernel::GroupNormParams, TensorError> {
        let [height, width, channels] = image;
        if channels != self.weight.len() || height * width == 0 {
            let expected = format_args!("pixels of {} channels", self.weight.len());
            return Err(TensorError::shape(OP, expected, Shape::new(&[batch, height, width, channels])?));
        }
        let (groups, eps) = (self.groups, self.eps);
        Ok(kernel::GroupNormParams { batch, positions: height * width, channels, groups, eps, silu })
    }
}

/// Unfinished mean and variance: in the end the same, bit for bit, as if they were computed from the whole image.
#[derive(Clone, Debug)]
pub struct NormSums<'a> {
    weight: &'a [f32],
    bias: &'a [f32],
    /// Number of values that are still to be added.
    left: usize,
    sums: kernel::GroupNormSums,
}

impl<'a> NormSums<'a> {
    /// Adds the next rows of the image.
    ///
    /// # Errors
    /// Rows that are not in the window, or more than the image has.
    pub fn add_rows(&mut self, x: &Window, rows: Range<usize>) -> Result<(), TensorError> {
        let values = x.values(rows)?;
        if values.len() > self.left || x.dims()[2] != self.weight.len() {
            let expected = format_args!("{} values to come", self.left);
            return Err(TensorError::shape(OP, expected, values.len()));
        }
        self.add(values);
        Ok(())
    }

    fn add(&mut self, values: &[f32]) {
        let _timer = profile::timer(OpClass::Norm);
        self.sums.add(values);
        self.left -= values.len();
    }

    /// The norm, once the last row was added.
    ///
    /// # Errors
    /// Rows are missing.
    pub fn finish(self) -> Result<PrecomputedNorm<'a>, TensorError> {
        if self.left > 0 {
            return Err(TensorError::shape(OP, "all rows", format_args!("all but {} values", self.left)));
        }
        Ok(self.known())
    }

    fn known(self) -> PrecomputedNorm<'a> {
        let _timer = profile::timer(OpClass::Norm);
        PrecomputedNorm { statistics: self.sums.statistics(self.weight), bias: self.bias }
    }
}

/// A group norm with the mean and variance of the images to which it is applied.
#[derive(Clone, Debug)]
pub struct PrecomputedNorm<'a> {
    bias: &'a [f32],
    statistics: kernel::Statistics,
}

impl PrecomputedNorm<'_> {
    pub(super) fn channels(&self) -> usize {
        self.bias.len()
    }

    /// The affine map that is left to apply.
    pub(super) fn map(&self, silu: bool) -> Norm<'_> {
        self.statistics.norm(self.bias, silu)
    }
}

/// Normalises `[batch, height, width, channels]` (Wu and He, Group Normalization, 2018).
///
/// # Errors
/// Other channels, an image without pixels.
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
        let [batch, height, width, channels] = x.rank(OP)?;
        let shape = norm.shape(batch, [height, width, channels], silu)?;
        let mut out = Tensor::scratch_like(x, x.dims())?;
        let _timer = profile::timer(OpClass::Norm);
        if let Some(out) = out.array_mut()? {
            kernel::gpu::group_norm(shape, from, norm.weight.array()?, norm.bias.array()?, out)?;
        }
        return Ok(out);
    }
    let norm = norm.of(x)?;
    let mut out = Tensor::scratch(x.dims())?;
    let _timer = profile::timer(OpClass::Norm);
    kernel::apply(x.f32s()?, &norm.map(silu), out.f32s_mut()?);
    Ok(out)
}
