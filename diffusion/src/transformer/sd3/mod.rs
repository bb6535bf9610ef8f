//! The network of Stable Diffusion 3 and 3.5 (MMDiT, `SD3Transformer2DModel`; Esser et al., Scaling Rectified Flow Transformers for
//! High-Resolution Image Synthesis, 2024).
//!
//! Image and text are two sequences with weights of their own in every block, which attend to both. SD 3.5 norms queries and
//! keys; its medium model has in its first blocks a second attention of the image alone (MMDiT-X).

mod config;

pub use config::Sd3Config;

use super::condition::{Positions, TransformerCondition};
use super::interface::{
    DiffusionTransformer, LatentInput, TransformerInputs, check_pooled, check_text, refuse,
};
use super::kit::{
    AttentionContext, AttentionShape, EmbeddingMlp, FinalLayer, JointBlock, JointBlockShape, MlpShape,
    Modulator, SINUSOIDS, embedded_time, join_batch, unpatchify,
};
use crate::blocks::BlockCount;
use crate::{
    Error, Setting,
    params::{BlockList, Params},
};
use latent_tensor::{Conv2d, Device, Embedding, Linear, Padding, Tensor, ops};
use std::fmt;

/// Epsilon of the norms of queries and keys.
const NORM_EPS: f32 = 1e-6;

/// A loaded MMDiT.
pub struct Sd3 {
    device: Device,
    config: Sd3Config,
    /// The patches' layer.
    proj: Conv2d,
    /// Position embeddings of a square grid, of which an image gets the middle.
    pos_embed: Embedding,
    context_embedder: Linear,
    timestep_embedder: EmbeddingMlp,
    text_embedder: EmbeddingMlp,
    transformer_blocks: BlockList<JointBlock>,
    out: FinalLayer,
}

impl fmt::Debug for Sd3 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sd3")
            .field("config", &self.config)
            .field("device", &self.device)
            .finish_non_exhaustive()
    }
}

impl Sd3 {
    /// Loads the network from tensors with canonical names.
    ///
    /// # Errors
    /// A tensor that is missing, mis-shaped or unreadable.
    pub fn load(params: &Params<'_>, config: &Sd3Config) -> Result<Sd3, Error> {
        let &Sd3Config { width, patch, .. } = config;
        let exact = params.exact();
        let embed = exact.scope("pos_embed");
        let time = exact.scope("time_text_embed");
        let mlp = |name, inputs| EmbeddingMlp::load_named(&time.scope(name), [inputs, width], true);
        let shape = block_shape(config);
        let (layers, dual_layers) = (config.layers, config.dual_layers);
        let block = move |params: &Params<'_>, i: usize| {
            let params = params.scope("transformer_blocks").scope(i);
            let shape = JointBlockShape { has_second: i < dual_layers, is_last: i + 1 == layers, ..shape };
            JointBlock::load(&params, &shape)
        };
        Ok(Sd3 {
            device: params.device().clone(),
            config: config.clone(),
            proj: embed.conv("proj", [width, config.in_channels, patch], patch, Padding::all(0))?,
            pos_embed: embed.position_table("pos_embed", [config.position_grid.pow(2), width])?,
            context_embedder: params.linear_layer("context_embedder", width, config.text_width, true)?,
            timestep_embedder: mlp("timestep_embedder", SINUSOIDS)?,
            text_embedder: mlp("text_embedder", config.pooled_width)?,
            transformer_blocks: BlockList::load(params, layers, block)?,
            out: FinalLayer::load(params, [width, patch * patch * config.out_channels], true)?,
        })
    }

    /// The positions of an image's patches: the middle of the table, `[batch, rows * columns, width]`.
    fn positions(&self, [rows, columns]: [usize; 2], batch: usize) -> Result<Positions, Error> {
        let side = self.config.position_grid;
        if rows > side || columns > side {
            let max = side * self.config.patch;
            let reason =
                format!("sides of latents above {max}, the largest that this network has positions for");
            return Err(Error::setting(Setting::Latents, reason));
        }
        let (top, left) = ((side - rows) / 2, (side - columns) / 2);
        let id = |i: usize| ((top + i / columns) * side + left + i % columns) as u32;
        let ids: Vec<u32> = (0..rows * columns).map(id).collect();
        let table = ops::embedding(&self.pos_embed, &ids)?.reshape(&[1, ids.len(), self.config.width])?;
        let added = join_batch(&vec![table; batch])?.to(&self.device)?;
        Ok(Positions { added: Some(added), ..Positions::of_grid([rows, columns]) })
    }
}

