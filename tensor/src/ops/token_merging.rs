//! Merging of similar tokens around a self-attention.

use crate::error::{ShapeRequirement, TensorOp};
use crate::profile::{self, OpClass};
use crate::{Tensor, TensorError};
use latent_kernels::token_merging::{self as kernel, TokenMatching};

/// Which tokens of each image of a batch are merged ([`match_tokens`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenMerge {
    images: Vec<TokenMatching>,
    tokens: usize,
    kept: usize,
}

impl TokenMerge {
    /// Number of tokens of an image that are left.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.kept
    }

    /// Checks the shape of a batch with so many tokens each; its channels.
    fn channels(&self, x: &Tensor, tokens: usize) -> Result<usize, TensorError> {
        match *x.dims() {
            [batch, of_image, channels]
                if batch == self.images.len() && of_image == tokens && channels > 0 =>
            {
                Ok(channels)
            }
            _ => {
                let expected = format_args!("{} images of {tokens} tokens", self.images.len());
                Err(TensorError::shape(TensorOp::TokenMerging, expected, x.shape()))
            }
        }
    }
}

/// Chooses which tokens of `x` `[batch, height * width, channels]` are merged: in each image the `merged` ones that are
/// the most similar to one of their destinations (Bolya and Hoffman, Token Merging for Fast Stable Diffusion, 2023). What
/// is chosen in an image does not depend on the others.
///
/// # Errors
/// Another shape, a tensor on a GPU.
pub fn match_tokens(
    x: &Tensor,
    [height, width]: [usize; 2],
    merged: usize,
) -> Result<TokenMerge, TensorError> {
    const OP: TensorOp = TensorOp::TokenMerging;
    let [batch, tokens, channels] = x.rank(OP)?;
    if tokens != height * width || tokens * channels == 0 {
        let expected = format_args!("images of {height}x{width} tokens");
        return Err(TensorError::shape(OP, expected, x.shape()));
    }
    let values = x.f32s()?;
    let destinations = kernel::destination_count([height, width]);
    let products = (tokens - destinations) * destinations * channels;
    let _timer = profile::timer(OpClass::Linear).multiply_adds(products, batch);
    let image = |x| kernel::match_tokens(x, [height, width], channels, merged);
    let images: Vec<_> = values.chunks_exact(tokens * channels).map(image).collect();
    let kept = images.first().map_or(tokens, TokenMatching::kept);
    Ok(TokenMerge { images, tokens, kept })
}

/// The merged sequence `[batch, kept, channels]` of `x` `[batch, tokens, channels]`: means of the tokens that are merged.
///
/// # Errors
/// Another shape, a tensor on a GPU.
pub fn merge_tokens(x: &Tensor, merge: &TokenMerge) -> Result<Tensor, TensorError> {
    let channels = merge.channels(x, merge.tokens)?;
    let mut out = Tensor::scratch_like(x, &[merge.images.len(), merge.kept, channels])?;
    let _timer = profile::timer(OpClass::Elementwise);
    let values = x.f32s()?.chunks_exact(merge.tokens * channels);
    let outputs = out.f32s_mut()?.chunks_exact_mut(merge.kept * channels);
    for ((x, out), image) in values.zip(outputs).zip(&merge.images) {
        kernel::merge(x, image, channels, out);
    }
    Ok(out)
}

/// `residual` `[batch, tokens, channels]`, with the row of the merged sequence `x` `[batch, kept, channels]` that it is a
/// part of added to each token; written into it.
///
/// # Errors
/// Another shape, a tensor on a GPU.
pub fn unmerge_add(x: &Tensor, merge: &TokenMerge, mut residual: Tensor) -> Result<Tensor, TensorError> {
    let channels = merge.channels(x, merge.kept)?;
    if merge.channels(&residual, merge.tokens)? != channels {
        let expected = ShapeRequirement::Channels(channels);
        return Err(TensorError::shape(TensorOp::TokenMerging, expected, residual.shape()));
    }
    let _timer = profile::timer(OpClass::Elementwise);
    let values = x.f32s()?.chunks_exact(merge.kept * channels);
    let tokens = residual.f32s_mut()?.chunks_exact_mut(merge.tokens * channels);
    for ((x, tokens), image) in values.zip(tokens).zip(&merge.images) {
        kernel::unmerge_add(x, image, channels, tokens);
    }
    Ok(residual)
}
