//! Matrices of LoRA files: whole ones, and products of two or three factors.

use super::roles::FactorRole;
use super::wrong;
use crate::Error;
use crate::params::layout::transpose;
use latent_kernels::parallel;
use latent_loader::Checkpoint;
use std::collections::BTreeMap;
use std::ops::Range;

/// Maximum rank: beyond it, intermediate results would take more memory than the weight itself.
pub(crate) const MAX_RANK: usize = 4096;

/// A matrix in the file, or a product of matrices there.
#[derive(Debug)]
pub(super) struct FactorMatrix {
    kind: MatrixSource,
    /// Rows and columns.
    dims: [usize; 2],
}

#[derive(Debug)]
enum MatrixSource {
    Whole(String),
    Product { left: String, core: Option<String>, right: String, rank: usize },
}

impl FactorMatrix {
    /// From the tensors of a module with these roles: the whole, left factor, core and right factor. `None` if it has none of
    /// them.
    pub(super) fn new(
        checkpoint: &Checkpoint,
        roles: &BTreeMap<FactorRole, &str>,
        [whole, left, core, right]: [Option<FactorRole>; 4],
    ) -> Result<Option<FactorMatrix>, String> {
        let name =
            |role: Option<FactorRole>| role.and_then(|role| roles.get(&role)).map(|name| (*name).to_owned());
        let shape = |name: &str| checkpoint.get(name).map_or(&[][..], |info| &info.shape);
        let names = [whole, left, core, right].map(name);
        let is_whole = names[0].is_some();
        for name in names.iter().flatten() {
            if shape(name).len() < if is_whole { 1 } else { 2 } || shape(name).contains(&0) {
                return Err(format!(
                    "{name} has the shape {:?}, which is not a factor (rank 0?)",
                    shape(name)
                ));
            }
        }
        match names {
            [None, None, None, None] => Ok(None),
            [Some(whole), None, None, None] => {
                let dims = matrix(shape(&whole));
                Ok(Some(FactorMatrix { kind: MatrixSource::Whole(whole), dims }))
            }
            [None, Some(left), core, Some(right)] => {
                let [rank, inputs] = matrix(shape(&right));
                // LyCORIS transposes the left factor of a product with a core, kohya does not.
                let is_transposed = core.is_some() && !left.ends_with(".weight");
                let [a, b] = matrix(shape(&left));
                let (outputs, left_rank) = if is_transposed { (b, a) } else { (a, b) };
                let (core_rank, kernel) = match core.as_deref().map(shape) {
                    None => ([rank, rank], 1),
                    Some(core) => ([core[0], core[1]], core[2..].iter().product()),
                };
                if core_rank != [left_rank, rank] {
                    let core = core.map_or(String::new(), |core| format!(", {core} {:?}", shape(&core)));
                    return Err(format!(
                        "{left} {:?}{core} and {right} {:?} cannot be multiplied",
                        shape(&left),
                        shape(&right)
                    ));
                }
                if rank.max(left_rank) > MAX_RANK {
                    return Err(format!("the rank {} is above {MAX_RANK}", rank.max(left_rank)));
                }
                let columns = inputs.checked_mul(kernel).ok_or("its change is larger than any memory")?;
                let dims = [outputs, columns];
                Ok(Some(FactorMatrix { kind: MatrixSource::Product { left, core, right, rank }, dims }))
            }
            [_, Some(left), _, None] => Err(format!("{left} has no partner")),
            [_, None, _, Some(right)] => Err(format!("{right} has no partner")),
            [_, None, Some(core), None] => Err(format!("{core} has no partners")),
            [Some(whole), ..] => Err(format!("{whole} and factors are both there")),
        }
    }

    /// Rows and columns.
    pub(super) fn dims(&self) -> [usize; 2] {
        self.dims
    }

