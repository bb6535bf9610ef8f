//! From latents to an image.

use super::bands::{self, BAND_BYTES, BandInput};
use super::mid_block::VaeMidBlock;
use super::{EPS, VaeConfig, latents};
use crate::blocks::BlockCount;
use crate::resnet::ResnetBlock;
use crate::{Error, params::Params};
use latent_tensor::{Conv2d, Device, Epilogue, GroupNorm, Linear, Pool, Prologue, Tensor, ops};
use std::fmt;

/// The decoder of an `AutoencoderKL`.
pub struct VaeDecoder {
    device: Device,
    post_quant_conv: Option<Linear>,
    conv_in: Conv2d,
    mid_block: VaeMidBlock,
    up_blocks: Vec<UpDecoderBlock>,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
    config: VaeConfig,
}

impl fmt::Debug for VaeDecoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VaeDecoder").field("device", &self.device).finish_non_exhaustive()
    }
}

impl VaeDecoder {
    /// Loads a decoder from a VAE's tensors, named as diffusers names them.
    ///
    /// # Errors
    /// A tensor that is missing, mis-shaped or unreadable.
    pub fn load(params: &Params<'_>, config: &VaeConfig) -> Result<VaeDecoder, Error> {
        let config = config.with_batch_norm(params)?;
        let latent = config.own_channels();
        let (first, last) =
            (config.block_out_channels[0], config.block_out_channels[config.block_out_channels.len() - 1]);
        let decoder = params.scope("decoder");
        let mut inputs = last;
        let mut up_blocks = Vec::new();
        for (level, outputs) in config.block_out_channels.iter().enumerate().rev() {
            let params = decoder.scope("up_blocks").scope(up_blocks.len());
            up_blocks.push(UpDecoderBlock::load(
                &params,
                config.layers_per_block + 1,
                inputs,
                *outputs,
                level > 0,
            )?);
            inputs = *outputs;
        }
        Ok(VaeDecoder {
            device: params.device().clone(),
            post_quant_conv: config
                .has_quant_conv
                .then(|| params.exact().linear("post_quant_conv", latent, latent))
                .transpose()?,
            conv_in: decoder.exact().conv3x3("conv_in", last, latent)?,
            mid_block: VaeMidBlock::load(&decoder.scope("mid_block"), last)?,
            up_blocks,
            conv_norm_out: decoder.group_norm("conv_norm_out", first, EPS)?,
            conv_out: decoder.exact().conv3x3("conv_out", 3, first)?,
            config,
        })
    }

    /// Where it decodes.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Latents of unit variance `[batch, height, width, latent]` to an image `[batch, factor height, factor width,
    /// 3]`, about -1..1, on the decoder's device.
    ///
    /// # Errors
    /// Latents with another number of channels.
    pub fn decode(&self, latent: &Tensor) -> Result<Tensor, Error> {
        self.decode_counted(latent, &mut BlockCount::unwatched())
    }

    /// Number of blocks of [`VaeDecoder::decode_counted`]: the mid block and each residual block.
    pub(crate) fn blocks(&self) -> usize {
        1 + self.up_blocks.iter().map(|block| block.resnets.len()).sum::<usize>()
    }

    /// As [`VaeDecoder::decode`], with each block reported.
    pub(crate) fn decode_counted(
        &self,
        latent: &Tensor,
        count: &mut BlockCount<'_>,
    ) -> Result<Tensor, Error> {
        let mut x = self.coarsest(latent, count)?;
        for block in &self.up_blocks {
            x = block.forward(x, count)?;
        }
        self.image(&x)
    }

    /// As [`VaeDecoder::decode`], with the same bytes as result, less than half of the memory and about a third more time.
    /// Images are decoded one after the other. On a GPU this is [`VaeDecoder::decode`].
    ///
    /// # Errors
    /// As [`VaeDecoder::decode`].
    pub fn decode_in_bands(&self, latent: &Tensor) -> Result<Tensor, Error> {
        self.decode_in_bands_of(BAND_BYTES, latent, &mut BlockCount::unwatched())
    }

    /// Number of blocks of [`VaeDecoder::decode_in_bands_counted`] of such latents: those of the coarser levels, and the
    /// bands of the finest one.
    pub(crate) fn band_blocks(&self, latent: &Tensor) -> usize {
        let (&[batch, height, width, _], Device::Cpu, Some(finest)) =
            (latent.dims(), &self.device, self.up_blocks.last())
        else {
            return self.blocks();
        };
        // What enters the finest level, whose width is that of the upsampler in front of it.
        let scale = 1 << self.up_blocks.len().saturating_sub(2);
        let inputs = finest.resnets.first().map_or(0, ResnetBlock::inputs);
        let entry = (self.up_blocks.len() > 1).then_some(2);
        let scale = scale * self.config.packing;
        let dims = [scale * height, scale * width, inputs];
        let bands = bands::blocks(dims, entry.unwrap_or(1), finest.resnets.len(), BAND_BYTES);
        batch * (self.blocks() - finest.resnets.len() + bands)
    }

