//! OFT and BOFT: rotations of the outputs of a layer.
//!
//! OFT (Qiu et al. 2023, <https://arxiv.org/abs/2306.07280>) multiplies a weight by a block diagonal orthogonal matrix, BOFT (Liu
//! et al. 2023, <https://arxiv.org/abs/2311.06243>) by a product of several, between which the outputs are shuffled as in a
//! butterfly. A file holds a matrix A for each block; the rotation is the Cayley transform `(I + Q)(I - Q)⁻¹` of `Q = A - Aᵀ`.

use super::factor_matrix::read;
use super::roles::FactorRole;
use crate::Error;
use latent_kernels::parallel;
use latent_loader::Checkpoint;
use std::collections::BTreeMap;

/// Largest number of rows of a block, whose matrix is inverted.
const MAX_BLOCK: usize = 2048;

/// A rotation of the outputs of a layer.
#[derive(Debug)]
pub(super) struct Rotation {
    /// Tensor of the blocks.
    blocks: String,
    /// Blocks of a factor.
    count: usize,
    /// Rows of a block.
    size: usize,
    kind: RotationKind,
    /// Largest length of Q, if it is limited (constrained OFT).
    max_length: Option<f64>,
    /// Tensor of what each output is multiplied by afterwards.
    rescale: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RotationKind {
    /// kohya's OFT and LyCORIS' Diag-OFT.
    Blocks,
    /// LyCORIS' first OFT, whose file holds the rotation itself.
    Finished,
    /// LyCORIS' BOFT.
    Butterfly,
}

impl Rotation {
    /// From the tensors of a module, if it is one. Of such a module, alpha is the largest length of Q for each output. The error
    /// is one line without the module's name.
    pub(super) fn new(
        checkpoint: &Checkpoint,
        roles: &BTreeMap<FactorRole, &str>,
        alpha: Option<f32>,
    ) -> Result<Option<Rotation>, String> {
        let (blocks, is_finished) = match (roles.get(&FactorRole::OftBlocks), roles.get(&FactorRole::OftDiag))
        {
            (Some(blocks), None) => (*blocks, false),
            (None, Some(blocks)) => (*blocks, true),
            (None, None) => return Ok(None),
            (Some(_), Some(_)) => return Err("has factors of several kinds".into()),
        };
        let shape = checkpoint.get(blocks).map_or(&[][..], |info| &info.shape);
        let (levels, count, size, kind) = match *shape {
            [count, rows, columns] if rows == columns && is_finished => {
                (1, count, rows, RotationKind::Finished)
            }
            [count, rows, columns] if rows == columns => (1, count, rows, RotationKind::Blocks),
            [levels, count, rows, columns] if rows == columns && !is_finished => {
                (levels, count, rows, RotationKind::Butterfly)
            }
            _ => return Err(format!("{blocks} has the shape {shape:?}, which is not one of square blocks")),
        };
        if size == 0 || count == 0 || levels == 0 || size > MAX_BLOCK {
            return Err(format!("{blocks} has the shape {shape:?}; blocks have 1 to {MAX_BLOCK} rows"));
        }
        let outputs = count.checked_mul(size).ok_or("its rotation is larger than any memory")?;
        let last = u32::try_from(levels - 1).ok().and_then(|last| size.checked_shl(last));
        if kind == RotationKind::Butterfly
            && (!size.is_multiple_of(2)
                || levels > 32
                || last.is_none_or(|last| !outputs.is_multiple_of(last)))
        {
            return Err(format!("{blocks} has the shape {shape:?}, which is not that of a butterfly"));
        }
        let rescale = roles.get(&FactorRole::Rescale).map(|name| (*name).to_owned());
        if let Some(name) = &rescale
            && checkpoint.get(name).is_none_or(|info| info.elements() != outputs)
        {
            return Err(format!("{name} is not one number for each of {outputs} outputs"));
        }
        let max_length = alpha.filter(|alpha| *alpha > 0.0).map(|alpha| f64::from(alpha) * outputs as f64);
        let blocks = blocks.to_owned();
        Ok(Some(Rotation { blocks, count, size, kind, max_length, rescale }))
    }

    /// Outputs of the layer.
    pub(super) fn outputs(&self) -> usize {
        self.count * self.size
    }

