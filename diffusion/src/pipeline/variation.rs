//! Variation seeds: noise between that of two seeds, as the webui makes it.

use super::Settings;
use crate::latents::Latents;

/// Directions whose mean cosine is above this are mixed linearly.
const NEARLY_SAME: f64 = 0.9995;

/// Mixes the noise of each image with that of its variation seed.
pub(super) fn mix(noise: &mut Latents, settings: &Settings) {
    let (each, rows) = (noise.channels * noise.height * noise.width, noise.height);
    let strength = settings.variation_strength;
    for (values, seed) in noise.values.chunks_exact_mut(each.max(1)).zip(&settings.variation_seeds) {
        let mut other = vec![0.0; each];
        settings.rng.generator(*seed).normal(&mut other);
        spherical(values, &other, (rows, noise.width), strength);
    }
}

/// From `low` to `high` by a part, along a circle for each column of each channel `[rows, columns]`, as the webui does it: then
/// the noise stays as strong as it is.
fn spherical(low: &mut [f32], high: &[f32], (rows, columns): (usize, usize), part: f64) {
    let channels = low.len() / (rows * columns).max(1);
    let lines = (0..channels).flat_map(|channel| {
        (0..columns).map(move |column| (0..rows).map(move |row| (channel * rows + row) * columns + column))
    });
    let norm = |values: &[f32], line: &mut dyn Iterator<Item = usize>| {
        line.map(|at| f64::from(values[at]).powi(2)).sum::<f64>().sqrt()
    };
    let cosines: Vec<f64> = lines
        .clone()
        .map(|line| {
            let product: f64 = line.clone().map(|at| f64::from(low[at]) * f64::from(high[at])).sum();
            product / (norm(low, &mut line.clone()) * norm(high, &mut line.clone())).max(f64::MIN_POSITIVE)
        })
        .collect();
    let is_same = cosines.iter().sum::<f64>() / cosines.len().max(1) as f64 > NEARLY_SAME;
    for (line, cosine) in lines.zip(cosines) {
        let (own, other) = if is_same {
            (part, 1.0 - part)
        } else {
            let angle = cosine.clamp(-1.0, 1.0).acos();
            (((1.0 - part) * angle).sin() / angle.sin(), (part * angle).sin() / angle.sin())
        };
        for at in line {
            low[at] = (own * f64::from(low[at]) + other * f64::from(high[at])) as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two channels of three rows and two columns, worked out with numpy.
    #[test]
    fn noise_goes_along_a_circle_in_each_column() {
        let low = [1.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.5, -1.0, 1.5, 0.25, -0.5, 2.0];
        let high = [0.0, 1.0, 3.0, 0.0, 0.0, 0.0, -1.0, 1.0, 0.5, 0.75, 2.0, -0.5];
        let at = |part: f64| {
            let mut values = low.to_vec();
            spherical(&mut values, &high, (3, 2), part);
            values
        };
        let near = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6);
        assert!(near(&at(0.0), &low) && near(&at(1.0), &high));
        let half = at(0.5);
        // Columns at right angles: both by the sine of 45 degrees.
        let root = 0.5_f32.sqrt();
        assert!(near(&half[..6], &[root, root, 3.0 * root, 2.0 * root, 0.0, 0.0]), "{half:?}");
    }

    #[test]
    fn noise_that_is_the_same_stays() {
        let low = [1.0, 2.0, 3.0, 4.0];
        let mut values = low.to_vec();
        spherical(&mut values, &low, (2, 2), 0.3);
        assert!(values.iter().zip(low).all(|(a, b)| (a - b).abs() < 1e-6), "{values:?}");
    }
}
