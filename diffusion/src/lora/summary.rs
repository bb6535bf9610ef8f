//! What a LoRA file contains, for people.

use super::roles::{FactorRole, split};
use latent_loader::Checkpoint;
use std::collections::BTreeMap;

/// What a LoRA file contains, from its names and shapes alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Layers that it changes.
    pub layers: usize,
    /// How it changes them, and how many layers each way: "LoRA", "LoHa", "LoKr", "GLoRA", "OFT", "IA3", "difference"; also "DoRA".
    pub kinds: BTreeMap<&'static str, usize>,
    /// Ranks of its products, and how many layers have each.
    pub ranks: BTreeMap<usize, usize>,
}

impl Summary {
    /// Looks at a file; `None` if it is not a LoRA.
    #[must_use]
    pub fn of(checkpoint: &Checkpoint) -> Option<Summary> {
        let mut modules: BTreeMap<&str, BTreeMap<FactorRole, &[usize]>> = BTreeMap::new();
        for tensor in checkpoint.tensors() {
            if let Some((module, role)) = split(checkpoint, &tensor.name) {
                modules.entry(module).or_default().insert(role, &tensor.shape);
            }
        }
        let mut summary = Summary { layers: modules.len(), ..Summary::default() };
        for roles in modules.values() {
            let has = |role: FactorRole| roles.contains_key(&role);
            let kind = if has(FactorRole::Down) {
                "LoRA"
            } else if has(FactorRole::HadaW1A) {
                "LoHa"
            } else if has(FactorRole::LokrW1) || has(FactorRole::LokrW1A) {
                "LoKr"
            } else if has(FactorRole::GloraA1) {
                "GLoRA"
            } else if let Some(shape) = roles.get(&FactorRole::OftBlocks) {
                if shape.len() == 4 { "BOFT" } else { "OFT" }
            } else if has(FactorRole::OftDiag) {
                "OFT"
            } else if has(FactorRole::Ia3) {
                "IA3"
            } else {
                "difference"
            };
            *summary.kinds.entry(kind).or_default() += 1;
            if has(FactorRole::Dora) {
                *summary.kinds.entry("DoRA").or_default() += 1;
            }
            let right = [FactorRole::Down, FactorRole::HadaW1B, FactorRole::LokrW2B, FactorRole::LokrW1B];
            if let Some(rank) = right.iter().find_map(|role| roles.get(role)?.first()) {
                *summary.ranks.entry(*rank).or_default() += 1;
            }
        }
        (summary.layers > 0).then_some(summary)
    }
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kinds: Vec<String> = self.kinds.iter().map(|(kind, n)| format!("{kind} of {n} layers")).collect();
        write!(f, "{}", kinds.join(", "))?;
        let ranks: Vec<String> = match self.ranks.len() {
            1 => self.ranks.keys().map(usize::to_string).collect(),
            _ => self.ranks.iter().map(|(rank, n)| format!("{rank} ({n} layers)")).collect(),
        };
        if ranks.is_empty() { Ok(()) } else { write!(f, "; rank {}", ranks.join(", ")) }
    }
}
