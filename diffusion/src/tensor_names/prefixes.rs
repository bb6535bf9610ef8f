//! Which part of a model a tensor belongs to, from its name alone: the one table of all prefixes.
//!
//! Files put parts below prefixes of their own, or contain one part without a prefix. Below a prefix, names are those of the
//! original files, OpenCLIP, transformers or diffusers.

/// The part of a model that a tensor belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum TensorPart {
    /// A text encoder.
    Text(TextSlot),
    /// T5, a large text encoder.
    T5,
    /// Qwen3, a large text encoder.
    Qwen3,
    UNet,
    /// A diffusion transformer.
    Transformer,
    ControlNet,
    Vae,
    /// A second copy of weights that trainers keep.
    Ema,
    /// Tables and markers of the noise schedule.
    Schedule,
    Other,
}

/// Which of a model's text encoders a prefix means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum TextSlot {
    First,
    Second,
    /// `conditioner.embedders.0.`, or no prefix: the names below it and the sizes decide.
    Unknown,
}

use TensorPart::{ControlNet, Ema, Text, UNet, Vae};
use TextSlot::{First, Second, Unknown};

/// Prefixes and the part below each. A prefix that begins with another one comes before it.
const PREFIXES: &[(&str, TensorPart)] = &[
    // A checkpoint whose model was wrapped twice when it was saved.
    ("model.diffusion_model.model.diffusion_model.", UNet),
    ("model.diffusion_model.", UNet),
    ("unet.", UNet),
    ("control_model.", ControlNet),
    ("first_stage_model.", Vae),
    ("vae.", Vae),
    // SD 1.x has its encoder below `transformer.`, SD 2.x below `model.`.
    ("cond_stage_model.", Text(First)),
    ("conditioner.embedders.0.", Text(Unknown)),
    ("conditioner.embedders.1.", Text(Second)),
    ("text_encoder.", Text(First)),
    ("text_encoder_2.", Text(Second)),
    ("text_encoders.clip_l.", Text(First)),
    ("text_encoders.clip_h.", Text(First)),
    ("text_encoders.clip_g.", Text(Second)),
    ("clip_l.", Text(First)),
    ("clip_h.", Text(First)),
    ("clip_g.", Text(Second)),
    ("te.", Text(First)),
    ("te1.", Text(First)),
    ("te2.", Text(Second)),
    ("model_ema.", Ema),
];

/// Beginnings of names in a file of a single part, which has no prefix.
const BARE: &[(&str, TensorPart)] = &[
    ("input_blocks.", UNet),
    ("middle_block.", UNet),
    ("output_blocks.", UNet),
    ("time_embed.", UNet),
    ("label_emb.", UNet),
    ("out.0.", UNet),
    ("out.2.", UNet),
    ("conv_in.", UNet),
    ("conv_out.", UNet),
    ("conv_norm_out.", UNet),
    ("down_blocks.", UNet),
    ("mid_block.", UNet),
    ("up_blocks.", UNet),
    ("time_embedding.", UNet),
    ("add_embedding.", UNet),
    ("class_embedding.", UNet),
    ("encoder.layers.", Text(Unknown)),
    ("text_model.", Text(Unknown)),
    ("text_projection", Text(Unknown)),
    ("embeddings.", Text(Unknown)),
    ("final_layer_norm.", Text(Unknown)),
    ("token_embedding.", Text(Unknown)),
    ("positional_embedding", Text(Unknown)),
    ("transformer.resblocks.", Text(Unknown)),
    ("transformer.text_model.", Text(Unknown)),
    ("ln_final.", Text(Unknown)),
    ("model.transformer.resblocks.", Text(Unknown)),
    ("model.token_embedding.", Text(Unknown)),
    ("model.positional_embedding", Text(Unknown)),
    ("model.ln_final.", Text(Unknown)),
    ("model.text_projection", Text(Unknown)),
    ("logit_scale", Text(Unknown)),
    ("quant_conv.", Vae),
    ("post_quant_conv.", Vae),
    // Statistics of the latents of Flux.2.
    ("bn.running_", Vae),
    ("bn.num_batches_tracked", Vae),
];

/// What follows `encoder.` and `decoder.` in a VAE. (TAESD numbers its layers.)
const VAE_SIDES: &[&str] = &[
    "conv_in.",
    "conv_out.",
    "norm_out.",
    "conv_norm_out.",
    "down.",
    "up.",
    "mid.",
    "down_blocks.",
    "up_blocks.",
    "mid_block.",
    "quant_conv.",
    "post_quant_conv.",
];

