//! The end of an upscaler: from what the layers at the size of the small image make to the pixels of the large one.
//!
//! The tensors here are the largest: of an ESRGAN, a pixel of the trunk becomes sixteen of the result, with as many channels. So a
//! few rows are enlarged at a time. Each result depends on pixels at most [`REACH`] away, and these are included, so nothing is
//! lost.

use super::esrgan::EsrganConfig;
use super::tiles::{PixelRect, REACH, UpscalerTile, cut};
use super::{RGB, UpscalerConfig, unshuffle};
use crate::params::Params;
use crate::{Error, Image};
use latent_tensor::{Conv2d, Device, Epilogue, Prologue, Tensor, ops};

/// Maximum values of a tensor: 64 MiB.
const MAX_VALUES: usize = 1 << 24;

/// How the large image comes about.
pub(super) struct UpscalerHead {
    kind: HeadKind,
    config: UpscalerConfig,
}

enum HeadKind {
    /// Of an ESRGAN: it doubles the sides as often as there are convolutions `conv_up`.
    Convolutions(Box<HeadConvolutions>),
    /// Channels become pixels.
    Shuffle,
}

struct HeadConvolutions {
    device: Device,
    conv_up: Vec<Conv2d>,
    conv_hr: Conv2d,
    conv_last: Conv2d,
}

impl UpscalerHead {
    pub(super) fn load(params: &Params<'_>, config: &UpscalerConfig) -> Result<UpscalerHead, Error> {
        let kind = match config {
            UpscalerConfig::Esrgan(esrgan) => convolutions(params, esrgan)?,
            _ => HeadKind::Shuffle,
        };
        Ok(UpscalerHead { kind, config: config.clone() })
    }

    /// `[1, height, width, channels]` in main memory to `[1, scale height, scale width, 3]` of 0..1, where the scale is that of
    /// [`head_scale`].
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor, Error> {
        let HeadKind::Convolutions(convolutions) = &self.kind else {
            return unshuffle::shuffle(x, head_scale(&self.config));
        };
        let HeadConvolutions { device, conv_up, conv_hr, conv_last } = &**convolutions;
        let mut x = x.to(device)?;
        for conv in conv_up {
            let resize = Some([2 * x.dims()[1], 2 * x.dims()[2]]);
            let resize = Prologue::resize(resize);
            x = ops::leaky_relu(ops::conv2d_fused(&x, conv, resize, Epilogue::none())?)?;
        }
        let x = ops::leaky_relu(ops::conv2d(&x, conv_hr)?)?;
        Ok(ops::conv2d(&x, conv_last)?)
    }

    /// Enlarges the part of a tile that is kept, a few rows at a time, into the large image. `trunk` has the channels of all that
    /// the tile sees, in main memory; `size` is the height and width of all tiles together.
    pub(super) fn put(
        &self,
        trunk: &Tensor,
        tile: &UpscalerTile,
        size: [usize; 2],
        large: &mut Image,
    ) -> Result<(), Error> {
        let scale = head_scale(&self.config);
        for kept in tile.kept.bands(rows_at_once(&self.config, tile)) {
            let given = kept.grown(head_reach(&self.config), size);
            let pixels = self.forward(&cut(trunk, &given.within(&tile.seen))?)?.to(&Device::Cpu)?;
            let values = pixels.f32s()?;
            crate::stage::expect_finite(crate::Stage::Upscaling, values)?;
            copy(values, &given, &kept, scale, large);
        }
        Ok(())
    }
}

fn convolutions(params: &Params<'_>, config: &EsrganConfig) -> Result<HeadKind, Error> {
    let features = config.features;
    let up = |i: usize| params.conv3x3(&format!("conv_up{}", i + 1), features, features);
    Ok(HeadKind::Convolutions(Box::new(HeadConvolutions {
        device: params.device().clone(),
        conv_up: (0..config.doublings).map(up).collect::<Result<_, _>>()?,
        conv_hr: params.conv3x3("conv_hr", features, features)?,
        conv_last: params.conv3x3("conv_last", RGB, features)?,
    })))
}

/// Copies the pixels of a rectangle out of those of a larger one, both given before they were enlarged.
fn copy(values: &[f32], given: &PixelRect, kept: &PixelRect, scale: usize, large: &mut Image) {
    let row_values = RGB * scale * given.columns.len();
    // The padding to whole squares is cut off.
    let end = |end: usize, side: usize| (scale * end).min(side);
    let columns = scale * kept.columns.start..end(kept.columns.end, large.width);
    for y in scale * kept.rows.start..end(kept.rows.end, large.height) {
        let from = &values[(y - scale * given.rows.start) * row_values..][..row_values];
        let from = &from[RGB * (columns.start - scale * given.columns.start)..][..RGB * columns.len()];
        let to = &mut large.rgb[RGB * (y * large.width + columns.start)..][..RGB * columns.len()];
        for (to, value) in to.iter_mut().zip(from) {
            *to = (value.clamp(0.0, 1.0) * 255.0).round_ties_even() as u8;
        }
    }
}

/// How many times as high and wide the head makes what it is given.
pub(super) fn head_scale(config: &UpscalerConfig) -> usize {
    match config {
        UpscalerConfig::Esrgan(config) => 1 << config.doublings,
        _ => config.scale(),
    }
}

/// Pixels around one that the head needs.
fn head_reach(config: &UpscalerConfig) -> usize {
    match config {
        UpscalerConfig::Esrgan(_) => REACH,
        _ => 0,
    }
}

/// Channels of the head's largest tensor.
fn head_channels(config: &UpscalerConfig) -> usize {
    match config {
        UpscalerConfig::Esrgan(config) => config.features,
        _ => RGB,
    }
}

/// Rows of the trunk that are enlarged at once. An even number, so that bands begin where Winograd's tiles do.
fn rows_at_once(config: &UpscalerConfig, tile: &UpscalerTile) -> usize {
    let (scale, reach) = (head_scale(config), head_reach(config));
    let row = head_channels(config) * (tile.kept.columns.len() + 2 * reach) * scale * scale;
    ((MAX_VALUES / row.max(1)).saturating_sub(2 * reach) / 2 * 2).max(4)
}

/// Values that are in memory at once while a tile is enlarged: the trunk's, and two of the largest tensors.
pub(super) fn values(config: &UpscalerConfig, tile: &UpscalerTile) -> usize {
    let (scale, reach) = (head_scale(config), head_reach(config));
    let rows = rows_at_once(config, tile).min(tile.kept.rows.len()) + 2 * reach;
    let columns = tile.kept.columns.len() + 2 * reach;
    let largest = head_channels(config) * rows * columns * scale * scale;
    let trunk = match config {
        UpscalerConfig::Esrgan(config) => config.features,
        _ => RGB * scale * scale,
    };
    trunk * tile.seen.pixels() + 2 * largest + largest / 4
}
