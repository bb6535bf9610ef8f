//! The tensors of a text encoder, in the layout of transformers or of OpenCLIP.
//!
//! OpenCLIP fuses queries, keys and values of a layer into one tensor, and transposes the text projection. Both layouts can be
//! read, so each is converted to each.

use super::dtypes::TargetDType;
use super::planned::{PlannedTensor, WeightPiece};
use crate::params::layout::QkvPart;
use crate::tensor_names::open_clip;
use crate::text::{TextActivation, TextPart};
use latent_loader::Weights;

/// Whose names and layout an encoder has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EncoderNaming {
    Transformers,
    OpenClip,
}

impl EncoderNaming {
    /// That of the original files: transformers for OpenAI's CLIP, OpenCLIP for all others.
    pub(super) fn of(part: &TextPart) -> EncoderNaming {
        match part.config.activation {
            TextActivation::QuickGelu => EncoderNaming::Transformers,
            TextActivation::Gelu => EncoderNaming::OpenClip,
        }
    }
}

/// The tensors of the encoder below `scope`, which ends in a dot, under names that begin with `prefix`. Layers from
/// `layers` on are left out, and so is a text projection unless `projects`.
pub(super) fn tensors(
    weights: &Weights,
    scope: &str,
    prefix: &str,
    naming: EncoderNaming,
    (layers, projects): (usize, bool),
    target: TargetDType,
) -> Vec<PlannedTensor> {
    let mut out = Vec::new();
    let is_kept = |name: &str| match layer(name) {
        Some(layer) => layer < layers,
        None => projects || !name.starts_with("text_projection"),
    };
    let below = weights.names().filter_map(|name| name.strip_prefix(scope)).filter(|name| is_kept(name));
    for name in below {
        let new = rename(name, naming).into_iter();
        out.extend(new.filter_map(|(name, mut pieces)| {
            pieces.iter_mut().for_each(|piece| piece.canonical.insert_str(0, scope));
            PlannedTensor::weight(weights, format!("{prefix}{name}"), pieces, target)
        }));
    }
    out
}

/// The number of the layer that a tensor is of.
pub(super) fn layer(name: &str) -> Option<usize> {
    name.strip_prefix("text_model.encoder.layers.")?.split('.').next()?.parse().ok()
}

/// What becomes of one tensor: the new ones that begin with it.
fn rename(name: &str, naming: EncoderNaming) -> Vec<(String, Vec<WeightPiece>)> {
    let transposed = |to: &str| {
        vec![(to.to_owned(), vec![WeightPiece { is_transposed: true, ..WeightPiece::whole(name) }])]
    };
    match (naming, name.split_once(".self_attn.")) {
        (EncoderNaming::Transformers, Some((block, part))) => {
            let Some(leaf) = part.strip_prefix("in_proj_") else { return same(name) };
            let layer = |part: QkvPart| {
                let piece = WeightPiece { part: Some(part), ..WeightPiece::whole(name) };
                (format!("{block}.self_attn.{}.{leaf}", part.name()), vec![piece])
            };
            QkvPart::ALL.into_iter().map(layer).collect()
        }
        (EncoderNaming::OpenClip, Some((block, part))) => {
            let layer = part.split_once('.');
            let layer = layer.and_then(|(layer, leaf)| Some((QkvPart::named(layer)?, leaf)));
            let Some((part, leaf)) = layer else { return original(name) };
            // The first one stands for all three.
            if part != QkvPart::Query {
                return Vec::new();
            }
            let piece =
                |part: QkvPart| WeightPiece::whole(&format!("{block}.self_attn.{}.{leaf}", part.name()));
            let fused = open_clip::from_canonical(&format!("{block}.self_attn.in_proj_{leaf}"));
            fused.map(|fused| (fused, QkvPart::ALL.map(piece).to_vec())).into_iter().collect()
        }
        (EncoderNaming::Transformers, None) if name == "text_projection" => {
            transposed("text_projection.weight")
        }
        (EncoderNaming::OpenClip, None) if name == "text_projection.weight" => transposed("text_projection"),
        (EncoderNaming::Transformers, None) => same(name),
        (EncoderNaming::OpenClip, None) => original(name),
    }
}

fn same(name: &str) -> Vec<(String, Vec<WeightPiece>)> {
    vec![(name.to_owned(), vec![WeightPiece::whole(name)])]
}

fn original(name: &str) -> Vec<(String, Vec<WeightPiece>)> {
    open_clip::from_canonical(name).map(|new| (new, vec![WeightPiece::whole(name)])).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_layers_are_one_and_one_is_three() {
        let fused = "text_model.encoder.layers.3.self_attn.in_proj_bias";
        let parts = rename(fused, EncoderNaming::Transformers);
        let names: Vec<_> = parts.iter().map(|(name, _)| name.as_str()).collect();
        let expected =
            QkvPart::ALL.map(|part| format!("text_model.encoder.layers.3.self_attn.{}.bias", part.name()));
        assert_eq!(names, expected);
        assert!(parts.iter().zip(QkvPart::ALL).all(|((_, pieces), part)| pieces[0].part == Some(part)));
        let together: Vec<_> = names.iter().flat_map(|name| rename(name, EncoderNaming::OpenClip)).collect();
        let [(name, pieces)] = &together[..] else { panic!("{together:?}") };
        assert_eq!(name, "transformer.resblocks.3.attn.in_proj_bias");
        assert_eq!(pieces.iter().map(|piece| piece.canonical.as_str()).collect::<Vec<_>>(), names);
    }

    #[test]
    fn the_projection_is_transposed_where_its_name_says_so() {
        for (name, naming, expected, is_transposed) in [
            ("text_projection", EncoderNaming::Transformers, "text_projection.weight", true),
            ("text_projection.weight", EncoderNaming::OpenClip, "text_projection", true),
            ("text_projection", EncoderNaming::OpenClip, "text_projection", false),
            ("text_projection.weight", EncoderNaming::Transformers, "text_projection.weight", false),
        ] {
            let new = rename(name, naming);
            assert_eq!((new[0].0.as_str(), new[0].1[0].is_transposed), (expected, is_transposed));
        }
    }
}
