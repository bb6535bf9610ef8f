//! Products of small matrices that make a change of a weight.

use super::roles::FactorRole;
use super::wrong;
use crate::Error;
use crate::params::layout::transpose;
use latent_kernels::parallel;
use latent_loader::Checkpoint;
use std::collections::BTreeMap;

/// Maximum rank: beyond it, intermediate results would take more memory than the weight itself.
const MAX_RANK: usize = 4096;

/// How the change of a weight is made. Weights are treated as matrices `[outputs, rest]`.
#[derive(Debug)]
pub(super) enum LoraFactors {
    /// LoRA and LoCon.
    One(FactorMatrix),
    /// LoHa: element by element.
    Hadamard(FactorMatrix, FactorMatrix),
    /// LoKr: the Kronecker product.
    Kronecker(FactorMatrix, FactorMatrix),
}

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

impl LoraFactors {
    /// From the tensors of a module. The error is one line without the module's name.
    pub(super) fn new(
        checkpoint: &Checkpoint,
        roles: &BTreeMap<FactorRole, &str>,
    ) -> Result<LoraFactors, String> {
        let part = |of| FactorMatrix::new(checkpoint, roles, of);
        let one = part([
            Some(FactorRole::Diff),
            Some(FactorRole::Up),
            Some(FactorRole::Mid),
            Some(FactorRole::Down),
        ])?;
        let hada_1 =
            part([None, Some(FactorRole::HadaW1A), Some(FactorRole::HadaT1), Some(FactorRole::HadaW1B)])?;
        let hada_2 =
            part([None, Some(FactorRole::HadaW2A), Some(FactorRole::HadaT2), Some(FactorRole::HadaW2B)])?;
        let lokr_1 =
            part([Some(FactorRole::LokrW1), Some(FactorRole::LokrW1A), None, Some(FactorRole::LokrW1B)])?;
        let lokr_2 = part([
            Some(FactorRole::LokrW2),
            Some(FactorRole::LokrW2A),
            Some(FactorRole::LokrT2),
            Some(FactorRole::LokrW2B),
        ])?;
        match (one, hada_1, hada_2, lokr_1, lokr_2) {
            (Some(part), None, None, None, None) => Ok(LoraFactors::One(part)),
            (None, Some(a), Some(b), None, None) if a.dims == b.dims => Ok(LoraFactors::Hadamard(a, b)),
            (None, Some(a), Some(b), None, None) => {
                Err(format!("the two products of the LoHa are {:?} and {:?}, not alike", a.dims, b.dims))
            }
            (None, None, None, Some(a), Some(b)) => {
                let fits = (0..2).all(|i| a.dims[i].checked_mul(b.dims[i]).is_some());
                if fits {
                    Ok(LoraFactors::Kronecker(a, b))
                } else {
                    Err("the LoKr is larger than any memory".into())
                }
            }
            (None, None, None, None, None) => Err("has an alpha and no factors".into()),
            (None, Some(_), None, ..) | (None, None, Some(_), ..) => {
                Err("lacks one product of its LoHa".into())
            }
            (None, None, None, ..) => Err("lacks one factor of its LoKr".into()),
            _ => Err("has factors of several kinds".into()),
        }
    }

    /// A tensor of the file as it is.
    pub(super) fn whole(checkpoint: &Checkpoint, name: &str) -> Result<LoraFactors, String> {
        let roles = BTreeMap::from([(FactorRole::Diff, name)]);
        let part = FactorMatrix::new(checkpoint, &roles, [Some(FactorRole::Diff), None, None, None])?;
        part.map(LoraFactors::One).ok_or_else(|| format!("lacks {name}"))
    }

    /// Rows and columns of the change.
    pub(super) fn dims(&self) -> [usize; 2] {
        match self {
            LoraFactors::One(part) | LoraFactors::Hadamard(part, _) => part.dims,
            LoraFactors::Kronecker(a, b) => [a.dims[0] * b.dims[0], a.dims[1] * b.dims[1]],
        }
    }

    /// What alpha is divided by; `None` where nothing is a product, and alpha has no meaning.
    pub(super) fn rank(&self) -> Option<usize> {
        match self {
            LoraFactors::One(part) | LoraFactors::Hadamard(part, _) => part.rank(),
            LoraFactors::Kronecker(a, b) => b.rank().or(a.rank()),
        }
    }

    /// Adds the change times `scale` to a weight of these [`dims`](LoraFactors::dims).
    pub(super) fn add(&self, checkpoint: &Checkpoint, scale: f32, to: &mut [f32]) -> Result<(), Error> {
        let columns = self.dims()[1];
        match self {
            LoraFactors::One(part) => {
                let a = part.values(checkpoint)?;
                to.iter_mut().zip(&a).for_each(|(to, a)| *to += scale * a);
            }
            LoraFactors::Hadamard(a, b) => {
                let (a, b) = (a.values(checkpoint)?, b.values(checkpoint)?);
                to.iter_mut().zip(a.iter().zip(&b)).for_each(|(to, (a, b))| *to += scale * (a * b));
            }
            LoraFactors::Kronecker(a, b) => {
                let ([b_rows, b_columns], a_columns) = (b.dims, a.dims[1]);
                let (a, b) = (a.values(checkpoint)?, b.values(checkpoint)?);
                for (row, to) in to.chunks_exact_mut(columns).enumerate() {
                    let a = &a[row / b_rows * a_columns..][..a_columns];
                    let b = &b[row % b_rows * b_columns..][..b_columns];
                    for (a, to) in a.iter().zip(to.chunks_exact_mut(b_columns)) {
                        to.iter_mut().zip(b).for_each(|(to, b)| *to += scale * (a * b));
                    }
                }
            }
        }
        Ok(())
    }
}

impl FactorMatrix {
    /// From the tensors of a module with these roles: the whole, left factor, core and right factor. `None` if it has none of
    /// them.
    fn new(
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

    fn rank(&self) -> Option<usize> {
        match self.kind {
            MatrixSource::Whole(_) => None,
            MatrixSource::Product { rank, .. } => Some(rank),
        }
    }

    /// The matrix, row by row.
    fn values(&self, checkpoint: &Checkpoint) -> Result<Vec<f32>, Error> {
        let [outputs, columns] = self.dims;
        match &self.kind {
            MatrixSource::Whole(name) => read(checkpoint, name),
            MatrixSource::Product { left, core: None, right, rank } => {
                let (left, right) = (read(checkpoint, left)?, read(checkpoint, right)?);
                Ok(product(&left, &right, *rank, columns))
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
                Ok(product(&left, &middle, left_rank, columns))
            }
        }
    }
}

/// A shape as rows and columns: all dimensions but the first are columns. The header's check has shown that the product
/// does not overflow.
fn matrix(shape: &[usize]) -> [usize; 2] {
    [shape[0], shape[1..].iter().product()]
}

/// `[n, rank]` times `[rank, columns]`, in an order of sums that does not depend on the threads.
fn product(left: &[f32], right: &[f32], rank: usize, columns: usize) -> Vec<f32> {
    let mut out = vec![0.0; left.len() / rank * columns];
    parallel::chunks_mut(&mut out, columns, |row, to| {
        for (left, right) in left[row * rank..][..rank].iter().zip(right.chunks_exact(columns)) {
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
