//! The third stage: latents to pictures.

use super::event::tell;
use super::{Event, Latents, Listener, Memory, Picture, Pipeline};
use crate::Error;
use crate::params::Params;
use crate::vae::VaeDecoder;
use latent_tensor::{Device, Tensor};

impl Pipeline {
    /// Decodes latents to pictures, one at a time, so that a batch takes the memory of one. A VAE whose values pass the largest
    /// `f16` of a GPU decodes in `f32` there, from the first such picture on.
    ///
    /// # Errors
    /// Unreadable weights, a cancelled run, values that are no numbers.
    pub fn decode(&mut self, latents: &Latents, listener: &mut Listener<'_>) -> Result<Vec<Picture>, Error> {
        let mut decoder = match self.decoder.take() {
            Some(decoder) => decoder,
            None => self.load_decoder(&self.device, listener)?,
        };
        let mut pictures = Vec::new();
        let total = latents.pictures;
        tell(listener, Event::Decoded { picture: 0, total })?;
        for picture in 0..total {
            let latent = latents.channels_last(picture..picture + 1)?;
            let mut pixels = self.pixels(&decoder, &latent)?;
            let is_finite = expect_finite("VAE", pixels.f32s()?).is_ok();
            if let Some(exact) = decoder.device().more_exact().filter(|_| !is_finite) {
                decoder = self.load_decoder(&exact, listener)?;
                pixels = self.pixels(&decoder, &latent)?;
            }
            expect_finite("VAE", pixels.f32s()?)?;
            pictures.extend(Picture::from_tensor(&pixels)?);
            tell(listener, Event::Decoded { picture: picture + 1, total })?;
        }
        self.decoder = Some(decoder);
        Ok(pictures)
    }

    fn load_decoder(&self, device: &Device, listener: &mut Listener<'_>) -> Result<VaeDecoder, Error> {
        let load = |params: &Params<'_>| VaeDecoder::load(params, &self.model.vae);
        self.load_part("VAE", "vae", device, load, listener)
    }

    /// A decoded picture in main memory.
    fn pixels(&self, decoder: &VaeDecoder, latent: &Tensor) -> Result<Tensor, Error> {
        let pixels = match self.memory {
            Memory::Plenty => decoder.decode(latent)?,
            Memory::Little => decoder.decode_in_bands(latent)?,
        };
        Ok(pixels.to(&Device::Cpu)?)
    }

    /// Drops the VAE and the memory of its stage.
    pub fn unload_decoder(&mut self) {
        self.decoder = None;
        self.device.trim();
    }
}

/// Fails if a stage computed a value that is no number.
fn expect_finite(stage: &'static str, values: &[f32]) -> Result<(), Error> {
    if values.iter().all(|v| v.is_finite()) { Ok(()) } else { Err(Error::NotFinite { stage }) }
}
