//! The network of Z-Image (`ZImageTransformer2DModel`; Cai et al., Z-Image: An Efficient Image Generation Foundation Model with
//! Single-Stream Diffusion Transformer, 2025).
//!
//! Image and text are refined alone by a few blocks, then they are one sequence, the image first. Both are filled up to a multiple
//! of 32 tokens with learned tokens of padding, which are attended to. Positions have three axes: the text goes along the
//! first one, and the image follows at its end with its rows and columns.
//!
//! Its time runs from noise (0) to the image (1000), and it predicts `image - noise`; [`ZImage`] turns both around.

mod block;
mod config;

pub use config::ZImageConfig;

use super::condition::{Positions, TransformerCondition};
use super::interface::{
    DiffusionTransformer, LatentInput, TransformerInputs, check_lengths, check_text, refuse,
};
use super::kit::{
    AttentionContext, AttentionShape, EmbeddingMlp, SINUSOIDS, ShiftScale, batched, embedded_time,
    first_tokens, grid, join, join_batch, patchify, sequence_dims, unpatchify,
};
use crate::blocks::BlockCount;
use crate::{
    Error,
    params::{BlockList, Params},
};
use block::{BlockSizes, NORM_EPS, ZImageBlock};
use config::PATCH;
use latent_tensor::{Device, Linear, RmsNorm, RotaryPairing, RotaryTable, Tensor, ops};
use std::fmt;

/// Base of the rotations' frequencies.
const THETA: f64 = 256.0;
/// Sequences are as long as a multiple of this.
const TOKENS_MULTIPLE: usize = 32;
/// The time step of the image itself.
const LAST_TIMESTEP: f32 = 1000.0;

/// A loaded network of Z-Image.
pub struct ZImage {
    device: Device,
    config: ZImageConfig,
    x_embedder: Linear,
    cap_norm: RmsNorm,
    cap_embedder: Linear,
    /// Tokens of padding `[1, 1, width]`, in main memory.
    x_pad_token: Tensor,
    cap_pad_token: Tensor,
    /// In main memory, as all that follows from the time alone.
    t_embedder: EmbeddingMlp,
    noise_refiner: BlockList<ZImageBlock>,
    context_refiner: BlockList<ZImageBlock>,
    layers: BlockList<ZImageBlock>,
    /// From the embedded time to the last scale, in main memory.
    final_modulation: Linear,
    final_linear: Linear,
}

impl fmt::Debug for ZImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ZImage")
            .field("config", &self.config)
            .field("device", &self.device)
            .finish_non_exhaustive()
    }
}

