//! Sequences of tokens, `[batch, tokens, width]`, joined and split.

use crate::Error;
use latent_tensor::{Tensor, ops};
use std::ops::Range;

/// The batch, tokens and width of a sequence.
///
/// # Panics
/// If it is not a sequence: networks make all of theirs.
pub(crate) fn sequence_dims(x: &Tensor) -> [usize; 3] {
    x.dims().try_into().expect("a sequence")
}

/// The tokens of `a`, then those of `b`: `[batch, m, width]` and `[batch, n, width]` to `[batch, m + n, width]`.
pub(crate) fn join(a: &Tensor, b: &Tensor) -> Result<Tensor, Error> {
    let ([batch, m, width], [_, n, _]) = (sequence_dims(a), sequence_dims(b));
    let flat = |x: &Tensor, tokens| x.clone().reshape(&[batch, tokens * width]);
    let joined = ops::concat_channels(&flat(a, m)?, &flat(b, n)?)?;
    Ok(joined.reshape(&[batch, m + n, width])?)
}

/// Some of the tokens: `[batch, n, width]` to `[batch, range, width]`.
pub(crate) fn some_tokens(x: &Tensor, range: Range<usize>) -> Result<Tensor, Error> {
    let [batch, tokens, width] = sequence_dims(x);
    if range == (0..tokens) {
        return Ok(x.clone());
    }
    let flat = x.clone().reshape(&[batch, tokens * width])?;
    let some = ops::slice_channels(&flat, range.start * width..range.end * width)?;
    Ok(some.reshape(&[batch, range.len(), width])?)
}

/// The first so many tokens.
pub(crate) fn first_tokens(x: &Tensor, tokens: usize) -> Result<Tensor, Error> {
    some_tokens(x, 0..tokens)
}

/// The first so many tokens, and the rest: the inverse of [`join`].
pub(crate) fn split(x: &Tensor, tokens: usize) -> Result<[Tensor; 2], Error> {
    let [_, all, _] = sequence_dims(x);
    Ok([some_tokens(x, 0..tokens)?, some_tokens(x, tokens..all)?])
}

/// Sequences of the same length one after the other in the batch.
pub(crate) fn join_batch(sequences: &[Tensor]) -> Result<Tensor, Error> {
    let (first, rest) = sequences.split_first().expect("a sequence at least");
    let [_, tokens, width] = sequence_dims(first);
    let batch = |x: &Tensor| sequence_dims(x)[0];
    let flat = |x: &Tensor| x.clone().reshape(&[1, batch(x) * tokens * width]);
    let mut joined = flat(first)?;
    for sequence in rest {
        joined = ops::concat_channels(&joined, &flat(sequence)?)?;
    }
    Ok(joined.reshape(&[sequences.iter().map(batch).sum(), tokens, width])?)
}

/// One sequence of a batch, `[1, tokens, width]`.
pub(crate) fn batched(x: &Tensor, index: usize) -> Result<Tensor, Error> {
    let [batch, tokens, width] = sequence_dims(x);
    let flat = x.clone().reshape(&[1, batch * tokens * width])?;
    let one = ops::slice_channels(&flat, index * tokens * width..(index + 1) * tokens * width)?;
    Ok(one.reshape(&[1, tokens, width])?)
}

/// One image or one for each of a batch, in main memory, as one for each.
///
/// # Errors
/// Another number of images.
pub(crate) fn repeated(x: &Tensor, batch: usize) -> Result<Tensor, Error> {
    let mut dims = x.dims().to_vec();
    match dims.first_mut() {
        Some(n) if *n == batch => return Ok(x.clone()),
        Some(n) if *n == 1 => *n = batch,
        _ => {
            let reason = format!("{} reference images for {batch} latents", x.shape());
            return Err(Error::setting(crate::Setting::Latents, reason));
        }
    }
    Ok(Tensor::from_f32(&dims, &x.f32s()?.repeat(batch))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sequence(dims: &[usize], first: u8) -> Tensor {
        let count: usize = dims.iter().product();
        let values: Vec<f32> = (0..count).map(|i| f32::from(first) + i as f32).collect();
        Tensor::from_f32(dims, &values).unwrap()
    }

    #[test]
    fn what_is_joined_can_be_split() {
        let (a, b) = (sequence(&[2, 2, 3], 0), sequence(&[2, 1, 3], 100));
        let joined = join(&a, &b).unwrap();
        assert_eq!(joined.dims(), [2, 3, 3]);
        assert_eq!(joined.f32s().unwrap()[..9], [0., 1., 2., 3., 4., 5., 100., 101., 102.]);
        let [first, rest] = split(&joined, 2).unwrap();
        assert_eq!((first.f32s().unwrap(), rest.f32s().unwrap()), (a.f32s().unwrap(), b.f32s().unwrap()));
        assert_eq!(some_tokens(&joined, 1..2).unwrap().f32s().unwrap()[..3], [3., 4., 5.]);
        let one = batched(&a, 1).unwrap();
        assert_eq!((one.dims(), one.f32s().unwrap()[0]), (&[1, 2, 3][..], 6.0));
        let both = join_batch(&[batched(&a, 0).unwrap(), one]).unwrap();
        assert_eq!((both.dims(), both.f32s().unwrap()), (a.dims(), a.f32s().unwrap()));
    }
}
