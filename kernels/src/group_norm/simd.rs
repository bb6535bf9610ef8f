//! Two passes over the image: sums for each channel, then one multiply-add for each value.
//!
//! A group may be a single channel or forty, so vectors run along all channels and groups are formed from the channels'
//! sums. To keep the digits of data far from zero, sums are of the distance to the image's first pixel (Chan, Golub
//! and LeVeque, Algorithms for Computing the Sample Variance, 1983, on shifted data): `f32` within a piece of the
//! image, `f64` between pieces. Pieces have a fixed size, so the result does not depend on the number of threads, nor on
//! the runs of pixels in which an image arrives: a piece continues where the previous run ended.

use super::{GroupNormParams, Norm, Statistics};
use crate::parallel;
use crate::simd::{Isa, Simd, SimdOp, silu};

/// Pieces of each image whose sums are kept at a time: 1 MB of them at 512 channels.
const PIECES: usize = 256;
/// Vectors of channels that are summed at once, in registers.
const VECTORS: usize = 4;

/// Sums of the pixels seen so far, for each channel of each image.
#[derive(Clone, Debug)]
pub(super) struct PixelSums {
    /// Pixels of each image seen so far.
    pub(super) seen: usize,
    /// Each image's first pixel `[batch][channels]`.
    first: Vec<f32>,
    /// Sums, then sums of squares, of the piece that the next pixel belongs to, `[batch][2][channels]`.
    open: Vec<f32>,
    /// The same of all pieces before it.
    totals: Vec<f64>,
}

impl PixelSums {
    pub(super) fn new(GroupNormParams { batch, channels, .. }: GroupNormParams) -> PixelSums {
        let open = vec![0.0; batch * 2 * channels];
        PixelSums { seen: 0, first: vec![0.0; batch * channels], totals: vec![0.0; open.len()], open }
    }

    /// Adds the next pixels of each image, `[batch][pixels][channels]`.
    pub(super) fn add(&mut self, isa: Isa, shape: GroupNormParams, x: &[f32]) {
        let GroupNormParams { batch, channels, .. } = shape;
        if x.is_empty() {
            return;
        }
        let line = x.len() / batch;
        let run = PIECES * parallel::grain(channels);
        for start in (0..line).step_by(run) {
            let values = start..line.min(start + run);
            self.add_run(isa, shape, &|n| &x[n * line..][values.clone()]);
        }
    }

    /// Adds a run of pixels of each image; there is at least one.
    fn add_run<'a>(&mut self, isa: Isa, shape: GroupNormParams, x: &(dyn Fn(usize) -> &'a [f32] + Sync)) {
        let GroupNormParams { batch, channels, .. } = shape;
        let line = x(0).len();
        if self.seen == 0 {
            let first = self.first.chunks_exact_mut(channels).enumerate();
            first.for_each(|(n, first)| first.copy_from_slice(&x(n)[..channels]));
        }
        // Pieces are counted from the image's first pixel; the first of these may be half done.
        let piece = parallel::grain(channels);
        let done = self.seen * channels % piece;
        let pieces = (done + line).div_ceil(piece);
        let pair = 2 * channels;
        let mut sums = vec![0.0; batch * pieces * pair];
        for (sums, open) in sums.chunks_exact_mut(pieces * pair).zip(self.open.chunks_exact(pair)) {
            sums[..pair].copy_from_slice(open);
        }
        parallel::chunks_mut(&mut sums, pair, |index, sums| {
            let (n, i) = (index / pieces, index % pieces);
            let x = &x(n)[(i * piece).saturating_sub(done)..line.min((i + 1) * piece - done)];
            let (sum, square) = sums.split_at_mut(channels);
            isa.run(SumPixels { first: &self.first[n * channels..][..channels], x, sum, square });
        });
        self.seen += line / channels;
        self.open.fill(0.0);
        let whole = (done + line) / piece;
        for (n, sums) in sums.chunks_exact(pieces * pair).enumerate() {
            let (closed, open) = sums.split_at(whole * pair);
            let totals = &mut self.totals[n * pair..][..pair];
            for sums in closed.chunks_exact(pair) {
                totals.iter_mut().zip(sums).for_each(|(total, sum)| *total += f64::from(*sum));
            }
            self.open[n * pair..][..open.len()].copy_from_slice(open);
        }
    }

    /// Mean and scale of each channel of each image.
    pub(super) fn statistics(&self, shape: GroupNormParams, weight: &[f32]) -> Statistics {
        let channels = shape.channels;
        let mut statistics =
            Statistics { mean: vec![0.0; self.first.len()], scale: vec![0.0; self.first.len()] };
        let each =
            statistics.mean.chunks_exact_mut(channels).zip(statistics.scale.chunks_exact_mut(channels));
        for (n, (mean, scale)) in each.enumerate() {
            // The last piece counts even if it is not whole.
            let totals = self.totals[n * 2 * channels..].iter().zip(&self.open[n * 2 * channels..]);
            let totals: Vec<f64> =
                totals.take(2 * channels).map(|(total, open)| total + f64::from(*open)).collect();
            combine(shape, &self.first[n * channels..][..channels], &totals, weight, mean, scale);
        }
        statistics
    }
}

