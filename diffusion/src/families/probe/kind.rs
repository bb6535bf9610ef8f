//! What a file is: also one that is not a whole model, or of a kind that cannot draw here.

use super::index::{TensorIndex, VAE};
use crate::tensor_names::{clip_vision, t2i_adapter, upscalers};

/// Maximum number of tensors of a textual inversion; other files have names that look like one's too.
const MAX_EMBEDDING_TENSORS: usize = 8;

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ModelKind {
    /// A UNet or a diffusion transformer with a text encoder or a VAE.
    Model,
    /// A UNet alone.
    Unet,
    /// A diffusion transformer alone.
    Transformer,
    /// A text encoder alone.
    TextEncoder,
    /// A VAE alone.
    Vae,
    /// A small VAE for previews (TAESD).
    TinyVae,
    /// Changes of the weights of a model: LoRA, LoHa, LoKr.
    Lora,
    /// A network that steers a UNet by an image.
    ControlNet,
    /// Changes of the weights of a UNet's encoder that make a ControlNet of it.
    ControlLora,
    /// Small networks that steer the attentions of a UNet by an image.
    ControlLllite,
    /// A network beside a UNet that steers it by an image, computed once.
    T2iAdapter,
    /// Layers that make an image a prompt.
    IpAdapter,
    /// A CLIP vision encoder, which an IP-Adapter sees images with.
    ImageEncoder,
    /// Learned embeddings: a textual inversion.
    Embedding,
    /// A network that enlarges images.
    Upscaler,
    /// None of these.
    Unknown,
}

