//! The specification, in `f64`.

/// `x (1 + scale) + shift` with the vectors of each sequence.
#[must_use]
pub fn modulate(x: &[f32], scale: &[f32], shift: &[f32], batch: usize) -> Vec<f32> {
    let width = scale.len() / batch;
    let sequence = x.len() / batch;
    let value = |(i, v): (usize, &f32)| {
        let at = i / sequence * width + i % width;
        (f64::from(*v) * (1.0 + f64::from(scale[at])) + f64::from(shift[at])) as f32
    };
    x.iter().enumerate().map(value).collect()
}

/// `x + gate y` with the vector of each sequence.
#[must_use]
pub fn add_gated(x: &[f32], y: &[f32], gate: &[f32], batch: usize) -> Vec<f32> {
    let width = gate.len() / batch;
    let sequence = x.len() / batch;
    let value = |(i, (x, y)): (usize, (&f32, &f32))| {
        let at = i / sequence * width + i % width;
        (f64::from(*x) + f64::from(gate[at]) * f64::from(*y)) as f32
    };
    x.iter().zip(y).enumerate().map(value).collect()
}
