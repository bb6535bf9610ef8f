//! SPAN (Wan et al., Swift Parameter-free Attention Network for Efficient Super-Resolution, 2024).
//!
//! Six blocks of three convolutions, whose result attends to itself without any parameters. Each convolution is trained as a
//! sum of a 1x1 convolution and of three in a row, which are one 3x3 convolution: they are multiplied when they are read.

use super::RGB;
use super::shapes::{conv_shape, shuffled_scale};
use crate::Error;
use crate::blocks::BlockCount;
use crate::params::Params;
use latent_loader::Weights;
use latent_tensor::{Conv2d, Device, Linear, Tensor, ops};

/// Blocks, whose names count from 1.
pub(super) const BLOCKS: usize = 6;
/// Taps of a 3x3 convolution.
const TAPS: usize = 9;
/// Mean colour that is subtracted before the values become 0 to 255.
const MEAN: [f32; RGB] = [0.4488, 0.4371, 0.4040];

/// Sizes of a SPAN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpanConfig {
    /// Channels between the blocks: 48, or 52.
    pub features: usize,
    /// How many times as high and wide the image becomes.
    pub scale: usize,
    /// Whether it takes colours of 0 to 255 without their mean, and not those of 0 to 1.
    pub normalized: bool,
}

impl SpanConfig {
    /// Reads the sizes from its tensors.
    pub(super) fn from_weights(weights: &Weights) -> Result<SpanConfig, String> {
        let (outputs, inputs) =
            match (weights.shape("conv_1.sk.weight"), weights.shape("conv_1.eval_conv.weight")) {
                (Some(&[outputs, inputs, 1, 1]), _) | (None, Some(&[outputs, inputs, 3, 3])) => {
                    (outputs, inputs)
                }
                _ => return Err("it has neither conv_1.sk.weight nor conv_1.eval_conv.weight".into()),
            };
        if inputs != RGB {
            return Err(format!("it takes {inputs} channels, which are not colours"));
        }
        let scale = shuffled_scale(conv_shape(weights, "upsampler.0.weight")?[0])?;
        Ok(SpanConfig { features: outputs, scale, normalized: !weights.contains("no_norm") })
    }

    /// Whether a SPAN has a tensor of that name, read or not.
    pub(super) fn has_tensor(name: &str) -> bool {
        let Some((path, end)) = name.rsplit_once('.') else { return name == "no_norm" };
        let part = ["sk", "conv.0", "conv.1", "conv.2", "eval_conv"]
            .iter()
            .find_map(|part| path.strip_suffix(part)?.strip_suffix('.'))
            .unwrap_or(path);
        let block = part.strip_prefix("block_").and_then(|rest| rest.split_once('.'));
        let is_layer = match block {
            Some((number, conv)) => {
                number.parse().is_ok_and(|number| (1..=BLOCKS).contains(&number))
                    && matches!(conv, "c1_r" | "c2_r" | "c3_r")
            }
            None => matches!(part, "conv_1" | "conv_2" | "conv_cat" | "upsampler.0"),
        };
        is_layer && matches!(end, "weight" | "bias")
    }

    /// Whether a tensor is not read: a product of others, or a mark.
    pub(super) fn is_spare(name: &str) -> bool {
        name == "no_norm" || name.contains(".eval_conv.")
    }
}

/// The network.
pub(super) struct Span {
    conv_1: Conv2d,
    blocks: Vec<SpanBlock>,
    conv_2: Conv2d,
    conv_cat: Linear,
    upsampler: Conv2d,
    normalized: bool,
}

impl Span {
    pub(super) fn load(params: &Params<'_>, config: &SpanConfig) -> Result<Span, Error> {
        let SpanConfig { features, scale, normalized } = *config;
        let block = |i: usize| SpanBlock::load(&params.scope(format!("block_{i}")), features);
        Ok(Span {
            conv_1: product(&params.scope("conv_1"), features, RGB)?,
            blocks: (1..=BLOCKS).map(block).collect::<Result<_, _>>()?,
            conv_2: product(&params.scope("conv_2"), features, features)?,
            conv_cat: params.linear("conv_cat", features, 4 * features)?,
            upsampler: params.conv3x3("upsampler.0", RGB * scale * scale, features)?,
            normalized,
        })
    }

    /// As [`super::compact::Compact::forward`].
    pub(super) fn forward(
        &self,
        x: &Tensor,
        device: &Device,
        count: &mut BlockCount<'_>,
    ) -> Result<Tensor, Error> {
        let x = if self.normalized { normalized(x)? } else { x.clone() };
        let first = ops::conv2d(&x.to(device)?, &self.conv_1)?;
        let mut hidden = first.clone();
        let (mut after_first, mut within_last) = (None, None);
        for block in &self.blocks {
            let (next, within) = block.forward(&hidden)?;
            hidden = next;
            after_first.get_or_insert_with(|| hidden.clone());
            within_last = Some(within);
            count.add()?;
        }
        let mut all = ops::concat_channels(&first, &ops::conv2d(&hidden, &self.conv_2)?)?;
        for part in [after_first, within_last].into_iter().flatten() {
            all = ops::concat_channels(&all, &part)?;
        }
        Ok(ops::conv2d(&ops::linear(&all, &self.conv_cat)?, &self.upsampler)?)
    }
}

