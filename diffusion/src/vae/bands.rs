//! The finest level of decoder and encoder in bands of rows, with far less memory and the same bytes.
//!
//! The largest tensors of a decoder are between the last upsampler and the image. Only two of them are whole here: the input
//! of that upsampler, until the first residual block has read it, and the tensor that the blocks pass on. The output of the
//! upsampler, which is the largest, is computed a band at a time, once for each pass of the first block over it: for the
//! mean and variance of the first norm, for those of the second, and for the result.
//!
//! In an encoder the image takes the place of the upsampler's input, and `conv_in` that of the upsampler's convolution.

use crate::Error;
use crate::blocks::BlockCount;
use crate::resnet::{BandStream, InPlace, ResnetBlock};
use latent_tensor::{BAND_UNIT, Conv2d, Linear, Prologue, Tensor, Window, ops};
use std::ops::Range;

/// Bytes of a band of the level's first tensor: small beside what is held whole, and at 256 channels a thousand of Winograd's
/// tiles, which is enough of them for sixteen threads.
pub(super) const BAND_BYTES: usize = 16 << 20;

/// The convolution in front of a level.
#[derive(Clone, Copy)]
pub(super) struct BandInput<'a> {
    pub(super) conv: &'a Conv2d,
    /// Factor by which the image is enlarged before the convolution.
    pub(super) scale: usize,
}

/// Runs the residual blocks of a level on one image `[1, height, width, channels]`, after the convolution of `entry` if there
/// is one, in bands of about `bytes` bytes.
pub(super) fn level(
    x: Tensor,
    entry: Option<BandInput<'_>>,
    resnets: &[ResnetBlock],
    bytes: usize,
    progress: &mut BlockCount<'_>,
) -> Result<Tensor, Error> {
    let x = Window::whole(x)?;
    let [height, width, channels] = x.dims();
    let (scale, channels) = entry.map_or((1, channels), |entry| (entry.scale, entry.conv.outputs()));
    let dims = [scale * height, scale * width, channels];
    let count = rows_at_once(dims, bytes);
    let (mut stream, rest) = match (entry, resnets) {
        (Some(BandInput { conv, .. }), [first, rest @ ..]) => {
            let mut stream = UpsampledBands::new(x, conv, dims, first.outputs(), count)?;
            first.forward_in_bands(&mut stream, count, progress)?;
            (InPlace(stream.result), rest)
        }
        _ => (InPlace(x), resnets),
    };
    for resnet in rest {
        resnet.forward_in_bands(&mut stream, count, progress)?;
    }
    stream.into_tensor()
}

/// Rows of a band of about `bytes` bytes, of an image `[height, width, channels]`.
fn rows_at_once(dims: [usize; 3], bytes: usize) -> usize {
    let row = size_of::<f32>() * dims[1] * dims[2];
    (bytes / row.max(1) / BAND_UNIT).max(1) * BAND_UNIT
}

/// Number of blocks that [`level`] counts for an input of some height and width, enlarged by `scale` to `channels`.
pub(super) fn blocks(
    [height, width, channels]: [usize; 3],
    scale: usize,
    resnets: usize,
    bytes: usize,
) -> usize {
    let count = rows_at_once([scale * height, scale * width, channels], bytes);
    resnets * ResnetBlock::passes_in_bands() * (scale * height).div_ceil(count)
}

/// The output of the convolution in front of a level, computed when its rows are asked for.
struct UpsampledBands<'a> {
    small: Window,
    conv: &'a Conv2d,
    /// The last rows that were computed.
    large: Window,
    result: Window,
}

impl<'a> UpsampledBands<'a> {
    /// `outputs`: channels of the result. Rows are asked for about `count` at a time.
    fn new(
        small: Window,
        conv: &'a Conv2d,
        dims: [usize; 3],
        outputs: usize,
        count: usize,
    ) -> Result<UpsampledBands<'a>, Error> {
        let [height, width, _] = dims;
        // What stays longest is allocated first, so that the memory above it is freed in one piece.
        let result = Window::new([height, width, outputs], height)?;
        Ok(UpsampledBands { small, conv, large: Window::new(dims, count + 2 * BAND_UNIT)?, result })
    }
}

impl BandStream for UpsampledBands<'_> {
    fn dims(&self) -> [usize; 3] {
        self.large.dims()
    }

    fn input(&mut self, rows: Range<usize>) -> Result<&Window, Error> {
        if rows.start < self.large.rows().start {
            self.large.clear();
        }
        self.large.forget_above(rows.start);
        if rows.end > self.large.rows().end {
            let [height, width, _] = self.large.dims();
            let end = height.min(rows.end.next_multiple_of(BAND_UNIT));
            let resize = Prologue::resize(Some([height, width]));
            ops::conv2d_append(&self.small, self.conv, resize, end, &mut self.large)?;
        }
        Ok(&self.large)
    }

    fn result(&mut self, rows: Range<usize>, shortcut: Option<&Linear>) -> Result<&mut Window, Error> {
        match shortcut {
            Some(layer) => ops::linear_append(&self.large, layer, rows.end, &mut self.result)?,
            None => self.result.append(self.large.values(rows)?)?,
        }
        Ok(&mut self.result)
    }
}

/// Calls `each` with each image of a batch, one after the other.
pub(super) fn one_by_one(
    x: &Tensor,
    mut each: impl FnMut(&Tensor) -> Result<Tensor, Error>,
) -> Result<Tensor, Error> {
    let &[batch, height, width, channels] = x.dims() else { return each(x) };
    if batch < 2 {
        return each(x);
    }
    let mut values = Vec::new();
    let mut dims = Vec::new();
    for image in x.f32s()?.chunks_exact((height * width * channels).max(1)) {
        let result = each(&Tensor::from_f32(&[1, height, width, channels], image)?)?;
        values.extend_from_slice(result.f32s()?);
        dims = [&[batch], &result.dims()[1..]].concat();
    }
    Ok(Tensor::from_f32(&dims, &values)?)
}
