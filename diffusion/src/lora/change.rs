//! What a module of a LoRA file does to a tensor of the model.

use super::factors::{LoraFactors, read};
use super::roles::FactorRole;
use super::wrong;
use crate::Error;
use latent_loader::Checkpoint;
use std::collections::BTreeMap;

/// Largest absolute value of an alpha; real ones are at most about the rank.
const MAX_ALPHA: f32 = 65536.0;

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
        roles: &BTreeMap<FactorRole, &str>,
    ) -> Result<(Option<WeightChange>, Option<WeightChange>), String> {
        let bias = match roles.get(&FactorRole::DiffBias) {
            Some(bias) => Some(WeightChange::Added {
                factors: Box::new(LoraFactors::whole(checkpoint, bias)?),
                scale: 1.0,
                dora: None,
            }),
            None => None,
        };
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
        let factors = Box::new(LoraFactors::new(checkpoint, roles)?);
        let scale = match (roles.get(&FactorRole::Alpha), factors.rank()) {
            (Some(tensor), Some(rank)) => alpha(checkpoint, tensor)? / rank as f32,
            _ => 1.0,
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
        }
    }

    /// Changes a tensor of a shape that it [fits](WeightChange::fits), `weight` times.
    pub(super) fn apply(
        &self,
        checkpoint: &Checkpoint,
        weight: f32,
        rows: usize,
        to: &mut [f32],
    ) -> Result<(), Error> {
        match self {
            WeightChange::Added { factors, scale, dora: None } => factors.add(checkpoint, weight * scale, to),
            WeightChange::Added { factors, scale, dora: Some(lengths) } => {
                let mut sum = to.to_vec();
                factors.add(checkpoint, *scale, &mut sum)?;
                let wanted = read(checkpoint, &lengths.tensor)?;
                let found = lengths.lengths(rows, &sum);
                let factors: Vec<f32> = wanted
                    .iter()
                    .zip(found)
                    .map(|(wanted, found)| wanted / (found as f32).max(f32::MIN_POSITIVE))
                    .collect();
                lengths.each(rows, &mut sum, |channel, v| *v *= factors[channel]);
                to.iter_mut().zip(&sum).for_each(|(to, sum)| *to += weight * (sum - *to));
                Ok(())
            }
            WeightChange::Stretched(values) => {
                let factors = read(checkpoint, &values.tensor)?;
                values.each(rows, to, |channel, v| *v += weight * factors[channel] * *v);
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

/// Reads an alpha, a single value.
fn alpha(checkpoint: &Checkpoint, tensor: &str) -> Result<f32, String> {
    if checkpoint.get(tensor).is_none_or(|info| info.elements() != 1) {
        return Err(format!("{tensor} is not a single number"));
    }
    let raw = checkpoint.read(tensor).and_then(|raw| raw.to_f32()).map_err(|error| error.to_string())?;
    match raw[0] {
        value if value.is_finite() && value.abs() <= MAX_ALPHA => Ok(value),
        value => Err(format!("{tensor} is {value}; at most {MAX_ALPHA} is sensible, so the file is damaged")),
    }
}

/// The error of a module.
pub(super) fn explain(checkpoint: &Checkpoint, module: &str, reason: &str) -> Error {
    wrong(checkpoint, format!("{module}: {reason}"))
}
