//! From the names of a LoRA file to a model's canonical names.

use crate::params::layout::QkvPart;
use crate::tensor_names::prefixes::{TensorPart, TextSlot, locate};
use crate::tensor_names::{ldm, qwen3, t5, text_encoder};
use latent_loader::Weights;
use std::collections::BTreeMap;
use std::ops::Range;

/// The layers of a model by the names under which LoRA files know them, with dots as underscores.
pub(super) type KnownLayers = BTreeMap<String, Vec<LoraTarget>>;

/// A layer of the model that a LoRA may change, or a part of one: where its weight is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LoraTarget {
    /// Canonical name of the tensor.
    pub(super) weight: String,
    /// How the layer's weight is in it.
    pub(super) place: TargetPlace,
    /// Which rows of the file's layer these are, where the model has the layer as several; `None` for all.
    pub(super) rows: Option<Range<usize>>,
}

/// How the weight of a layer is in a tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TargetPlace {
    /// It is the tensor.
    Whole,
    /// It is some rows of a tensor of so many, where several layers are fused.
    Rows(Range<usize>),
    /// It is the tensor with its halves in the other order (the last modulation of transformers).
    Swapped,
    /// It is the transposed tensor (OpenCLIP's text projection).
    Transposed,
}

impl LoraTarget {
    /// The whole tensor of that canonical name.
    pub(super) fn whole(weight: &str) -> LoraTarget {
        LoraTarget { weight: weight.to_owned(), place: TargetPlace::Whole, rows: None }
    }

    /// The tensor of its weight or of its bias, which may not exist.
    pub(super) fn tensor(&self, is_bias: bool) -> Option<String> {
        match is_bias {
            false => Some(self.weight.clone()),
            true => Some(format!("{}bias", self.weight.strip_suffix("weight")?)),
        }
    }

    /// The shape of the layer's weight, or of its bias, from that of the tensor.
    fn shape(&self, tensor: &[usize]) -> Vec<usize> {
        let mut shape = tensor.to_vec();
        match (&self.place, &mut shape[..]) {
            (TargetPlace::Rows(range), [rows, ..]) => *rows = range.len(),
            (TargetPlace::Transposed, shape) => shape.reverse(),
            _ => {}
        }
        shape
    }
}

/// The tensors that a layer of a LoRA file changes, and the shape of the layer; `None` if the model lacks one.
pub(super) fn found(
    targets: &[LoraTarget],
    is_bias: bool,
    weights: &Weights,
) -> Option<(Vec<String>, Vec<usize>)> {
    let mut tensors = Vec::with_capacity(targets.len());
    let (mut rows, mut shape) = (0, Vec::new());
    for target in targets {
        let tensor = target.tensor(is_bias)?;
        shape = target.shape(weights.shape(&tensor)?);
        rows += shape.first()?;
        tensors.push(tensor);
    }
    *shape.first_mut()? = rows;
    Some((tensors, shape))
}

/// The layers of a model's text encoders and UNet by the names under which LoRA files know them.
pub(super) fn known(weights: &Weights) -> KnownLayers {
    let layers = weights.names().filter_map(residual_block).max().map_or(0, |last| last + 1);
    let mut known = KnownLayers::new();
    for weight in weights.names() {
        let Some((part, name)) = weight.split_once('.') else { continue };
        let prefixes: &[&str] = match part {
            "unet" => &["lora_unet"],
            "text_encoder" => &["lora_te", "lora_te1"],
            "text_encoder_2" => &["lora_te2"],
            "t5" => &["lora_te3"],
            "qwen3" => &["lora_te", "lora_te1"],
            _ => continue,
        };
        let mut add = |name: &str, place: TargetPlace| {
            for prefix in prefixes {
                let target = LoraTarget { place: place.clone(), ..LoraTarget::whole(weight) };
                known.insert(format!("{prefix}_{}", name.replace('.', "_")), vec![target]);
            }
        };
        if name == "text_projection" {
            add(name, TargetPlace::Transposed);
        }
        let Some(layer) = name.strip_suffix("weight") else { continue };
        if let Some(attention) = layer.strip_suffix("in_proj_") {
            let rows = weights.shape(weight).and_then(|shape| shape.first().copied()).unwrap_or(0);
            for part in QkvPart::ALL {
                add(&format!("{attention}{}", part.name()), TargetPlace::Rows(part.range(rows)));
            }
            add(&format!("{attention}in_proj"), TargetPlace::Whole);
            continue;
        }
        let Some(layer) = layer.strip_suffix('.') else { continue };
        add(layer, TargetPlace::Whole);
        if let Some(original) = ldm::unet_layer_from_canonical(layer, layers).filter(|_| part == "unet") {
            // An upsampler is the third module of its block, or the second where there is no attention.
            if let Some(block) = original.strip_suffix(".2.conv") {
                add(&format!("{block}.1.conv"), TargetPlace::Whole);
            }
            add(&original, TargetPlace::Whole);
        }
    }
    known
}

