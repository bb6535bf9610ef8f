//! What a module of a LoRA file does to a tensor of the model.

use super::alphas::{self, DeclaredAlphas};
use super::factor_matrix::read;
use super::factors::LoraFactors;
use super::roles::FactorRole;
use super::rotation::Rotation;
use super::wrong;
use crate::Error;
use latent_loader::Checkpoint;
use std::collections::BTreeMap;
use std::ops::Range;

/// A change of a tensor. Tensors are treated as matrices `[outputs, rest]`.
#[derive(Debug)]
pub(super) enum WeightChange {
    /// Something is added to it.
    Added {
        factors: Box<LoraFactors>,
        /// `alpha / rank`, or 1.
        scale: f32,
        /// Lengths of the vectors of outputs or inputs that the sum is scaled to.
        dora: Option<ChannelFactors>,
    },
    /// Its outputs or inputs are stretched: `(1 + weight * v) W` (IA3; Liu et al. 2022, <https://arxiv.org/abs/2205.05638>).
    Stretched(ChannelFactors),
    /// Its outputs are rotated.
    Rotated(Rotation),
}

/// A tensor in the file with one value for each output or for each input.
#[derive(Debug)]
pub(super) struct ChannelFactors {
    tensor: String,
    len: usize,
    of_inputs: bool,
}

impl WeightChange {
    /// The change of a module's weight, and that of its bias. The error is one line without the module's name.
    pub(super) fn all(
        checkpoint: &Checkpoint,
        module: &str,
        roles: &BTreeMap<FactorRole, &str>,
        declared: &DeclaredAlphas,
    ) -> Result<(Option<WeightChange>, Option<WeightChange>), String> {
        let whole = |tensor: &str, scale: f32| -> Result<WeightChange, String> {
            let factors = Box::new(LoraFactors::whole(checkpoint, tensor)?);
            Ok(WeightChange::Added { factors, scale, dora: None })
        };
        let bias = roles.get(&FactorRole::DiffBias).map(|tensor| whole(tensor, 1.0)).transpose()?;
        if let Some(values) = roles.get(&FactorRole::Ia3) {
            let of_inputs = roles.get(&FactorRole::OnInput).is_some_and(|flag| is_set(checkpoint, flag));
            return Ok((
                Some(WeightChange::Stretched(ChannelFactors::new(checkpoint, values, Some(of_inputs))?)),
                bias,
            ));
        }
        let is_only_bias = roles.keys().all(|role| *role == FactorRole::DiffBias);
        if is_only_bias {
            return Ok((None, bias));
        }
        let alpha =
            roles.get(&FactorRole::Alpha).map(|tensor| alphas::in_tensor(checkpoint, tensor)).transpose()?;
        if let Some(rotation) = Rotation::new(checkpoint, roles, alpha)? {
            return Ok((Some(WeightChange::Rotated(rotation)), bias));
        }
        let factors = Box::new(LoraFactors::new(checkpoint, roles)?);
        let scale = match (alpha, factors.rank()) {
            (Some(alpha), Some(rank)) => alpha / rank as f32,
            (None, Some(rank)) => {
                declared.scale(module, rank, factors.is_convolution(checkpoint)).unwrap_or(1.0)
            }
            _ => 1.0,
        };
        let bias = match roles.get(&FactorRole::UpBias) {
            Some(_) if bias.is_some() => return Err("has two changes of its bias".into()),
            Some(tensor) => Some(whole(tensor, scale)?),
            None => bias,
        };
        let dora = match roles.get(&FactorRole::Dora) {
            // PEFT's are of the outputs, in whatever shape.
            Some(tensor) if tensor.contains("magnitude") => {
                Some(ChannelFactors::new(checkpoint, tensor, Some(false))?)
            }
            Some(tensor) => Some(ChannelFactors::new(checkpoint, tensor, None)?),
            None => None,
        };
        Ok((Some(WeightChange::Added { factors, scale, dora }), bias))
    }

    /// Rows and columns of the tensors that it fits, as far as it determines them.
    pub(super) fn dims(&self) -> [Option<usize>; 2] {
        match self {
            WeightChange::Added { factors, .. } => factors.dims().map(Some),
            WeightChange::Stretched(ChannelFactors { len, of_inputs: true, .. }) => [None, Some(*len)],
            WeightChange::Stretched(ChannelFactors { len, .. }) => [Some(*len), None],
            WeightChange::Rotated(rotation) => [Some(rotation.outputs()), None],
        }
    }

    /// Whether it fits a tensor of this shape.
    pub(super) fn fits(&self, shape: &[usize]) -> bool {
        let Some((rows, rest)) = shape.split_first() else { return false };
        match self {
            WeightChange::Added { factors, dora, .. } => {
                [*rows, rest.iter().product()] == factors.dims()
                    && dora.as_ref().is_none_or(|dora| dora.fits(shape))
            }
            WeightChange::Stretched(values) => values.fits(shape),
            WeightChange::Rotated(rotation) => rotation.outputs() == *rows && !rest.is_empty(),
        }
    }

