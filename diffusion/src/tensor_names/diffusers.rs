//! Diffusers folders: their names are the canonical ones, but for the attention of old VAE files.

use super::ldm::vae_attention_to_canonical;

/// The canonical name of a VAE tensor of a diffusers folder.
pub(crate) fn vae_to_canonical(name: &str) -> String {
    if let [side, "mid_block", "attentions", "0", part, leaf] = name.split('.').collect::<Vec<_>>()[..]
        && let Some(part) = vae_attention_to_canonical(part)
    {
        return format!("{side}.mid_block.attentions.0.{part}.{leaf}");
    }
    name.to_owned()
}
