//! The networks of Flux.1 (`FluxTransformer2DModel`; Black Forest Labs, 2024) and of Chroma (`ChromaTransformer2DModel`; 2025).
//!
//! Double blocks of image and text with weights of their own, then single blocks of both in one sequence. Positions are
//! rotations over three axes: the image's number, its rows and its columns. Chroma replaces the modulations of the blocks by one
//! network that makes all of them, and does not attend to the padding of its text.

mod approximator;
mod config;

pub use config::{Approximator, FluxConditioning, FluxConfig};

use super::condition::{Positions, TransformerCondition};
use super::interface::{
    DiffusionTransformer, LatentInput, TransformerInputs, check_lengths, check_pooled, check_text, refuse,
};
use super::kit::{
    AttentionContext, AttentionShape, EmbeddingMlp, FinalLayer, ImageModulations, JointBlock,
    JointBlockShape, MlpShape, Modulator, SINUSOIDS, ShiftScale, SingleBlock, SingleBlockNames, SubLayer,
    TextModulations, chunks, embedded_time, first_tokens, grid, join, patchify, repeated, sequence_dims,
    unpatchify,
};
use crate::Error;
use crate::blocks::BlockCount;
use crate::params::{BlockList, Params, PatchShape};
use approximator::ModulationApproximator;
use config::PATCH;
use latent_tensor::{Device, Linear, RotaryPairing, RotaryTable, Tensor, ops};
use std::fmt;

/// Epsilon of the norms of queries and keys.
const NORM_EPS: f32 = 1e-6;
/// Base of the rotations' frequencies.
const THETA: f64 = 10_000.0;
/// What a guidance scale is multiplied by before it is embedded, as noise levels are.
const GUIDANCE_SCALE: f32 = 1000.0;
/// How its files call the layers of a single block.
const SINGLE: SingleBlockNames =
    SingleBlockNames { mlp: Some("proj_mlp"), fused: "attn.to_qkv_mlp_proj", out: "proj_out" };

/// A loaded network of Flux.1 or Chroma.
pub struct Flux {
    device: Device,
    config: FluxConfig,
    x_embedder: Linear,
    context_embedder: Linear,
    conditioning: FluxConditioner,
    transformer_blocks: BlockList<JointBlock>,
    single_transformer_blocks: BlockList<SingleBlock>,
    out: FinalLayer,
}

/// What makes the vector that modulates, or the modulations.
enum FluxConditioner {
    Embedded(Box<VectorEmbedders>),
    Approximated(Box<ModulationApproximator>),
}

/// The layers that make the vector.
struct VectorEmbedders {
    timestep: EmbeddingMlp,
    text: EmbeddingMlp,
    guidance: Option<EmbeddingMlp>,
}

/// Modulations of one evaluation.
enum Modulating {
    /// The activated conditioning, `[batch, width]`.
    Vector(Tensor),
    /// Those of all blocks: of the single blocks, of images and then texts of the double blocks, of the last layer.
    Vectors(Vec<Tensor>),
}

impl fmt::Debug for Flux {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flux")
            .field("config", &self.config)
            .field("device", &self.device)
            .finish_non_exhaustive()
    }
}