impl ZImage {
    /// Loads the network from tensors with canonical names.
    ///
    /// # Errors
    /// A tensor that is missing, mis-shaped or unreadable.
    pub fn load(params: &Params<'_>, config: &ZImageConfig) -> Result<ZImage, Error> {
        let &ZImageConfig { width, time_width, .. } = config;
        let attention = AttentionShape {
            heads: config.heads,
            head_width: width / config.heads,
            norm_eps: Some(NORM_EPS),
            has_bias: false,
        };
        let sizes = BlockSizes { attention, hidden: config.hidden, time_width: Some(time_width) };
        let list = |name: &'static str, count, sizes: BlockSizes| {
            BlockList::load(params, count, move |params, i| {
                ZImageBlock::load(&params.scope(name).scope(i), sizes)
            })
        };
        let token =
            |name| Tensor::from_f32(&[1, 1, width], &params.values(name, &[1, width])?).map_err(Error::from);
        let exact = params.exact();
        let in_memory = exact.clone().on(&Device::Cpu);
        let last = "all_final_layer.2-1";
        let (patch, time) = (PATCH * PATCH, [SINUSOIDS, config.time_hidden, time_width]);
        Ok(ZImage {
            device: params.device().clone(),
            config: config.clone(),
            x_embedder: exact.linear_layer("all_x_embedder.2-1", width, patch * config.in_channels, true)?,
            cap_norm: params.rms_norm("cap_embedder.0", config.text_width, NORM_EPS)?,
            cap_embedder: params.linear_layer("cap_embedder.1", width, config.text_width, true)?,
            x_pad_token: token("x_pad_token")?,
            cap_pad_token: token("cap_pad_token")?,
            t_embedder: EmbeddingMlp::load(&in_memory.scope("t_embedder.mlp"), ["0", "2"], time, true)?,
            noise_refiner: list("noise_refiner", config.noise_refiners, sizes)?,
            context_refiner: list(
                "context_refiner",
                config.context_refiners,
                BlockSizes { time_width: None, ..sizes },
            )?,
            layers: list("layers", config.layers, sizes)?,
            final_modulation: in_memory.scope(last).linear_layer(
                "adaLN_modulation.1",
                width,
                time_width,
                true,
            )?,
            final_linear: exact.scope(last).linear_layer(
                "linear",
                patch * config.out_channels,
                width,
                true,
            )?,
        })
    }

    /// A table of rotations on the network's device.
    fn rotary(&self, positions: &[[f64; 3]]) -> Result<RotaryTable, Error> {
        let head = self.config.width / self.config.heads;
        let axes = [head / 4, head / 8 * 3, head / 8 * 3];
        Ok(RotaryTable::new(axes, THETA, positions, RotaryPairing::Interleaved)?.to(&self.device)?)
    }

    /// The texts, each filled up to its own multiple of tokens and refined: `[batch, longest, width]`, and how long each is.
    fn refined_text(&self, text: &Tensor, lengths: &[usize]) -> Result<(Tensor, Vec<usize>), Error> {
        let text = text.to(&self.device)?;
        let text = ops::linear(&ops::rms_norm(&text, &self.cap_norm)?, &self.cap_embedder)?;
        let padded: Vec<usize> = lengths.iter().map(|n| n.next_multiple_of(TOKENS_MULTIPLE)).collect();
        let longest = padded.iter().copied().max().unwrap_or(0);
        let filled = |(i, length): (usize, &usize)| -> Result<Tensor, Error> {
            let own = first_tokens(&batched(&text, i)?, *length)?;
            // What is behind a text's own padding is not attended to.
            join_padding(&own, &self.cap_pad_token, longest - length)
        };
        let mut text = join_batch(&lengths.iter().enumerate().map(filled).collect::<Result<Vec<_>, _>>()?)?;
        let rotary = self.rotary(&text_positions(longest))?;
        let key_lengths = differing(&padded, longest);
        let context = AttentionContext { rotary: Some(&rotary), key_lengths };
        for i in 0..self.context_refiner.len() {
            text = self.context_refiner.get(i)?.forward(text, None, context)?;
        }
        Ok((text, padded))
    }

    /// Rotations of the image's tokens, at the end of each text, and of both sequences.
    fn positions(
        &self,
        rows_columns: [usize; 2],
        condition: &TransformerCondition,
    ) -> Result<Positions, Error> {
        let image_tokens = rows_columns[0] * rows_columns[1];
        let padded_image = image_tokens.next_multiple_of(TOKENS_MULTIPLE);
        let [_, longest, _] = sequence_dims(&condition.text);
        let (mut of_images, mut of_all) = (Vec::new(), Vec::new());
        for length in &condition.text_lengths {
            let start = (length + 1) as f64;
            let image: Vec<[f64; 3]> = grid(rows_columns, |row, column| [start, row, column])
                .chain(std::iter::repeat_n([0.0; 3], padded_image - image_tokens))
                .collect();
            of_images.extend(&image);
            of_all.extend(image);
            of_all.extend(text_positions(longest));
        }
        let key_lengths = differing(&condition.text_lengths, longest)
            .map(|lengths| lengths.iter().map(|length| padded_image + length).collect());
        Ok(Positions {
            rotary: Some(self.rotary(&of_all)?),
            image_rotary: Some(self.rotary(&of_images)?),
            key_lengths,
            ..Positions::of_grid(rows_columns)
        })
    }

    /// The last norm, scaled by the time, and the last layer.
    fn predict(&self, image: &Tensor, time: &Tensor) -> Result<Tensor, Error> {
        let scale = ops::linear(&ops::silu(time.clone())?, &self.final_modulation)?;
        let shift = Tensor::zeros(scale.dims())?.to(&self.device)?;
        let modulation = ShiftScale { shift, scale: scale.to(&self.device)? };
        Ok(ops::linear(&modulation.norm(image)?, &self.final_linear)?)
    }
}

