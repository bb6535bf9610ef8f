//! GLoRA (Chavan et al. 2023, <https://arxiv.org/abs/2306.07967>): `W + W A + B`, with low-rank products A and B.

use super::factor_matrix::{FactorMatrix, read};
use super::roles::FactorRole;
use crate::Error;
use latent_kernels::parallel;
use latent_loader::Checkpoint;
use std::collections::BTreeMap;
use std::ops::Range;

/// The two products.
#[derive(Debug)]
pub(super) struct GeneralizedLora {
    /// Factors of A: `[inputs, rank]` and `[rank, inputs]`.
    left: String,
    right: String,
    inputs: usize,
    rank: usize,
    /// B.
    added: FactorMatrix,
}

impl GeneralizedLora {
    /// From the tensors of a module, if it is one. The error is one line without the module's name.
    pub(super) fn new(
        checkpoint: &Checkpoint,
        roles: &BTreeMap<FactorRole, &str>,
    ) -> Result<Option<GeneralizedLora>, String> {
        const FOUR: [FactorRole; 4] =
            [FactorRole::GloraA1, FactorRole::GloraA2, FactorRole::GloraB1, FactorRole::GloraB2];
        let names = FOUR.map(|role| roles.get(&role).copied());
        if names.iter().all(Option::is_none) {
            return Ok(None);
        }
        let [Some(a1), Some(a2), Some(b1), Some(b2)] = names else {
            return Err("lacks a factor of its GLoRA".into());
        };
        let matrix = |name: &str| -> Result<[usize; 2], String> {
            let shape = checkpoint.get(name).map_or(&[][..], |info| &info.shape);
            match shape {
                [rows, rest @ ..] if !rest.is_empty() && !shape.contains(&0) => {
                    Ok([*rows, rest.iter().product()])
                }
                _ => Err(format!("{name} has the shape {shape:?}, which is not a factor (rank 0?)")),
            }
        };
        let [m1, m2, _, _] = [matrix(a1)?, matrix(a2)?, matrix(b1)?, matrix(b2)?];
        let columns = |name: &str| checkpoint.get(name).and_then(|info| info.shape.get(1).copied());
        // LyCORIS numbers factors from the left; its first versions numbered them from the right.
        let fits = |rank: usize, b_left: &str, b_right: &str| {
            columns(b_left) == Some(rank) && checkpoint.get(b_right).is_some_and(|b| b.shape[0] == rank)
        };
        let (left, right, [inputs, rank], b_left, b_right) = if m1[0] == m2[1] && m1[1] == m2[0] {
            match (fits(m1[1], b1, b2), fits(m2[1], b2, b1)) {
                (true, _) => (a1, a2, m1, b1, b2),
                (_, true) => (a2, a1, m2, b2, b1),
                _ => return Err(format!("{b1} and {b2} cannot be multiplied with the rank of {a1}")),
            }
        } else {
            return Err(format!("{a1} {m1:?} and {a2} {m2:?} cannot be multiplied"));
        };
        let mut factors = BTreeMap::from([(FactorRole::Up, b_left), (FactorRole::Down, b_right)]);
        factors.extend(roles.get(&FactorRole::GloraBm).map(|core| (FactorRole::Mid, *core)));
        let added = FactorMatrix::new(
            checkpoint,
            &factors,
            [None, Some(FactorRole::Up), Some(FactorRole::Mid), Some(FactorRole::Down)],
        )?
        .ok_or("lacks a factor of its GLoRA")?;
        if !added.dims()[1].is_multiple_of(inputs) {
            return Err(format!("{a1} is for {inputs} inputs and {b_right} for {}", added.dims()[1]));
        }
        Ok(Some(GeneralizedLora { left: left.to_owned(), right: right.to_owned(), inputs, rank, added }))
    }

    pub(super) fn dims(&self) -> [usize; 2] {
        self.added.dims()
    }

    pub(super) fn rank(&self) -> usize {
        self.rank
    }

    /// Adds `scale * (W A + B)` to rows of the weight W.
    pub(super) fn add(
        &self,
        checkpoint: &Checkpoint,
        scale: f32,
        rows: &Range<usize>,
        to: &mut [f32],
    ) -> Result<(), Error> {
        let (left, right) = (read(checkpoint, &self.left)?, read(checkpoint, &self.right)?);
        let added = self.added.values(checkpoint, None, rows)?;
        let [_, columns] = self.dims();
        let (inputs, rank) = (self.inputs, self.rank);
        let kernel = columns / inputs;
        parallel::chunks_mut(to, columns, |row, to| {
            // [inputs, kernel] by [inputs, rank] to [rank, kernel], and by [rank, inputs] to [inputs, kernel].
            let mut middle = vec![0.0; rank * kernel];
            for (input, from) in to.chunks_exact(kernel).enumerate() {
                for (middle, left) in middle.chunks_exact_mut(kernel).zip(&left[input * rank..]) {
                    middle.iter_mut().zip(from).for_each(|(middle, from)| *middle += left * from);
                }
            }
            let added = &added[row * columns..][..columns];
            for (input, (to, added)) in
                to.chunks_exact_mut(kernel).zip(added.chunks_exact(kernel)).enumerate()
            {
                let mut sum = added.to_vec();
                for (r, middle) in middle.chunks_exact(kernel).enumerate() {
                    let right = right[r * inputs + input];
                    sum.iter_mut().zip(middle).for_each(|(sum, middle)| *sum += right * middle);
                }
                to.iter_mut().zip(&sum).for_each(|(to, sum)| *to += scale * sum);
            }
        });
        Ok(())
    }
}
