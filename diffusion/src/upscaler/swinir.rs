//! The light SwinIR (Liang et al., SwinIR: Image Restoration Using Swin Transformer, 2021).
//!
//! Attention within square windows of pixels, which are shifted by half a window in every second block, between convolutions. The
//! last convolution makes the colours of the pixels that each becomes. The larger kinds, which convolve at the large size, are
//! not here.

use super::RGB;
use super::shapes::{conv_shape, shuffled_scale};
use super::tiles::{PixelRect, cut};
use crate::Error;
use crate::blocks::BlockCount;
use crate::params::Params;
use latent_kernels::parallel;
use latent_loader::Weights;
use latent_tensor::{Conv2d, Device, Epilogue, LayerNorm, Linear, Prologue, Tensor, ops};

/// Mean colour that is subtracted, and added again in the end.
const MEAN: [f32; RGB] = [0.4488, 0.4371, 0.4040];
/// What keeps pixels from attending to those that a shift brought beside them.
const MASKED: f32 = -100.0;
/// Maximum side of a window.
const MAX_WINDOW: usize = 32;

/// Sizes of a light SwinIR.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SwinIrConfig {
    /// Channels: 60.
    pub features: usize,
    /// Blocks of each group: 6, four times.
    pub depths: Vec<usize>,
    /// Heads of an attention: 6.
    pub heads: usize,
    /// Channels within a feed-forward: 120.
    pub hidden: usize,
    /// Side of a window in pixels: 8.
    pub window: usize,
    /// How many times as high and wide the image becomes.
    pub scale: usize,
}

impl SwinIrConfig {
    /// Reads the sizes from its tensors.
    pub(super) fn from_weights(weights: &Weights) -> Result<SwinIrConfig, String> {
        const FIRST: &str = "layers.0.residual_group.blocks.0";
        let [features, inputs] = conv_shape(weights, "conv_first.weight")?;
        if inputs != RGB {
            return Err(format!("it takes {inputs} channels, which are not colours"));
        }
        if weights.contains("conv_before_upsample.0.weight") || !weights.contains("layers.0.conv.weight") {
            return Err("it is larger than the light kind, which alone is supported".into());
        }
        let count =
            |name: &dyn Fn(usize) -> String| (0..).take_while(|i| weights.contains(&name(*i))).count();
        let block =
            |group: usize, block: usize| format!("layers.{group}.residual_group.blocks.{block}.norm1.weight");
        let groups = count(&|group| block(group, 0));
        let depths = (0..groups).map(|group| count(&|i| block(group, i))).collect();
        let table = format!("{FIRST}.attn.relative_position_bias_table");
        let Some(&[offsets, heads]) = weights.shape(&table) else {
            return Err(format!("its {table} is not a table"));
        };
        let window = (1..=MAX_WINDOW).find(|side| (2 * side - 1) * (2 * side - 1) == offsets);
        let Some(window) = window else { return Err(format!("its {table} is not of a square window")) };
        if heads == 0 || !features.is_multiple_of(heads) {
            return Err(format!("{heads} heads do not share {features} channels"));
        }
        let Some(&[hidden, _]) = weights.shape(&format!("{FIRST}.mlp.fc1.weight")) else {
            return Err("it has no feed-forward".into());
        };
        let scale = shuffled_scale(conv_shape(weights, "upsample.0.weight")?[0])?;
        Ok(SwinIrConfig { features, depths, heads, hidden, window, scale })
    }

    /// Whether a network of these sizes has a tensor of that name, read or not.
    pub(super) fn has_tensor(&self, name: &str) -> bool {
        let parts: Vec<&str> = name.split('.').collect();
        let group = |text: &str| text.parse().ok().and_then(|group: usize| self.depths.get(group).copied());
        match parts[..] {
            ["layers", index, "conv", _] => group(index).is_some(),
            ["layers", index, "residual_group", "blocks", block, ..] => {
                group(index).is_some_and(|depth| block.parse::<usize>().is_ok_and(|block| block < depth))
            }
            _ => ["conv_first", "patch_embed.norm", "norm", "conv_after_body", "upsample.0"]
                .iter()
                .any(|layer| name.strip_prefix(layer).is_some_and(|end| end == ".weight" || end == ".bias")),
        }
    }

