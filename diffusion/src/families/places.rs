//! Which part of a model a tensor is of, told by its name alone: the one table of all prefixes.
//!
//! Files put parts below prefixes of their own, or hold one part without any. What stands below a prefix is named as the
//! original files, OpenCLIP, transformers or diffusers name it; [`Contents`](super::contents::Contents) makes canonical
//! names of it.

/// The part of a model that a tensor is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Part {
    Text(Slot),
    Unet,
    ControlNet,
    Vae,
    /// A second copy of weights that trainers keep.
    Ema,
    /// Tables of the noise schedule.
    Schedule,
    Other,
}

/// Which of a model's text encoders one is, as far as the prefix tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Slot {
    First,
    Second,
    /// `conditioner.embedders.0.`, or none: the names below and the sizes tell.
    Unsaid,
}

use Part::{ControlNet, Ema, Text, Unet, Vae};
use Slot::{First, Second, Unsaid};

/// Prefixes and what lies below them; those that begin with another come before it.
const PREFIXES: &[(&str, Part)] = &[
    // A checkpoint whose model was wrapped twice when it was saved.
    ("model.diffusion_model.model.diffusion_model.", Unet),
    ("model.diffusion_model.", Unet),
    ("unet.", Unet),
    ("control_model.", ControlNet),
    ("first_stage_model.", Vae),
    ("vae.", Vae),
    // SD 1.x has its encoder below `transformer.`, SD 2.x below `model.`.
    ("cond_stage_model.", Text(First)),
    ("conditioner.embedders.0.", Text(Unsaid)),
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

/// Beginnings of names in a file of one part, which has no prefix.
const BARE: &[(&str, Part)] = &[
    ("input_blocks.", Unet),
    ("middle_block.", Unet),
    ("output_blocks.", Unet),
    ("time_embed.", Unet),
    ("label_emb.", Unet),
    ("out.0.", Unet),
    ("out.2.", Unet),
    ("conv_in.", Unet),
    ("conv_out.", Unet),
    ("conv_norm_out.", Unet),
    ("down_blocks.", Unet),
    ("mid_block.", Unet),
    ("up_blocks.", Unet),
    ("time_embedding.", Unet),
    ("add_embedding.", Unet),
    ("class_embedding.", Unet),
    ("encoder.layers.", Text(Unsaid)),
    ("text_model.", Text(Unsaid)),
    ("text_projection", Text(Unsaid)),
    ("embeddings.", Text(Unsaid)),
    ("final_layer_norm.", Text(Unsaid)),
    ("token_embedding.", Text(Unsaid)),
    ("positional_embedding", Text(Unsaid)),
    ("transformer.resblocks.", Text(Unsaid)),
    ("transformer.text_model.", Text(Unsaid)),
    ("ln_final.", Text(Unsaid)),
    ("model.transformer.resblocks.", Text(Unsaid)),
    ("model.token_embedding.", Text(Unsaid)),
    ("model.positional_embedding", Text(Unsaid)),
    ("model.ln_final.", Text(Unsaid)),
    ("model.text_projection", Text(Unsaid)),
    ("logit_scale", Text(Unsaid)),
    ("quant_conv.", Vae),
    ("post_quant_conv.", Vae),
];

/// What follows `encoder.` and `decoder.` in a VAE, but for TAESD, whose layers are numbered.
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
];

/// Beginnings of the tables of a noise schedule, and of marks of it.
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

/// The part that a tensor is of, and its name below the prefix.
pub(super) fn place(name: &str) -> (Part, &str) {
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
        return (Part::Other, name);
    }
    match BARE.iter().find(|(start, _)| name.starts_with(start)) {
        Some((_, part)) => (*part, name),
        None if SCHEDULE.iter().any(|start| name.starts_with(start)) => (Part::Schedule, name),
        None => (Part::Other, name),
    }
}

/// Whether nothing needs a tensor of a part that other programs save with it: counts of positions, also as numbers with
/// fractions, and the scale that CLIP was trained with.
pub(super) fn is_surplus(below: &str) -> bool {
    below.ends_with("position_ids") || below.ends_with("logit_scale")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_prefix_that_was_seen() {
        for (name, part, below) in [
            ("model.diffusion_model.out.2.bias", Unet, "out.2.bias"),
            ("model.diffusion_model.model.diffusion_model.out.2.bias", Unet, "out.2.bias"),
            ("unet.conv_in.bias", Unet, "conv_in.bias"),
            ("input_blocks.0.0.weight", Unet, "input_blocks.0.0.weight"),
            ("down_blocks.0.resnets.0.conv1.bias", Unet, "down_blocks.0.resnets.0.conv1.bias"),
            ("control_model.input_blocks.0.0.bias", ControlNet, "input_blocks.0.0.bias"),
            ("first_stage_model.decoder.conv_in.bias", Vae, "decoder.conv_in.bias"),
            ("vae.quant_conv.bias", Vae, "quant_conv.bias"),
            ("decoder.up.0.block.0.norm1.bias", Vae, "decoder.up.0.block.0.norm1.bias"),
            ("encoder.mid_block.resnets.0.conv1.bias", Vae, "encoder.mid_block.resnets.0.conv1.bias"),
            ("cond_stage_model.transformer.text_model.x", Text(First), "transformer.text_model.x"),
            ("cond_stage_model.model.ln_final.bias", Text(First), "model.ln_final.bias"),
            ("conditioner.embedders.0.model.ln_final.bias", Text(Unsaid), "model.ln_final.bias"),
            ("conditioner.embedders.1.model.ln_final.bias", Text(Second), "model.ln_final.bias"),
            ("clip_l.text_model.x", Text(First), "text_model.x"),
            ("clip_g.text_model.x", Text(Second), "text_model.x"),
            ("te.text_model.x", Text(First), "text_model.x"),
            ("te1.text_model.x", Text(First), "text_model.x"),
            ("te2.text_model.x", Text(Second), "text_model.x"),
            ("text_encoder_2.text_projection.weight", Text(Second), "text_projection.weight"),
            (
                "encoder.layers.3.self_attn.q_proj.bias",
                Text(Unsaid),
                "encoder.layers.3.self_attn.q_proj.bias",
            ),
            ("model_ema.diffusion_modelout0bias", Ema, "diffusion_modelout0bias"),
            ("betas", Part::Schedule, "betas"),
        ] {
            assert_eq!(place(name), (part, below), "{name}");
        }
    }

    #[test]
    fn what_is_no_part_of_a_model() {
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
            assert_eq!(place(name), (Part::Other, name));
        }
        assert!(
            is_surplus("transformer.text_model.embeddings.position_ids") && is_surplus("model.logit_scale")
        );
    }
}
