//! TAESD: names in its files to those of diffusers.
//!
//! The original numbers the layers of a `Sequential`, in a file for each half; the decoder's first layer there, which clamps
//! latents, is not a layer in diffusers. Both halves may be in one file, below `taesd_encoder.` and `taesd_decoder.`, or
//! `encoder.` and `decoder.`.

use latent_loader::Checkpoint;
use std::collections::BTreeMap;

/// Names in a file by canonical names.
pub(crate) fn canonical(checkpoint: &Checkpoint) -> BTreeMap<String, String> {
    // A half without a prefix: the encoder's first layer has weights.
    let half = if checkpoint.get("0.weight").is_some() { "encoder" } else { "decoder" };
    let names = checkpoint.tensors().map(|tensor| &tensor.name);
    names.filter_map(|name| Some((layer(name, half)?, name.clone()))).collect()
}

/// The canonical name of a tensor, which belongs to `half` if its name has no prefix.
fn layer(name: &str, half: &str) -> Option<String> {
    let name = name.strip_prefix("taesd_").unwrap_or(name);
    let (half, below) = match name.split_once('.')? {
        (half @ ("encoder" | "decoder"), below) => (half, below),
        _ => (half, name),
    };
    if below.starts_with("layers.") {
        return Some(format!("{half}.{below}"));
    }
    let (index, below) = below.split_once('.')?;
    let index = index.parse::<usize>().ok()?;
    let index = if half == "decoder" { index.checked_sub(1)? } else { index };
    Some(format!("{half}.layers.{index}.{below}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_layout_has_one_name() {
        for (name, half, canonical) in [
            ("1.weight", "decoder", Some("decoder.layers.0.weight")),
            ("3.conv.0.bias", "decoder", Some("decoder.layers.2.conv.0.bias")),
            ("0.weight", "encoder", Some("encoder.layers.0.weight")),
            ("taesd_decoder.19.bias", "decoder", Some("decoder.layers.18.bias")),
            ("taesd_encoder.1.conv.4.bias", "decoder", Some("encoder.layers.1.conv.4.bias")),
            ("decoder.1.weight", "decoder", Some("decoder.layers.0.weight")),
            ("decoder.layers.18.weight", "decoder", Some("decoder.layers.18.weight")),
            ("encoder.layers.0.weight", "decoder", Some("encoder.layers.0.weight")),
            ("0.weight", "decoder", None),
            ("vae_scale", "decoder", None),
            ("first.weight", "decoder", None),
        ] {
            assert_eq!(layer(name, half).as_deref(), canonical, "{name}");
        }
    }
}
