//! From the features of the trunk to the pixels of the large image.
//!
//! The tensors here are the largest: a pixel of the trunk becomes sixteen of the result, with as many channels. So a few rows
//! are enlarged at a time. Each result depends on pixels at most [`REACH`] away, and these are included, so nothing is lost.

use super::tiles::{REACH, UpscalerTile, cut};
use super::{RGB, UpscalerConfig};
use crate::params::Params;
use crate::{Error, Image};
use latent_tensor::{Conv2d, Device, Epilogue, Prologue, Tensor, ops};

/// Maximum values of a tensor: 64 MiB.
const MAX_VALUES: usize = 1 << 24;

/// The convolutions after the trunk.
pub(super) struct UpscalerHead {
    device: Device,
    conv_up: Vec<Conv2d>,
    conv_hr: Conv2d,
    conv_last: Conv2d,
    config: UpscalerConfig,
}

impl UpscalerHead {
    pub(super) fn load(params: &Params<'_>, config: &UpscalerConfig) -> Result<UpscalerHead, Error> {
        let features = config.features;
        let up = |i: usize| params.conv3x3(&format!("conv_up{}", i + 1), features, features);
        Ok(UpscalerHead {
            device: params.device().clone(),
            conv_up: (0..config.doublings).map(up).collect::<Result<_, _>>()?,
            conv_hr: params.conv3x3("conv_hr", features, features)?,
            conv_last: params.conv3x3("conv_last", RGB, features)?,
            config: config.clone(),
        })
    }

    /// `[1, height, width, features]` to `[1, 2^doublings height, 2^doublings width, 3]` of 0..1.
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor, Error> {
        let mut x = x.to(&self.device)?;
        for conv in &self.conv_up {
            let resize = Some([2 * x.dims()[1], 2 * x.dims()[2]]);
            let resize = Prologue::resize(resize);
            x = ops::leaky_relu(ops::conv2d_fused(&x, conv, resize, Epilogue::none())?)?;
        }
        let x = ops::leaky_relu(ops::conv2d(&x, &self.conv_hr)?)?;
        Ok(ops::conv2d(&x, &self.conv_last)?)
    }

    /// Enlarges the part of a tile that is kept, a few rows at a time, into the large image. `trunk` has the features of all that
    /// the tile sees, in main memory; `size` is the height and width of all tiles together.
    pub(super) fn put(
        &self,
        trunk: &Tensor,
        tile: &UpscalerTile,
        size: [usize; 2],
        large: &mut Image,
    ) -> Result<(), Error> {
        let scale = 1 << self.config.doublings;
        for kept in tile.kept.bands(rows_at_once(&self.config, tile)) {
            let given = kept.grown(REACH, size);
            let pixels = self.forward(&cut(trunk, &given.within(&tile.seen))?)?.to(&Device::Cpu)?;
            let values = pixels.f32s()?;
            crate::stage::expect_finite(crate::Stage::Upscaling, values)?;
            let row_values = RGB * scale * given.columns.len();
            // The padding to whole squares is cut off.
            let end = |end: usize, side: usize| (scale * end).min(side);
            let columns = scale * kept.columns.start..end(kept.columns.end, large.width);
            for y in scale * kept.rows.start..end(kept.rows.end, large.height) {
                let from = &values[(y - scale * given.rows.start) * row_values..][..row_values];
                let from =
                    &from[RGB * (columns.start - scale * given.columns.start)..][..RGB * columns.len()];
                let to = &mut large.rgb[RGB * (y * large.width + columns.start)..][..RGB * columns.len()];
                for (to, value) in to.iter_mut().zip(from) {
                    *to = (value.clamp(0.0, 1.0) * 255.0).round_ties_even() as u8;
                }
            }
        }
        Ok(())
    }
}

/// Rows of the trunk that are enlarged at once. An even number, so that bands begin where Winograd's tiles do.
fn rows_at_once(config: &UpscalerConfig, tile: &UpscalerTile) -> usize {
    let row = (config.features * (tile.kept.columns.len() + 2 * REACH)) << (2 * config.doublings);
    ((MAX_VALUES / row.max(1)).saturating_sub(2 * REACH) / 2 * 2).max(4)
}

/// Values that are in memory at once while a tile is enlarged: the trunk's, and two of the largest tensors.
pub(super) fn values(config: &UpscalerConfig, tile: &UpscalerTile) -> usize {
    let rows = rows_at_once(config, tile).min(tile.kept.rows.len()) + 2 * REACH;
    let columns = tile.kept.columns.len() + 2 * REACH;
    let largest = (config.features * rows * columns) << (2 * config.doublings);
    config.features * tile.seen.pixels() + 2 * largest + largest / 4
}
