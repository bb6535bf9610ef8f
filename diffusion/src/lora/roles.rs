//! The role of a tensor in a LoRA file, from its name.

use latent_loader::Checkpoint;

/// A factor of a change, as the trainers name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum FactorRole {
    Alpha,
    Down,
    Up,
    Mid,
    /// The whole change, also of a norm.
    Diff,
    /// That of the bias.
    DiffBias,
    HadaW1A,
    HadaW1B,
    HadaW2A,
    HadaW2B,
    HadaT1,
    HadaT2,
    LokrW1,
    LokrW1A,
    LokrW1B,
    LokrW2,
    LokrW2A,
    LokrW2B,
    LokrT2,
    /// DoRA's lengths of the vectors of outputs or inputs.
    Dora,
    /// IA3's factors.
    Ia3,
    /// Whether IA3's factors are of the inputs.
    OnInput,
}

/// The ending of the tensor next to IA3's factors, by which these are recognised.
const ON_INPUT: &str = ".on_input";

/// Endings of names. kohya, diffusers of several ages, PEFT, LyCORIS.
const ENDINGS: &[(&str, FactorRole)] = &[
    (".alpha", FactorRole::Alpha),
    (".lora_down.weight", FactorRole::Down),
    (".lora_up.weight", FactorRole::Up),
    (".lora_mid.weight", FactorRole::Mid),
    (".lora_A.weight", FactorRole::Down),
    (".lora_B.weight", FactorRole::Up),
    (".lora_A.default.weight", FactorRole::Down),
    (".lora_B.default.weight", FactorRole::Up),
    (".lora.down.weight", FactorRole::Down),
    (".lora.up.weight", FactorRole::Up),
    (".lora_linear_layer.down.weight", FactorRole::Down),
    (".lora_linear_layer.up.weight", FactorRole::Up),
    ("_lora.down.weight", FactorRole::Down),
    ("_lora.up.weight", FactorRole::Up),
    (".diff", FactorRole::Diff),
    (".diff_b", FactorRole::DiffBias),
    (".w_norm", FactorRole::Diff),
    (".b_norm", FactorRole::DiffBias),
    (ON_INPUT, FactorRole::OnInput),
    (".hada_w1_a", FactorRole::HadaW1A),
    (".hada_w1_b", FactorRole::HadaW1B),
    (".hada_w2_a", FactorRole::HadaW2A),
    (".hada_w2_b", FactorRole::HadaW2B),
    (".hada_t1", FactorRole::HadaT1),
    (".hada_t2", FactorRole::HadaT2),
    (".lokr_w1", FactorRole::LokrW1),
    (".lokr_w1_a", FactorRole::LokrW1A),
    (".lokr_w1_b", FactorRole::LokrW1B),
    (".lokr_w2", FactorRole::LokrW2),
    (".lokr_w2_a", FactorRole::LokrW2A),
    (".lokr_w2_b", FactorRole::LokrW2B),
    (".lokr_t2", FactorRole::LokrT2),
    (".dora_scale", FactorRole::Dora),
    (".lora_magnitude_vector", FactorRole::Dora),
    (".lora_magnitude_vector.weight", FactorRole::Dora),
    (".lora_magnitude_vector.default.weight", FactorRole::Dora),
];

/// The module that a tensor belongs to, and what it is there.
pub(super) fn split<'a>(checkpoint: &Checkpoint, name: &'a str) -> Option<(&'a str, FactorRole)> {
    let known = ENDINGS.iter().find_map(|(ending, role)| Some((name.strip_suffix(ending)?, *role)));
    let ia3 = || {
        let module = name.strip_suffix(".weight")?;
        checkpoint.get(&format!("{module}{ON_INPUT}")).map(|_| (module, FactorRole::Ia3))
    };
    known.or_else(ia3).filter(|(module, _)| !module.is_empty())
}
