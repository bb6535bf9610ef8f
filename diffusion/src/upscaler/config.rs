//! The sizes of an upscaler, read from the names and shapes of its tensors.

use super::tiles::Tiling;
use super::{MAX_PIXELS, RGB, head};
use crate::{Error, Image};
use latent_loader::Weights;
use std::fmt;

/// Sizes of an `RRDBNet`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpscalerConfig {
    /// Channels between the blocks: 64.
    pub features: usize,
    /// Channels that each convolution of a dense block adds: 32.
    pub growth: usize,
    /// Residual blocks: 23; 6 in small ones.
    pub blocks: usize,
    /// Number of times that the head doubles the sides: 2.
    pub doublings: usize,
    /// Sides of the squares of pixels that become the channels of one before the trunk: 1, or 2 and 4 where the result is to
    /// be two times as large and as large as the image (Wang et al. 2021, figure 4).
    pub unshuffle: usize,
}

impl fmt::Display for UpscalerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ESRGAN {}x, {} blocks of {} channels", self.scale(), self.blocks, self.features)
    }
}

/// Maximum doublings: 16 times as high and wide.
const MAX_DOUBLINGS: usize = 4;

impl UpscalerConfig {
    /// Reads the sizes from tensors named as Real-ESRGAN names them.
    ///
    /// # Errors
    /// One line for after the file's name: why it is not such a network.
    pub(super) fn from_weights(weights: &Weights) -> Result<UpscalerConfig, String> {
        let shape = |name: &str| match weights.shape(name) {
            Some(&[outputs, inputs, 3, 3]) => Ok([outputs, inputs]),
            Some(shape) => Err(format!("its {name} has the shape {shape:?}, which is not a 3x3 convolution")),
            None => Err(format!("it has no {name}")),
        };
        let [features, inputs] = shape("conv_first.weight")?;
        let [growth, _] = shape("body.0.rdb1.conv1.weight")?;
        let count =
            |name: &dyn Fn(usize) -> String| (0..).take_while(|i| weights.contains(&name(*i))).count();
        let blocks = count(&|i| format!("body.{i}.rdb1.conv1.weight"));
        let doublings = count(&|i| format!("conv_up{}.weight", i + 1));
        let unshuffle = match inputs {
            3 => 1,
            12 => 2,
            48 => 4,
            _ => return Err(format!("it takes {inputs} channels, which are not colours")),
        };
        if doublings > MAX_DOUBLINGS || (1 << doublings) < unshuffle {
            return Err(format!("it doubles the sides {doublings} times"));
        }
        Ok(UpscalerConfig { features, growth, blocks, doublings, unshuffle })
    }

    /// How many times as high and wide an image becomes.
    #[must_use]
    pub fn scale(&self) -> usize {
        (1 << self.doublings) / self.unshuffle
    }

    /// Channels that the first convolution takes.
    #[must_use]
    pub fn inputs(&self) -> usize {
        RGB * self.unshuffle * self.unshuffle
    }

    /// Width and height of the enlarged image.
    ///
    /// # Errors
    /// An image without pixels, or whose result has more than [`MAX_PIXELS`].
    pub fn check(&self, image: &Image) -> Result<(usize, usize), Error> {
        let Image { width, height, ref rgb } = *image;
        let refuse = |reason| Err(Error::setting(crate::Setting::Image, reason));
        if width == 0 || height == 0 || rgb.len() != RGB * width * height {
            return refuse(format!("{width}x{height} pixels with {} values are not an image", rgb.len()));
        }
        let scale = self.scale();
        let (large_width, large_height) = (width.saturating_mul(scale), height.saturating_mul(scale));
        if large_width.saturating_mul(large_height) > MAX_PIXELS {
            let limit = MAX_PIXELS / 1_000_000;
            return refuse(format!(
                "{width}x{height} pixels would become {large_width}x{large_height}, more than {limit} million; \
                 make it smaller first"
            ));
        }
        Ok((large_width, large_height))
    }

    /// Maximum bytes that enlarging an image of this width and height takes besides the weights: the values of the largest
    /// tile, and both images.
    #[must_use]
    pub fn memory(&self, width: usize, height: usize, tiling: Tiling) -> u64 {
        let sides = [height, width].map(|side| side.div_ceil(self.unshuffle));
        let tiles = tiling.tiles(sides[0], sides[1]);
        let trunk = tiles.iter().map(|tile| self.trunk_values() * tile.seen.pixels()).max().unwrap_or(0);
        let head = tiles.iter().map(|tile| head::values(self, tile)).max().unwrap_or(0);
        let (pixels, scale) = (width * height, self.scale());
        // The image is there as bytes and as `f32`.
        let images = pixels * RGB * (1 + 2 * size_of::<f32>()) + pixels * scale * scale * RGB;
        (size_of::<f32>() * trunk.max(head) + images) as u64
    }

    /// Whether a network of these sizes has a layer of that canonical name.
    pub(super) fn has_layer(&self, path: &str) -> bool {
        let number = |text: &str, all: std::ops::Range<usize>| text.parse().is_ok_and(|n| all.contains(&n));
        let parts: Vec<&str> = path.split('.').collect();
        match parts[..] {
            ["conv_first" | "conv_body" | "conv_hr" | "conv_last"] => true,
            [up] => up.strip_prefix("conv_up").is_some_and(|up| number(up, 1..self.doublings + 1)),
            ["body", block, dense, conv] => {
                number(block, 0..self.blocks)
                    && dense.strip_prefix("rdb").is_some_and(|dense| number(dense, 1..4))
                    && conv.strip_prefix("conv").is_some_and(|conv| number(conv, 1..6))
            }
            _ => false,
        }
    }

    /// Values that the trunk holds at once for a pixel: the residuals of all blocks, of a block and of a dense block, and the
    /// widest concatenation in a dense block.
    fn trunk_values(&self) -> usize {
        let UpscalerConfig { features, growth, .. } = *self;
        3 * features + (features + 3 * growth) + growth + (features + 4 * growth)
    }
}
