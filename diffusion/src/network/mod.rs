//! The network that a model is sampled with, as a pipeline sees it.
//!
//! A pipeline knows a [`DiffusionNetwork`]: it prepares a batch once ([`DiffusionNetwork::condition`]), and the
//! [`ConditionedNetwork`] then predicts in every step. What the network is made of, what it caches from step to step and how
//! ControlNets act on it stay behind these traits. A new kind of network is a file here with both, and its lines in
//! `model.rs`. There are [`UNet`](crate::unet::UNet), and all that is a
//! [`DiffusionTransformer`](crate::transformer::DiffusionTransformer).

mod model;
mod transformer;
mod unet;

pub use model::NetworkConfig;

use crate::Error;
use crate::blocks::BlockCount;
use crate::controlnet::{ControlNet, ControlType, Lllite};
use crate::ip_adapter::IpAdapter;
use latent_tensor::Tensor;
use std::fmt;
use std::sync::Arc;

/// A network that predicts the noise in latents, or their velocity.
pub trait DiffusionNetwork: Send + Sync {
    /// Whether the guidance scale is one of its inputs (LCM), so that it needs no second evaluation for guidance.
    fn takes_guidance(&self) -> bool;

    /// Prepares all that stays the same in every step for a batch of latents.
    ///
    /// # Errors
    /// Inputs of shapes that do not fit the network, or that it does not have.
    fn condition(self: Arc<Self>, inputs: &BatchInputs<'_>) -> Result<Box<dyn ConditionedNetwork>, Error>;
}

impl fmt::Debug for dyn DiffusionNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let takes_guidance = self.takes_guidance();
        f.debug_struct("DiffusionNetwork").field("takes_guidance", &takes_guidance).finish_non_exhaustive()
    }
}

/// A network with all that steers one batch.
pub trait ConditionedNetwork {
    /// Predicts from `x` `[batch, height, width, channels]`, noisy latents in the form of the network's input, and a time
    /// step for each: `[batch, height, width, channels]` on the network's device. Each block is added to `count`.
    ///
    /// # Errors
    /// Latents of a shape that does not fit the network; what the device reports.
    fn predict(
        &mut self,
        x: &Tensor,
        timesteps: &[f32],
        at: StepPosition,
        count: &mut BlockCount<'_>,
    ) -> Result<Tensor, Error>;

    /// The number of blocks that a prediction in a step adds to its count.
    fn blocks(&self, at: StepPosition) -> usize;
}

impl fmt::Debug for dyn ConditionedNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ConditionedNetwork")
    }
}

/// A step of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepPosition {
    /// Steps done.
    pub step: usize,
    /// Steps in all.
    pub steps: usize,
}

/// What steers the predictions for a batch, in main memory. A network uses what it has inputs for.
#[derive(Debug)]
pub struct BatchInputs<'a> {
    /// Hidden states of the texts, `[batch, tokens, width]`.
    pub text: Tensor,
    /// How many tokens of each text count, where a network does not attend to padding; none where all count.
    pub text_lengths: &'a [usize],
    /// The pooled texts, `[batch, width]`, of models that take them.
    pub pooled: Option<Tensor>,
    /// The sizes that SDXL is conditioned on, the same number for each of the batch.
    pub sizes: &'a [f32],
    /// The guidance scale.
    pub guidance: f32,
    /// Channels that are concatenated to the latents, `[batch, height, width, channels]`.
    pub extra_channels: Option<Tensor>,
    /// Latents of images that the prediction refers to, each `[batch, height, width, channels]`.
    pub references: &'a [Tensor],
    /// Numbers of blocks that are left out (skip-layer guidance).
    pub skipped_blocks: &'a [usize],
    /// ControlNets with the images that they see.
    pub controls: &'a [PreparedControl],
    /// Image prompts.
    pub image_prompts: &'a [PreparedImagePrompt],
    /// Which of the batch see the image prompts; the others see nothing in their place, as beside a negative prompt.
    pub sees_image_prompts: &'a [bool],
    /// In how many steps once the whole network is computed (DeepCache): 1 for all steps.
    pub cache_interval: usize,
    /// The part of the tokens that self-attentions merge: 0 for none.
    pub token_merging: f64,
    /// Whether each position of the mid block attends to itself alone (PAG).
    pub is_perturbed: bool,
}

/// What sees a control image.
#[derive(Clone)]
pub(crate) enum PreparedNetwork {
    /// A ControlNet, and its embedded image `[1, height, width, channels]` in main memory.
    ControlNet(Arc<ControlNet>, Tensor),
    /// A ControlNet-LLLite, and what each of its modules made of its image, in main memory.
    Lllite(Arc<Lllite>, Vec<Tensor>),
    /// What a T2I-Adapter made of its image, in main memory.
    T2iAdapter(Vec<Tensor>),
}

/// A ControlNet or what steers as one, the image that it sees, and when it acts.
#[derive(Clone)]
pub struct PreparedControl {
    /// The network, with its image.
    pub(crate) network: PreparedNetwork,
    /// What the image is, for a network that sees several kinds.
    pub(crate) control_type: Option<ControlType>,
    /// How strongly it acts.
    pub(crate) strength: f64,
    /// The fraction of the steps after which it acts, and that after which it does no longer.
    pub(crate) span: [f64; 2],
}

impl PreparedControl {
    /// Whether it acts in a step, as in diffusers' pipelines.
    pub(crate) fn acts(&self, at: StepPosition) -> bool {
        acts(self.strength, self.span, at)
    }
}

/// An IP-Adapter, what it makes of its image, and when it acts.
#[derive(Clone)]
pub struct PreparedImagePrompt {
    /// The adapter.
    pub(crate) adapter: Arc<IpAdapter>,
    /// Tokens of nothing and of the image, each `[1, tokens, width]`, in main memory.
    pub(crate) tokens: [Tensor; 2],
    /// How strongly it acts.
    pub(crate) strength: f64,
    /// The fraction of the steps after which it acts, and that after which it does no longer.
    pub(crate) span: [f64; 2],
}

impl PreparedImagePrompt {
    /// The tokens for each of a batch, `[batch, tokens, width]`.
    pub(crate) fn tokens(&self, sees: &[bool]) -> Result<Tensor, Error> {
        let mut dims = self.tokens[0].dims().to_vec();
        dims[0] = sees.len();
        let mut values = Vec::new();
        for sees in sees {
            values.extend_from_slice(self.tokens[usize::from(*sees)].f32s()?);
        }
        Ok(Tensor::from_f32(&dims, &values)?)
    }
}

impl fmt::Debug for PreparedImagePrompt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PreparedImagePrompt")
            .field("tokens", &self.tokens[0].shape())
            .field("strength", &self.strength)
            .field("span", &self.span)
            .finish_non_exhaustive()
    }
}

/// Whether a ControlNet or an image prompt acts in a step, as in diffusers' pipelines.
pub(crate) fn acts(strength: f64, [start, end]: [f64; 2], at: StepPosition) -> bool {
    let fraction = |steps_done: usize| steps_done as f64 / at.steps.max(1) as f64;
    strength != 0.0 && fraction(at.step) >= start && fraction(at.step + 1) <= end
}

impl fmt::Debug for PreparedControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PreparedControl")
            .field("strength", &self.strength)
            .field("span", &self.span)
            .finish_non_exhaustive()
    }
}
