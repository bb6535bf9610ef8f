//! Sizes of transformers, read from the shapes of their tensors.

use crate::Error;
use latent_loader::Weights;

/// Sequences of the network's width that an attention holds at once: the hidden states and their norm, queries, keys and values,
/// alone and joined, and what a second attention gives.
const ATTENTION_SEQUENCES: usize = 10;
/// Those that an MLP holds beside its hidden values: the hidden states, their norm and the result.
const MLP_SEQUENCES: usize = 3;

/// The number of blocks of which there is a certain tensor.
pub(super) fn count_blocks(weights: &Weights, list: &str, tensor: &str) -> usize {
    (0..).take_while(|i| weights.contains(&format!("{list}.{i}.{tensor}"))).count()
}

/// The number of heads of a width that are as wide as the network.
pub(super) fn heads(weights: &Weights, width: usize, head_width: usize, even: usize) -> Result<usize, Error> {
    if width > 0 && head_width > 0 && width.is_multiple_of(head_width) && head_width.is_multiple_of(even) {
        return Ok(width / head_width);
    }
    Err(unsupported(weights, format!("width {width} with heads of {head_width}")))
}

/// The channels of patches of so many values.
pub(super) fn patch_channels(weights: &Weights, values: usize, pixels: usize) -> Result<usize, Error> {
    if values > 0 && values.is_multiple_of(pixels) {
        return Ok(values / pixels);
    }
    Err(unsupported(weights, format!("patches of {values} values")))
}

/// Expects a network to have blocks.
pub(super) fn expect_blocks(weights: &Weights, blocks: usize) -> Result<(), Error> {
    if blocks > 0 { Ok(()) } else { Err(unsupported(weights, "not a single block".to_owned())) }
}

/// The error for sizes of which no network can be built.
pub(super) fn unsupported(weights: &Weights, what: String) -> Error {
    Error::Unsupported {
        file: weights.label().to_owned(),
        reason: format!(
            "a transformer of {what} cannot be built; the file is damaged or of another kind of model"
        ),
    }
}

/// Bytes that an evaluation works on besides the weights, estimated: of sequences of so many tokens, in a network of that width
/// whose MLPs hold `hidden` values of each.
pub(super) fn sampling_bytes(tokens: usize, width: usize, hidden: usize) -> u64 {
    let values = (ATTENTION_SEQUENCES * width).max(MLP_SEQUENCES * width + hidden);
    (tokens * values * size_of::<f32>()) as u64
}
