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
