//! Sabour, Fidler, Kreis, "Align your steps: optimizing sampling schedules in diffusion models", 2024: levels that were
//! found by optimisation for 10 steps of a model. Other numbers of steps are interpolated in log sigma, as the authors do.

use super::ramp;
use crate::schedule::NoiseModel;

const SD1: [f64; 11] = [14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029];
const SDXL: [f64; 11] = [14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113, 0.029];

/// The levels for Stable Diffusion 1.
pub(in crate::schedule) fn align_your_steps(_: &NoiseModel, steps: usize, _: Option<f64>) -> Vec<f64> {
    interpolate(&SD1, steps)
}

/// The levels for SDXL.
pub(in crate::schedule) fn align_your_steps_xl(_: &NoiseModel, steps: usize, _: Option<f64>) -> Vec<f64> {
    interpolate(&SDXL, steps)
}

fn interpolate(levels: &[f64], steps: usize) -> Vec<f64> {
    let last = levels.len() - 1;
    let at = |place: f64| {
        let low = (place as usize).min(last - 1);
        let part = place - low as f64;
        ((1.0 - part) * levels[low].ln() + part * levels[low + 1].ln()).exp()
    };
    ramp(0.0, last as f64, steps).map(at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eleven_levels_are_those_of_the_paper_and_others_lie_between() {
        let training = NoiseModel::scaled_linear();
        for (got, want) in align_your_steps(&training, 11, None).iter().zip(SD1) {
            assert!((got - want).abs() < 1e-12);
        }
        let fine = align_your_steps_xl(&training, 21, None);
        for i in 0..11 {
            assert!((fine[2 * i] - SDXL[i]).abs() < 1e-9);
        }
        assert!((fine[1] - (SDXL[0] * SDXL[1]).sqrt()).abs() < 1e-9);
    }
}
