//! The sizes of an upscaler, read from the names and shapes of its tensors.

use super::compact::CompactConfig;
use super::esrgan::EsrganConfig;
use super::span::{self, SpanConfig};
use super::swinir::SwinIrConfig;
use super::tiles::{Tiling, UpscalerTile};
use super::{MAX_PIXELS, RGB, head};
use crate::tensor_names::upscalers::UpscalerArchitecture;
use crate::{Error, Image};
use latent_loader::Weights;
use std::fmt;

/// The architecture of an upscaler, and its sizes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UpscalerConfig {
    /// ESRGAN and Real-ESRGAN: `RRDBNet`.
    Esrgan(EsrganConfig),
    /// Real-ESRGAN's small networks: `SRVGGNetCompact`.
    Compact(CompactConfig),
    /// SPAN.
    Span(SpanConfig),
    /// The light SwinIR.
    SwinIr(SwinIrConfig),
}

impl fmt::Display for UpscalerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scale, blocks, features) = (self.scale(), self.blocks(), self.features());
        let what = match self {
            UpscalerConfig::Compact(_) => "convolutions",
            _ => "blocks",
        };
        write!(f, "{} {scale}x, {blocks} {what} of {features} channels", self.architecture())
    }
}

impl UpscalerConfig {
    /// Reads the sizes from tensors by their canonical names.
    ///
    /// # Errors
    /// One line for after the file's name: why it is not such a network.
    pub(super) fn from_weights(
        architecture: UpscalerArchitecture,
        weights: &Weights,
    ) -> Result<UpscalerConfig, String> {
        Ok(match architecture {
            UpscalerArchitecture::Esrgan => UpscalerConfig::Esrgan(EsrganConfig::from_weights(weights)?),
            UpscalerArchitecture::Compact => UpscalerConfig::Compact(CompactConfig::from_weights(weights)?),
            UpscalerArchitecture::Span => UpscalerConfig::Span(SpanConfig::from_weights(weights)?),
            UpscalerArchitecture::SwinIr => UpscalerConfig::SwinIr(SwinIrConfig::from_weights(weights)?),
        })
    }

