//! Networks that enlarge images: ESRGAN, SRVGGNetCompact, SPAN and the light SwinIR.
//!
//! A network consists of a trunk, which works on the pixels of the small image, and a head, which makes those of the large one
//! from what the trunk found out. A large image is cut into tiles ([`Tiling`]): the trunk sees each with the pixels around it, the
//! head works on a few rows at a time. So the memory does not grow with the image.
//!
//! ```no_run
//! use latent_diffusion::upscaler::{Tiling, UpscalerFile};
//! use latent_diffusion::{Image, loader::Checkpoint, tensor::Device};
//! use std::{ops::ControlFlow, path::Path};
//!
//! # let photo = Image { width: 500, height: 300, rgb: vec![0; 500 * 300 * 3] };
//! let file = UpscalerFile::open(Checkpoint::open(Path::new("RealESRGAN_x4plus.safetensors"))?)?;
//! let mut go_on = |_: latent_diffusion::Event<'_>| ControlFlow::Continue(());
//! let large = file.upscale(&photo, &Device::Cpu, Tiling::default(), &mut go_on)?;
//! assert_eq!((large.width, large.height), (2000, 1200));
//! # Ok::<(), latent_diffusion::Error>(())
//! ```

mod compact;
mod config;
mod esrgan;
mod file;
mod head;
mod mix;
mod parts;
mod rrdb;
mod shapes;
mod span;
mod swinir;
#[cfg(test)]
mod tests;
mod tiles;
mod unshuffle;

pub use compact::CompactConfig;
pub use config::UpscalerConfig;
pub use esrgan::EsrganConfig;
pub use file::UpscalerFile;
pub use parts::UpscaledPart;
pub use span::SpanConfig;
pub use swinir::SwinIrConfig;
pub use tiles::{PixelRect, Tiling};

use crate::blocks::BlockCount;
use crate::event::notify;
use crate::params::Params;
use crate::{Error, Event, Image, Listener, Stage};
use compact::Compact;
use esrgan::EsrganTrunk;
use head::UpscalerHead;
use latent_tensor::{Device, Tensor};
use parts::PartTiles;
use span::Span;
use swinir::SwinIr;

/// Channels of an image.
const RGB: usize = 3;
/// Maximum pixels of an enlarged image: 16384x16384.
pub const MAX_PIXELS: usize = 1 << 28;

/// A network that enlarges images.
pub struct Upscaler {
    device: Device,
    config: UpscalerConfig,
    trunk: Trunk,
    head: UpscalerHead,
}

/// The layers at the size of the small image.
enum Trunk {
    Esrgan(EsrganTrunk),
    Compact(Compact),
    Span(Span),
    SwinIr(SwinIr),
}

impl Upscaler {
    /// Loads a network from tensors by their canonical names.
    ///
    /// # Errors
    /// A tensor that is missing, mis-shaped or unreadable.
    pub fn load(params: &Params<'_>, config: &UpscalerConfig) -> Result<Upscaler, Error> {
        let trunk = match config {
            UpscalerConfig::Esrgan(config) => Trunk::Esrgan(EsrganTrunk::load(params, config)?),
            UpscalerConfig::Compact(config) => Trunk::Compact(Compact::load(params, config)?),
            UpscalerConfig::Span(config) => Trunk::Span(Span::load(params, config)?),
            UpscalerConfig::SwinIr(config) => Trunk::SwinIr(SwinIr::load(params, config)?),
        };
        let head = UpscalerHead::load(params, config)?;
        Ok(Upscaler { device: params.device().clone(), config: config.clone(), trunk, head })
    }

    /// Its sizes.
    #[must_use]
    pub fn config(&self) -> &UpscalerConfig {
        &self.config
    }

    /// Where it computes.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Pixels `[1, height, width, 3]` of 0..1 to `[1, scale height, scale width, 3]`, all at once, in main memory. Sides are
    /// multiples of [`UpscalerConfig::unshuffle`].
    ///
    /// # Errors
    /// Pixels of another shape.
    pub fn forward(&self, pixels: &Tensor) -> Result<Tensor, Error> {
        let x = unshuffle::unshuffle(pixels, self.config.unshuffle())?;
        Ok(self.head.forward(&self.trunk(&x, &mut BlockCount::unwatched())?)?.to(&Device::Cpu)?)
    }

    /// What the head takes of pixels `[1, height, width, inputs]`; both in main memory.
    fn trunk(&self, x: &Tensor, count: &mut BlockCount<'_>) -> Result<Tensor, Error> {
        let device = &self.device;
        let features = match &self.trunk {
            Trunk::Esrgan(trunk) => trunk.forward(&x.to(device)?, count)?,
            Trunk::Compact(network) => network.forward(x, device, count)?,
            Trunk::Span(network) => network.forward(x, device, count)?,
            Trunk::SwinIr(network) => network.forward(x, device, count)?,
        };
        Ok(features.to(&Device::Cpu)?)
    }

    /// Blocks that [`Upscaler::trunk`] counts.
    fn blocks(&self) -> usize {
        match &self.config {
            UpscalerConfig::Compact(config) => config.convs + 1,
            config => config.blocks(),
        }
    }

    /// Enlarges an image by [`UpscalerConfig::scale`], tile by tile.
    ///
    /// # Errors
    /// An image without pixels or whose result has more than [`MAX_PIXELS`], a cancelled run, NaN in the result.
    pub fn upscale(
        &self,
        image: &Image,
        tiling: Tiling,
        listener: &mut Listener<'_>,
    ) -> Result<Image, Error> {
        self.config.check(image)?;
        self.upscale_part(image, &self.config.whole((image.width, image.height)), tiling, listener)
    }

    /// A part of an enlarged image, with the bytes that it has there. `seen` are the pixels that it depends on, of
    /// [`UpscalerConfig::seen`].
    ///
    /// # Errors
    /// As [`Upscaler::upscale`]; a part that is not within the enlarged image, pixels of another size than it depends on.
    pub fn upscale_part(
        &self,
        seen: &Image,
        part: &UpscaledPart,
        tiling: Tiling,
        listener: &mut Listener<'_>,
    ) -> Result<Image, Error> {
        let PartTiles { seen: rect, tiles } = self.config.part_tiles(part, tiling)?;
        rect.expect_size_of(seen)?;
        let unshuffle = self.config.unshuffle();
        let padded = seen.padded_to(unshuffle);
        let values: Vec<f32> = padded.rgb.iter().map(|byte| f32::from(*byte) / 255.0).collect();
        let x = Tensor::from_f32(&[1, padded.height, padded.width, RGB], &values)?;
        let x = unshuffle::unshuffle(&x, unshuffle)?;
        let (width, height) = self.config.large_size((seen.width, seen.height))?;
        let mut large = Image { width, height, rgb: vec![0; RGB * width * height] };
        let total = tiles.len();
        notify(listener, Event::Upscaled { tile: 0, total })?;
        for (i, tile) in tiles.iter().enumerate() {
            let mut count = BlockCount::new(Stage::Upscaling, self.blocks(), listener);
            let trunk = self.trunk(&tiles::cut(&x, &tile.seen)?, &mut count)?;
            self.head.put(&trunk, tile, [x.dims()[1], x.dims()[2]], &mut large)?;
            notify(listener, Event::Upscaled { tile: i + 1, total })?;
        }
        let scale = self.config.scale();
        let wanted = part.wanted.within(&rect.scaled(scale, [usize::MAX; 2]));
        Ok(if wanted.pixels() == width * height { large } else { wanted.cut(&large) })
    }
}

impl std::fmt::Debug for Upscaler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upscaler")
            .field("device", &self.device)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
