//! What all diffusion transformers have in common.

use super::condition::TransformerCondition;
use crate::blocks::BlockCount;
use crate::{Error, Setting};
use latent_tensor::{Device, Tensor};

/// What a transformer is conditioned on, in main memory. Each uses what it has inputs for.
#[derive(Clone, Copy, Debug)]
pub struct TransformerInputs<'a> {
    /// Hidden states of the texts, `[batch, tokens, text width]`.
    pub text: &'a Tensor,
    /// How many tokens of each text count, for networks that do not attend to padding (Chroma, Z-Image). All of them if there
    /// are no numbers.
    pub text_lengths: &'a [usize],
    /// The pooled texts, `[batch, width]` (SD 3, Flux.1).
    pub pooled: Option<&'a Tensor>,
    /// The guidance scale, for networks that were distilled with it (Flux.1 dev).
    pub guidance: f32,
    /// Latents of images that the prediction refers to, each `[batch, height, width, channels]` (Flux.1 Kontext, Flux.2).
    pub references: &'a [Tensor],
    /// Numbers of blocks that are left out (skip-layer guidance, SD 3.5).
    pub skipped_blocks: &'a [usize],
}

impl<'a> TransformerInputs<'a> {
    /// A text alone.
    #[must_use]
    pub fn of_text(text: &'a Tensor) -> TransformerInputs<'a> {
        TransformerInputs {
            text,
            text_lengths: &[],
            pooled: None,
            guidance: 1.0,
            references: &[],
            skipped_blocks: &[],
        }
    }
}

/// A diffusion transformer, loaded.
pub trait DiffusionTransformer: Send + Sync {
    /// Where it computes.
    fn device(&self) -> &Device;

    /// Whether the guidance scale is one of its inputs.
    fn takes_guidance(&self) -> bool;

    /// Computes once what is the same in every step.
    ///
    /// # Errors
    /// [`Error::Setting`] for shapes that do not fit, for inputs that are missing and for some that the network does not have.
    fn condition(&self, inputs: &TransformerInputs<'_>) -> Result<TransformerCondition, Error>;

    /// The number of blocks that an evaluation adds to its count.
    fn blocks(&self, condition: &TransformerCondition) -> usize;

    /// As [`DiffusionTransformer::forward`], with each block reported.
    ///
    /// # Errors
    /// As [`DiffusionTransformer::forward`]; [`Error::Cancelled`].
    fn forward_counted(
        &self,
        x: &Tensor,
        timesteps: &[f32],
        condition: &mut TransformerCondition,
        count: &mut BlockCount<'_>,
    ) -> Result<Tensor, Error>;

    /// Predicts the velocity `noise - image` from latents `x` `[batch, height, width, in_channels]` and a time step for each,
    /// 1000 times its noise level: `[batch, height, width, out_channels]`, on the network's device.
    ///
    /// # Errors
    /// Shapes that do not fit the network, a condition of another network.
    fn forward(
        &self,
        x: &Tensor,
        timesteps: &[f32],
        condition: &mut TransformerCondition,
    ) -> Result<Tensor, Error> {
        self.forward_counted(x, timesteps, condition, &mut BlockCount::unwatched())
    }

    /// The hidden states after each block, `[batch, tokens, width]` with the tokens of the image first, and the prediction last: to
    /// compare precisions or programs block by block.
    ///
    /// # Errors
    /// As [`DiffusionTransformer::forward`].
    fn hidden_states(
        &self,
        x: &Tensor,
        timesteps: &[f32],
        condition: &mut TransformerCondition,
    ) -> Result<Vec<Tensor>, Error> {
        let mut states = Vec::new();
        let prediction =
            self.forward_counted(x, timesteps, condition, &mut BlockCount::keeping(&mut states))?;
        states.push(prediction);
        Ok(states)
    }
}

/// The sizes of latents that a network can take.
#[derive(Clone, Copy, Debug)]
pub(super) struct LatentInput {
    pub(super) channels: usize,
    pub(super) patch: usize,
}

impl LatentInput {
    /// Checks latents and their time steps; their batch, height and width.
    pub(super) fn check(self, x: &Tensor, timesteps: usize, batch: usize) -> Result<[usize; 3], Error> {
        let [n, height, width] = self.check_image(x)?;
        if (n, n) != (timesteps, batch) {
            let reason =
                format!("{n} latents, {timesteps} time steps and a condition of {batch} do not agree");
            return Err(Error::setting(Setting::Latents, reason));
        }
        Ok([n, height, width])
    }

    /// Checks latents alone.
    pub(super) fn check_image(self, x: &Tensor) -> Result<[usize; 3], Error> {
        let LatentInput { channels, patch } = self;
        let reason = match *x.dims() {
            [n, height, width, found] if n * height * width > 0 && found == channels => {
                if height.is_multiple_of(patch) && width.is_multiple_of(patch) {
                    return Ok([n, height, width]);
                }
                format!("sides of {height} and {width}; this network takes multiples of {patch}")
            }
            _ => format!("{} for a network that takes {channels} channels", x.shape()),
        };
        Err(Error::setting(Setting::Latents, reason))
    }
}

/// Checks hidden states of a text: their batch and tokens.
pub(super) fn check_text(text: &Tensor, width: usize) -> Result<[usize; 2], Error> {
    match *text.dims() {
        [batch, tokens, found] if batch * tokens > 0 && found == width => Ok([batch, tokens]),
        _ => {
            let reason = format!("hidden states {} for a network that takes texts of {width}", text.shape());
            Err(Error::setting(Setting::Condition, reason))
        }
    }
}

/// Checks the lengths of texts: those of each of the batch.
pub(super) fn check_lengths(lengths: &[usize], [batch, tokens]: [usize; 2]) -> Result<Vec<usize>, Error> {
    if lengths.is_empty() {
        return Ok(vec![tokens; batch]);
    }
    if lengths.len() == batch && lengths.iter().all(|length| (1..=tokens).contains(length)) {
        return Ok(lengths.to_vec());
    }
    let reason = format!("lengths {lengths:?} for {batch} texts of {tokens} tokens");
    Err(Error::setting(Setting::Condition, reason))
}

/// Checks a pooled text.
pub(super) fn check_pooled(pooled: Option<&Tensor>, dims: [usize; 2]) -> Result<&Tensor, Error> {
    let reason = match pooled {
        Some(pooled) if pooled.dims() == dims => return Ok(pooled),
        Some(pooled) => format!("a pooled text {} for a network that takes {dims:?}", pooled.shape()),
        None => "this network takes a pooled text beside the hidden states".to_owned(),
    };
    Err(Error::setting(Setting::Condition, reason))
}

/// Refuses inputs that a network does not have.
pub(super) fn refuse(network: &str, inputs: &[(bool, &str)]) -> Result<(), Error> {
    match inputs.iter().find(|(is_given, _)| *is_given) {
        Some((_, what)) => {
            Err(Error::setting(Setting::Condition, format!("{network} does not take {what}; leave them out")))
        }
        None => Ok(()),
    }
}
