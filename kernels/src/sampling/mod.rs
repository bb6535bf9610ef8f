//! What samplers compute on latents: weighted sums, parts that are kept, and the search for NaN. All are bound by memory.

#[cfg(feature = "gpu")]
pub mod gpu;
#[cfg(test)]
mod tests;

/// The sum of some terms, each a factor and as many values as `out` has. Products and their sum are `f64`, and are rounded once.
///
/// # Panics
/// If the lengths differ.
pub fn linear_combination(terms: &[(f64, &[f32])], out: &mut [f32]) {
    assert_term_lengths(terms.iter().map(|(_, values)| values.len()), out.len());
    for (i, out) in out.iter_mut().enumerate() {
        *out = terms.iter().map(|(factor, values)| factor * f64::from(values[i])).sum::<f64>() as f32;
    }
}

/// `x` where the mask is not 0, and `other` where it is; written into `x`.
///
/// # Panics
/// If the lengths differ.
pub fn select(mask: &[f32], x: &mut [f32], other: &[f32]) {
    assert_term_lengths([mask.len(), other.len()], x.len());
    for ((x, mask), other) in x.iter_mut().zip(mask).zip(other) {
        if *mask == 0.0 {
            *x = *other;
        }
    }
}

/// Whether no value is NaN or infinite.
#[must_use]
pub fn all_finite(x: &[f32]) -> bool {
    x.iter().all(|value| value.is_finite())
}

fn assert_term_lengths(lengths: impl IntoIterator<Item = usize>, len: usize) {
    for each in lengths {
        assert_eq!(each, len, "values of different lengths");
    }
}
