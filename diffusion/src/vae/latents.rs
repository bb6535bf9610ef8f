//! Latents of unit variance as the VAE gives them, for models with statistics of each channel, and latents whose channels contain
//! several elements of the VAE's.

use super::VaeConfig;
use crate::{Error, Setting};
use latent_tensor::{Device, Tensor};

/// Latents `[batch, height, width, channels]` of unit variance as the VAE gives them, in main memory.
pub(crate) fn unscaled(latents: &Tensor, config: &VaeConfig) -> Result<Tensor, Error> {
    let latents = latents.to(&Device::Cpu)?;
    let scales = config.unscaled();
    let values = latents.f32s()?.iter().zip(scales.iter().cycle());
    let values: Vec<f32> = values.map(|(value, (factor, summand))| value * factor + summand).collect();
    Ok(Tensor::from_f32(latents.dims(), &values)?)
}

/// Latents `[batch, height, width, channels]` of a VAE as those of its model, `[batch, height / side, width / side, channels side²]`:
/// each channel's elements of a square are one after the other. In main memory.
///
/// # Errors
/// [`Error::Setting`]: sides that are not multiples of `side`.
pub(super) fn packed(latents: &Tensor, side: usize) -> Result<Tensor, Error> {
    let latents = latents.to(&Device::Cpu)?;
    match *latents.dims() {
        [batch, height, width, channels]
            if height.is_multiple_of(side) && width.is_multiple_of(side) && side > 0 =>
        {
            let own = [height, width, channels];
            let mut out = Tensor::zeros(&[batch, height / side, width / side, channels * side * side])?;
            let to = out.f32s_mut()?;
            latents.f32s()?.iter().enumerate().for_each(|(i, value)| to[packed_index(i, own, side)] = *value);
            Ok(out)
        }
        _ => Err(refused(&latents, side)),
    }
}

/// The reverse of [`packed`].
///
/// # Errors
/// [`Error::Setting`]: channels that are not squares of `side` elements.
pub(super) fn unpacked(latents: &Tensor, side: usize) -> Result<Tensor, Error> {
    let latents = latents.to(&Device::Cpu)?;
    match *latents.dims() {
        [batch, height, width, channels] if channels.is_multiple_of(side * side) && side > 0 => {
            let own = [height * side, width * side, channels / (side * side)];
            let mut out = Tensor::zeros(&[batch, own[0], own[1], own[2]])?;
            let from = latents.f32s()?;
            let to = out.f32s_mut()?.iter_mut().enumerate();
            to.for_each(|(i, value)| *value = from[packed_index(i, own, side)]);
            Ok(out)
        }
        _ => Err(refused(&latents, side)),
    }
}

/// Where an element of latents `[batch, height, width, channels]` is among packed ones.
fn packed_index(own: usize, [height, width, channels]: [usize; 3], side: usize) -> usize {
    let (pixel, channel) = (own / channels, own % channels);
    let (row, column) = (pixel / width % height, pixel % width);
    let square = (pixel / (width * height) * (height / side) + row / side) * (width / side) + column / side;
    (square * channels + channel) * side * side + row % side * side + column % side
}

fn refused(latents: &Tensor, side: usize) -> Error {
    let reason = format!("{} are not latents of squares of {side} by {side}", latents.shape());
    Error::setting(Setting::Latents, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn squares_become_channels_and_come_back() {
        // Two images of 2 x 4 elements with 2 channels each: 10 times the pixel's number, and 1 more.
        let values: Vec<f32> = (0..32u8).map(|i| f32::from(i / 2 * 10 + i % 2)).collect();
        let latents = Tensor::from_f32(&[2, 2, 4, 2], &values).unwrap();
        let packed = packed(&latents, 2).unwrap();
        assert_eq!(packed.dims(), [2, 1, 2, 8]);
        let values = packed.f32s().unwrap();
        assert_eq!(values[..8], [0., 10., 40., 50., 1., 11., 41., 51.]);
        assert_eq!(values[8..16], [20., 30., 60., 70., 21., 31., 61., 71.]);
        assert_eq!(values[16], 80.0);
        let back = unpacked(&packed, 2).unwrap();
        assert_eq!((back.dims(), back.f32s().unwrap()), (latents.dims(), latents.f32s().unwrap()));
        assert!(super::packed(&Tensor::zeros(&[1, 3, 4, 2]).unwrap(), 2).is_err());
        assert!(super::unpacked(&Tensor::zeros(&[1, 3, 4, 6]).unwrap(), 2).is_err());
    }
}