    /// Whether it is of a convolution whose kernel has more than one pixel, where that can be seen.
    pub(super) fn has_kernel(&self, checkpoint: &Checkpoint) -> bool {
        let has_kernel = |name: &str| {
            let shape = checkpoint.get(name).map_or(&[][..], |info| &info.shape);
            shape.get(2..).is_some_and(|kernel| kernel.iter().any(|side| *side > 1))
        };
        match &self.kind {
            MatrixSource::Product { core, right, .. } => {
                core.as_deref().is_some_and(has_kernel) || has_kernel(right)
            }
            MatrixSource::Whole(_) => false,
        }
    }

    /// The rank of a product.
    pub(super) fn rank(&self) -> Option<usize> {
        match self.kind {
            MatrixSource::Whole(_) => None,
            MatrixSource::Product { rank, .. } => Some(rank),
        }
    }

    /// Rows of the matrix, row by row; of a product without a core, that of the first `max_rank` rows and columns.
    pub(super) fn values(
        &self,
        checkpoint: &Checkpoint,
        max_rank: Option<usize>,
        rows: &Range<usize>,
    ) -> Result<Vec<f32>, Error> {
        let [outputs, columns] = self.dims;
        let of_rows = |values: Vec<f32>, columns: usize| match rows.len() == outputs {
            true => values,
            false => values[rows.start * columns..rows.end * columns].to_vec(),
        };
        match &self.kind {
            MatrixSource::Whole(name) => Ok(of_rows(read(checkpoint, name)?, columns)),
            MatrixSource::Product { left, core: None, right, rank } => {
                let (left, right) = (of_rows(read(checkpoint, left)?, *rank), read(checkpoint, right)?);
                Ok(product(&left, &right, [*rank, max_rank.map_or(*rank, |max| max.min(*rank))], columns))
            }
            MatrixSource::Product { left: left_name, core: Some(core), right, rank } => {
                let (left, core, right) =
                    (read(checkpoint, left_name)?, read(checkpoint, core)?, read(checkpoint, right)?);
                let left_rank = left.len() / outputs;
                let left = if left_name.ends_with(".weight") {
                    left
                } else {
                    transpose(&left, [left_rank, outputs], 1)
                };
                let left = of_rows(left, left_rank);
                let inputs = right.len() / rank;
                let kernel = columns / inputs;
                // [left rank, rank, kernel] and [rank, inputs] to [left rank, inputs, kernel]
                let mut middle = vec![0.0; left_rank * columns];
                parallel::chunks_mut(&mut middle, columns, |p, to| {
                    for (q, right) in right.chunks_exact(inputs).enumerate() {
                        let core = &core[(p * rank + q) * kernel..][..kernel];
                        for (to, right) in to.chunks_exact_mut(kernel).zip(right) {
                            to.iter_mut().zip(core).for_each(|(to, core)| *to += core * right);
                        }
                    }
                });
                Ok(product(&left, &middle, [left_rank; 2], columns))
            }
        }
    }
}

/// A shape as rows and columns: all dimensions but the first are columns. The header's check has shown that the product
/// does not overflow.
fn matrix(shape: &[usize]) -> [usize; 2] {
    [shape[0], shape[1..].iter().product()]
}

/// `[n, rank]` times `[rank, columns]`, of which the first `used` terms are added up, in an order of sums that does not depend on
/// the threads.
pub(crate) fn product(left: &[f32], right: &[f32], [rank, used]: [usize; 2], columns: usize) -> Vec<f32> {
    let mut out = vec![0.0; left.len() / rank * columns];
    parallel::chunks_mut(&mut out, columns, |row, to| {
        for (left, right) in left[row * rank..][..used].iter().zip(right.chunks_exact(columns)) {
            to.iter_mut().zip(right).for_each(|(to, right)| *to += left * right);
        }
    });
    out
}

/// The values of a tensor, all of them finite.
pub(super) fn read(checkpoint: &Checkpoint, name: &str) -> Result<Vec<f32>, Error> {
    let raw = checkpoint.read(name)?;
    if let Some(index) = raw.find_non_finite() {
        let reason = format!("tensor {name:?} is NaN or infinite at index {index}; the file is damaged");
        return Err(wrong(checkpoint, reason));
    }
    raw.to_f32()
        .map_err(|_| wrong(checkpoint, format!("tensor {name:?} is {}, which is not a weight", raw.dtype)))
}