impl Flux {
    /// Loads the network from tensors with canonical names.
    ///
    /// # Errors
    /// A tensor that is missing, mis-shaped or unreadable.
    pub fn load(params: &Params<'_>, config: &FluxConfig) -> Result<Flux, Error> {
        let &FluxConfig { width, layers, single_layers, .. } = config;
        let attention = AttentionShape {
            heads: config.heads,
            head_width: width / config.heads,
            norm_eps: Some(NORM_EPS),
            has_bias: true,
        };
        let mlp = MlpShape { hidden: config.hidden, is_gated: false };
        let modulates = matches!(config.conditioning, FluxConditioning::Embedded { .. });
        let shape = JointBlockShape { attention, mlp, has_second: false, is_last: false, modulates };
        let double = move |params: &Params<'_>, i: usize| {
            JointBlock::load(&params.scope("transformer_blocks").scope(i), &shape)
        };
        let single = move |params: &Params<'_>, i: usize| {
            let params = params.scope("single_transformer_blocks").scope(i);
            SingleBlock::load(&params, SINGLE, (attention, mlp), modulates)
        };
        let patch = |channels| PatchShape { pixels: PATCH * PATCH, channels };
        let exact = params.exact();
        Ok(Flux {
            device: params.device().clone(),
            config: config.clone(),
            x_embedder: exact.linear_of_patches("x_embedder", width, patch(config.in_channels), true)?,
            context_embedder: params.linear_layer("context_embedder", width, config.text_width, true)?,
            conditioning: FluxConditioner::load(&exact, config)?,
            transformer_blocks: BlockList::load(params, layers, double)?,
            single_transformer_blocks: BlockList::load(params, single_layers, single)?,
            out: FinalLayer::load_patches(params, width, patch(config.out_channels), modulates)?,
        })
    }

    fn latents(&self) -> LatentInput {
        LatentInput { channels: self.config.in_channels, patch: PATCH }
    }

    /// The tokens of images, `[batch, tokens, width]`.
    fn embed(&self, x: &Tensor) -> Result<Tensor, Error> {
        Ok(ops::linear(&patchify(&x.to(&self.device)?, PATCH)?, &self.x_embedder)?)
    }

    /// Rotations of the tokens of the image, of the images that it refers to, and of the text, all of which is at the origin.
    fn positions(
        &self,
        rows_columns: [usize; 2],
        condition: &TransformerCondition,
    ) -> Result<Positions, Error> {
        let mut positions: Vec<[f64; 3]> = grid(rows_columns, |row, column| [0.0, row, column]).collect();
        for reference in &condition.reference_grids {
            positions.extend(grid(*reference, |row, column| [1.0, row, column]));
        }
        let image = positions.len();
        let tokens = sequence_dims(&condition.text)[1];
        positions.extend(std::iter::repeat_n([0.0; 3], tokens));
        let head = self.config.width / self.config.heads;
        let axes = [head / 8, head / 16 * 7, head / 16 * 7];
        let rotary =
            RotaryTable::new(axes, THETA, &positions, RotaryPairing::Interleaved)?.to(&self.device)?;
        let is_padded = condition.text_lengths.iter().any(|length| *length < tokens);
        let key_lengths = is_padded.then(|| condition.text_lengths.iter().map(|n| image + n).collect());
        Ok(Positions { rotary: Some(rotary), key_lengths, ..Positions::of_grid(rows_columns) })
    }

    fn modulating(&self, timesteps: &[f32], condition: &TransformerCondition) -> Result<Modulating, Error> {
        Ok(match &self.conditioning {
            FluxConditioner::Embedded(embedders) => {
                let time = embedded_time(&embedders.timestep, timesteps, &self.device)?;
                let vector = match &condition.vector {
                    Some(rest) => ops::add(time, rest)?,
                    None => time,
                };
                Modulating::Vector(ops::silu(vector)?)
            }
            FluxConditioner::Approximated(approximator) => {
                let all = approximator.forward(timesteps, &self.device)?;
                let [batch, vectors, width] = sequence_dims(&all);
                Modulating::Vectors(chunks(&all.reshape(&[batch, vectors * width])?, width)?)
            }
        })
    }

    /// From the last hidden states of the image to the prediction.
    fn predict(&self, image: &Tensor, modulating: &Modulating) -> Result<Tensor, Error> {
        match modulating {
            Modulating::Vector(vector) => self.out.forward(image, vector),
            Modulating::Vectors(vectors) => {
                let [.., shift, scale] = &vectors[..] else { unreachable!("two at least") };
                let modulation = ShiftScale { shift: shift.clone(), scale: scale.clone() };
                self.out.forward_modulated(image, &modulation)
            }
        }
    }
}

impl FluxConditioner {
    fn load(params: &Params<'_>, config: &FluxConfig) -> Result<FluxConditioner, Error> {
        let width = config.width;
        match &config.conditioning {
            &FluxConditioning::Embedded { pooled_width, takes_guidance } => {
                let time = params.scope("time_text_embed");
                let mlp = |name, inputs| EmbeddingMlp::load_named(&time.scope(name), [inputs, width], true);
                Ok(FluxConditioner::Embedded(Box::new(VectorEmbedders {
                    timestep: mlp("timestep_embedder", SINUSOIDS)?,
                    text: mlp("text_embedder", pooled_width)?,
                    guidance: takes_guidance.then(|| mlp("guidance_embedder", SINUSOIDS)).transpose()?,
                })))
            }
            FluxConditioning::Approximated(sizes) => {
                let vectors = 3 * config.single_layers + 12 * config.layers + 2;
                let params = params.scope("distilled_guidance_layer");
                let approximator = ModulationApproximator::load(&params, sizes, [vectors, width])?;
                Ok(FluxConditioner::Approximated(Box::new(approximator)))
            }
        }
    }
}