/// The blocks' sizes.
fn block_shape(config: &Sd3Config) -> JointBlockShape {
    JointBlockShape {
        attention: AttentionShape {
            heads: config.heads,
            head_width: config.width / config.heads,
            norm_eps: config.has_qk_norm.then_some(NORM_EPS),
            has_bias: true,
        },
        mlp: MlpShape { hidden: config.hidden, is_gated: false },
        has_second: false,
        is_last: false,
        modulates: true,
    }
}

impl DiffusionTransformer for Sd3 {
    fn device(&self) -> &Device {
        &self.device
    }

    fn takes_guidance(&self) -> bool {
        false
    }

    fn condition(&self, inputs: &TransformerInputs<'_>) -> Result<TransformerCondition, Error> {
        refuse("Stable Diffusion 3", &[(!inputs.references.is_empty(), "reference images")])?;
        let [batch, tokens] = check_text(inputs.text, self.config.text_width)?;
        let pooled = check_pooled(inputs.pooled, [batch, self.config.pooled_width])?;
        if let Some(block) = inputs.skipped_blocks.iter().find(|block| **block >= self.config.layers) {
            let reason = format!("block {block} cannot be left out of {} blocks", self.config.layers);
            return Err(Error::setting(Setting::Condition, reason));
        }
        let text = ops::linear(&inputs.text.to(&self.device)?, &self.context_embedder)?;
        let vector = self.text_embedder.forward(&pooled.to(&self.device)?)?;
        let mut condition = TransformerCondition::of_text(text, vec![tokens; batch]);
        condition.vector = Some(vector);
        condition.skipped = inputs.skipped_blocks.to_vec();
        Ok(condition)
    }

    fn blocks(&self, condition: &TransformerCondition) -> usize {
        (0..self.config.layers).filter(|block| !condition.skips(*block)).count()
    }

    fn forward_counted(
        &self,
        x: &Tensor,
        timesteps: &[f32],
        condition: &mut TransformerCondition,
        count: &mut BlockCount<'_>,
    ) -> Result<Tensor, Error> {
        let &Sd3Config { in_channels, patch, width, .. } = &self.config;
        let input = LatentInput { channels: in_channels, patch };
        let [batch, height, columns] = input.check(x, timesteps.len(), condition.batch())?;
        let grid = [height / patch, columns / patch];
        let positions = condition.take_positions(grid, |_| self.positions(grid, batch))?;
        let patches = ops::conv2d(&x.to(&self.device)?, &self.proj)?;
        let mut image = patches.reshape(&[batch, grid[0] * grid[1], width])?;
        if let Some(added) = &positions.added {
            image = ops::add(image, added)?;
        }
        let mut vector = embedded_time(&self.timestep_embedder, timesteps, &self.device)?;
        if let Some(pooled) = &condition.vector {
            vector = ops::add(vector, pooled)?;
        }
        let vector = ops::silu(vector)?;
        let mut text = condition.text.clone();
        for i in (0..self.transformer_blocks.len()).filter(|i| !condition.skips(*i)) {
            let block = self.transformer_blocks.get(i)?;
            let modulator = Modulator::Vector(&vector);
            (image, text) = block.forward(image, text, modulator, AttentionContext::default())?;
            count.add_hidden(&image)?;
        }
        condition.positions = Some(positions);
        unpatchify(&self.out.forward(&image, &vector)?, [height, columns], patch)
    }
}
