//! What a transformer computes once for all steps.

use latent_tensor::{RotaryTable, Tensor};
use std::fmt;

/// What conditions the predictions of one transformer and is the same in every step
/// ([`DiffusionTransformer::condition`](super::DiffusionTransformer::condition)).
pub struct TransformerCondition {
    /// The text in the network's width, `[batch, tokens, width]`, on its device.
    pub(super) text: Tensor,
    /// Tokens of each text that count; padding is at the end.
    pub(super) text_lengths: Vec<usize>,
    /// What is added to the embedding of the time step, `[batch, width]`.
    pub(super) vector: Option<Tensor>,
    /// The tokens of the reference images, in the network's width.
    pub(super) references: Option<Tensor>,
    /// Rows and columns of patches of each reference image.
    pub(super) reference_grids: Vec<[usize; 2]>,
    /// Numbers of blocks that are left out.
    pub(super) skipped: Vec<usize>,
    /// What depends on the size of the latents as well, of the size that was seen last.
    pub(super) positions: Option<Positions>,
}

/// Positions of all tokens, for latents of one size.
pub(super) struct Positions {
    /// Rows and columns of patches.
    pub(super) grid: [usize; 2],
    /// Rotations of queries and keys.
    pub(super) rotary: Option<RotaryTable>,
    /// What is added to the tokens of the image, `[batch, tokens, width]`.
    pub(super) added: Option<Tensor>,
    /// Tokens of each sequence that count, where not all do.
    pub(super) key_lengths: Option<Vec<usize>>,
    /// Rotations of the tokens of the image alone, where blocks see them alone (Z-Image).
    pub(super) image_rotary: Option<RotaryTable>,
}

impl Positions {
    /// Those of no token.
    pub(super) fn of_grid(grid: [usize; 2]) -> Positions {
        Positions { grid, rotary: None, added: None, key_lengths: None, image_rotary: None }
    }
}

impl TransformerCondition {
    /// A condition on a text `[batch, tokens, width]` alone, in the network's width.
    pub(super) fn of_text(text: Tensor, text_lengths: Vec<usize>) -> TransformerCondition {
        TransformerCondition {
            text,
            text_lengths,
            vector: None,
            references: None,
            reference_grids: Vec::new(),
            skipped: Vec::new(),
            positions: None,
        }
    }

    /// The number of latents that it conditions.
    #[must_use]
    pub fn batch(&self) -> usize {
        self.text.dims()[0]
    }

    /// Whether a block is left out.
    pub(super) fn skips(&self, block: usize) -> bool {
        self.skipped.contains(&block)
    }

    /// The positions for latents of a size, taken out while they are used; `make` computes those of a new size.
    pub(super) fn take_positions(
        &mut self,
        grid: [usize; 2],
        make: impl FnOnce(&TransformerCondition) -> Result<Positions, crate::Error>,
    ) -> Result<Positions, crate::Error> {
        match self.positions.take().filter(|positions| positions.grid == grid) {
            Some(positions) => Ok(positions),
            None => make(self),
        }
    }
}

impl fmt::Debug for TransformerCondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransformerCondition")
            .field("text", &self.text.shape())
            .field("text_lengths", &self.text_lengths)
            .field("reference_grids", &self.reference_grids)
            .field("skipped", &self.skipped)
            .finish_non_exhaustive()
    }
}
