//! T2I-Adapter: a small network beside a UNet that sees a control image once, and whose features are added inside the UNet's
//! down blocks (Mou et al., T2I-Adapter, 2023; `T2IAdapter`).

use crate::unet::UNetConfig;
use crate::{Error, params::Params};
use latent_loader::Weights;
use latent_tensor::{Conv2d, Linear, Padding, Tensor, ops};
use std::fmt;

/// Blocks, each of which gives a feature: one for each level of SD 1.x; of SDXL the last is for the mid block.
const BLOCKS: usize = 4;
/// Pixels along a side of what adapters for SD 1.x and SDXL see as one.
const FACTORS: [usize; 2] = [8, 16];

/// Sizes of a `T2IAdapter`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct T2iAdapterConfig {
    /// Channels of the image: 3, or 1 for its brightness alone.
    pub image_channels: usize,
    /// Pixels along a side that the first layer sees as one.
    pub factor: usize,
    /// Channels of each feature.
    pub channels: Vec<usize>,
    /// Residual blocks of each.
    pub residual_blocks: usize,
    /// Whether the residual blocks are narrow, with a layer before and after them (`light_adapter`).
    pub is_light: bool,
}

impl T2iAdapterConfig {
    /// Reads the sizes from tensors named as diffusers names them, below `adapter`.
    ///
    /// # Errors
    /// A tensor from which a size is read is missing, or the sizes do not make a network.
    pub fn from_weights(weights: &Weights) -> Result<T2iAdapterConfig, Error> {
        let is_light = !weights.contains("conv_in.weight");
        let inputs = match is_light {
            true => weights.dim("body.0.in_conv.weight", 1)?,
            false => weights.dim("conv_in.weight", 1)?,
        };
        let last = if is_light { "out_conv" } else { "resnets.0.block1" };
        let width = |i: usize| weights.dim(&format!("body.{i}.{last}.weight"), 0);
        let channels = (0..BLOCKS).map(width).collect::<Result<Vec<usize>, _>>()?;
        let is_block = |j: &usize| weights.contains(&format!("body.0.resnets.{j}.block1.weight"));
        let factors = FACTORS.into_iter().flat_map(|factor| [3, 1].map(|image| (image, factor)));
        let sizes = factors.into_iter().find(|(image, factor)| image * factor * factor == inputs);
        let is_usual = channels.iter().all(|width| *width > 0 && width.is_multiple_of(4));
        let (Some((image_channels, factor)), true) = (sizes, is_usual) else {
            return Err(Error::Unsupported {
                file: weights.label().to_owned(),
                reason: format!("a T2I-Adapter of widths {channels:?} and {inputs} inputs cannot be built"),
            });
        };
        let residual_blocks = (0..).take_while(is_block).count();
        Ok(T2iAdapterConfig { image_channels, factor, channels, residual_blocks, is_light })
    }

    /// Whether it was made for SDXL, and not for SD 1.x.
    pub(crate) fn is_for_sdxl(&self) -> bool {
        self.factor == FACTORS[1]
    }

    /// Whether its features are as wide as the levels of a UNet; the last of an adapter for SDXL is for the mid block.
    pub(crate) fn fits(&self, unet: &UNetConfig) -> bool {
        let levels = &unet.block_out_channels;
        let own = self.channels.iter().enumerate();
        own.into_iter().all(|(i, width)| levels.get(i).or(levels.last()) == Some(width))
    }

    /// Whether a block halves the image first.
    fn halves(&self, block: usize) -> bool {
        // Adapters for SDXL, which see 16 pixels as one, have one such block.
        if self.is_for_sdxl() { block == 2 } else { block > 0 }
    }
}

/// A loaded T2I-Adapter. It runs once for an image, on the CPU.
pub struct T2iAdapter {
    conv_in: Option<Conv2d>,
    body: Vec<AdapterBlock>,
    config: T2iAdapterConfig,
}

/// Residual blocks of one width (`AdapterBlock`, `LightAdapterBlock`).
struct AdapterBlock {
    is_halved: bool,
    in_conv: Option<Linear>,
    resnets: Vec<[Conv2d; 2]>,
    out_conv: Option<Linear>,
}

impl fmt::Debug for T2iAdapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("T2iAdapter").field("config", &self.config).finish_non_exhaustive()
    }
}

