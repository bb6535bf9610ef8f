//! Rows of a table.

use crate::profile::{self, Class};
use crate::{Tensor, TensorError, WeightBytes};

/// Row `ids[i]` of a table `[rows, width]` of any number format, for each `i`: `[ids.len(), width]`.
///
/// # Errors
/// A table that is no matrix, an id past its end.
pub fn embedding(table: &Tensor, ids: &[u32]) -> Result<Tensor, TensorError> {
    const OP: &str = "embedding";
    let [rows, width] = table.rank(OP)?;
    let weight = WeightBytes::new(table.dtype(), table.bytes());
    let mut out = Tensor::scratch(&[ids.len(), width])?;
    let _timer = profile::timer(Class::Elementwise);
    for (id, out) in ids.iter().zip(out.f32s_mut()?.chunks_exact_mut(width.max(1))) {
        let row = *id as usize;
        if row >= rows {
            return Err(TensorError::shape(OP, format_args!("an id below {rows}"), row));
        }
        for (column, out) in out.iter_mut().enumerate() {
            *out = weight.get(row * width + column);
        }
    }
    Ok(out)
}