pub(super) fn apply(isa: Isa, x: &[f32], norm: &Norm<'_>, out: &mut [f32]) {
    let channels = norm.bias.len();
    let image = x.len() / (norm.mean.len() / channels);
    let piece = parallel::grain(channels);
    for (n, out) in out.chunks_exact_mut(image.max(1)).enumerate() {
        let x = &x[n * image..][..image];
        let (mean, scale) = (&norm.mean[n * channels..][..channels], &norm.scale[n * channels..][..channels]);
        parallel::chunks_mut(out, piece, |i, out| {
            isa.run(ApplyNorm {
                x: &x[i * piece..][..out.len()],
                mean,
                scale,
                bias: norm.bias,
                silu: norm.silu,
                out,
            });
        });
    }
}

/// Mean and variance of each group from its channels' sums and sums of squares, for each channel; the scale includes the
/// weight.
fn combine(
    shape: GroupNormParams,
    first: &[f32],
    totals: &[f64],
    weight: &[f32],
    means: &mut [f32],
    scale: &mut [f32],
) {
    let GroupNormParams { positions, channels, groups, eps, .. } = shape;
    let width = channels / groups;
    for group in 0..groups {
        let range = group * width..(group + 1) * width;
        let count = positions as f64;
        // (value of the first pixel, sum of distances to it, sum of their squares)
        let moments: Vec<(f64, f64, f64)> =
            range.clone().map(|c| (f64::from(first[c]), totals[c], totals[channels + c])).collect();
        let all = count * width as f64;
        let mean = moments.iter().map(|(first, sum, _)| first * count + sum).sum::<f64>() / all;
        let squares = moments.iter().map(|(first, sum, square)| {
            let to_mean = mean - first;
            square - 2.0 * to_mean * sum + count * to_mean * to_mean
        });
        let variance = (squares.sum::<f64>() / all).max(0.0);
        let inverse = 1.0 / (variance + f64::from(eps)).sqrt();
        for c in range {
            means[c] = mean as f32;
            scale[c] = (f64::from(weight[c]) * inverse) as f32;
        }
    }
}

/// Adds up pixels, for each channel: the distance to `first`, and its square.
struct SumPixels<'a> {
    first: &'a [f32],
    x: &'a [f32],
    sum: &'a mut [f32],
    square: &'a mut [f32],
}

impl SimdOp for SumPixels<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let channels = self.first.len();
        let block = VECTORS * S::LANES;
        let whole = channels / block * block;
        for start in (0..whole).step_by(block) {
            let at = |v: usize| start + v * S::LANES;
            let first: [S::F32; VECTORS] = std::array::from_fn(|v| s.load(&self.first[at(v)..]));
            let mut sum: [S::F32; VECTORS] = std::array::from_fn(|v| s.load(&self.sum[at(v)..]));
            let mut square: [S::F32; VECTORS] = std::array::from_fn(|v| s.load(&self.square[at(v)..]));
            for pixel in self.x.chunks_exact(channels) {
                let pixel = &pixel[start..start + block];
                for v in 0..VECTORS {
                    let distance = s.sub(s.load(&pixel[v * S::LANES..]), first[v]);
                    sum[v] = s.add(sum[v], distance);
                    square[v] = s.mul_add(distance, distance, square[v]);
                }
            }
            for v in 0..VECTORS {
                s.store(&mut self.sum[at(v)..], sum[v]);
                s.store(&mut self.square[at(v)..], square[v]);
            }
        }
        for c in whole..channels {
            let distances = || self.x.chunks_exact(channels).map(|pixel| pixel[c] - self.first[c]);
            self.sum[c] = distances().fold(self.sum[c], |sum, d| sum + d);
            self.square[c] = distances().fold(self.square[c], |sum, d| sum + d * d);
        }
    }
}

/// `(x - mean) * scale + bias` for each pixel, then SiLU if asked for. The mean is subtracted first: where a group hardly
/// varies, the scale is large, and would amplify the rounding of a single shift.
struct ApplyNorm<'a> {
    x: &'a [f32],
    mean: &'a [f32],
    scale: &'a [f32],
    bias: &'a [f32],
    silu: bool,
    out: &'a mut [f32],
}

impl SimdOp for ApplyNorm<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let channels = self.scale.len();
        let finish = |y: S::F32| if self.silu { silu(s, y) } else { y };
        let whole = channels / S::LANES * S::LANES;
        for (x, out) in self.x.chunks_exact(channels).zip(self.out.chunks_exact_mut(channels)) {
            for at in (0..whole).step_by(S::LANES) {
                let load = |v: &[f32]| s.load(&v[at..]);
                let y = s.mul_add(s.sub(load(x), load(self.mean)), load(self.scale), load(self.bias));
                s.store(&mut out[at..], finish(y));
            }
            if whole < channels {
                let load = |v: &[f32]| s.load_partial(&v[whole..], 0.0);
                let y = s.mul_add(s.sub(load(x), load(self.mean)), load(self.scale), load(self.bias));
                s.store_partial(&mut out[whole..], finish(y));
            }
        }
    }
}
