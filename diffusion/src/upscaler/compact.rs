//! The small network of Real-ESRGAN's videos and of its general models: `SRVGGNetCompact`.
//!
//! Convolutions and PReLUs in a row, all at the size of the small image; the last convolution makes the colours of the pixels
//! that each becomes, as differences to its own (Wang et al., Real-ESRGAN, 2021; the class is the program's).

use super::RGB;
use super::shapes::{conv_shape, shuffled_scale};
use crate::Error;
use crate::blocks::BlockCount;
use crate::params::Params;
use latent_loader::Weights;
use latent_tensor::{Conv2d, Device, Epilogue, Prelu, Prologue, Tensor, ops};

/// Sizes of an `SRVGGNetCompact`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompactConfig {
    /// Channels between the convolutions: 64.
    pub features: usize,
    /// Convolutions between the first and the last: 16, or 32.
    pub convs: usize,
    /// How many times as high and wide the image becomes.
    pub scale: usize,
}

impl CompactConfig {
    /// Reads the sizes from its tensors.
    pub(super) fn from_weights(weights: &Weights) -> Result<CompactConfig, String> {
        let [features, inputs] = conv_shape(weights, "body.0.weight")?;
        if inputs != RGB {
            return Err(format!("it takes {inputs} channels, which are not colours"));
        }
        let layers = (0..).take_while(|i| weights.contains(&format!("body.{i}.weight"))).count();
        // A convolution and its PReLU, any number of such pairs, and the last convolution.
        if layers < 3 || layers.is_multiple_of(2) {
            return Err(format!(
                "it has {layers} layers body.N, which are not convolutions and PReLUs in turn"
            ));
        }
        let scale = shuffled_scale(conv_shape(weights, &format!("body.{}.weight", layers - 1))?[0])?;
        Ok(CompactConfig { features, convs: (layers - 3) / 2, scale })
    }

    /// Whether a network of these sizes has a layer of that name.
    pub(super) fn has_layer(&self, path: &str) -> bool {
        let number = path.strip_prefix("body.").and_then(|number| number.parse::<usize>().ok());
        number.is_some_and(|number| number < 2 * self.convs + 3)
    }
}

/// The network.
pub(super) struct Compact {
    layers: Vec<(Conv2d, Prelu)>,
    last: Conv2d,
    scale: usize,
}

impl Compact {
    pub(super) fn load(params: &Params<'_>, config: &CompactConfig) -> Result<Compact, Error> {
        let CompactConfig { features, convs, scale } = *config;
        let body = params.scope("body");
        let layer = |i: usize| -> Result<_, Error> {
            let inputs = if i == 0 { RGB } else { features };
            let conv = body.conv3x3(&(2 * i).to_string(), features, inputs)?;
            Ok((conv, body.prelu(&(2 * i + 1).to_string(), features)?))
        };
        Ok(Compact {
            layers: (0..=convs).map(layer).collect::<Result<_, _>>()?,
            last: body.conv3x3(&(2 * convs + 2).to_string(), RGB * scale * scale, features)?,
            scale,
        })
    }

    /// Pixels `[1, height, width, 3]` in main memory to `[1, height, width, 3 scale scale]`: for each colour, those of the pixels
    /// that each becomes.
    pub(super) fn forward(
        &self,
        x: &Tensor,
        device: &Device,
        count: &mut BlockCount<'_>,
    ) -> Result<Tensor, Error> {
        let repeated = repeated_channels(x, self.scale * self.scale)?.to(device)?;
        let mut hidden = x.to(device)?;
        for (conv, activation) in &self.layers {
            hidden = ops::prelu(ops::conv2d(&hidden, conv)?, activation)?;
            count.add()?;
        }
        Ok(ops::conv2d_fused(&hidden, &self.last, Prologue::none(), Epilogue::residual(repeated))?)
    }
}

/// Each channel of an image in main memory so many times.
fn repeated_channels(x: &Tensor, times: usize) -> Result<Tensor, Error> {
    let mut dims = x.dims().to_vec();
    if let Some(channels) = dims.last_mut() {
        *channels *= times;
    }
    let values: Vec<f32> = x.f32s()?.iter().flat_map(|value| std::iter::repeat_n(*value, times)).collect();
    Ok(Tensor::from_f32(&dims, &values)?)
}