    /// As [`VaeDecoder::decode_in_bands`], with each block reported.
    pub(crate) fn decode_in_bands_counted(
        &self,
        latent: &Tensor,
        count: &mut BlockCount<'_>,
    ) -> Result<Tensor, Error> {
        self.decode_in_bands_of(BAND_BYTES, latent, count)
    }

    /// As [`VaeDecoder::decode_in_bands`], with bands of about `bytes` bytes.
    pub(super) fn decode_in_bands_of(
        &self,
        bytes: usize,
        latent: &Tensor,
        count: &mut BlockCount<'_>,
    ) -> Result<Tensor, Error> {
        if latent.dims().len() != 4 || self.device != Device::Cpu {
            return self.decode_counted(latent, count);
        }
        bands::one_by_one(latent, |latent| self.image_in_bands(bytes, latent, count))
    }

    fn image_in_bands(
        &self,
        bytes: usize,
        latent: &Tensor,
        count: &mut BlockCount<'_>,
    ) -> Result<Tensor, Error> {
        // Memory that sampling or the last image left would count towards the peak.
        Pool::global().release();
        let mut x = self.coarsest(latent, count)?;
        let mut upsampler = None;
        if let [coarser @ .., finest] = &self.up_blocks[..] {
            for block in coarser {
                x = upsample(x, upsampler)?;
                // The enlarged tensor leaves a gap that is too small for the next one.
                Pool::global().release();
                x = block.resnets(x, count)?;
                upsampler = block.upsampler.as_ref();
            }
            let entry = upsampler.map(|conv| BandInput { conv, scale: 2 });
            x = bands::level(x, entry, &finest.resnets, bytes, count)?;
        }
        self.image(&x)
    }

    /// The input of the first level.
    fn coarsest(&self, latent: &Tensor, count: &mut BlockCount<'_>) -> Result<Tensor, Error> {
        let VaeConfig { statistics, shift_factor, scaling_factor, packing, .. } = &self.config;
        let mut x = if *packing > 1 {
            let unscaled = latents::unscaled(latent, &self.config)?;
            latents::unpacked(&unscaled, *packing)?.to(&self.device)?
        } else if statistics.is_some() || *shift_factor != 0.0 {
            latents::unscaled(latent, &self.config)?.to(&self.device)?
        } else {
            ops::scale(latent.to(&self.device)?, 1.0 / scaling_factor)?
        };
        if let Some(layer) = &self.post_quant_conv {
            x = ops::linear(&x, layer)?;
        }
        let x = self.mid_block.forward(ops::conv2d(&x, &self.conv_in)?)?;
        count.add()?;
        Ok(x)
    }

    /// The last convolution. It normalises while it reads and has three output channels, so it needs no bands.
    fn image(&self, x: &Tensor) -> Result<Tensor, Error> {
        let norm = Prologue::norm_silu(&self.conv_norm_out);
        Ok(ops::conv2d_fused(x, &self.conv_out, norm, Epilogue::none())?)
    }
}

/// A level of the decoder (`UpDecoderBlock2D`).
struct UpDecoderBlock {
    resnets: Vec<ResnetBlock>,
    upsampler: Option<Conv2d>,
}

impl UpDecoderBlock {
    fn load(
        params: &Params<'_>,
        layers: usize,
        inputs: usize,
        outputs: usize,
        upsample: bool,
    ) -> Result<UpDecoderBlock, Error> {
        let resnet = |i| {
            let inputs = if i == 0 { inputs } else { outputs };
            ResnetBlock::load(&params.scope("resnets").scope(i), inputs, outputs, None, EPS)
        };
        let upsampler = || params.conv3x3("upsamplers.0.conv", outputs, outputs);
        Ok(UpDecoderBlock {
            resnets: (0..layers).map(resnet).collect::<Result<_, _>>()?,
            upsampler: upsample.then(upsampler).transpose()?,
        })
    }

    fn forward(&self, x: Tensor, count: &mut BlockCount<'_>) -> Result<Tensor, Error> {
        upsample(self.resnets(x, count)?, self.upsampler.as_ref())
    }

    fn resnets(&self, mut x: Tensor, count: &mut BlockCount<'_>) -> Result<Tensor, Error> {
        for resnet in &self.resnets {
            x = resnet.forward(x, None)?;
            count.add()?;
        }
        Ok(x)
    }
}

/// Doubles height and width, if there is a convolution for it.
fn upsample(x: Tensor, upsampler: Option<&Conv2d>) -> Result<Tensor, Error> {
    let Some(conv) = upsampler else { return Ok(x) };
    let resize = Some([2 * x.dims()[1], 2 * x.dims()[2]]);
    Ok(ops::conv2d_fused(&x, conv, Prologue::resize(resize), Epilogue::none())?)
}
