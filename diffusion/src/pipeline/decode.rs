//! The last stage: latents to images.

use super::{Pipeline, VaeTiling};
use crate::blocks::BlockCount;
use crate::event::notify;
use crate::image::Image;
use crate::latents::Latents;
use crate::params::Params;
use crate::stage::{LoadedNetwork, Stage, expect_finite};
use crate::taesd::{TaesdDecoder, TaesdFile};
use crate::vae::VaeDecoder;
use crate::{Error, Event, Listener};
use latent_tensor::{Device, Tensor};
use std::sync::Arc;

/// What decodes.
pub(super) enum LatentDecoder {
    Vae(Box<VaeDecoder>),
    Taesd(Box<TaesdDecoder>),
}

impl LatentDecoder {
    fn device(&self) -> &Device {
        match self {
            LatentDecoder::Vae(vae) => vae.device(),
            LatentDecoder::Taesd(taesd) => taesd.device(),
        }
    }

    /// An image in main memory.
    fn pixels(
        &self,
        latent: &Tensor,
        tiling: VaeTiling,
        listener: &mut Listener<'_>,
    ) -> Result<Tensor, Error> {
        let total = match (self, tiling) {
            (LatentDecoder::Vae(vae), VaeTiling::Off) => vae.blocks(),
            (LatentDecoder::Vae(vae), VaeTiling::Bands) => vae.band_blocks(latent),
            (LatentDecoder::Taesd(_), _) => 0,
        };
        let count = &mut BlockCount::new(Stage::Decoding, total, listener);
        let pixels = match (self, tiling) {
            (LatentDecoder::Vae(vae), VaeTiling::Off) => vae.decode_counted(latent, count)?,
            (LatentDecoder::Vae(vae), VaeTiling::Bands) => vae.decode_in_bands_counted(latent, count)?,
            (LatentDecoder::Taesd(taesd), _) => taesd.decode(latent)?,
        };
        Ok(pixels.to(&Device::Cpu)?)
    }
}

impl Pipeline {
    /// Decodes latents to images, one at a time, so that a batch takes the memory of one. A VAE whose values exceed the
    /// largest `f16` on a GPU decodes in `f32` there, from the first such image on.
    ///
    /// # Errors
    /// Unreadable weights, a cancelled run, [`Error::NotFinite`].
    pub fn decode(&mut self, latents: &Latents, listener: &mut Listener<'_>) -> Result<Vec<Image>, Error> {
        let mut decoder = match self.decoder.take() {
            Some(decoder) => decoder,
            None => self.load_decoder(&self.device, listener)?,
        };
        let mut images = Vec::new();
        let total = latents.images;
        notify(listener, Event::Decoded { image: 0, total })?;
        for image in 0..total {
            let latent = latents.channels_last(image..image + 1)?;
            let mut pixels = decoder.pixels(&latent, self.vae_tiling(), listener)?;
            let is_finite = expect_finite(Stage::Decoding, pixels.f32s()?).is_ok();
            if let Some(exact) = decoder.device().more_exact().filter(|_| !is_finite) {
                decoder = self.load_decoder(&exact, listener)?;
                pixels = decoder.pixels(&latent, self.vae_tiling(), listener)?;
            }
            expect_finite(Stage::Decoding, pixels.f32s()?)?;
            images.extend(Image::from_tensor(&pixels)?);
            notify(listener, Event::Decoded { image: image + 1, total })?;
        }
        self.decoder = Some(decoder);
        Ok(images)
    }

    fn load_decoder(&self, device: &Device, listener: &mut Listener<'_>) -> Result<LatentDecoder, Error> {
        if let Some(taesd) = &self.taesd {
            let decoder = taesd.decoder_wrapping(device, self.wraps())?;
            return Ok(LatentDecoder::Taesd(Box::new(decoder)));
        }
        let load = |params: &Params<'_>| VaeDecoder::load(params, &self.model.vae);
        let weights = self.model.weights.scope("vae");
        let vae = self.load_network((LoadedNetwork::Vae, weights), device, load, listener)?;
        Ok(LatentDecoder::Vae(Box::new(vae)))
    }

    /// Decodes with a TAESD in place of the VAE from now on, or with the VAE again. Images are a little less exact.
    ///
    /// # Errors
    /// [`Error::Unsupported`]: a TAESD without a decoder, or for other latents. Then nothing has changed.
    pub fn set_taesd(&mut self, taesd: Option<Arc<TaesdFile>>) -> Result<(), Error> {
        taesd.iter().try_for_each(|taesd| taesd.check_fits(&self.model))?;
        let own =
            || self.model.has_tiny_vae.then(|| TaesdFile::of_model(&self.model).map(Arc::new)).transpose();
        let taesd = match taesd {
            Some(taesd) => Some(taesd),
            None => own()?,
        };
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
