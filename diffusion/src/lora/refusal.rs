//! Files that look like a LoRA and are something else.

use latent_loader::Checkpoint;

/// What a file is that is not a LoRA, as the end of a sentence that begins with its name.
pub(super) fn of(checkpoint: &Checkpoint) -> Option<String> {
    let any = |test: &dyn Fn(&str) -> bool| checkpoint.tensors().any(|tensor| test(&tensor.name));
    let reason = if checkpoint.get("lora_controlnet").is_some() {
        "is not a LoRA but a Control-LoRA, a small ControlNet: give it as one, with a control image"
    } else if any(&|name| name.starts_with("id_encoder.") || name.starts_with("lora_weights.")) {
        "is not a LoRA but a PhotoMaker file, which needs an image of a person; that is not supported"
    } else if any(&|name| name.ends_with("_attn.norm.query_norm.scale")) {
        "is a Flux.1 control LoRA (Canny, Depth), which makes the model take a control image; that is not supported"
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