/// The positions of a text with its padding.
fn text_positions(tokens: usize) -> Vec<[f64; 3]> {
    (1..=tokens).map(|i| [i as f64, 0.0, 0.0]).collect()
}

/// Lengths, if not all are the longest.
fn differing(lengths: &[usize], longest: usize) -> Option<&[usize]> {
    lengths.iter().any(|length| *length < longest).then_some(lengths)
}

/// A sequence `[batch, tokens, width]` and so many tokens of padding.
fn join_padding(x: &Tensor, token: &Tensor, count: usize) -> Result<Tensor, Error> {
    if count == 0 {
        return Ok(x.clone());
    }
    let [batch, _, width] = sequence_dims(x);
    let padding = Tensor::from_f32(&[batch, count, width], &token.f32s()?.repeat(batch * count))?;
    join(x, &padding.to(&x.device())?)
}

impl DiffusionTransformer for ZImage {
    fn device(&self) -> &Device {
        &self.device
    }

    fn takes_guidance(&self) -> bool {
        false
    }

    fn condition(&self, inputs: &TransformerInputs<'_>) -> Result<TransformerCondition, Error> {
        refuse(
            "Z-Image",
            &[
                (!inputs.skipped_blocks.is_empty(), "skipped blocks"),
                (!inputs.references.is_empty(), "reference images"),
            ],
        )?;
        let sizes = check_text(inputs.text, self.config.text_width)?;
        let lengths = check_lengths(inputs.text_lengths, sizes)?;
        let (text, padded) = self.refined_text(inputs.text, &lengths)?;
        Ok(TransformerCondition::of_text(text, padded))
    }

    fn blocks(&self, _: &TransformerCondition) -> usize {
        self.config.noise_refiners + self.config.layers
    }

    fn forward_counted(
        &self,
        x: &Tensor,
        timesteps: &[f32],
        condition: &mut TransformerCondition,
        count: &mut BlockCount<'_>,
    ) -> Result<Tensor, Error> {
        let input = LatentInput { channels: self.config.in_channels, patch: PATCH };
        let [_, height, width] = input.check(x, timesteps.len(), condition.batch())?;
        let grid = [height / PATCH, width / PATCH];
        let positions = condition.take_positions(grid, |condition| self.positions(grid, condition))?;
        let times: Vec<f32> = timesteps.iter().map(|t| LAST_TIMESTEP - t).collect();
        let time = embedded_time(&self.t_embedder, &times, &Device::Cpu)?;
        let tokens = grid[0] * grid[1];
        let patches = patchify(&x.to(&self.device)?, PATCH)?;
        let image = ops::linear(&patches, &self.x_embedder)?;
        let padding = tokens.next_multiple_of(TOKENS_MULTIPLE) - tokens;
        let mut image = join_padding(&image, &self.x_pad_token, padding)?;
        let alone = AttentionContext { rotary: positions.image_rotary.as_ref(), key_lengths: None };
        for i in 0..self.noise_refiner.len() {
            image = self.noise_refiner.get(i)?.forward(image, Some(&time), alone)?;
            count.add_hidden(&image)?;
        }
        let mut all = join(&image, &condition.text)?;
        drop(image);
        let context = AttentionContext {
            rotary: positions.rotary.as_ref(),
            key_lengths: positions.key_lengths.as_deref(),
        };
        for i in 0..self.layers.len() {
            all = self.layers.get(i)?.forward(all, Some(&time), context)?;
            count.add_hidden(&all)?;
        }
        condition.positions = Some(positions);
        let image = first_tokens(&all, tokens)?;
        drop(all);
        let prediction = unpatchify(&self.predict(&image, &time)?, [height, width], PATCH)?;
        Ok(ops::scale(prediction, -1.0)?)
    }
}
