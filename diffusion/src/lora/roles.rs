//! What a tensor of a LoRA file is, from its name.

use latent_loader::Checkpoint;

/// A factor of a change, as the trainers name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
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
    /// Whether they are of the inputs.
    OnInput,
}

/// What stands beside IA3's factors, whose name says nothing.
const ON_INPUT: &str = ".on_input";

/// Endings of names. kohya, diffusers of several ages, PEFT, LyCORIS.
const ENDINGS: &[(&str, Role)] = &[
    (".alpha", Role::Alpha),
    (".lora_down.weight", Role::Down),
    (".lora_up.weight", Role::Up),
    (".lora_mid.weight", Role::Mid),
    (".lora_A.weight", Role::Down),
    (".lora_B.weight", Role::Up),
    (".lora_A.default.weight", Role::Down),
    (".lora_B.default.weight", Role::Up),
    (".lora.down.weight", Role::Down),
    (".lora.up.weight", Role::Up),
    (".lora_linear_layer.down.weight", Role::Down),
    (".lora_linear_layer.up.weight", Role::Up),
    ("_lora.down.weight", Role::Down),
    ("_lora.up.weight", Role::Up),
    (".diff", Role::Diff),
    (".diff_b", Role::DiffBias),
    (".w_norm", Role::Diff),
    (".b_norm", Role::DiffBias),
    (ON_INPUT, Role::OnInput),
    (".hada_w1_a", Role::HadaW1A),
    (".hada_w1_b", Role::HadaW1B),
    (".hada_w2_a", Role::HadaW2A),
    (".hada_w2_b", Role::HadaW2B),
    (".hada_t1", Role::HadaT1),
    (".hada_t2", Role::HadaT2),
    (".lokr_w1", Role::LokrW1),
    (".lokr_w1_a", Role::LokrW1A),
    (".lokr_w1_b", Role::LokrW1B),
    (".lokr_w2", Role::LokrW2),
    (".lokr_w2_a", Role::LokrW2A),
    (".lokr_w2_b", Role::LokrW2B),
    (".lokr_t2", Role::LokrT2),
    (".dora_scale", Role::Dora),
    (".lora_magnitude_vector", Role::Dora),
    (".lora_magnitude_vector.weight", Role::Dora),
    (".lora_magnitude_vector.default.weight", Role::Dora),
];

/// The module that a tensor belongs to, and what it is there.
pub(super) fn split<'a>(checkpoint: &Checkpoint, name: &'a str) -> Option<(&'a str, Role)> {
    let known = ENDINGS.iter().find_map(|(ending, role)| Some((name.strip_suffix(ending)?, *role)));
    let ia3 = || {
        let module = name.strip_suffix(".weight")?;
        checkpoint.get(&format!("{module}{ON_INPUT}")).map(|_| (module, Role::Ia3))
    };
    known.or_else(ia3).filter(|(module, _)| !module.is_empty())
}
