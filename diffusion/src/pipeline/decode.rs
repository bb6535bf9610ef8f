//! The third stage: latents to images.

use super::event::tell;
use super::{Event, Image, Latents, Listener, Pipeline, VaeTiling};
use crate::Error;
use crate::params::Params;
use crate::taesd::{TaesdDecoder, TaesdFile};
use crate::vae::VaeDecoder;
use latent_tensor::{Device, Tensor};
use std::sync::Arc;

/// What decodes.
pub(super) enum Decoder {
    Vae(Box<VaeDecoder>),
    Tiny(TaesdDecoder),
}

impl Decoder {
    fn device(&self) -> &Device {
        match self {
            Decoder::Vae(vae) => vae.device(),
            Decoder::Tiny(taesd) => taesd.device(),
        }
    }

    /// An image in main memory.
    fn pixels(&self, latent: &Tensor, memory: VaeTiling) -> Result<Tensor, Error> {
        let pixels = match (self, memory) {
            (Decoder::Vae(vae), VaeTiling::Off) => vae.decode(latent)?,
            (Decoder::Vae(vae), VaeTiling::Bands) => vae.decode_in_bands(latent)?,
            (Decoder::Tiny(taesd), _) => taesd.decode(latent)?,
        };
        Ok(pixels.to(&Device::Cpu)?)
    }
}

impl Pipeline {
    /// Decodes latents to images, one at a time, so that a batch takes the memory of one. A VAE whose values pass the largest
    /// `f16` of a GPU decodes in `f32` there, from the first such image on.
    ///
    /// # Errors
    /// Unreadable weights, a cancelled run, values that are no numbers.
    pub fn decode(&mut self, latents: &Latents, listener: &mut Listener<'_>) -> Result<Vec<Image>, Error> {
        let mut decoder = match self.decoder.take() {
            Some(decoder) => decoder,
            None => self.load_decoder(&self.device, listener)?,
        };
        let mut images = Vec::new();
        let total = latents.images;
        tell(listener, Event::Decoded { image: 0, total })?;
        for image in 0..total {
            let latent = latents.channels_last(image..image + 1)?;
            let mut pixels = decoder.pixels(&latent, self.vae_tiling)?;
            let is_finite = expect_finite("VAE", pixels.f32s()?).is_ok();
            if let Some(exact) = decoder.device().more_exact().filter(|_| !is_finite) {
                decoder = self.load_decoder(&exact, listener)?;
                pixels = decoder.pixels(&latent, self.vae_tiling)?;
            }
            expect_finite("VAE", pixels.f32s()?)?;
            images.extend(Image::from_tensor(&pixels)?);
            tell(listener, Event::Decoded { image: image + 1, total })?;
        }
        self.decoder = Some(decoder);
        Ok(images)
    }

    fn load_decoder(&self, device: &Device, listener: &mut Listener<'_>) -> Result<Decoder, Error> {
        if let Some(taesd) = &self.taesd {
            return taesd.decoder(device).map(Decoder::Tiny);
        }
        let load = |params: &Params<'_>| VaeDecoder::load(params, &self.model.vae);
        let vae = self.load_part("VAE", "vae", device, load, listener)?;
        Ok(Decoder::Vae(Box::new(vae)))
    }

    /// Decodes with a TAESD in place of the VAE from now on, or with the VAE again. Images are a little less exact.
    ///
    /// # Errors
    /// [`Error::Unsupported`]: one without a decoder, or of other latents. Then nothing has changed.
    pub fn set_taesd(&mut self, taesd: Option<Arc<TaesdFile>>) -> Result<(), Error> {
        taesd.iter().try_for_each(|taesd| taesd.check_fits(&self.model))?;
        self.unload_decoder();
        self.taesd = taesd;
        Ok(())
    }

    /// Drops the VAE and the memory of its stage.
    pub fn unload_decoder(&mut self) {
        self.decoder = None;
        self.device.trim();
    }
}

/// Fails if a stage computed a value that is no number.
pub(crate) fn expect_finite(stage: &'static str, values: &[f32]) -> Result<(), Error> {
    if values.iter().all(|v| v.is_finite()) { Ok(()) } else { Err(Error::NotFinite { stage }) }
}
