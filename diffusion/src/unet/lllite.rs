//! What a ControlNet-LLLite adds inside a UNet: to the inputs of the layers that make queries, keys and values.

use super::UNetConfig;
use crate::{Error, params::Params};
use latent_tensor::{Linear, Tensor, ops};
use std::fmt;
use std::sync::Arc;

/// A layer of a transformer block before which a ControlNet-LLLite can act: those whose input is the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SteeredProjection {
    /// Queries of the self-attention.
    SelfQuery,
    /// Keys of the self-attention.
    SelfKey,
    /// Values of the self-attention.
    SelfValue,
    /// Queries of the cross-attention.
    CrossQuery,
}

impl SteeredProjection {
    /// Every one.
    pub const ALL: [SteeredProjection; 4] = [
        SteeredProjection::SelfQuery,
        SteeredProjection::SelfKey,
        SteeredProjection::SelfValue,
        SteeredProjection::CrossQuery,
    ];

    /// The layer's name below that of the transformer block, with underscores.
    pub(crate) fn layer(self) -> &'static str {
        match self {
            SteeredProjection::SelfQuery => "attn1_to_q",
            SteeredProjection::SelfKey => "attn1_to_k",
            SteeredProjection::SelfValue => "attn1_to_v",
            SteeredProjection::CrossQuery => "attn2_to_q",
        }
    }
}

/// The layers of one module of a ControlNet-LLLite: `down`, `mid` and `up`.
pub(crate) struct LlliteLayers {
    down: Linear,
    mid: Linear,
    up: Linear,
}

impl LlliteLayers {
    /// Widths of the input, of the layers inside and of the embedded image.
    pub(crate) fn load(
        params: &Params<'_>,
        inputs: usize,
        width: usize,
        embedding: usize,
    ) -> Result<LlliteLayers, Error> {
        Ok(LlliteLayers {
            down: params.linear("down.0", width, inputs)?,
            mid: params.linear("mid.0", width, width + embedding)?,
            up: params.linear("up.0", inputs, width)?,
        })
    }
}

/// A module with its embedded image.
#[derive(Clone)]
pub(crate) struct LlliteModule {
    pub(crate) layers: Arc<LlliteLayers>,
    /// `[batch, pixels, channels]`, on the UNet's device.
    pub(crate) embedding: Tensor,
}

/// What a ControlNet-LLLite adds in one transformer block of a UNet.
#[derive(Clone, Default)]
pub struct LlliteBlock {
    /// By the place of the projection in [`SteeredProjection::ALL`].
    pub(crate) modules: [Option<LlliteModule>; SteeredProjection::ALL.len()],
}

impl fmt::Debug for LlliteBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let layers = SteeredProjection::ALL.into_iter().zip(&self.modules);
        let steered = layers.filter(|(_, module)| module.is_some()).map(|(layer, _)| layer);
        f.debug_list().entries(steered).finish()
    }
}

/// A ControlNet-LLLite in all transformer blocks, in the order in which they run.
pub(super) struct LlliteInput {
    pub(super) blocks: Vec<LlliteBlock>,
    pub(super) strength: f32,
    /// Whether it acts in the current step.
    pub(super) acts: bool,
}

/// What acts in one transformer block, and how strongly.
#[derive(Default)]
pub(super) struct BlockLllites<'a>(Vec<(f32, &'a LlliteBlock)>);

impl<'a> BlockLllites<'a> {
    pub(super) fn push(&mut self, strength: f32, block: &'a LlliteBlock) {
        if block.modules.iter().any(Option::is_some) {
            self.0.push((strength, block));
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The input of a layer, `[batch, pixels, channels]`, with what all add to it.
    pub(super) fn input(&self, projection: SteeredProjection, x: &Tensor) -> Result<Tensor, Error> {
        let mut sum: Option<Tensor> = None;
        for (strength, block) in &self.0 {
            let Some(LlliteModule { layers, embedding }) = &block.modules[projection as usize] else {
                continue;
            };
            let down = ops::relu(ops::linear(x, &layers.down)?)?;
            let mid = ops::relu(ops::linear(&ops::concat_channels(embedding, &down)?, &layers.mid)?)?;
            let added = ops::scale(ops::linear(&mid, &layers.up)?, *strength)?;
            sum = Some(match sum {
                Some(sum) => ops::add(sum, &added)?,
                None => added,
            });
        }
        Ok(match sum {
            Some(sum) => ops::add(sum, x)?,
            None => x.clone(),
        })
    }
}

/// A transformer block of a UNet.
pub(crate) struct TransformerPlace {
    /// Its canonical name below the UNet.
    pub(crate) name: String,
    /// Its level, finest first.
    pub(crate) level: usize,
    /// Whether its self-attention reads the text instead.
    pub(crate) reads_text_alone: bool,
}

/// The transformer blocks of a UNet, in the order in which they run.
pub(crate) fn transformer_places(config: &UNetConfig) -> Vec<TransformerPlace> {
    let levels = config.block_out_channels.len();
    let mut places = Vec::new();
    let mut add = |attention: String, level: usize, depth: usize, reads_text_alone: bool| {
        places.extend((0..depth).map(|k| TransformerPlace {
            name: format!("{attention}.transformer_blocks.{k}"),
            level,
            reads_text_alone,
        }));
    };
    for level in 0..levels {
        for layer in 0..config.layers_per_block {
            let depth = config.transformer_depth[level];
            add(
                format!("down_blocks.{level}.attentions.{layer}"),
                level,
                depth,
                config.reads_text_alone(level),
            );
        }
    }
    add("mid_block.attentions.0".to_owned(), levels - 1, config.mid_depth, false);
    for (block, level) in (0..levels).rev().enumerate() {
        for layer in 0..=config.layers_per_block {
            let depth = config.up_block_depth(level, layer);
            add(
                format!("up_blocks.{block}.attentions.{layer}"),
                level,
                depth,
                config.reads_text_alone(level),
            );
        }
    }
    places
}