/// Three convolutions and the attention of their result (`SPAB`).
struct SpanBlock {
    convs: [Conv2d; 3],
}

impl SpanBlock {
    fn load(params: &Params<'_>, features: usize) -> Result<SpanBlock, Error> {
        let conv = |i: usize| product(&params.scope(format!("c{i}_r")), features, features);
        Ok(SpanBlock { convs: [conv(1)?, conv(2)?, conv(3)?] })
    }

    /// The result, and the activations of the first convolution.
    fn forward(&self, x: &Tensor) -> Result<(Tensor, Tensor), Error> {
        let [c1, c2, c3] = &self.convs;
        let first = ops::silu(ops::conv2d(x, c1)?)?;
        let second = ops::silu(ops::conv2d(&first, c2)?)?;
        Ok((ops::parameter_free_attention(ops::conv2d(&second, c3)?, x)?, first))
    }
}

/// Colours of 0 to 1 in main memory as 0 to 255 without their mean.
fn normalized(x: &Tensor) -> Result<Tensor, Error> {
    let values: Vec<f32> =
        x.f32s()?.iter().enumerate().map(|(i, value)| (value - MEAN[i % RGB]) * 255.0).collect();
    Ok(Tensor::from_f32(x.dims(), &values)?)
}

/// The 3x3 convolution that the branches of one are together (`Conv3XC`): `sk` is 1x1; `conv` is 1x1, 3x3 and 1x1 in a row, of
/// twice as many channels. A file without branches has the product alone.
fn product(params: &Params<'_>, outputs: usize, inputs: usize) -> Result<Conv2d, Error> {
    if !params.contains("sk.weight") && params.contains("eval_conv.weight") {
        return params.conv3x3("eval_conv", outputs, inputs);
    }
    let conv = params.scope("conv");
    let (wide_inputs, wide_outputs) = (2 * inputs, 2 * outputs);
    let first = conv.values("0.weight", &[wide_inputs, inputs, 1, 1])?;
    let middle = conv.values("1.weight", &[wide_outputs, wide_inputs, 3, 3])?;
    let last = conv.values("2.weight", &[outputs, wide_outputs, 1, 1])?;
    let skip = params.values("sk.weight", &[outputs, inputs, 1, 1])?;
    // The result of the middle one for each of its outputs: taps of inputs, and a bias.
    let mut wide = vec![0.0; wide_outputs * TAPS * inputs];
    let bias = conv.values("0.bias", &[wide_inputs])?;
    let mut wide_bias: Vec<f64> =
        conv.values("1.bias", &[wide_outputs])?.into_iter().map(f64::from).collect();
    for (output, taps) in wide.chunks_exact_mut(TAPS * inputs).enumerate() {
        for channel in 0..wide_inputs {
            let kernel = &middle[(output * wide_inputs + channel) * TAPS..][..TAPS];
            let row = &first[channel * inputs..][..inputs];
            for (tap, weight) in taps.chunks_exact_mut(inputs).zip(kernel) {
                add_scaled(tap, row, f64::from(*weight));
            }
            wide_bias[output] += f64::from(kernel.iter().sum::<f32>()) * f64::from(bias[channel]);
        }
    }
    let (last_bias, skip_bias) = (conv.values("2.bias", &[outputs])?, params.values("sk.bias", &[outputs])?);
    let mut weight = Vec::with_capacity(outputs * inputs * TAPS);
    let mut biases = Vec::with_capacity(outputs);
    for output in 0..outputs {
        let mut taps = vec![0.0f64; TAPS * inputs];
        let mut bias = f64::from(last_bias[output]) + f64::from(skip_bias[output]);
        let row = &last[output * wide_outputs..][..wide_outputs];
        for ((wide, wide_bias), factor) in wide.chunks_exact(TAPS * inputs).zip(&wide_bias).zip(row) {
            taps.iter_mut().zip(wide).for_each(|(tap, wide)| *tap += f64::from(*factor) * wide);
            bias += f64::from(*factor) * wide_bias;
        }
        // The 1x1 convolution is the middle tap.
        add_scaled(&mut taps[TAPS / 2 * inputs..][..inputs], &skip[output * inputs..][..inputs], 1.0);
        // Taps of inputs to inputs of taps.
        weight.extend((0..inputs * TAPS).map(|i| taps[i % TAPS * inputs + i / TAPS] as f32));
        biases.push(bias as f32);
    }
    params.conv3x3_of(&weight, biases, outputs, inputs)
}

fn add_scaled(to: &mut [f64], row: &[f32], factor: f64) {
    to.iter_mut().zip(row).for_each(|(to, value)| *to += factor * f64::from(*value));
}
