//! From an image to latents.

use super::bands::{self, BAND_BYTES, BandInput};
use super::mid_block::VaeMidBlock;
use super::{EPS, VaeConfig, latents};
use crate::blocks::BlockCount;
use crate::resnet::ResnetBlock;
use crate::{Error, params::Params};
use latent_tensor::{Conv2d, Device, Epilogue, GroupNorm, Linear, Padding, Pool, Prologue, Tensor, ops};
use std::fmt;

/// Log-variances are clamped to these bounds (`DiagonalGaussianDistribution`).
const LOG_VARIANCE: std::ops::RangeInclusive<f32> = -30.0..=20.0;

/// The encoder of an `AutoencoderKL`.
pub struct VaeEncoder {
    device: Device,
    conv_in: Conv2d,
    down_blocks: Vec<DownEncoderBlock>,
    mid_block: VaeMidBlock,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
    quant_conv: Option<Linear>,
    config: VaeConfig,
}

impl fmt::Debug for VaeEncoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VaeEncoder").field("device", &self.device).finish_non_exhaustive()
    }
}

impl VaeEncoder {
    /// Loads an encoder from a VAE's tensors, named as diffusers names them.
    ///
    /// # Errors
    /// A tensor that is missing, mis-shaped or unreadable.
    pub fn load(params: &Params<'_>, config: &VaeConfig) -> Result<VaeEncoder, Error> {
        let config = config.with_batch_norm(params)?;
        let moments = 2 * config.own_channels();
        let channels = &config.block_out_channels;
        let (first, last) = (channels[0], channels[channels.len() - 1]);
        let encoder = params.scope("encoder");
        let down = |level: usize| {
            let params = encoder.scope("down_blocks").scope(level);
            let (inputs, is_last) = (channels[level.saturating_sub(1)], level + 1 == channels.len());
            DownEncoderBlock::load(&params, config.layers_per_block, inputs, channels[level], !is_last)
        };
        Ok(VaeEncoder {
            device: params.device().clone(),
            conv_in: encoder.conv3x3("conv_in", first, 3)?,
            down_blocks: (0..channels.len()).map(down).collect::<Result<_, _>>()?,
            mid_block: VaeMidBlock::load(&encoder.scope("mid_block"), last)?,
            conv_norm_out: encoder.group_norm("conv_norm_out", last, EPS)?,
            conv_out: encoder.conv3x3("conv_out", moments, last)?,
            quant_conv: config
                .has_quant_conv
                .then(|| params.exact().linear("quant_conv", moments, moments))
                .transpose()?,
            config,
        })
    }

    /// Where it computes.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// An image `[batch, height, width, 3]` of -1..1 to the distribution of its latents.
    ///
    /// # Errors
    /// An image that does not have three channels, or is smaller than the VAE's factor.
    pub fn encode(&self, image: &Tensor) -> Result<Moments, Error> {
        self.encode_counted(image, &mut BlockCount::unwatched())
    }

    /// Number of blocks of [`VaeEncoder::encode_counted`]: each residual block and the mid block.
    pub(crate) fn blocks(&self) -> usize {
        1 + self.down_blocks.iter().map(|block| block.resnets.len()).sum::<usize>()
    }

    /// As [`VaeEncoder::encode`], with each block reported.
    pub(crate) fn encode_counted(
        &self,
        image: &Tensor,
        count: &mut BlockCount<'_>,
    ) -> Result<Moments, Error> {
        let x = ops::conv2d(&image.to(&self.device)?, &self.conv_in)?;
        self.moments(self.coarser(x, &self.down_blocks, count)?)
    }

    /// As [`VaeEncoder::encode`], with the same result, about half of the memory and about a third more time. Images are
    /// encoded one after the other. On a GPU this is [`VaeEncoder::encode`].
    ///
    /// # Errors
    /// As [`VaeEncoder::encode`].
    pub fn encode_in_bands(&self, image: &Tensor) -> Result<Moments, Error> {
        self.encode_in_bands_of(BAND_BYTES, image, &mut BlockCount::unwatched())
    }

    /// Number of blocks of [`VaeEncoder::encode_in_bands_counted`] of such an image: the bands of the finest level, and the
    /// blocks of the others.
    pub(crate) fn band_blocks(&self, image: &Tensor) -> usize {
        let (&[batch, height, width, _], Device::Cpu, Some(finest)) =
            (image.dims(), &self.device, self.down_blocks.first())
        else {
            return self.blocks();
        };
        let dims = [height, width, self.conv_in.outputs()];
        let bands = bands::blocks(dims, 1, finest.resnets.len(), BAND_BYTES);
        batch * (self.blocks() - finest.resnets.len() + bands)
    }

    /// As [`VaeEncoder::encode_in_bands`], with each block reported.
    pub(crate) fn encode_in_bands_counted(
        &self,
        image: &Tensor,
        count: &mut BlockCount<'_>,
    ) -> Result<Moments, Error> {
        self.encode_in_bands_of(BAND_BYTES, image, count)
    }

    /// As [`VaeEncoder::encode_in_bands`], with bands of about `bytes` bytes.
    pub(super) fn encode_in_bands_of(
        &self,
        bytes: usize,
        image: &Tensor,
        count: &mut BlockCount<'_>,
    ) -> Result<Moments, Error> {
        let [finest, coarser @ ..] = &self.down_blocks[..] else { return self.encode_counted(image, count) };
        if image.dims().len() != 4 || self.device != Device::Cpu {
            return self.encode_counted(image, count);
        }
        let values = bands::one_by_one(image, |image| {
            // Memory that earlier work left would count towards the peak.
            Pool::global().release();
            let entry = BandInput { conv: &self.conv_in, scale: 1 };
            let x = bands::level(image.clone(), Some(entry), &finest.resnets, bytes, count)?;
            let x = finest.downsample(x)?;
            Pool::global().release();
            Ok(self.moments(self.coarser(x, coarser, count)?)?.values)
        })?;
        Ok(Moments { values, scale: Some(self.config.clone()) })
    }

