//! Products of small matrices that make a change of a weight.

use super::factor_matrix::FactorMatrix;
use super::glora::GeneralizedLora;
use super::roles::FactorRole;
use crate::Error;
use latent_loader::Checkpoint;
use std::collections::BTreeMap;
use std::ops::Range;

/// How the change of a weight is made. Weights are treated as matrices `[outputs, rest]`.
#[derive(Debug)]
pub(super) enum LoraFactors {
    /// LoRA and LoCon.
    One(FactorMatrix),
    /// LoHa: element by element.
    Hadamard(FactorMatrix, FactorMatrix),
    /// LoKr: the Kronecker product.
    Kronecker(FactorMatrix, FactorMatrix),
    /// GLoRA, which depends on the weight.
    Generalized(GeneralizedLora),
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
        if let Some(glora) = GeneralizedLora::new(checkpoint, roles)? {
            return match (one, hada_1, hada_2, lokr_1, lokr_2) {
                (None, None, None, None, None) => Ok(LoraFactors::Generalized(glora)),
                _ => Err("has factors of several kinds".into()),
            };
        }
        match (one, hada_1, hada_2, lokr_1, lokr_2) {
            (Some(part), None, None, None, None) => Ok(LoraFactors::One(part)),
            (None, Some(a), Some(b), None, None) if a.dims() == b.dims() => Ok(LoraFactors::Hadamard(a, b)),
            (None, Some(a), Some(b), None, None) => {
                Err(format!("the two products of the LoHa are {:?} and {:?}, not alike", a.dims(), b.dims()))
            }
            (None, None, None, Some(a), Some(b)) => {
                let fits = (0..2).all(|i| a.dims()[i].checked_mul(b.dims()[i]).is_some());
                if fits {
                    Ok(LoraFactors::Kronecker(a, b))
                } else {
                    Err("the LoKr is larger than any memory".into())
                }
            }
            (None, None, None, None, None) if roles.keys().all(|role| *role == FactorRole::Alpha) => {
                Err("has an alpha and no factors".into())
            }
            (None, None, None, None, None) => {
                let names: Vec<&str> = roles.values().copied().collect();
                Err(format!("has {} and no factors", names.join(" and ")))
            }
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
            LoraFactors::One(part) | LoraFactors::Hadamard(part, _) => part.dims(),
            LoraFactors::Kronecker(a, b) => [a.dims()[0] * b.dims()[0], a.dims()[1] * b.dims()[1]],
            LoraFactors::Generalized(glora) => glora.dims(),
        }
    }

    /// What alpha is divided by; `None` where nothing is a product, and alpha has no meaning.
    pub(super) fn rank(&self) -> Option<usize> {
        match self {
            LoraFactors::One(part) | LoraFactors::Hadamard(part, _) => part.rank(),
            LoraFactors::Kronecker(a, b) => b.rank().or(a.rank()),
            LoraFactors::Generalized(glora) => Some(glora.rank()),
        }
    }

    /// Whether it is of a convolution whose kernel has more than one pixel, where that can be seen.
    pub(super) fn is_convolution(&self, checkpoint: &Checkpoint) -> bool {
        matches!(self, LoraFactors::One(part) if part.has_kernel(checkpoint))
    }

    /// Adds the change times `scale` to rows of a weight of these [`dims`](LoraFactors::dims): of a plain product that of the first
    /// `max_rank` rows and columns.
    pub(super) fn add(
        &self,
        checkpoint: &Checkpoint,
        scale: f32,
        max_rank: Option<usize>,
        rows: &Range<usize>,
        to: &mut [f32],
    ) -> Result<(), Error> {
        let columns = self.dims()[1];
        match self {
            LoraFactors::Generalized(glora) => glora.add(checkpoint, scale, rows, to)?,
            LoraFactors::One(part) => {
                let a = part.values(checkpoint, max_rank, rows)?;
                to.iter_mut().zip(&a).for_each(|(to, a)| *to += scale * a);
            }
            LoraFactors::Hadamard(a, b) => {
                let (a, b) = (a.values(checkpoint, None, rows)?, b.values(checkpoint, None, rows)?);
                to.iter_mut().zip(a.iter().zip(&b)).for_each(|(to, (a, b))| *to += scale * (a * b));
            }
            LoraFactors::Kronecker(a, b) => {
                let ([b_rows, b_columns], [a_rows, a_columns]) = (b.dims(), a.dims());
                let a = a.values(checkpoint, None, &(0..a_rows))?;
                let b = b.values(checkpoint, None, &(0..b_rows))?;
                for (row, to) in rows.clone().zip(to.chunks_exact_mut(columns)) {
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