/// Beginnings of the names of schedule tables and markers.
const SCHEDULE: &[&str] = &[
    "alphas_",
    "betas",
    "sqrt_",
    "log_one_minus_",
    "posterior_",
    "logvar",
    "v_pred",
    "ztsnr",
    "edm_",
    "denoiser.sigmas",
];

/// The part that a tensor belongs to, and its name below the prefix.
pub(crate) fn locate(name: &str) -> (TensorPart, &str) {
    if let Some((prefix, part)) = PREFIXES.iter().find(|(prefix, _)| name.starts_with(prefix)) {
        return (*part, &name[prefix.len()..]);
    }
    let side = name.strip_prefix("encoder.").or_else(|| name.strip_prefix("decoder."));
    if side.is_some_and(|side| VAE_SIDES.iter().any(|start| side.starts_with(start))) {
        return (Vae, name);
    }
    // The encoder of TAESD has layers too.
    let is_clip = |name: &str| ["self_attn", "mlp", "layer_norm"].iter().any(|part| name.contains(part));
    if name.starts_with("encoder.layers.") && !is_clip(name) {
        return (TensorPart::Other, name);
    }
    match BARE.iter().find(|(start, _)| name.starts_with(start)) {
        Some((_, part)) => (*part, name),
        None if SCHEDULE.iter().any(|start| name.starts_with(start)) => (TensorPart::Schedule, name),
        None => (TensorPart::Other, name),
    }
}

/// Whether a tensor is one that other programs save with a text encoder or VAE and nothing reads: position ids, the logit scale
/// that CLIP was trained with, and how many batches statistics are of.
pub(crate) fn is_byproduct(below: &str) -> bool {
    ["position_ids", "logit_scale", "num_batches_tracked"].iter().any(|end| below.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_prefix() {
        for (name, part, below) in [
            ("model.diffusion_model.out.2.bias", UNet, "out.2.bias"),
            ("model.diffusion_model.model.diffusion_model.out.2.bias", UNet, "out.2.bias"),
            ("unet.conv_in.bias", UNet, "conv_in.bias"),
            ("input_blocks.0.0.weight", UNet, "input_blocks.0.0.weight"),
            ("down_blocks.0.resnets.0.conv1.bias", UNet, "down_blocks.0.resnets.0.conv1.bias"),
            ("control_model.input_blocks.0.0.bias", ControlNet, "input_blocks.0.0.bias"),
            ("first_stage_model.decoder.conv_in.bias", Vae, "decoder.conv_in.bias"),
            ("vae.quant_conv.bias", Vae, "quant_conv.bias"),
            ("decoder.up.0.block.0.norm1.bias", Vae, "decoder.up.0.block.0.norm1.bias"),
            ("encoder.mid_block.resnets.0.conv1.bias", Vae, "encoder.mid_block.resnets.0.conv1.bias"),
            ("encoder.quant_conv.bias", Vae, "encoder.quant_conv.bias"),
            ("bn.running_mean", Vae, "bn.running_mean"),
            ("vae.bn.running_var", Vae, "bn.running_var"),
            ("cond_stage_model.transformer.text_model.x", Text(First), "transformer.text_model.x"),
            ("cond_stage_model.model.ln_final.bias", Text(First), "model.ln_final.bias"),
            ("conditioner.embedders.0.model.ln_final.bias", Text(Unknown), "model.ln_final.bias"),
            ("conditioner.embedders.1.model.ln_final.bias", Text(Second), "model.ln_final.bias"),
            ("clip_l.text_model.x", Text(First), "text_model.x"),
            ("clip_g.text_model.x", Text(Second), "text_model.x"),
            ("te.text_model.x", Text(First), "text_model.x"),
            ("te1.text_model.x", Text(First), "text_model.x"),
            ("te2.text_model.x", Text(Second), "text_model.x"),
            ("text_encoder_2.text_projection.weight", Text(Second), "text_projection.weight"),
            (
                "encoder.layers.3.self_attn.q_proj.bias",
                Text(Unknown),
                "encoder.layers.3.self_attn.q_proj.bias",
            ),
            ("model_ema.diffusion_modelout0bias", Ema, "diffusion_modelout0bias"),
            ("betas", TensorPart::Schedule, "betas"),
        ] {
            assert_eq!(locate(name), (part, below), "{name}");
        }
    }

    #[test]
    fn names_outside_of_a_model() {
        for name in [
            "",
            "encoder.layers.1.conv.0.weight",
            "decoder.1.weight",
            "clip_l",
            "emb_params",
            "lora_unet_down_blocks_0.alpha",
            "conv_first.weight",
            "loss.logvar",
        ] {
            assert_eq!(locate(name), (TensorPart::Other, name));
        }
        assert!(
            is_byproduct("transformer.text_model.embeddings.position_ids")
                && is_byproduct("model.logit_scale")
        );
    }
}
