//! Two passes over the picture: sums for each channel, then one multiply-add for each value.
//!
//! A group may be a single channel or forty, so vectors run along all channels and groups are formed from the channels'
//! sums. To keep the digits of data far from zero, sums are of the distance to the picture's first pixel (Chan, Golub
//! and LeVeque, Algorithms for Computing the Sample Variance, 1983, on shifted data): `f32` within a piece of the
//! picture, `f64` between pieces. Pieces have a fixed size, so the result does not depend on the number of threads.

use super::{GroupNorm, Statistics};
use crate::conv2d::Norm;
use crate::parallel;
use crate::simd::{Isa, Simd, SimdOp, silu};

/// Vectors of channels that are summed at once, in registers.
const VECTORS: usize = 4;

pub(super) fn statistics(isa: Isa, shape: GroupNorm, x: &[f32], weight: &[f32]) -> Statistics {
    let GroupNorm { batch, positions, channels, .. } = shape;
    let picture = positions * channels;
    let piece = parallel::grain(channels);
    let pieces = picture.div_ceil(piece);
    // For each piece of each picture: sums, then sums of squares, for each channel.
    let mut sums = vec![0.0; batch * pieces * 2 * channels];
    parallel::chunks_mut(&mut sums, 2 * channels, |index, sums| {
        let (n, i) = (index / pieces, index % pieces);
        let x = &x[n * picture..][..picture];
        let (sum, square) = sums.split_at_mut(channels);
        isa.run(Sums { first: &x[..channels], x: &x[i * piece..picture.min((i + 1) * piece)], sum, square });
    });
    let mut statistics = Statistics { mean: vec![0.0; batch * channels], scale: vec![0.0; batch * channels] };
    let each = statistics.mean.chunks_exact_mut(channels).zip(statistics.scale.chunks_exact_mut(channels));
    for (n, (mean, scale)) in each.enumerate() {
        let sums = &sums[n * pieces * 2 * channels..][..pieces * 2 * channels];
        combine(shape, &x[n * picture..][..channels], sums, weight, mean, scale);
    }
    statistics
}

pub(super) fn apply(isa: Isa, x: &[f32], norm: &Norm<'_>, out: &mut [f32]) {
    let channels = norm.bias.len();
    let picture = x.len() / (norm.mean.len() / channels);
    let piece = parallel::grain(channels);
    for (n, out) in out.chunks_exact_mut(picture.max(1)).enumerate() {
        let x = &x[n * picture..][..picture];
        let (mean, scale) = (&norm.mean[n * channels..][..channels], &norm.scale[n * channels..][..channels]);
        parallel::chunks_mut(out, piece, |i, out| {
            isa.run(Apply {
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

/// Mean and variance of each group from its channels' sums in all pieces, for each channel; the scale includes the weight.
fn combine(
    shape: GroupNorm,
    first: &[f32],
    sums: &[f32],
    weight: &[f32],
    means: &mut [f32],
    scale: &mut [f32],
) {
    let GroupNorm { positions, channels, groups, eps, .. } = shape;
    let width = channels / groups;
    let total = |c: usize| sums.chunks_exact(2 * channels).map(|piece| f64::from(piece[c])).sum::<f64>();
    for group in 0..groups {
        let range = group * width..(group + 1) * width;
        let count = positions as f64;
        // (value of the first pixel, sum of distances to it, sum of their squares)
        let moments: Vec<(f64, f64, f64)> =
            range.clone().map(|c| (f64::from(first[c]), total(c), total(channels + c))).collect();
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

/// Sums over pixels, for each channel, of the distance to `first` and of its square.
struct Sums<'a> {
    first: &'a [f32],
    x: &'a [f32],
    sum: &'a mut [f32],
    square: &'a mut [f32],
}

impl SimdOp for Sums<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let channels = self.first.len();
        let block = VECTORS * S::LANES;
        let whole = channels / block * block;
        for start in (0..whole).step_by(block) {
            let at = |v: usize| start + v * S::LANES;
            let first: [S::F32; VECTORS] = std::array::from_fn(|v| s.load(&self.first[at(v)..]));
            let mut sum = [s.splat(0.0); VECTORS];
            let mut square = [s.splat(0.0); VECTORS];
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
            self.sum[c] = distances().sum();
            self.square[c] = distances().map(|d| d * d).sum();
        }
    }
}

/// `(x - mean) * scale + bias` for each pixel, then SiLU if asked for. The mean is taken off first: where a group hardly
/// varies, the scale is large, and would enlarge the rounding of a single shift.
struct Apply<'a> {
    x: &'a [f32],
    mean: &'a [f32],
    scale: &'a [f32],
    bias: &'a [f32],
    silu: bool,
    out: &'a mut [f32],
}

impl SimdOp for Apply<'_> {
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
