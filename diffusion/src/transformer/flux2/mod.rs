//! The network of Flux.2 (`Flux2Transformer2DModel`; Black Forest Labs, 2025).
//!
//! As Flux.1, with double and single blocks, but all blocks of a kind share their modulations, MLPs are gated (SwiGLU), no layer has
//! a bias, and positions have four axes: the image's number, rows, columns, and the token of the text. Its latents have the
//! pixels of a patch in their channels.

mod config;

pub use config::Flux2Config;

use super::condition::{Positions, TransformerCondition};
use super::interface::{DiffusionTransformer, LatentInput, TransformerInputs, check_text, refuse};
use super::kit::{
    AttentionContext, AttentionShape, EmbeddingMlp, FinalLayer, ImageModulations, JointBlock,
    JointBlockShape, MlpShape, Modulation, Modulator, SINUSOIDS, SingleBlock, SingleBlockNames, SubLayer,
    TextModulations, embedded_time, first_tokens, grid, join, patchify, repeated, sequence_dims, unpatchify,
};
use crate::blocks::BlockCount;
use crate::{
    Error,
    params::{BlockList, Params},
};
use latent_tensor::{Device, Linear, RotaryPairing, RotaryTable, Tensor, ops};
use std::fmt;

/// Epsilon of the norms of queries and keys.
const NORM_EPS: f32 = 1e-6;
/// Base of the rotations' frequencies.
const THETA: f64 = 2000.0;
/// What a guidance scale is multiplied by before it is embedded, as noise levels are.
const GUIDANCE_SCALE: f32 = 1000.0;
/// The first number of a reference image, and the distance to the next one's.
const REFERENCE_STEP: usize = 10;
/// How its files call the layers of a single block.
const SINGLE: SingleBlockNames =
    SingleBlockNames { mlp: None, fused: "attn.to_qkv_mlp_proj", out: "attn.to_out" };

/// A loaded network of Flux.2.
pub struct Flux2 {
    device: Device,
    config: Flux2Config,
    x_embedder: Linear,
    context_embedder: Linear,
    timestep_embedder: EmbeddingMlp,
    guidance_embedder: Option<EmbeddingMlp>,
    /// Of the images in all double blocks.
    double_stream_modulation_img: Modulation,
    /// Of the texts in all double blocks.
    double_stream_modulation_txt: Modulation,
    /// Of all single blocks.
    single_stream_modulation: Modulation,
    transformer_blocks: BlockList<JointBlock>,
    single_transformer_blocks: BlockList<SingleBlock>,
    out: FinalLayer,
}

impl fmt::Debug for Flux2 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flux2")
            .field("config", &self.config)
            .field("device", &self.device)
            .finish_non_exhaustive()
    }
}

impl Flux2 {
    /// Loads the network from tensors with canonical names.
    ///
    /// # Errors
    /// A tensor that is missing, mis-shaped or unreadable.
    pub fn load(params: &Params<'_>, config: &Flux2Config) -> Result<Flux2, Error> {
        let &Flux2Config { width, layers, single_layers, .. } = config;
        let attention = AttentionShape {
            heads: config.heads,
            head_width: width / config.heads,
            norm_eps: Some(NORM_EPS),
            has_bias: false,
        };
        let mlp = MlpShape { hidden: config.hidden, is_gated: true };
        let shape = JointBlockShape { attention, mlp, has_second: false, is_last: false, modulates: false };
        let double = move |params: &Params<'_>, i: usize| {
            JointBlock::load(&params.scope("transformer_blocks").scope(i), &shape)
        };
        let single = move |params: &Params<'_>, i: usize| {
            let params = params.scope("single_transformer_blocks").scope(i);
            SingleBlock::load(&params, SINGLE, (attention, mlp), false)
        };
        let exact = params.exact();
        let time = exact.scope("time_guidance_embed");
        let embedder = |name| EmbeddingMlp::load_named(&time.scope(name), [SINUSOIDS, width], false);
        let modulation =
            |name: &str, vectors| Modulation::load(&params.scope(name), "linear", (vectors, width), false);
        Ok(Flux2 {
            device: params.device().clone(),
            config: config.clone(),
            x_embedder: exact.linear_layer("x_embedder", width, config.in_channels, false)?,
            context_embedder: params.linear_layer("context_embedder", width, config.text_width, false)?,
            timestep_embedder: embedder("timestep_embedder")?,
            guidance_embedder: config.takes_guidance.then(|| embedder("guidance_embedder")).transpose()?,
            double_stream_modulation_img: modulation("double_stream_modulation_img", 6)?,
            double_stream_modulation_txt: modulation("double_stream_modulation_txt", 6)?,
            single_stream_modulation: modulation("single_stream_modulation", 3)?,
            transformer_blocks: BlockList::load(params, layers, double)?,
            single_transformer_blocks: BlockList::load(params, single_layers, single)?,
            out: FinalLayer::load(params, [width, config.out_channels], false)?,
        })
    }

    fn latents(&self) -> LatentInput {
        LatentInput { channels: self.config.in_channels, patch: 1 }
    }

    /// The tokens of images, `[batch, tokens, width]`.
    fn embed(&self, x: &Tensor) -> Result<Tensor, Error> {
        Ok(ops::linear(&patchify(&x.to(&self.device)?, 1)?, &self.x_embedder)?)
    }

    /// Rotations of the tokens of the image, of the images that it refers to, and of the text.
    fn positions(
        &self,
        rows_columns: [usize; 2],
        condition: &TransformerCondition,
    ) -> Result<Positions, Error> {
        let mut positions: Vec<[f64; 4]> =
            grid(rows_columns, |row, column| [0.0, row, column, 0.0]).collect();
        for (i, reference) in condition.reference_grids.iter().enumerate() {
            let number = (REFERENCE_STEP * (i + 1)) as f64;
            positions.extend(grid(*reference, |row, column| [number, row, column, 0.0]));
        }
        let tokens = sequence_dims(&condition.text)[1];
        positions.extend((0..tokens).map(|token| [0.0, 0.0, 0.0, token as f64]));
        let axis = self.config.width / self.config.heads / 4;
        let rotary = RotaryTable::new([axis; 4], THETA, &positions, RotaryPairing::Interleaved)?;
        Ok(Positions { rotary: Some(rotary.to(&self.device)?), ..Positions::of_grid(rows_columns) })
    }
}

