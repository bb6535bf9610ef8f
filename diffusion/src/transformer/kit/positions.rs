//! Positions of tokens for rotary embeddings.

/// The positions of an image's patches, row by row: `at(row, column)` of a grid `[rows, columns]`.
pub(crate) fn grid<const AXES: usize>(
    [rows, columns]: [usize; 2],
    at: impl Fn(f64, f64) -> [f64; AXES],
) -> impl Iterator<Item = [f64; AXES]> {
    (0..rows * columns).map(move |i| at((i / columns) as f64, (i % columns) as f64))
}
