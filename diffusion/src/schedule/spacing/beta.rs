//! Lee et al., "Beta sampling is all you need: efficient image generation strategy for diffusion models using stepwise
//! spectral analysis", 2024: most changes happen in the first and in the last steps, so levels follow the quantiles of a
//! beta distribution that has its weight at both ends.

use super::ramp;
use crate::schedule::NoiseModel;

/// Both parameters of the distribution, as the paper and all programs have them.
const SHAPE: f64 = 0.6;
/// Halvings of an interval until it is as fine as an f64 near 1.
const HALVINGS: usize = 60;
/// Terms of the continued fraction, which gives 15 digits after half of them.
const TERMS: usize = 40;

/// Sigmas as the quantiles of evenly spaced numbers.
pub(in crate::schedule) fn beta(noise: &NoiseModel, steps: usize, _: Option<f64>) -> Vec<f64> {
    let (min, max) = noise.sigma_range();
    ramp(1.0, 0.0, steps).map(|part| min + (max - min) * quantile(part)).collect()
}

/// The number below which a part `p` of the distribution lies. It is symmetric about 1/2.
fn quantile(p: f64) -> f64 {
    if p > 0.5 {
        return 1.0 - quantile(1.0 - p);
    }
    if p <= 0.0 {
        return 0.0;
    }
    // Half of the distribution is below 1/2, which makes up for the factor that the integral lacks.
    let half = lower_integral(0.5);
    let (mut low, mut high) = (0.0, 0.5);
    for _ in 0..HALVINGS {
        let middle = 0.5 * (low + high);
        if lower_integral(middle) < 2.0 * p * half { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}

/// The integral of (x (1 - x))^(a - 1) from 0 to `x`, at most 1/2, by the continued fraction of the incomplete beta function
/// (Abramowitz and Stegun, 26.5.8), evaluated from its end.
fn lower_integral(x: f64) -> f64 {
    let a = SHAPE;
    let mut fraction = 1.0;
    for term in (1..=TERMS).rev() {
        let m = (term / 2) as f64;
        let d = if term % 2 == 0 {
            m * (a - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m))
        } else {
            -(a + m) * (2.0 * a + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0))
        };
        fraction = 1.0 + d / fraction;
    }
    (x * (1.0 - x)).powf(a) / (a * fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The integral by the midpoint rule in an angle, x = sin^2, in which there is no pole.
    fn by_angle(x: f64) -> f64 {
        const PARTS: usize = 200_000;
        let end = x.sqrt().asin();
        let width = end / PARTS as f64;
        let value = |i: usize| {
            let angle = (i as f64 + 0.5) * width;
            2.0 * (angle.sin() * angle.cos()).powf(2.0 * SHAPE - 1.0)
        };
        (0..PARTS).map(value).sum::<f64>() * width
    }

    #[test]
    fn the_continued_fraction_is_the_integral() {
        for x in [0.01, 0.1, 0.3, 0.5] {
            let (got, want) = (lower_integral(x), by_angle(x));
            assert!((got / want - 1.0).abs() < 1e-6, "{x}: {got} {want}");
        }
    }

    #[test]
    fn quantiles_invert_the_distribution_and_mirror() {
        assert_eq!((quantile(0.0), quantile(1.0)), (0.0, 1.0));
        assert!((quantile(0.5) - 0.5).abs() < 1e-12);
        for p in [0.01, 0.2, 0.4] {
            let x = quantile(p);
            assert!((lower_integral(x) / (2.0 * lower_integral(0.5)) - p).abs() < 1e-12, "{p}");
            assert!((quantile(1.0 - p) - (1.0 - x)).abs() < 1e-12, "{p}");
        }
    }
}