impl ModelKind {
    /// Every kind, in the order in which they are listed.
    pub const ALL: &'static [ModelKind] = &[
        ModelKind::Model,
        ModelKind::Unet,
        ModelKind::Transformer,
        ModelKind::TextEncoder,
        ModelKind::Vae,
        ModelKind::TinyVae,
        ModelKind::Lora,
        ModelKind::ControlNet,
        ModelKind::ControlLora,
        ModelKind::ControlLllite,
        ModelKind::T2iAdapter,
        ModelKind::IpAdapter,
        ModelKind::ImageEncoder,
        ModelKind::Embedding,
        ModelKind::Upscaler,
        ModelKind::Unknown,
    ];

    /// Its short name, as a program writes it.
    #[must_use]
    pub fn id(self) -> &'static str {
        self.texts().0
    }

    /// Its name, for people.
    #[must_use]
    pub fn label(self) -> &'static str {
        self.texts().1
    }

    /// What such a file can be used for.
    #[must_use]
    pub fn purpose(self) -> &'static str {
        self.texts().2
    }

    /// Whether it is a model or the part of one that denoises.
    #[must_use]
    pub fn denoises(self) -> bool {
        matches!(self, ModelKind::Model | ModelKind::Unet | ModelKind::Transformer)
    }

    /// What an error says where a file of this kind was given for something else: "is not a TAESD but a model, which draws
    /// images".
    pub(crate) fn instead_of(self, wanted: &str) -> String {
        let (label, purpose) = (self.label(), self.purpose());
        let article = if label.starts_with(['I', 'i', 'u', 'U']) { "an" } else { "a" };
        // "A UNet".
        let article = if self == ModelKind::Unet { "a" } else { article };
        format!("is not {wanted} but {article} {label}, which {purpose}")
    }

    fn texts(self) -> (&'static str, &'static str, &'static str) {
        match self {
            ModelKind::Model => ("model", "model", "draws images"),
            ModelKind::Unet => ("unet", "UNet alone", "needs text encoder and VAE from another file"),
            ModelKind::Transformer => {
                ("transformer", "transformer alone", "needs text encoders and VAE from other files")
            }
            ModelKind::TextEncoder => {
                ("text-encoder", "text encoder alone", "replaces the text encoder of a model")
            }
            ModelKind::Vae => ("vae", "VAE alone", "replaces the VAE of a model"),
            ModelKind::TinyVae => {
                ("taesd", "tiny VAE (TAESD)", "decodes previews, and fast and less exact images")
            }
            ModelKind::Lora => ("lora", "LoRA", "is added to the weights of a model of its family"),
            ModelKind::ControlNet => ("controlnet", "ControlNet", "steers a model of its family by an image"),
            ModelKind::ControlLora => {
                ("control-lora", "Control-LoRA", "steers a model of its family by an image")
            }
            ModelKind::ControlLllite => {
                ("controlnet-lllite", "ControlNet-LLLite", "steers a model of its family by an image")
            }
            ModelKind::T2iAdapter => {
                ("t2i-adapter", "T2I-Adapter", "steers a model of its family by an image")
            }
            ModelKind::IpAdapter => ("ip-adapter", "IP-Adapter", "makes an image a prompt"),
            ModelKind::ImageEncoder => {
                ("image-encoder", "image encoder (CLIP vision)", "sees images for an IP-Adapter")
            }
            ModelKind::Embedding => {
                ("embedding", "textual inversion", "is a word for the prompts of models of its family")
            }
            ModelKind::Upscaler => ("upscaler", "upscaler", "enlarges images"),
            ModelKind::Unknown => ("unknown", "unknown", "holds no tensor of a Stable Diffusion model"),
        }
    }

    /// Which kind of adapter a checkpoint is, whose names can look like those of other kinds.
    fn of_adapter(index: &TensorIndex) -> Option<ModelKind> {
        let any = |test: fn(&str) -> bool| index.any_name_in_file(test);
        if any(|n| n == "lora_controlnet") {
            Some(ModelKind::ControlLora)
        } else if any(|n| n.starts_with("lllite_")) {
            Some(ModelKind::ControlLllite)
        } else if any(|n| n.starts_with("ip_adapter.")) && any(|n| n.starts_with("image_proj.")) {
            Some(ModelKind::IpAdapter)
        } else if !index.has_network() && any(t2i_adapter::is_adapter) {
            Some(ModelKind::T2iAdapter)
        } else {
            None
        }
    }

    /// What a checkpoint is, by the names of its tensors.
    pub(super) fn of(index: &TensorIndex) -> ModelKind {
        let any = |test: fn(&str) -> bool| index.any_name_in_file(test);
        if let Some(adapter) = ModelKind::of_adapter(index) {
            adapter
        } else if any(|n| {
            // Those that begin with `lora_weights.` are of PhotoMaker.
            (n.starts_with("lora_") && !n.starts_with("lora_weights."))
                || ["oft_unet_", "lycoris_"].iter().any(|start| n.starts_with(start))
                || [
                    ".lora_",
                    ".lora.",
                    "_lora.",
                    "_lora1.",
                    "_lora2.",
                    "hada_w1_",
                    "lokr_w",
                    ".dora_scale",
                    ".oft_",
                    ".diff_b",
                ]
                .iter()
                .any(|part| n.contains(part))
                || n.ends_with(".diff")
        }) {
            ModelKind::Lora
        } else if any(|n| {
            n.contains("input_hint_block")
                || n.contains("controlnet_cond_embedding")
                || n.starts_with("controlnet_")
        }) {
            ModelKind::ControlNet
        } else if index.len() <= MAX_EMBEDDING_TENSORS
            && any(|n| matches!(n, "emb_params" | "clip_l" | "clip_g") || n.starts_with('<'))
        {
            ModelKind::Embedding
        } else if index.has_network() {
            match index.transformer() {
                _ if index.has_text() || index.has(VAE) => ModelKind::Model,
                Some(_) => ModelKind::Transformer,
                None => ModelKind::Unet,
            }
        } else if any(clip_vision::is_image_encoder) && !any(|n| n.ends_with("token_embedding.weight")) {
            ModelKind::ImageEncoder
        } else if any(|n| {
            let part = n.trim_start_matches("taesd_");
            // The halves of the original have no prefix.
            n == "3.conv.4.weight"
                || ["decoder.layers.", "encoder.layers.", "decoder.1.", "encoder.1."]
                    .iter()
                    .any(|p| part.starts_with(p))
                    && !n.contains("self_attn")
        }) {
            ModelKind::TinyVae
        } else if index.has(VAE) {
            ModelKind::Vae
        } else if index.has_text() {
            ModelKind::TextEncoder
        } else if any(upscalers::is_upscaler) {
            ModelKind::Upscaler
        } else {
            ModelKind::Unknown
        }
    }
}