    /// Whether some rows of a tensor can be changed without the others.
    pub(super) fn is_by_rows(&self) -> bool {
        match self {
            WeightChange::Added { dora, .. } => dora.as_ref().is_none_or(|lengths| !lengths.of_inputs),
            WeightChange::Stretched(_) => true,
            WeightChange::Rotated(_) => false,
        }
    }

    /// Changes rows of a tensor of a shape that it [fits](WeightChange::fits), `weight` times; of a plain product the first
    /// `max_rank` terms. All rows, unless it [is by rows](WeightChange::is_by_rows).
    pub(super) fn apply(
        &self,
        checkpoint: &Checkpoint,
        weight: f32,
        max_rank: Option<usize>,
        rows: &Range<usize>,
        to: &mut [f32],
    ) -> Result<(), Error> {
        match self {
            WeightChange::Added { factors, scale, dora: None } => {
                factors.add(checkpoint, weight * scale, max_rank, rows, to)
            }
            WeightChange::Rotated(rotation) => rotation.apply(checkpoint, weight, to),
            WeightChange::Added { factors, scale, dora: Some(lengths) } => {
                let mut sum = to.to_vec();
                factors.add(checkpoint, *scale, max_rank, rows, &mut sum)?;
                let wanted = read(checkpoint, &lengths.tensor)?;
                let found = lengths.lengths(rows.len(), &sum);
                let factors: Vec<f32> = wanted[lengths.first(rows)..]
                    .iter()
                    .zip(found)
                    .map(|(wanted, found)| wanted / (found as f32).max(f32::MIN_POSITIVE))
                    .collect();
                lengths.each(rows.len(), &mut sum, |channel, v| *v *= factors[channel]);
                to.iter_mut().zip(&sum).for_each(|(to, sum)| *to += weight * (sum - *to));
                Ok(())
            }
            WeightChange::Stretched(values) => {
                let factors = read(checkpoint, &values.tensor)?;
                let first = values.first(rows);
                values.each(rows.len(), to, |channel, v| *v += weight * factors[first + channel] * *v);
                Ok(())
            }
        }
    }
}

impl ChannelFactors {
    /// From a tensor `[n]`, or one with a single dimension other than 1: outputs if it is the first, else inputs.
    fn new(checkpoint: &Checkpoint, tensor: &str, of_inputs: Option<bool>) -> Result<ChannelFactors, String> {
        let shape = checkpoint.get(tensor).map_or(&[][..], |info| &info.shape);
        let len = shape.iter().product();
        if len == 0 || !shape.contains(&len) {
            return Err(format!("{tensor} has the shape {shape:?}, which is not one value for each channel"));
        }
        let of_inputs = of_inputs.unwrap_or(shape[0] != len);
        Ok(ChannelFactors { tensor: tensor.to_owned(), len, of_inputs })
    }

    fn fits(&self, shape: &[usize]) -> bool {
        shape.get(usize::from(self.of_inputs)) == Some(&self.len)
    }

    /// The channel of the first value of some rows.
    fn first(&self, rows: &Range<usize>) -> usize {
        if self.of_inputs { 0 } else { rows.start }
    }

    /// Calls `f` with the channel of each value of a matrix of so many rows.
    fn each(&self, rows: usize, values: &mut [f32], mut f: impl FnMut(usize, &mut f32)) {
        let columns = (values.len() / rows.max(1)).max(1);
        let kernel = (columns / self.len).max(1);
        for (row, values) in values.chunks_exact_mut(columns).enumerate() {
            for (column, value) in values.iter_mut().enumerate() {
                f(if self.of_inputs { column / kernel } else { row }, value);
            }
        }
    }

    /// The length of each channel's vector.
    fn lengths(&self, rows: usize, values: &[f32]) -> Vec<f64> {
        let mut squares = vec![0.0f64; self.len];
        let columns = (values.len() / rows.max(1)).max(1);
        let kernel = (columns / self.len).max(1);
        for (row, values) in values.chunks_exact(columns).enumerate() {
            for (column, value) in values.iter().enumerate() {
                squares[if self.of_inputs { column / kernel } else { row }] += f64::from(*value).powi(2);
            }
        }
        squares.into_iter().map(f64::sqrt).collect()
    }
}

/// Whether a flag is neither missing nor zero.
fn is_set(checkpoint: &Checkpoint, tensor: &str) -> bool {
    checkpoint.read(tensor).is_ok_and(|raw| raw.data.iter().any(|byte| *byte != 0))
}

/// The error of a module.
pub(super) fn explain(checkpoint: &Checkpoint, module: &str, reason: &str) -> Error {
    wrong(checkpoint, format!("{module}: {reason}"))
}
