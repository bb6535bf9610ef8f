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
