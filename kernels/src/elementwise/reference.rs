//! The specifications, by index.

/// [`super::add_per_channel`], to a new vector.
#[must_use]
pub fn add_per_channel(x: &[f32], vector: &[f32], batch: usize, channels: usize) -> Vec<f32> {
    let image = x.len() / batch;
    (0..x.len()).map(|i| x[i] + vector[i / image * channels + i % channels]).collect()
}

/// [`super::concat_channels`], to a new vector.
#[must_use]
pub fn concat_channels(a: &[f32], a_channels: usize, b: &[f32], b_channels: usize) -> Vec<f32> {
    let width = a_channels + b_channels;
    let value = |i: usize| match (i / width, i % width) {
        (position, c) if c < a_channels => a[position * a_channels + c],
        (position, c) => b[position * b_channels + c - a_channels],
    };
    (0..a.len() + b.len()).map(value).collect()
}

/// [`super::prelu`], to a new vector.
#[must_use]
pub fn prelu(x: &[f32], slopes: &[f32]) -> Vec<f32> {
    let value = |(i, x): (usize, &f32)| if *x < 0.0 { x * slopes[i % slopes.len()] } else { *x };
    x.iter().enumerate().map(value).collect()
}

/// [`super::parameter_free_attention`], in `f64`, to a new vector.
#[must_use]
pub fn parameter_free_attention(a: &[f32], b: &[f32]) -> Vec<f32> {
    let pairs = a.iter().zip(b).map(|(a, b)| (f64::from(*a), f64::from(*b)));
    pairs.map(|(a, b)| ((a + b) * (1.0 / (1.0 + (-a).exp()) - 0.5)) as f32).collect()
}