/// Beginnings of the names of modules without dots, other than those of [`known`], and what they mean there: of kohya's OFT, and
/// of LyCORIS without a trainer around it.
const UNDERSCORED: [(&str, &str); 5] = [
    ("oft_unet_", "lora_unet_"),
    ("lora_transformer_", "lora_unet_"),
    ("lycoris_unet_", "lora_unet_"),
    ("lycoris_text_model_", "lora_te_text_model_"),
    ("lycoris_", "lora_unet_"),
];

/// The names of a module of a file as [`known`] writes them: several where the file does not say which text encoder it means.
pub(super) fn lookup(module: &str) -> Vec<String> {
    let module = module.strip_prefix("base_model.model.").unwrap_or(module);
    // Its beginning is another one's too.
    let is_named = !module.starts_with("lora_transformer_");
    if module.starts_with("lora_") && is_named {
        return vec![module.replace('.', "_")];
    }
    if let Some((start, meant)) = UNDERSCORED.iter().find(|(start, _)| module.starts_with(start)) {
        return vec![format!("{meant}{}", module[start.len()..].replace('.', "_"))];
    }
    if let Some(large) = large_text_encoder(module) {
        return vec![large];
    }
    // ComfyUI names the network as it is in memory, diffusers as in its pipelines.
    let below = ["model.diffusion_model.", "diffusion_model.", "transformer."]
        .iter()
        .find_map(|start| module.strip_prefix(start))
        .filter(|below| !below.starts_with("text_model.") && !below.starts_with("resblocks."));
    let (part, layer) = below.map_or_else(|| locate(module), |below| (TensorPart::UNet, below));
    let prefixes: &[&str] = match part {
        TensorPart::Text(TextSlot::First) => &["lora_te"],
        TensorPart::Text(TextSlot::Second) => &["lora_te2"],
        TensorPart::Text(TextSlot::Unknown) => &["lora_te", "lora_te2"],
        TensorPart::UNet => &["lora_unet"],
        _ => return vec![format!("lora_unet_{}", module.replace(".processor.", ".").replace('.', "_"))],
    };
    let layer = layer.replace(".processor.", ".");
    let layer = match layer.rsplit_once('.') {
        // diffusers before PEFT.
        Some((block, "to_out")) if part == TensorPart::UNet => format!("{block}.to_out.0"),
        Some((block, kind @ ("to_q" | "to_k" | "to_v"))) if part != TensorPart::UNet => {
            format!("{block}.{}_proj", &kind[3..])
        }
        Some((block, "to_out")) => format!("{block}.out_proj"),
        _ => layer,
    };
    let canonical = match part {
        TensorPart::UNet => None,
        _ => text_encoder::to_canonical(&format!("{layer}.weight")),
    };
    let canonical = canonical.as_ref().and_then(|(name, _)| name.strip_suffix(".weight"));
    let layer = canonical.unwrap_or(&layer).replace('.', "_");
    prefixes.iter().map(|prefix| format!("{prefix}_{layer}")).collect()
}