    /// Whether a tensor is not read, as it follows from the sizes.
    pub(super) fn is_spare(name: &str) -> bool {
        name.ends_with(".attn.relative_position_index") || name.ends_with(".attn_mask")
    }
}

/// The network.
pub(super) struct SwinIr {
    conv_first: Conv2d,
    patch_norm: LayerNorm,
    groups: Vec<SwinGroup>,
    norm: LayerNorm,
    conv_after_body: Conv2d,
    upsample: Conv2d,
    window: usize,
    scale: usize,
}

impl SwinIr {
    pub(super) fn load(params: &Params<'_>, config: &SwinIrConfig) -> Result<SwinIr, Error> {
        let SwinIrConfig { features, window, scale, .. } = *config;
        let layers = params.scope("layers");
        let groups = config.depths.iter().enumerate();
        let group = |(i, depth): (usize, &usize)| SwinGroup::load(&layers.scope(i), *depth, config);
        Ok(SwinIr {
            conv_first: params.conv3x3("conv_first", features, RGB)?,
            patch_norm: params.layer_norm("patch_embed.norm", features)?,
            groups: groups.map(group).collect::<Result<_, _>>()?,
            norm: params.layer_norm("norm", features)?,
            conv_after_body: params.conv3x3("conv_after_body", features, features)?,
            upsample: params.conv3x3("upsample.0", RGB * scale * scale, features)?,
            window,
            scale,
        })
    }

    /// As [`super::compact::Compact::forward`].
    pub(super) fn forward(
        &self,
        x: &Tensor,
        device: &Device,
        count: &mut BlockCount<'_>,
    ) -> Result<Tensor, Error> {
        let (height, width) = (x.dims()[1], x.dims()[2]);
        let first = ops::conv2d(&whole_windows(x, self.window)?.to(device)?, &self.conv_first)?;
        let mut hidden = ops::layer_norm(&first, &self.patch_norm)?;
        for group in &self.groups {
            hidden = group.forward(hidden, device, count)?;
        }
        let hidden = ops::layer_norm(&hidden, &self.norm)?;
        let residual = Epilogue::residual(first);
        let hidden = ops::conv2d_fused(&hidden, &self.conv_after_body, Prologue::none(), residual)?;
        let colours = ops::conv2d(&hidden, &self.upsample)?.to(&Device::Cpu)?;
        let mut colours = cut(&colours, &PixelRect { rows: 0..height, columns: 0..width })?;
        let each = self.scale * self.scale;
        colours.f32s_mut()?.iter_mut().enumerate().for_each(|(i, value)| *value += MEAN[i / each % RGB]);
        Ok(colours)
    }
}

/// Colours in main memory without their mean, reflected at the right and the bottom to whole windows.
fn whole_windows(x: &Tensor, window: usize) -> Result<Tensor, Error> {
    let (height, width) = (x.dims()[1], x.dims()[2]);
    let (rows, columns) = (height.next_multiple_of(window), width.next_multiple_of(window));
    let from = x.f32s()?;
    let mut values = Vec::with_capacity(rows * columns * RGB);
    for y in 0..rows {
        for x in 0..columns {
            let at = (reflected(y, height) * width + reflected(x, width)) * RGB;
            values.extend(from[at..at + RGB].iter().zip(MEAN).map(|(value, mean)| value - mean));
        }
    }
    Ok(Tensor::from_f32(&[1, rows, columns, RGB], &values)?)
}

/// A place beyond the end, reflected at the last pixel, which is not repeated; back and forth in an image of few pixels.
fn reflected(at: usize, length: usize) -> usize {
    let period = (2 * length).saturating_sub(2).max(1);
    let at = at % period;
    if at < length { at } else { period - at }
}