    /// Levels and the middle block.
    fn coarser(
        &self,
        mut x: Tensor,
        levels: &[DownEncoderBlock],
        count: &mut BlockCount<'_>,
    ) -> Result<Tensor, Error> {
        for block in levels {
            x = block.forward(x, count)?;
        }
        x = self.mid_block.forward(x)?;
        count.add()?;
        Ok(x)
    }

    fn moments(&self, x: Tensor) -> Result<Moments, Error> {
        let norm = Prologue::norm_silu(&self.conv_norm_out);
        let mut x = ops::conv2d_fused(&x, &self.conv_out, norm, Epilogue::none())?;
        if let Some(layer) = &self.quant_conv {
            x = ops::linear(&x, layer)?;
        }
        let mut values = x.to(&Device::Cpu)?;
        if self.config.packing > 1 {
            // Means and log-variances stay in their halves.
            values = latents::packed(&values, self.config.packing)?;
        }
        Ok(Moments { values, scale: Some(self.config.clone()) })
    }
}

/// A normal distribution for each element of the latents (`DiagonalGaussianDistribution`), in main memory.
#[derive(Clone, Debug)]
pub struct Moments {
    values: Tensor,
    /// What scales the latents; none where they stay as they are.
    scale: Option<VaeConfig>,
}

impl Moments {
    /// Means, then log-variances: `[batch, height, width, 2 latent]`, not scaled.
    #[must_use]
    pub fn values(&self) -> &Tensor {
        &self.values
    }

    /// The most likely latent, of unit variance over images: `[batch, height, width, latent]`.
    ///
    /// # Errors
    /// None: the shapes are the encoder's.
    pub fn mode(&self) -> Result<Tensor, Error> {
        self.combine(|mean, _, _| mean, None)
    }

    /// The most likely latent as the VAE gives it, not scaled.
    ///
    /// # Errors
    /// None: the shapes are the encoder's.
    pub fn mean(&self) -> Result<Tensor, Error> {
        Moments { values: self.values.clone(), scale: None }.mode()
    }

    /// A latent drawn with `noise`, unit normals of the latent's shape.
    ///
    /// # Errors
    /// Noise of another shape.
    pub fn sample(&self, noise: &Tensor) -> Result<Tensor, Error> {
        let draw = |mean: f32, log_variance: f32, noise: f32| mean + (0.5 * log_variance).exp() * noise;
        self.combine(draw, Some(noise))
    }

    fn combine(&self, value: impl Fn(f32, f32, f32) -> f32, noise: Option<&Tensor>) -> Result<Tensor, Error> {
        let mut dims = self.values.dims().to_vec();
        let moments = dims[3];
        dims[3] = moments / 2;
        let mut out = Tensor::zeros(&dims)?;
        // Adding zeros checks that the noise has the latent's shape.
        let noise = match noise {
            Some(noise) => ops::add(noise.clone(), &out)?,
            None => out.clone(),
        };
        let pixels = self.values.f32s()?.chunks_exact(moments);
        let noise = noise.f32s()?.chunks_exact(moments / 2);
        for ((out, moments), noise) in out.f32s_mut()?.chunks_exact_mut(moments / 2).zip(pixels).zip(noise) {
            let (means, log_variances) = moments.split_at(moments.len() / 2);
            for (i, out) in out.iter_mut().enumerate() {
                let log_variance = log_variances[i].clamp(*LOG_VARIANCE.start(), *LOG_VARIANCE.end());
                let value = value(means[i], log_variance, noise[i]);
                *out = self.scale.as_ref().map_or(value, |scale| scale.scaled(value, i));
            }
        }
        Ok(out)
    }
}

/// A level of the encoder (`DownEncoderBlock2D`).
struct DownEncoderBlock {
    resnets: Vec<ResnetBlock>,
    downsampler: Option<Conv2d>,
}

impl DownEncoderBlock {
    fn load(
        params: &Params<'_>,
        layers: usize,
        inputs: usize,
        outputs: usize,
        downsample: bool,
    ) -> Result<DownEncoderBlock, Error> {
        let resnet = |i| {
            let inputs = if i == 0 { inputs } else { outputs };
            ResnetBlock::load(&params.scope("resnets").scope(i), inputs, outputs, None, EPS)
        };
        // The VAE pads below and to the right only.
        let padding = Padding { bottom: 1, right: 1, ..Padding::default() };
        let downsampler = || params.conv("downsamplers.0.conv", [outputs, outputs, 3], 2, padding);
        Ok(DownEncoderBlock {
            resnets: (0..layers).map(resnet).collect::<Result<_, _>>()?,
            downsampler: downsample.then(downsampler).transpose()?,
        })
    }

    fn forward(&self, mut x: Tensor, count: &mut BlockCount<'_>) -> Result<Tensor, Error> {
        for resnet in &self.resnets {
            x = resnet.forward(x, None)?;
            count.add()?;
        }
        self.downsample(x)
    }

    /// Halves height and width, if there is a convolution for it.
    fn downsample(&self, x: Tensor) -> Result<Tensor, Error> {
        let Some(conv) = &self.downsampler else { return Ok(x) };
        Ok(ops::conv2d(&x, conv)?)
    }
}