    /// Brings a weight so far to the rotated one: `W + weight * (R W - W)`.
    pub(super) fn apply(&self, checkpoint: &Checkpoint, weight: f32, to: &mut [f32]) -> Result<(), Error> {
        let columns = (to.len() / self.outputs()).max(1);
        let rotations = self.rotations(checkpoint)?;
        let of_level = self.count * self.size * self.size;
        let mut turned = to.to_vec();
        for (level, rotations) in rotations.chunks_exact(of_level).enumerate() {
            turned = self.turn(level, rotations, &turned, columns);
        }
        if let Some(rescale) = &self.rescale {
            let factors = read(checkpoint, rescale)?;
            for (row, factor) in turned.chunks_exact_mut(columns).zip(factors) {
                row.iter_mut().for_each(|v| *v *= factor);
            }
        }
        to.iter_mut().zip(&turned).for_each(|(to, turned)| *to += weight * (turned - *to));
        Ok(())
    }

    /// The rows of a weight, turned by the blocks of one factor.
    fn turn(&self, level: usize, rotations: &[f64], rows: &[f32], columns: usize) -> Vec<f32> {
        let size = self.size;
        let half = (size / 2) << level;
        let is_butterfly = self.kind == RotationKind::Butterfly;
        // Where the rows of a block are: in a butterfly, row and partner, which is half a group away, follow each other.
        let row_at = |place: usize| match is_butterfly {
            true => place / (2 * half) * 2 * half + place % 2 * half + place % (2 * half) / 2,
            false => place,
        };
        let place_of = |row: usize| match is_butterfly {
            true => row / (2 * half) * 2 * half + row % half * 2 + row % (2 * half) / half,
            false => row,
        };
        let mut out = vec![0.0; rows.len()];
        parallel::chunks_mut(&mut out, columns, |row, to| {
            let place = place_of(row);
            let (block, at) = (place / size, place % size);
            let matrix = &rotations[block * size * size..][..size * size];
            for other in 0..size {
                // LyCORIS' and kohya's OFT multiply by the transpose, and its BOFT does not.
                let factor = if is_butterfly { matrix[at * size + other] } else { matrix[other * size + at] };
                let from = &rows[row_at(block * size + other) * columns..][..columns];
                to.iter_mut().zip(from).for_each(|(to, from)| *to += factor as f32 * from);
            }
        });
        out
    }

    /// The rotations of all blocks, one after the other.
    fn rotations(&self, checkpoint: &Checkpoint) -> Result<Vec<f64>, Error> {
        let size = self.size;
        let mut blocks: Vec<f64> = read(checkpoint, &self.blocks)?.into_iter().map(f64::from).collect();
        if self.kind == RotationKind::Finished {
            return Ok(blocks);
        }
        for block in blocks.chunks_exact_mut(size * size) {
            for row in 0..size {
                for column in 0..=row {
                    let skew = block[row * size + column] - block[column * size + row];
                    (block[row * size + column], block[column * size + row]) = (skew, -skew);
                }
            }
        }
        let length = blocks.iter().map(|q| q * q).sum::<f64>().sqrt();
        if let Some(max) = self.max_length.filter(|max| length > *max) {
            blocks.iter_mut().for_each(|q| *q *= max / length);
        }
        parallel::chunks_mut(&mut blocks, size * size, |_, block| cayley(block, size));
        Ok(blocks)
    }
}

/// Replaces a skew-symmetric matrix Q by `(I - Q)⁻¹ (I + Q)`, which is orthogonal; the two factors commute.
fn cayley(q: &mut [f64], size: usize) {
    let unit = |i: usize| f64::from(u8::from(i / size == i % size));
    let mut left: Vec<f64> = q.iter().enumerate().map(|(i, q)| unit(i) - q).collect();
    q.iter_mut().enumerate().for_each(|(i, q)| *q += unit(i));
    // Gauss-Jordan elimination with the largest pivot; I - Q is never singular.
    for column in 0..size {
        let largest =
            |a: &usize, b: &usize| left[a * size + column].abs().total_cmp(&left[b * size + column].abs());
        let pivot = (column..size).max_by(largest).unwrap_or(column);
        for at in 0..size {
            left.swap(column * size + at, pivot * size + at);
            q.swap(column * size + at, pivot * size + at);
        }
        let inverse = 1.0 / left[column * size + column];
        left[column * size..][..size].iter_mut().for_each(|v| *v *= inverse);
        q[column * size..][..size].iter_mut().for_each(|v| *v *= inverse);
        let (pivot_left, pivot_right) =
            (left[column * size..][..size].to_vec(), q[column * size..][..size].to_vec());
        for row in (0..size).filter(|row| *row != column) {
            let factor = left[row * size + column];
            if factor == 0.0 {
                continue;
            }
            let eliminate = |to: &mut [f64], from: &[f64]| {
                to.iter_mut().zip(from).for_each(|(to, from)| *to -= factor * from);
            };
            eliminate(&mut left[row * size..][..size], &pivot_left);
            eliminate(&mut q[row * size..][..size], &pivot_right);
        }
    }
}
