//! Files that look like a LoRA and are something else, and LoRAs for other kinds of models.

use latent_loader::Checkpoint;

/// What a file is that is not a LoRA for a UNet, as the end of a sentence that begins with its name.
pub(super) fn of(checkpoint: &Checkpoint) -> Option<String> {
    let any = |test: &dyn Fn(&str) -> bool| checkpoint.tensors().any(|tensor| test(&tensor.name));
    let reason = if checkpoint.get("lora_controlnet").is_some() {
        "is not a LoRA but a Control-LoRA, a small ControlNet: give it as one, with a control image"
    } else if any(&|name| name.starts_with("id_encoder.") || name.starts_with("lora_weights.")) {
        "is not a LoRA but a PhotoMaker file, which needs an image of a person; that is not supported"
    } else if any(&|name| name.starts_with("lllite_")) {
        "is not a LoRA but a ControlNet-LLLite: give it as a ControlNet"
    } else if any(&|name| name.starts_with("ip_adapter.") || name.starts_with("image_proj.")) {
        "is not a LoRA but an IP-Adapter"
    } else if any(&|name| [".oft_R.", ".oft_r.", ".boft_R", ".boft_s"].iter().any(|part| name.contains(part)))
    {
        "is an OFT or BOFT adapter of PEFT, which is not supported; LoRA of PEFT is, and OFT of kohya and LyCORIS"
    } else if any(&|name| {
        [".vera_lambda", ".hra_u", ".ia3_l", ".lora_embedding_A", ".fourierft_"]
            .iter()
            .any(|part| name.contains(part))
    }) {
        "is a PEFT adapter of a kind that is not supported; LoRA, LoHa, LoKr and DoRA are"
    } else {
        return None;
    };
    Some(reason.to_owned())
}

/// The kind of model that a LoRA is for, if it is none with a UNet. `has` says whether the name of a layer has a part.
pub(super) fn foreign(has: impl Fn(&str) -> bool) -> Option<&'static str> {
    let any = |parts: &[&str]| parts.iter().any(|part| has(part));
    Some(if any(&["joint_blocks"]) {
        "Stable Diffusion 3"
    } else if any(&["double_blocks", "single_blocks", "single_transformer_blocks"]) {
        "Flux"
    } else if any(&["img_mod", "txt_mlp"]) {
        "Qwen-Image"
    } else if any(&["lora_prior_", "prior."]) {
        "Stable Cascade"
    } else if any(&["lora_te3_", "text_encoders.t5", "lora_transformer_", "transformer.transformer_blocks."])
    {
        "Stable Diffusion 3 or another model with a transformer in place of the UNet"
    } else if any(&[
        "diffusion_model.layers.",
        "transformer.layers.",
        "diffusion_model.blocks.",
        "lora_unet_blocks_",
    ]) {
        "a model with a transformer in place of the UNet, such as Z-Image or Wan"
    } else {
        return None;
    })
}