    /// The name of its architecture.
    #[must_use]
    pub fn architecture(&self) -> &'static str {
        match self {
            UpscalerConfig::Esrgan(_) => UpscalerArchitecture::Esrgan.name(),
            UpscalerConfig::Compact(_) => UpscalerArchitecture::Compact.name(),
            UpscalerConfig::Span(_) => UpscalerArchitecture::Span.name(),
            UpscalerConfig::SwinIr(_) => UpscalerArchitecture::SwinIr.name(),
        }
    }

    /// How many times as high and wide an image becomes.
    #[must_use]
    pub fn scale(&self) -> usize {
        match self {
            UpscalerConfig::Esrgan(config) => (1 << config.doublings) / config.unshuffle,
            UpscalerConfig::Compact(config) => config.scale,
            UpscalerConfig::Span(config) => config.scale,
            UpscalerConfig::SwinIr(config) => config.scale,
        }
    }

    /// Channels between its layers.
    #[must_use]
    pub fn features(&self) -> usize {
        match self {
            UpscalerConfig::Esrgan(config) => config.features,
            UpscalerConfig::Compact(config) => config.features,
            UpscalerConfig::Span(config) => config.features,
            UpscalerConfig::SwinIr(config) => config.features,
        }
    }

    /// Its blocks; the inner convolutions of a network without blocks.
    #[must_use]
    pub fn blocks(&self) -> usize {
        match self {
            UpscalerConfig::Esrgan(config) => config.blocks,
            UpscalerConfig::Compact(config) => config.convs,
            UpscalerConfig::Span(_) => span::BLOCKS,
            UpscalerConfig::SwinIr(config) => config.depths.iter().sum(),
        }
    }

    /// Sides of the squares of pixels that become one before the network sees them.
    #[must_use]
    pub fn unshuffle(&self) -> usize {
        match self {
            UpscalerConfig::Esrgan(config) => config.unshuffle,
            _ => 1,
        }
    }

    /// Width and height of the enlarged image.
    ///
    /// # Errors
    /// An image without pixels, or whose result has more than [`MAX_PIXELS`].
    pub fn check(&self, image: &Image) -> Result<(usize, usize), Error> {
        let Image { width, height, ref rgb } = *image;
        if width == 0 || height == 0 || rgb.len() != RGB * width * height {
            let reason = format!("{width}x{height} pixels with {} values are not an image", rgb.len());
            return Err(Error::setting(crate::Setting::Image, reason));
        }
        self.large_size((width, height))
    }

    /// Width and height of an enlarged image.
    pub(super) fn large_size(&self, (width, height): (usize, usize)) -> Result<(usize, usize), Error> {
        let scale = self.scale();
        let (large_width, large_height) = (width.saturating_mul(scale), height.saturating_mul(scale));
        if large_width.saturating_mul(large_height) > MAX_PIXELS {
            let limit = MAX_PIXELS / 1_000_000;
            let reason = format!(
                "{width}x{height} pixels would become {large_width}x{large_height}, more than {limit} million; \
                 make it smaller first"
            );
            return Err(Error::setting(crate::Setting::Image, reason));
        }
        Ok((large_width, large_height))
    }

    /// Maximum bytes that enlarging an image of this width and height takes besides the weights: the values of the largest
    /// tile, and both images.
    #[must_use]
    pub fn memory(&self, width: usize, height: usize, tiling: Tiling) -> u64 {
        let sides = [height, width].map(|side| side.div_ceil(self.unshuffle()));
        let tiles = self.tiles(tiling, sides);
        let trunk = tiles.iter().map(|tile| self.trunk_values() * tile.seen.pixels()).max().unwrap_or(0);
        let head = tiles.iter().map(|tile| head::values(self, tile)).max().unwrap_or(0);
        let (pixels, scale) = (width * height, self.scale());
        // The image is there as bytes and as `f32`.
        let images = pixels * RGB * (1 + 2 * size_of::<f32>()) + pixels * scale * scale * RGB;
        (size_of::<f32>() * trunk.max(head) + images) as u64
    }

    /// The tiles of an image of that height and width. Pixels that nothing in a tile depends on are not seen.
    pub(super) fn tiles(&self, tiling: Tiling, [height, width]: [usize; 2]) -> Vec<UpscalerTile> {
        let overlap = tiling.overlap.min(self.reach());
        Tiling { overlap, ..tiling }.tiles(height, width)
    }

    /// Pixels around one that its part of the result depends on.
    fn reach(&self) -> usize {
        match self {
            UpscalerConfig::Esrgan(config) => 15 * config.blocks + 4,
            UpscalerConfig::Compact(config) => config.convs + 2,
            UpscalerConfig::Span(_) => 3 * span::BLOCKS + 3,
            // Half a window and a whole one in turn, and the convolutions.
            UpscalerConfig::SwinIr(config) => config.window * self.blocks() + config.depths.len() + 3,
        }
    }

    /// Whether a network of these sizes has a tensor of that canonical name.
    pub(super) fn has_tensor(&self, name: &str) -> bool {
        let in_layer =
            |test: &dyn Fn(&str) -> bool| name.rsplit_once('.').is_some_and(|(path, _)| test(path));
        match self {
            UpscalerConfig::Esrgan(config) => in_layer(&|path| config.has_layer(path)),
            UpscalerConfig::Compact(config) => in_layer(&|path| config.has_layer(path)),
            UpscalerConfig::Span(_) => SpanConfig::has_tensor(name),
            UpscalerConfig::SwinIr(config) => config.has_tensor(name),
        }
    }

    /// Values that the trunk holds at once for a pixel.
    fn trunk_values(&self) -> usize {
        let colours = RGB * self.scale() * self.scale();
        match self {
            UpscalerConfig::Esrgan(config) => config.trunk_values(),
            // The input and the output of a convolution, and the colours.
            UpscalerConfig::Compact(config) => 2 * config.features + 2 * colours,
            // The first features, those after the first block, and a block's; or the join of four.
            UpscalerConfig::Span(config) => 8 * config.features + colours,
            // The input of all, of a group and of a block; queries, keys and values twice, and what they become twice.
            UpscalerConfig::SwinIr(config) => {
                3 * config.features + (6 + 2) * config.features + config.hidden + colours
            }
        }
    }
}