/// Blocks and a convolution (`RSTB`).
struct SwinGroup {
    blocks: Vec<SwinBlock>,
    conv: Conv2d,
}

impl SwinGroup {
    fn load(params: &Params<'_>, depth: usize, config: &SwinIrConfig) -> Result<SwinGroup, Error> {
        let blocks = params.scope("residual_group.blocks");
        let shift = |i: usize| if i.is_multiple_of(2) { 0 } else { config.window / 2 };
        let block = |i: usize| SwinBlock::load(&blocks.scope(i), shift(i), config);
        Ok(SwinGroup {
            blocks: (0..depth).map(block).collect::<Result<_, _>>()?,
            conv: params.conv3x3("conv", config.features, config.features)?,
        })
    }

    fn forward(&self, x: Tensor, device: &Device, count: &mut BlockCount<'_>) -> Result<Tensor, Error> {
        let mut hidden = x.clone();
        for block in &self.blocks {
            hidden = block.forward(hidden, device)?;
            count.add()?;
        }
        Ok(ops::conv2d_fused(&hidden, &self.conv, Prologue::none(), Epilogue::residual(x))?)
    }
}

/// An attention and a feed-forward (`SwinTransformerBlock`).
struct SwinBlock {
    norm1: LayerNorm,
    qkv: Linear,
    attention: WindowAttention,
    proj: Linear,
    norm2: LayerNorm,
    fc1: Linear,
    fc2: Linear,
}

impl SwinBlock {
    fn load(params: &Params<'_>, shift: usize, config: &SwinIrConfig) -> Result<SwinBlock, Error> {
        let SwinIrConfig { features, hidden, .. } = *config;
        let attn = params.scope("attn");
        Ok(SwinBlock {
            norm1: params.layer_norm("norm1", features)?,
            qkv: attn.linear("qkv", 3 * features, features)?,
            attention: WindowAttention::load(&attn, shift, config)?,
            proj: attn.linear("proj", features, features)?,
            norm2: params.layer_norm("norm2", features)?,
            fc1: params.linear("mlp.fc1", hidden, features)?,
            fc2: params.linear("mlp.fc2", features, hidden)?,
        })
    }

    fn forward(&self, x: Tensor, device: &Device) -> Result<Tensor, Error> {
        let qkv = ops::linear(&ops::layer_norm(&x, &self.norm1)?, &self.qkv)?.to(&Device::Cpu)?;
        let values = self.attention.attend(qkv.f32s()?, [x.dims()[1], x.dims()[2]]);
        let attended = Tensor::from_f32(x.dims(), &values)?.to(device)?;
        let x = ops::add(ops::linear(&attended, &self.proj)?, &x)?;
        let hidden = ops::gelu(ops::linear(&ops::layer_norm(&x, &self.norm2)?, &self.fc1)?)?;
        Ok(ops::add(ops::linear(&hidden, &self.fc2)?, &x)?)
    }
}

/// Attention of pixels to those of their window, on the CPU.
struct WindowAttention {
    /// What the places of two pixels add to their score: `[heads, pixels, pixels]`.
    bias: Vec<f32>,
    features: usize,
    heads: usize,
    window: usize,
    shift: usize,
}

impl WindowAttention {
    fn load(params: &Params<'_>, shift: usize, config: &SwinIrConfig) -> Result<WindowAttention, Error> {
        let SwinIrConfig { features, heads, window, .. } = *config;
        let side = 2 * window - 1;
        let table = params.values("relative_position_bias_table", &[side * side, heads])?;
        let pixels = window * window;
        let mut bias = Vec::with_capacity(heads * pixels * pixels);
        for head in 0..heads {
            for (own, other) in (0..pixels).flat_map(|own| (0..pixels).map(move |other| (own, other))) {
                let row = own / window + window - 1 - other / window;
                let column = own % window + window - 1 - other % window;
                bias.push(table[(row * side + column) * heads + head]);
            }
        }
        Ok(WindowAttention { bias, features, heads, window, shift })
    }

