//! From a latent to a picture.

use super::bands::{self, BAND_BYTES, Entry};
use super::mid_block::MidBlock;
use super::{EPS, VaeConfig};
use crate::resnet::ResnetBlock;
use crate::{Error, params::Params};
use latent_tensor::{Conv2d, Device, Epilogue, GroupNorm, Linear, Pool, Prologue, Tensor, ops};

/// The decoder of an `AutoencoderKL`.
pub struct VaeDecoder {
    device: Device,
    post_quant_conv: Linear,
    conv_in: Conv2d,
    mid_block: MidBlock,
    up_blocks: Vec<UpBlock>,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
    scaling_factor: f32,
}

impl VaeDecoder {
    /// Loads a decoder from a VAE's tensors, named as diffusers names them.
    ///
    /// # Errors
    /// A tensor that is missing, mis-shaped or unreadable.
    pub fn load(params: &Params<'_>, config: &VaeConfig) -> Result<VaeDecoder, Error> {
        let latent = config.latent_channels;
        let (first, last) =
            (config.block_out_channels[0], config.block_out_channels[config.block_out_channels.len() - 1]);
        let decoder = params.scope("decoder");
        let mut inputs = last;
        let mut up_blocks = Vec::new();
        for (level, outputs) in config.block_out_channels.iter().enumerate().rev() {
            let params = decoder.scope("up_blocks").scope(up_blocks.len());
            up_blocks.push(UpBlock::load(&params, config.layers_per_block + 1, inputs, *outputs, level > 0)?);
            inputs = *outputs;
        }
        Ok(VaeDecoder {
            device: params.device().clone(),
            post_quant_conv: params.linear("post_quant_conv", latent, latent)?,
            conv_in: decoder.conv3x3("conv_in", last, latent)?,
            mid_block: MidBlock::load(&decoder.scope("mid_block"), last)?,
            up_blocks,
            conv_norm_out: decoder.group_norm("conv_norm_out", first, EPS)?,
            conv_out: decoder.conv3x3("conv_out", 3, first)?,
            scaling_factor: config.scaling_factor,
        })
    }

    /// Where it decodes.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// A latent of unit variance `[batch, height, width, latent]` to a picture `[batch, factor height, factor width,
    /// 3]`, about -1..1, on the decoder's device.
    ///
    /// # Errors
    /// A latent of other channels.
    pub fn decode(&self, latent: &Tensor) -> Result<Tensor, Error> {
        let mut x = self.coarsest(latent)?;
        for block in &self.up_blocks {
            x = block.forward(x)?;
        }
        self.picture(&x)
    }

    /// As [`VaeDecoder::decode`], with less than half of the memory, in about a third more time: the same bytes. Pictures are
    /// decoded one after the other.
    ///
    /// A decoder on a GPU decodes whole.
    ///
    /// # Errors
    /// As [`VaeDecoder::decode`].
    pub fn decode_in_bands(&self, latent: &Tensor) -> Result<Tensor, Error> {
        self.decode_in_bands_of(BAND_BYTES, latent)
    }

    /// As [`VaeDecoder::decode_in_bands`], with bands of about so many bytes.
    pub(super) fn decode_in_bands_of(&self, bytes: usize, latent: &Tensor) -> Result<Tensor, Error> {
        if latent.dims().len() != 4 || self.device != Device::Cpu {
            return self.decode(latent);
        }
        bands::one_by_one(latent, |latent| self.picture_in_bands(bytes, latent))
    }

    fn picture_in_bands(&self, bytes: usize, latent: &Tensor) -> Result<Tensor, Error> {
        // What sampling or the last picture left would count beside what comes.
        Pool::global().release();
        let mut x = self.coarsest(latent)?;
        let mut upsampler = None;
        if let [coarser @ .., finest] = &self.up_blocks[..] {
            for block in coarser {
                x = upsample(x, upsampler)?;
                // What was enlarged leaves a gap that is too small for what comes.
                Pool::global().release();
                x = block.resnets(x)?;
                upsampler = block.upsampler.as_ref();
            }
            let entry = upsampler.map(|conv| Entry { conv, scale: 2 });
            x = bands::level(x, entry, &finest.resnets, bytes)?;
        }
        self.picture(&x)
    }

    /// The input of the first level.
    fn coarsest(&self, latent: &Tensor) -> Result<Tensor, Error> {
        let x = ops::scale(latent.to(&self.device)?, 1.0 / self.scaling_factor)?;
        let x = ops::linear(&x, &self.post_quant_conv)?;
        self.mid_block.forward(ops::conv2d(&x, &self.conv_in)?)
    }

    /// The last convolution. It normalises while it reads, and gives three channels: no need for bands.
    fn picture(&self, x: &Tensor) -> Result<Tensor, Error> {
        let norm = Prologue::norm_silu(&self.conv_norm_out);
        Ok(ops::conv2d_fused(x, &self.conv_out, norm, Epilogue::none())?)
    }
}

/// A level of the decoder (`UpDecoderBlock2D`).
struct UpBlock {
    resnets: Vec<ResnetBlock>,
    upsampler: Option<Conv2d>,
}

impl UpBlock {
    fn load(
        params: &Params<'_>,
        layers: usize,
        inputs: usize,
        outputs: usize,
        upsample: bool,
    ) -> Result<UpBlock, Error> {
        let resnet = |i| {
            let inputs = if i == 0 { inputs } else { outputs };
            ResnetBlock::load(&params.scope("resnets").scope(i), inputs, outputs, None, EPS)
        };
        let upsampler = || params.conv3x3("upsamplers.0.conv", outputs, outputs);
        Ok(UpBlock {
            resnets: (0..layers).map(resnet).collect::<Result<_, _>>()?,
            upsampler: upsample.then(upsampler).transpose()?,
        })
    }

    fn forward(&self, x: Tensor) -> Result<Tensor, Error> {
        upsample(self.resnets(x)?, self.upsampler.as_ref())
    }

    fn resnets(&self, mut x: Tensor) -> Result<Tensor, Error> {
        for resnet in &self.resnets {
            x = resnet.forward(x, None)?;
        }
        Ok(x)
    }
}

/// Twice as high and wide, if there is a convolution for it.
fn upsample(x: Tensor, upsampler: Option<&Conv2d>) -> Result<Tensor, Error> {
    let Some(conv) = upsampler else { return Ok(x) };
    let resize = Some([2 * x.dims()[1], 2 * x.dims()[2]]);
    Ok(ops::conv2d_fused(&x, conv, Prologue::resize(resize), Epilogue::none())?)
}