impl DiffusionTransformer for Flux2 {
    fn device(&self) -> &Device {
        &self.device
    }

    fn takes_guidance(&self) -> bool {
        self.config.takes_guidance
    }

    fn condition(&self, inputs: &TransformerInputs<'_>) -> Result<TransformerCondition, Error> {
        refuse(
            "Flux.2",
            &[
                (!inputs.skipped_blocks.is_empty(), "skipped blocks"),
                (inputs.pooled.is_some(), "a pooled text"),
            ],
        )?;
        let [batch, tokens] = check_text(inputs.text, self.config.text_width)?;
        let text = ops::linear(&inputs.text.to(&self.device)?, &self.context_embedder)?;
        let mut condition = TransformerCondition::of_text(text, vec![tokens; batch]);
        if let Some(guidance) = &self.guidance_embedder {
            let scales = vec![inputs.guidance * GUIDANCE_SCALE; batch];
            condition.vector = Some(embedded_time(guidance, &scales, &self.device)?);
        }
        for reference in inputs.references {
            let [_, height, width] = self.latents().check_image(reference)?;
            let tokens = self.embed(&repeated(reference, batch)?)?;
            condition.reference_grids.push([height, width]);
            condition.references = Some(match condition.references.take() {
                Some(before) => join(&before, &tokens)?,
                None => tokens,
            });
        }
        Ok(condition)
    }

    fn blocks(&self, _: &TransformerCondition) -> usize {
        self.config.layers + self.config.single_layers
    }

    fn forward_counted(
        &self,
        x: &Tensor,
        timesteps: &[f32],
        condition: &mut TransformerCondition,
        count: &mut BlockCount<'_>,
    ) -> Result<Tensor, Error> {
        let [_, height, width] = self.latents().check(x, timesteps.len(), condition.batch())?;
        let positions = condition
            .take_positions([height, width], |condition| self.positions([height, width], condition))?;
        let context = AttentionContext { rotary: positions.rotary.as_ref(), key_lengths: None };
        let mut vector = embedded_time(&self.timestep_embedder, timesteps, &self.device)?;
        if let Some(guidance) = &condition.vector {
            vector = ops::add(vector, guidance)?;
        }
        let vector = ops::silu(vector)?;
        let mut image = self.embed(x)?;
        if let Some(references) = &condition.references {
            image = join(&image, references)?;
        }
        let mut text = condition.text.clone();
        let of_image = self.double_stream_modulation_img.forward(&vector)?;
        let of_text = self.double_stream_modulation_txt.forward(&vector)?;
        for i in 0..self.transformer_blocks.len() {
            let given = (ImageModulations::of(&of_image), TextModulations::of(&of_text));
            let block = self.transformer_blocks.get(i)?;
            (image, text) = block.forward(image, text, Modulator::Given(given), context)?;
            count.add_hidden(&image)?;
        }
        let mut all = join(&image, &text)?;
        drop((image, text));
        let of_all = SubLayer::of(&self.single_stream_modulation.forward(&vector)?);
        for i in 0..self.single_transformer_blocks.len() {
            let block = self.single_transformer_blocks.get(i)?;
            all = block.forward(all, Modulator::Given(of_all.clone()), context)?;
            count.add_hidden(&all)?;
        }
        condition.positions = Some(positions);
        let image = first_tokens(&all, height * width)?;
        drop(all);
        unpatchify(&self.out.forward(&image, &vector)?, [height, width], 1)
    }
}
