//! A weight that rows are multiplied by, and what happens to the sums.

use super::weight::WeightMatrix;
use crate::activation::Activation;
use std::ops::Range;

/// A weight to multiply the rows by, and what happens to the sums.
pub(crate) struct Factor<'a, Out> {
    pub(crate) weight: &'a WeightMatrix,
    /// One value an output, added.
    pub(crate) bias: Option<&'a [Out]>,
    /// A value for each output of each row, added.
    pub(crate) residual: Option<&'a [Out]>,
    /// Add to what the output holds; not with a gate.
    pub(crate) accumulate: bool,
    /// What the sums go through at the end.
    pub(crate) end: FactorEnd<'a, Out>,
    pub(crate) out: &'a mut [Out],
}

/// What happens to the sums of a factor before they are written.
pub(crate) enum FactorEnd<'a, Out> {
    /// Nothing.
    Sums,
    /// An activation.
    Activated(Activation),
    /// Some outputs are values, as many are their gates: the result is `value * activation(gate)`.
    Gated(FactorGate<'a, Out>),
}

/// The values and gates of a gated factor: whole panels.
pub(crate) struct FactorGate<'a, Out> {
    pub(crate) activation: Activation,
    /// Number of the values.
    pub(crate) outputs: usize,
    /// The first of the values among the factor's outputs.
    pub(crate) values: usize,
    /// The weight and the bias of the gates, which may be those of the factor.
    pub(crate) weight: &'a WeightMatrix,
    pub(crate) bias: Option<&'a [Out]>,
    /// The first of the gates among that weight's outputs.
    pub(crate) gates: usize,
}

impl<'a, Out> Factor<'a, Out> {
    pub(super) fn gate(&self) -> Option<&FactorGate<'a, Out>> {
        match &self.end {
            FactorEnd::Gated(gate) => Some(gate),
            FactorEnd::Sums | FactorEnd::Activated(_) => None,
        }
    }

    /// Columns of the output.
    pub(super) fn columns(&self) -> usize {
        self.gate().map_or(self.weight.outputs(), |gate| gate.outputs)
    }

    /// The panels of `width` outputs of its weights: those of the values, then those of the gates.
    pub(super) fn panel_runs(&self, width: usize) -> Vec<(PanelSource, Range<usize>)> {
        let count = self.columns().div_ceil(width);
        let of = |source, first: usize| (source, first / width..first / width + count);
        match self.gate() {
            Some(gate) => vec![of(PanelSource::Values, gate.values), of(PanelSource::Gates, gate.gates)],
            None => vec![of(PanelSource::Values, 0)],
        }
    }

    /// The weight and the bias that panels come from: those of the values, or of the gates.
    pub(super) fn layer(&self, source: PanelSource) -> (&'a WeightMatrix, Option<&'a [Out]>) {
        match (source, self.gate()) {
            (PanelSource::Gates, Some(gate)) => (gate.weight, gate.bias),
            _ => (self.weight, self.bias),
        }
    }

    /// Checks the lengths for `m` rows and panels of `width` outputs.
    ///
    /// # Panics
    /// If a length disagrees with `m` rows, or values and gates are not whole panels of `width`.
    pub(super) fn assert_lengths(&self, m: usize, width: usize) {
        let (n, columns) = (self.weight.outputs(), self.columns());
        assert_eq!(self.out.len(), m * columns, "output of {m} x {columns}");
        assert!(self.bias.is_none_or(|b| b.len() == n), "bias of {n}");
        assert!(self.residual.is_none_or(|r| r.len() == m * n && columns == n), "residual of {m} x {n}");
        let Some(gate) = self.gate() else { return };
        let (gates, whole) = (gate.weight.outputs(), |n: usize| n.is_multiple_of(width));
        let in_weights = gate.values + columns <= n && gate.gates + columns <= gates;
        let in_panels = whole(columns) && whole(gate.values) && whole(gate.gates) && !self.accumulate;
        assert!(in_weights && in_panels, "gated outputs in whole panels, without accumulation");
        assert!(gate.bias.is_none_or(|b| b.len() == gates), "bias of {gates}");
        let sum = (self.weight.inputs(), self.weight.taps());
        assert_eq!((gate.weight.inputs(), gate.weight.taps()), sum, "length of the gates' sum");
    }
}

/// Which weight of a factor a panel belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PanelSource {
    Values,
    Gates,
}