    /// Queries, keys and values `[height, width, 3 features]` to `[height, width, features]`.
    fn attend(&self, qkv: &[f32], size: [usize; 2]) -> Vec<f32> {
        let pixels = self.window * self.window;
        let in_row = size[1] / self.window;
        let mut windows = vec![0.0; size[0] * size[1] * self.features];
        parallel::chunks_mut(&mut windows, pixels * self.features, |i, out| {
            self.window(qkv, size, [i / in_row, i % in_row], out);
        });
        let mut image = vec![0.0; windows.len()];
        for (i, window) in windows.chunks_exact(pixels * self.features).enumerate() {
            for (pixel, values) in window.chunks_exact(self.features).enumerate() {
                let at = self.place(size, [i / in_row, i % in_row], pixel) * self.features;
                image[at..at + self.features].copy_from_slice(values);
            }
        }
        image
    }

    /// Where in the image a pixel of a shifted window is.
    fn place(&self, [height, width]: [usize; 2], [row, column]: [usize; 2], pixel: usize) -> usize {
        let y = (row * self.window + pixel / self.window + self.shift) % height;
        y * width + (column * self.window + pixel % self.window + self.shift) % width
    }

    /// The part of the image that a pixel of a window is from: a shift brings others beside it at the last windows.
    fn part(&self, [height, width]: [usize; 2], [row, column]: [usize; 2], pixel: usize) -> usize {
        let part = |at: usize, length: usize| {
            usize::from(at >= length - self.window) + usize::from(at >= length - self.shift)
        };
        let y = part(row * self.window + pixel / self.window, height);
        3 * y + part(column * self.window + pixel % self.window, width)
    }

    /// The attention of one window, for each head: `out` is `[pixels, features]`.
    fn window(&self, qkv: &[f32], size: [usize; 2], at: [usize; 2], out: &mut [f32]) {
        let (pixels, features) = (self.window * self.window, self.features);
        let channels = features / self.heads;
        let scale = (channels as f32).sqrt().recip();
        let places: Vec<usize> = (0..pixels).map(|pixel| self.place(size, at, pixel)).collect();
        let parts: Vec<usize> = match self.shift {
            0 => vec![0; pixels],
            _ => (0..pixels).map(|pixel| self.part(size, at, pixel)).collect(),
        };
        let (mut keys, mut scores) = (vec![0.0; channels * pixels], vec![0.0f32; pixels]);
        for head in 0..self.heads {
            let row = |which: usize, pixel: usize| {
                &qkv[(3 * places[pixel] + which) * features + head * channels..][..channels]
            };
            for pixel in 0..pixels {
                row(1, pixel).iter().enumerate().for_each(|(c, key)| keys[c * pixels + pixel] = *key);
            }
            for pixel in 0..pixels {
                scores.copy_from_slice(&self.bias[(head * pixels + pixel) * pixels..][..pixels]);
                for (query, keys) in row(0, pixel).iter().zip(keys.chunks_exact(pixels)) {
                    scores.iter_mut().zip(keys).for_each(|(score, key)| *score += scale * query * key);
                }
                let others = scores.iter_mut().zip(&parts).filter(|(_, part)| **part != parts[pixel]);
                others.for_each(|(score, _)| *score += MASKED);
                let most = scores.iter().fold(f32::NEG_INFINITY, |most, score| most.max(*score));
                scores.iter_mut().for_each(|score| *score = (*score - most).exp());
                let sum: f32 = scores.iter().sum();
                let out = &mut out[pixel * features + head * channels..][..channels];
                for (other, score) in scores.iter().enumerate() {
                    let part = score / sum;
                    out.iter_mut().zip(row(2, other)).for_each(|(out, value)| *out += part * value);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_reflected_within_the_image() {
        let all = |length: usize| (0..8).map(|at| reflected(at, length)).collect::<Vec<_>>();
        assert_eq!(all(5), [0, 1, 2, 3, 4, 3, 2, 1]);
        assert_eq!(all(2), [0, 1, 0, 1, 0, 1, 0, 1]);
        assert_eq!(all(1), [0; 8]);
    }
}