impl VectorEmbedders {
    /// What is added to the embedded time in every step, `[batch, width]`.
    fn fixed(&self, inputs: &TransformerInputs<'_>, batch: usize, device: &Device) -> Result<Tensor, Error> {
        let pooled = check_pooled(inputs.pooled, [batch, self.text.inputs()])?;
        let vector = self.text.forward(&pooled.to(device)?)?;
        let Some(guidance) = &self.guidance else { return Ok(vector) };
        let scales = vec![inputs.guidance * GUIDANCE_SCALE; batch];
        Ok(ops::add(vector, &embedded_time(guidance, &scales, device)?)?)
    }
}

impl Modulating {
    /// Of the double block `i` of `layers`, after `singles` single blocks.
    fn double(
        &self,
        i: usize,
        [layers, singles]: [usize; 2],
    ) -> Modulator<'_, (ImageModulations, TextModulations)> {
        match self {
            Modulating::Vector(vector) => Modulator::Vector(vector),
            Modulating::Vectors(vectors) => {
                let image = &vectors[3 * singles + 6 * i..];
                let text = &vectors[3 * singles + 6 * (layers + i)..];
                Modulator::Given((ImageModulations::of(&image[..6]), TextModulations::of(&text[..6])))
            }
        }
    }

    /// Of the single block `i`.
    fn single(&self, i: usize) -> Modulator<'_, SubLayer> {
        match self {
            Modulating::Vector(vector) => Modulator::Vector(vector),
            Modulating::Vectors(vectors) => Modulator::Given(SubLayer::of(&vectors[3 * i..][..3])),
        }
    }
}

impl DiffusionTransformer for Flux {
    fn device(&self) -> &Device {
        &self.device
    }

    fn takes_guidance(&self) -> bool {
        matches!(self.config.conditioning, FluxConditioning::Embedded { takes_guidance: true, .. })
    }

    fn condition(&self, inputs: &TransformerInputs<'_>) -> Result<TransformerCondition, Error> {
        refuse("Flux", &[(!inputs.skipped_blocks.is_empty(), "skipped blocks")])?;
        let [batch, tokens] = check_text(inputs.text, self.config.text_width)?;
        let text = ops::linear(&inputs.text.to(&self.device)?, &self.context_embedder)?;
        // Flux.1 attends to the padding of its texts, as it did in training.
        let lengths = match self.config.conditioning {
            FluxConditioning::Embedded { .. } => vec![tokens; batch],
            FluxConditioning::Approximated(_) => check_lengths(inputs.text_lengths, [batch, tokens])?,
        };
        let mut condition = TransformerCondition::of_text(text, lengths);
        if let FluxConditioner::Embedded(embedders) = &self.conditioning {
            condition.vector = Some(embedders.fixed(inputs, batch, &self.device)?);
        }
        for reference in inputs.references {
            let [_, height, width] = self.latents().check_image(reference)?;
            let tokens = self.embed(&repeated(reference, batch)?)?;
            condition.reference_grids.push([height / PATCH, width / PATCH]);
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
        let grid = [height / PATCH, width / PATCH];
        let positions = condition.take_positions(grid, |condition| self.positions(grid, condition))?;
        let context = AttentionContext {
            rotary: positions.rotary.as_ref(),
            key_lengths: positions.key_lengths.as_deref(),
        };
        let modulating = self.modulating(timesteps, condition)?;
        let mut image = self.embed(x)?;
        if let Some(references) = &condition.references {
            image = join(&image, references)?;
        }
        let mut text = condition.text.clone();
        let sizes = [self.transformer_blocks.len(), self.single_transformer_blocks.len()];
        for i in 0..sizes[0] {
            let block = self.transformer_blocks.get(i)?;
            (image, text) = block.forward(image, text, modulating.double(i, sizes), context)?;
            count.add_hidden(&image)?;
        }
        let mut all = join(&image, &text)?;
        drop((image, text));
        for i in 0..sizes[1] {
            all = self.single_transformer_blocks.get(i)?.forward(all, modulating.single(i), context)?;
            count.add_hidden(&all)?;
        }
        condition.positions = Some(positions);
        let image = first_tokens(&all, grid[0] * grid[1])?;
        drop(all);
        unpatchify(&self.predict(&image, &modulating)?, [height, width], PATCH)
    }
}
