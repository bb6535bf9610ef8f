//! Diffusion transformers: which network a file's names are those of, and their canonical names.
//!
//! Canonical names are those of diffusers, below [`SCOPE`]. What a file has fused stays fused, under the names that diffusers gives
//! its own fused layers (`to_qkv`, `to_added_qkv`, `to_qkv_mlp_proj`); layers are split when they are loaded. Where halves of a
//! layer are in another order than in diffusers (`adaLN_modulation.1`), its name stays, too.

use super::network_names::{NetworkKind, NetworkNames};
use super::{flux, flux2, sd3, z_image};
use std::collections::{BTreeMap, BTreeSet};

/// The scope of the network's canonical names.
pub(crate) const SCOPE: &str = "transformer";

/// Prefixes of a network's names. A prefix that ends with another one comes before it.
const PREFIXES: [&str; 5] = [
    "model.diffusion_model.model.diffusion_model.",
    "model.diffusion_model.",
    "diffusion_model.",
    "transformer.",
    "",
];

/// Every network, with the one whose marks are rarest first.
const ALL: [&NetworkNames; 4] = [&sd3::NAMES, &flux2::NAMES, &flux::NAMES, &z_image::NAMES];

/// Layers that files have each alone or as one, below a block.
#[derive(Debug)]
pub(crate) struct FusedLayers {
    /// The name of all in one.
    pub(crate) fused: &'static str,
    /// The names of each alone, in the order of their rows. The first three have as many as the block is wide.
    pub(crate) parts: &'static [&'static str],
}

/// Those of the only sequence, or of the image.
const QKV: FusedLayers = FusedLayers { fused: "to_qkv", parts: &["to_q", "to_k", "to_v"] };
/// Those of the text beside the image.
const ADDED_QKV: FusedLayers =
    FusedLayers { fused: "to_added_qkv", parts: &["add_q_proj", "add_k_proj", "add_v_proj"] };
/// Those of a single block.
const QKV_MLP: FusedLayers = FusedLayers {
    fused: "attn.to_qkv_mlp_proj",
    parts: &["attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"],
};

impl FusedLayers {
    /// What is before the name of a layer with its dot, the layers that it belongs to, and its number among them if it is alone.
    pub(crate) fn of(layer: &str) -> Option<(&str, &'static FusedLayers, Option<usize>)> {
        let all: &[&'static FusedLayers] =
            if layer.starts_with("single_") { &[&QKV_MLP] } else { &[&QKV, &ADDED_QKV] };
        all.iter().find_map(|layers| {
            let block = |name: &str| layer.strip_suffix(name).filter(|block| block.ends_with('.'));
            let part = |i: usize| Some((block(layers.parts[i])?, *layers, Some(i)));
            let fused = block(layers.fused).map(|block| (block, *layers, None));
            fused.or_else(|| (0..layers.parts.len()).find_map(part))
        })
    }
}

/// Names of a layer of two vectors, shift and scale: in diffusers, where scale is the first, and in original files.
const LAST_MODULATIONS: [(&str, &str); 2] = [
    ("norm_out.linear", "norm_out.adaLN_modulation.1"),
    ("norm1_context.linear", "norm1_context.adaLN_modulation.1"),
];

/// The name of a modulation in the other layout, whose vectors are in another order if there are two of them.
pub(crate) fn other_modulation(layer: &str) -> Option<String> {
    LAST_MODULATIONS.iter().find_map(|(canonical, original)| {
        let to_original = || Some(format!("{}{original}", layer.strip_suffix(canonical)?));
        let to_canonical = || Some(format!("{}{canonical}", layer.strip_suffix(original)?));
        to_original().or_else(to_canonical)
    })
}

/// The original name of a tensor: of that leaf ("weight", "bias") of a layer with a canonical name, or of a tensor that is not one of
/// a layer.
pub(crate) fn original_name(kind: NetworkKind, layer: &str, leaf: Option<&str>) -> Option<String> {
    let original = names_of(kind).original_of(layer)?;
    let has_scales = matches!(kind, NetworkKind::Flux | NetworkKind::Flux2);
    Some(match leaf {
        Some("weight") if has_scales && original.contains("norm") => format!("{original}.scale"),
        Some(leaf) => format!("{original}.{leaf}"),
        None => original,
    })
}

/// How original files call the layers of a network.
pub(crate) fn names_of(kind: NetworkKind) -> &'static NetworkNames {
    ALL.into_iter().find(|names| names.kind == kind).expect("every kind has its names")
}

/// The network that names are of, and from its canonical names, with the scope, to those in the file.
pub(crate) fn find<'a>(
    names: impl Iterator<Item = &'a str>,
) -> Option<(NetworkKind, BTreeMap<String, String>)> {
    let names: BTreeSet<&str> = names.collect();
    let has = |prefix: &str, marks: &[&str]| {
        marks.iter().all(|mark| names.contains(format!("{prefix}{mark}").as_str()))
    };
    for prefix in PREFIXES {
        for network in ALL {
            let is_original = has(prefix, network.marks);
            if !is_original && !has(prefix, network.canonical_marks) {
                continue;
            }
            let canonical = |name: &str| match is_original {
                true => network.to_canonical(name),
                false => Some(name.to_owned()),
            };
            let below = names.iter().filter_map(|name| {
                let canonical = canonical(name.strip_prefix(prefix)?)?;
                Some((format!("{SCOPE}.{canonical}"), (*name).to_owned()))
            });
            return Some((network.kind, below.collect()));
        }
    }
    None
}