/// The name of a module of T5 or Qwen3 as [`known`] writes it.
fn large_text_encoder(module: &str) -> Option<String> {
    const T5: [&str; 5] = ["text_encoders.t5xxl.", "text_encoder_3.", "text_encoder_2.", "t5xxl.", "t5."];
    const QWEN3: [&str; 3] = ["text_encoders.qwen3_", "text_encoder.", "qwen3."];
    let leaf = format!("{module}.weight");
    let t5 = T5.iter().find_map(|start| t5::to_canonical(leaf.strip_prefix(start)?));
    let qwen3 = || {
        QWEN3.iter().find_map(|start| {
            let below = leaf.strip_prefix(start)?;
            // ComfyUI's prefix names the size.
            qwen3::to_canonical(if start.ends_with('_') { below.split_once('.')?.1 } else { below })
        })
    };
    let named = |prefix: &str, name: String| {
        Some(format!("{prefix}_{}", name.strip_suffix(".weight")?.replace('.', "_")))
    };
    match t5 {
        Some(name) => named("lora_te3", name),
        None => named("lora_te", qwen3()?),
    }
}

/// The number of a residual block of the first level.
fn residual_block(weight: &str) -> Option<usize> {
    weight.strip_prefix("unet.down_blocks.0.resnets.")?.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_all_programs() {
        let text = "text_model_encoder_layers_0_self_attn_q_proj";
        for (module, expected) in [
            ("unet.a.attn1.processor.to_out", "lora_unet_a_attn1_to_out_0".to_owned()),
            ("text_encoder.encoder.layers.0.self_attn.to_q", format!("lora_te_{text}")),
            (
                "text_encoder.text_model.encoder.layers.0.self_attn.to_out",
                "lora_te_text_model_encoder_layers_0_self_attn_out_proj".into(),
            ),
            ("text_encoder_2.text_model.encoder.layers.0.self_attn.q_proj", format!("lora_te2_{text}")),
            ("lora_unet_x", "lora_unet_x".into()),
            ("oft_unet_x", "lora_unet_x".into()),
            ("lycoris_x", "lora_unet_x".into()),
            ("diffusion_model.input_blocks.1.1.proj_in", "lora_unet_input_blocks_1_1_proj_in".into()),
            ("model.diffusion_model.out.2", "lora_unet_out_2".into()),
            ("down_blocks.0.x", "lora_unet_down_blocks_0_x".into()),
            ("base_model.model.mid_block.x", "lora_unet_mid_block_x".into()),
            ("transformer.transformer_blocks.0.attn.to_q", "lora_unet_transformer_blocks_0_attn_to_q".into()),
            ("lora_transformer_proj_out", "lora_unet_proj_out".into()),
            ("diffusion_model.layers.0.attention.to_out", "lora_unet_layers_0_attention_to_out_0".into()),
            ("lora_te3_encoder_block_0_layer_1_x", "lora_te3_encoder_block_0_layer_1_x".into()),
            (
                "text_encoders.t5xxl.transformer.encoder.block.0.layer.0.SelfAttention.q",
                "lora_te3_encoder_block_0_layer_0_SelfAttention_q".into(),
            ),
            (
                "text_encoder_2.encoder.block.0.layer.1.DenseReluDense.wo",
                "lora_te3_encoder_block_0_layer_1_DenseReluDense_wo".into(),
            ),
            (
                "text_encoder.model.layers.3.self_attn.q_proj",
                "lora_te_model_layers_3_self_attn_q_proj".into(),
            ),
            (
                "text_encoders.qwen3_4b.transformer.model.layers.3.mlp.up_proj",
                "lora_te_model_layers_3_mlp_up_proj".into(),
            ),
            (
                "text_encoders.clip_l.transformer.text_model.encoder.layers.0.self_attn.q_proj",
                format!("lora_te_{text}"),
            ),
            ("clip_g.transformer.text_model.encoder.layers.0.self_attn.q_proj", format!("lora_te2_{text}")),
            ("text_encoders.clip_g.transformer.text_projection", "lora_te2_text_projection".into()),
            (
                "conditioner.embedders.1.model.transformer.resblocks.3.mlp.c_fc",
                "lora_te2_text_model_encoder_layers_3_mlp_fc1".into(),
            ),
        ] {
            assert_eq!(lookup(module), [expected], "{module}");
        }
        let unknown = lookup("base_model.model.text_model.encoder.layers.0.self_attn.q_proj");
        assert_eq!(unknown, [format!("lora_te_{text}"), format!("lora_te2_{text}")]);
    }
}
