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
    /// A bias of the left factor, which PEFT scales as the product.
    UpBias,
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
    /// Blocks of OFT and BOFT, of which a rotation is made.
    OftBlocks,
    /// Blocks of LyCORIS' first OFT, which are the rotation.
    OftDiag,
    /// What a rotated layer's outputs are multiplied by.
    Rescale,
    GloraA1,
    GloraA2,
    GloraB1,
    GloraB2,
    GloraBm,
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
    (".lora_A", FactorRole::Down),
    (".lora_B", FactorRole::Up),
    (".lora_B.bias", FactorRole::UpBias),
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
    (".oft_blocks", FactorRole::OftBlocks),
    (".oft_diag", FactorRole::OftDiag),
    (".rescale", FactorRole::Rescale),
    (".a1.weight", FactorRole::GloraA1),
    (".a2.weight", FactorRole::GloraA2),
    (".b1.weight", FactorRole::GloraB1),
    (".b2.weight", FactorRole::GloraB2),
    (".bm.weight", FactorRole::GloraBm),
    (".dora_scale", FactorRole::Dora),
    (".lora_magnitude_vector", FactorRole::Dora),
    (".lora_magnitude_vector.weight", FactorRole::Dora),
];

/// What PEFT puts the name of the adapter behind: `lora_A.default.weight`.
const NAMED: [&str; 3] = [".lora_A.", ".lora_B.", ".lora_magnitude_vector."];

/// What the modules of XLabs' trainer end in, whose factors are `down.weight` and `up.weight` below them.
const XLABS: [&str; 2] = ["_lora1", "_lora2"];

/// The module and the role of a tensor of XLabs' trainer.
fn split_xlabs(name: &str) -> Option<(&str, FactorRole)> {
    let ends = [(".down.weight", FactorRole::Down), (".up.weight", FactorRole::Up)];
    let (module, role) = ends.iter().find_map(|(end, role)| Some((name.strip_suffix(end)?, *role)))?;
    XLABS.iter().any(|end| module.ends_with(end)).then_some((module, role))
}

/// A name of PEFT without that of the adapter, if it has one.
fn without_adapter(name: &str) -> Option<String> {
    let (rest, leaf) = name.rsplit_once('.')?;
    let (_, part) = NAMED.iter().find_map(|part| Some((rest.rfind(part)?, *part)))?;
    let (module, adapter) = rest.rsplit_once(part)?;
    let is_named = !adapter.is_empty() && !adapter.contains('.') && matches!(leaf, "weight" | "bias");
    is_named.then(|| format!("{module}{}.{leaf}", part.trim_end_matches('.')))
}

/// The module that a tensor belongs to, and what it is there.
pub(super) fn split<'a>(checkpoint: &Checkpoint, name: &'a str) -> Option<(&'a str, FactorRole)> {
    let find = |name: &str| {
        let ending = ENDINGS.iter().find(|(ending, _)| name.ends_with(ending))?;
        Some((name.len() - ending.0.len(), ending.1))
    };
    // What precedes the ending is the same with and without the adapter's name.
    let known = find(name).or_else(|| find(&without_adapter(name)?)).map(|(len, role)| (&name[..len], role));
    let ia3 = || {
        let module = name.strip_suffix(".weight")?;
        checkpoint.get(&format!("{module}{ON_INPUT}")).map(|_| (module, FactorRole::Ia3))
    };
    known.or_else(|| split_xlabs(name)).or_else(ia3).filter(|(module, _)| !module.is_empty())
}
