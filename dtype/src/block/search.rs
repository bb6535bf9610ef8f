//! Searches for the scales of a block: those with which its values come back with the least error.
//!
//! A scale that maps the largest value to the largest number wastes the numbers between the others, and rounding decides by
//! chance which scale is best. So several are tried; for the numbers that each gives, the best scale follows in closed form
//! (least squares), and the one whose error is least is taken. All values count alike.

/// The values that are tried beside the plain scale, as parts of a number.
const STEP: f32 = 0.1;

/// The nearest whole number within limits, ties to even. Adding and subtracting a number whose unit is 1 rounds without a
/// call into the system's library, which older processors need.
#[inline(always)]
fn nearest(value: f32, lowest: f32, highest: f32) -> f32 {
    const UNITS: f32 = 12_582_912.0;
    (value.clamp(lowest, highest) + UNITS) - UNITS
}

/// The scale with which `scale * number` is nearest to the values, the numbers from `lowest` (below zero) to `highest`. It is
/// negative where the value of the largest magnitude is positive, as there is one number more below zero.
pub(super) fn signed(values: &[f32], lowest: f32, highest: f32) -> f32 {
    let extreme = largest_magnitude(values);
    let (mut best, mut most) = (extreme / lowest, 0.0);
    for step in -6i8..=12 {
        let inverse = (lowest + STEP * f32::from(step)) / extreme;
        let (mut products, mut squares) = (0.0, 0.0);
        for value in values {
            let number = nearest(value * inverse, lowest, highest);
            products += value * number;
            squares += number * number;
        }
        // The error is the sum of the values' squares less this.
        let gain = products * products / squares;
        if gain > most {
            (best, most) = (products / squares, gain);
        }
    }
    if best.is_finite() { best } else { 0.0 }
}

/// Scale and offset with which `scale * number + offset` is nearest to the values, the numbers from 0 to `highest`. With
/// `below` the offset is not above zero.
pub(super) fn affine(values: &[f32], highest: f32, below: bool) -> (f32, f32) {
    let (mut low, mut high) = (values[0], values[0]);
    for value in values {
        (low, high) = (low.min(*value), high.max(*value));
    }
    if below {
        low = low.min(0.0);
    }
    if high <= low {
        return (0.0, low);
    }
    let plain = ((high - low) / highest, low);
    let (mut best, mut least) = (plain, affine_error(values, plain, highest));
    for step in -5i8..=12 {
        let inverse = (highest - STEP * f32::from(step)) / (high - low);
        let fitted = fit_line(values, low, inverse, highest, below);
        let error = affine_error(values, fitted, highest);
        if error < least {
            (best, least) = (fitted, error);
        }
    }
    best
}

/// The line that is nearest to the values, at the numbers that an offset and an inverse scale give them.
fn fit_line(values: &[f32], low: f32, inverse: f32, highest: f32, below: bool) -> (f32, f32) {
    let (mut numbers, mut squares, mut sum, mut products) = (0.0, 0.0, 0.0, 0.0);
    for value in values {
        let number = nearest((value - low) * inverse, 0.0, highest);
        numbers += number;
        squares += number * number;
        sum += value;
        products += value * number;
    }
    let count = values.len() as f32;
    let determinant = count * squares - numbers * numbers;
    let scale = (count * products - numbers * sum) / determinant;
    let offset = (squares * sum - numbers * products) / determinant;
    if below && offset > 0.0 { (products / squares, 0.0) } else { (scale, offset) }
}

/// The sum of the squared errors of values on a line; infinite or NaN for one that is not usable.
pub(super) fn affine_error(values: &[f32], (scale, offset): (f32, f32), highest: f32) -> f32 {
    let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
    let mut error = 0.0;
    for value in values {
        let number = nearest((value - offset) * inverse, 0.0, highest);
        let off = scale * number + offset - value;
        error += off * off;
    }
    error
}

/// The sum of the squared errors of values in units of a scale.
pub(super) fn signed_error(values: &[f32], scale: f32, lowest: f32, highest: f32) -> f32 {
    let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
    let mut error = 0.0;
    for value in values {
        let number = nearest(value * inverse, lowest, highest);
        let off = scale * number - value;
        error += off * off;
    }
    error
}

/// The value of the largest magnitude, with its sign.
pub(super) fn largest_magnitude(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |largest: f32, value| if value.abs() > largest.abs() { *value } else { largest })
}

/// The number of a value in units of a scale: the nearest one in these limits; 0 where there is no scale.
pub(super) fn number(value: f32, scale: f32, lowest: f32, highest: f32) -> i8 {
    if scale == 0.0 { 0 } else { nearest(value / scale, lowest, highest) as i8 }
}

/// Of the whole numbers around `near` and within the limits, the one whose error is least.
pub(super) fn best_near(near: f32, [lowest, highest]: [f32; 2], error: impl Fn(f32) -> f32) -> f32 {
    let near = nearest(near, lowest, highest);
    let (mut best, mut least) = (near, error(near));
    for other in [near - 1.0, near + 1.0] {
        if (lowest..=highest).contains(&other) {
            let other_error = error(other);
            if other_error < least {
                (best, least) = (other, other_error);
            }
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A fixed sequence in -1..1.
    fn values() -> Vec<f32> {
        (0..32).map(|i| 2.0 * ((i as f32 * 0.618_034) % 1.0).powi(2) - 1.0).collect()
    }

    #[test]
    fn a_searched_scale_is_better_than_the_plain_one() {
        let values = values();
        let plain = largest_magnitude(&values) / -8.0;
        let searched = signed(&values, -8.0, 7.0);
        assert!(signed_error(&values, searched, -8.0, 7.0) < signed_error(&values, plain, -8.0, 7.0));
        let (scale, offset) = affine(&values, 3.0, false);
        assert!(affine_error(&values, (scale, offset), 3.0) < affine_error(&values, (2.0 / 3.0, -1.0), 3.0));
    }

    #[test]
    fn zeros_have_no_scale() {
        assert_eq!(signed(&[0.0; 16], -8.0, 7.0), 0.0);
        assert_eq!(affine(&[0.0; 16], 15.0, true), (0.0, 0.0));
        assert_eq!(affine(&[0.5; 16], 15.0, false), (0.0, 0.5));
        assert_eq!(number(1.0, 0.0, -8.0, 7.0), 0);
    }

    #[test]
    fn an_offset_stays_below_zero() {
        let (scale, offset) = affine(&[0.5, 0.6, 0.75, 1.0], 15.0, true);
        assert!(scale > 0.0 && offset <= 0.0);
    }
}