impl T2iAdapter {
    /// Loads an adapter from tensors named as diffusers names them, below `adapter`.
    ///
    /// # Errors
    /// A tensor that is missing, mis-shaped or unreadable.
    pub fn load(params: &Params<'_>, config: &T2iAdapterConfig) -> Result<T2iAdapter, Error> {
        let mut inputs = config.image_channels * config.factor * config.factor;
        let mut conv_in = None;
        if !config.is_light {
            conv_in = Some(params.conv3x3("conv_in", config.channels[0], inputs)?);
            inputs = config.channels[0];
        }
        let mut body = Vec::new();
        for (i, outputs) in config.channels.iter().enumerate() {
            let params = params.scope("body").scope(i);
            let inner = if config.is_light { outputs / 4 } else { *outputs };
            let has_in = config.is_light || inputs != *outputs;
            let kernel = if config.is_light { 3 } else { 1 };
            let resnet = |j: usize| -> Result<[Conv2d; 2], Error> {
                let params = params.scope("resnets").scope(j);
                let second = params.conv("block2", [inner, inner, kernel], 1, Padding::all(kernel / 2))?;
                Ok([params.conv3x3("block1", inner, inner)?, second])
            };
            body.push(AdapterBlock {
                is_halved: config.halves(i),
                in_conv: has_in.then(|| params.linear("in_conv", inner, inputs)).transpose()?,
                resnets: (0..config.residual_blocks).map(resnet).collect::<Result<_, _>>()?,
                out_conv: config.is_light.then(|| params.linear("out_conv", *outputs, inner)).transpose()?,
            });
            inputs = *outputs;
        }
        Ok(T2iAdapter { conv_in, body, config: config.clone() })
    }

    /// The features of an image `[1, height, width, 3]` of 0..1, finest first, each `[1, height, width, channels]`.
    ///
    /// # Errors
    /// Out of memory.
    pub fn forward(&self, image: &Tensor) -> Result<Vec<Tensor>, Error> {
        let mut x = self.pixels(image)?;
        if let Some(conv_in) = &self.conv_in {
            x = ops::conv2d(&x, conv_in)?;
        }
        let mut features = Vec::new();
        for block in &self.body {
            x = block.forward(x)?;
            features.push(x.clone());
        }
        Ok(features)
    }

    /// The image with the pixels of each square as channels (`PixelUnshuffle`); its edges are repeated to whole squares.
    fn pixels(&self, image: &Tensor) -> Result<Tensor, Error> {
        let (factor, channels) = (self.config.factor, self.config.image_channels);
        let &[_, rows, columns, _] = image.dims() else { unreachable!("an image") };
        let all = image.f32s()?;
        let (height, width) = (rows.div_ceil(factor), columns.div_ceil(factor));
        let value = |y: usize, x: usize, channel: usize| {
            let pixel = &all[3 * (y.min(rows - 1) * columns + x.min(columns - 1))..][..3];
            if channels == 1 { brightness(pixel) } else { pixel[channel] }
        };
        let mut values = Vec::with_capacity(width * height * channels * factor * factor);
        for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
            for channel in 0..channels {
                for i in 0..factor * factor {
                    values.push(value(y * factor + i / factor, x * factor + i % factor, channel));
                }
            }
        }
        Ok(Tensor::from_f32(&[1, height, width, channels * factor * factor], &values)?)
    }
}

/// Of bytes, rounded to one as Pillow does.
fn brightness(pixel: &[f32]) -> f32 {
    let [r, g, b] = [0, 1, 2].map(|i| (pixel[i] * 255.0).round() as u32);
    ((19_595 * r + 38_470 * g + 7_471 * b + 0x8000) >> 16) as f32 / 255.0
}

impl AdapterBlock {
    fn forward(&self, mut x: Tensor) -> Result<Tensor, Error> {
        if self.is_halved {
            x = halved(&x)?;
        }
        if let Some(layer) = &self.in_conv {
            x = ops::linear(&x, layer)?;
        }
        for [first, second] in &self.resnets {
            let hidden = ops::conv2d(&ops::relu(ops::conv2d(&x, first)?)?, second)?;
            x = ops::add(hidden, &x)?;
        }
        match &self.out_conv {
            Some(layer) => Ok(ops::linear(&x, layer)?),
            None => Ok(x),
        }
    }
}

/// The means of 2x2 pixels, at odd edges of those that are there (`AvgPool2d` with `ceil_mode`).
fn halved(x: &Tensor) -> Result<Tensor, Error> {
    let &[batch, height, width, channels] = x.dims() else { unreachable!("an image") };
    let values = x.f32s()?;
    let dims = [batch, height.div_ceil(2), width.div_ceil(2), channels];
    let mut out = Vec::with_capacity(dims.iter().product());
    for i in 0..dims[0] * dims[1] * dims[2] {
        let (image, y, column) = (i / (dims[1] * dims[2]), i / dims[2] % dims[1], i % dims[2]);
        let rows = 2 * y..(2 * y + 2).min(height);
        let columns = 2 * column..(2 * column + 2).min(width);
        let count = (rows.len() * columns.len()) as f32;
        for channel in 0..channels {
            let at = |y: usize, x: usize| values[((image * height + y) * width + x) * channels + channel];
            let sum: f32 = rows.clone().flat_map(|y| columns.clone().map(move |x| at(y, x))).sum();
            out.push(sum / count);
        }
    }
    Ok(Tensor::from_f32(&dims, &out)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_edges_are_means_of_what_is_there() {
        let x = Tensor::from_f32(&[1, 3, 3, 1], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0]).unwrap();
        let halved = halved(&x).unwrap();
        assert_eq!((halved.dims(), halved.f32s().unwrap()), (&[1, 2, 2, 1][..], &[3.0, 4.5, 7.5, 9.0][..]));
    }
}
