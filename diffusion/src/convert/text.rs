//! The tensors of a text encoder, as transformers or as OpenCLIP lays them out.
//!
//! OpenCLIP keeps queries, keys and values of a layer in one tensor, and its text projection the other way round. Both
//! layouts are read, so each is made of each.

use super::tensors::{Piece, Tensor};
use crate::families::originals;
use crate::text::{TextActivation, TextPart};
use latent_loader::{DType, Weights};

/// Who named the tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Transformers,
    OpenClip,
}

impl Style {
    /// That of the original files. All but OpenAI's CLIP, which transformers laid out, are OpenCLIP.
    pub(super) fn of(part: &TextPart) -> Style {
        match part.config.activation {
            TextActivation::QuickGelu => Style::Transformers,
            TextActivation::Gelu => Style::OpenClip,
        }
    }
}

/// The three layers that OpenCLIP keeps in one.
const THIRDS: [&str; 3] = ["q_proj", "k_proj", "v_proj"];

/// The tensors of the encoder below `scope`, which has a dot behind it, under names that begin with `prefix`. Layers from
/// `layers` on are left out, and so is a text projection unless `projects`.
pub(super) fn tensors(
    weights: &Weights,
    scope: &str,
    prefix: &str,
    style: Style,
    (layers, projects): (usize, bool),
    dtype: Option<DType>,
) -> Vec<Tensor> {
    let mut out = Vec::new();
    let is_kept = |name: &str| match layer(name) {
        Some(layer) => layer < layers,
        None => projects || !name.starts_with("text_projection"),
    };
    let below = weights.names().filter_map(|name| name.strip_prefix(scope)).filter(|name| is_kept(name));
    for name in below {
        let new = rename(name, style).into_iter();
        out.extend(new.filter_map(|(name, mut pieces)| {
            pieces.iter_mut().for_each(|piece| piece.canonical.insert_str(0, scope));
            Tensor::weight(weights, format!("{prefix}{name}"), pieces, dtype)
        }));
    }
    out
}

/// The number of the layer that a tensor is of.
pub(super) fn layer(name: &str) -> Option<usize> {
    name.strip_prefix("text_model.encoder.layers.")?.split('.').next()?.parse().ok()
}

/// What becomes of one tensor: the new ones that begin with it.
fn rename(name: &str, style: Style) -> Vec<(String, Vec<Piece>)> {
    let turned = |to: &str| vec![(to.to_owned(), vec![Piece { turned: true, ..Piece::whole(name) }])];
    match (style, name.split_once(".self_attn.")) {
        (Style::Transformers, Some((block, part))) => {
            let Some(leaf) = part.strip_prefix("in_proj_") else { return same(name) };
            let third = |(i, layer): (usize, &&str)| {
                let piece = Piece { third: Some(i), ..Piece::whole(name) };
                (format!("{block}.self_attn.{layer}.{leaf}"), vec![piece])
            };
            THIRDS.iter().enumerate().map(third).collect()
        }
        (Style::OpenClip, Some((block, part))) => {
            let Some((layer, leaf)) = part.split_once('.').filter(|(layer, _)| THIRDS.contains(layer)) else {
                return original(name);
            };
            if layer != THIRDS[0] {
                return Vec::new();
            }
            let piece = |layer: &str| Piece::whole(&format!("{block}.self_attn.{layer}.{leaf}"));
            let fused = originals::open_clip(&format!("{block}.self_attn.in_proj_{leaf}"));
            fused.map(|fused| (fused, THIRDS.map(piece).to_vec())).into_iter().collect()
        }
        (Style::Transformers, None) if name == "text_projection" => turned("text_projection.weight"),
        (Style::OpenClip, None) if name == "text_projection.weight" => turned("text_projection"),
        (Style::Transformers, None) => same(name),
        (Style::OpenClip, None) => original(name),
    }
}

fn same(name: &str) -> Vec<(String, Vec<Piece>)> {
    vec![(name.to_owned(), vec![Piece::whole(name)])]
}

fn original(name: &str) -> Vec<(String, Vec<Piece>)> {
    originals::open_clip(name).map(|new| (new, vec![Piece::whole(name)])).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_layers_are_one_and_one_is_three() {
        let fused = "text_model.encoder.layers.3.self_attn.in_proj_bias";
        let parts = rename(fused, Style::Transformers);
        let names: Vec<_> = parts.iter().map(|(name, _)| name.as_str()).collect();
        let expected = THIRDS.map(|layer| format!("text_model.encoder.layers.3.self_attn.{layer}.bias"));
        assert_eq!(names, expected);
        assert!(parts.iter().enumerate().all(|(i, (_, pieces))| pieces[0].third == Some(i)));
        let together: Vec<_> = names.iter().flat_map(|name| rename(name, Style::OpenClip)).collect();
        let [(name, pieces)] = &together[..] else { panic!("{together:?}") };
        assert_eq!(name, "transformer.resblocks.3.attn.in_proj_bias");
        assert_eq!(pieces.iter().map(|piece| piece.canonical.as_str()).collect::<Vec<_>>(), names);
    }

    #[test]
    fn the_projection_is_turned_where_its_name_says_so() {
        for (name, style, expected, is_turned) in [
            ("text_projection", Style::Transformers, "text_projection.weight", true),
            ("text_projection.weight", Style::OpenClip, "text_projection", true),
            ("text_projection", Style::OpenClip, "text_projection", false),
            ("text_projection.weight", Style::Transformers, "text_projection.weight", false),
        ] {
            let new = rename(name, style);
            assert_eq!((new[0].0.as_str(), new[0].1[0].turned), (expected, is_turned));
        }
    }
}
