//! Rows of a table.

use crate::error::{ShapeRequirement, TensorOp};
use crate::profile::{self, OpClass};
use crate::{Tensor, TensorError, Weight};

/// A table of vectors (`torch.nn.Embedding`).
#[derive(Clone, Debug)]
pub struct Embedding {
    weight: Weight,
    rows: usize,
    width: usize,
}

impl Embedding {
    /// A table `[rows, width]`, which is not copied.
    ///
    /// # Errors
    /// A weight of another length.
    pub fn new(weight: impl Into<Weight>, [rows, width]: [usize; 2]) -> Result<Embedding, TensorError> {
        let weight = weight.into();
        let values = weight.view().len();
        if width == 0 || values != rows * width {
            let expected = ShapeRequirement::Parameter { name: "table", dims: vec![rows, width] };
            return Err(TensorError::shape(TensorOp::Embedding, expected, values));
        }
        Ok(Embedding { weight, rows, width })
    }

    /// Number of values in a row.
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }
}

/// Row `ids[i]` of a table, for each `i`: `[ids.len(), width]`.
///
/// # Errors
/// An id past the end of the table.
pub fn embedding(table: &Embedding, ids: &[u32]) -> Result<Tensor, TensorError> {
    let &Embedding { rows, width, .. } = table;
    let weight = table.weight.view();
    let mut out = Tensor::scratch(&[ids.len(), width])?;
    let _timer = profile::timer(OpClass::Elementwise);
    for (id, out) in ids.iter().zip(out.f32s_mut()?.chunks_exact_mut(width)) {
        let row = *id as usize;
        if row >= rows {
            return Err(TensorError::shape(TensorOp::Embedding, format_args!("an id below {rows}"), row));
        }
        for (column, out) in out.iter_mut().enumerate() {
            *out = weight.get(row * width + column);
        }
    }
    Ok(out)
}
