//! What a file is: also one that is no whole model, or of a kind that cannot draw here.
//!
//! Names and shapes tell nearly all. What they do not tell is looked up, in this order: the folder's configuration, the
//! metadata, one small tensor (the prediction of SD 2.x), and the file's name.

use super::anatomy::{self, Base};
use super::contents::{Contents, VAE};
use super::prediction::{self, DetectedPrediction};
use latent_loader::Checkpoint;
use std::path::Path;

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ModelKind {
    /// A UNet with a text encoder or a VAE.
    Model,
    /// A UNet alone.
    Unet,
    /// A text encoder alone.
    TextEncoder,
    /// A VAE alone.
    Vae,
    /// A small VAE for previews (TAESD).
    TinyVae,
    /// An addition to the weights of a model: LoRA, LoHa, LoKr.
    Lora,
    /// A network that steers a UNet by an image.
    ControlNet,
    /// Words that were learned: a textual inversion.
    Embedding,
    /// A network that enlarges images.
    Upscaler,
    /// Nothing of Stable Diffusion that is known here.
    Unknown,
}

impl ModelKind {
    /// Every kind, in the order in which they are listed.
    pub const ALL: &'static [ModelKind] = &[
        ModelKind::Model,
        ModelKind::Unet,
        ModelKind::TextEncoder,
        ModelKind::Vae,
        ModelKind::TinyVae,
        ModelKind::Lora,
        ModelKind::ControlNet,
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

    fn texts(self) -> (&'static str, &'static str, &'static str) {
        match self {
            ModelKind::Model => ("model", "model", "draws images"),
            ModelKind::Unet => ("unet", "UNet alone", "needs text encoder and VAE from another file"),
            ModelKind::TextEncoder => {
                ("text-encoder", "text encoder alone", "replaces the text encoder of a model")
            }
            ModelKind::Vae => ("vae", "VAE alone", "replaces the VAE of a model"),
            ModelKind::TinyVae => {
                ("taesd", "tiny VAE (TAESD)", "decodes previews, and fast and less exact images")
            }
            ModelKind::Lora => ("lora", "LoRA", "is added to the weights of a model of its family"),
            ModelKind::ControlNet => ("controlnet", "ControlNet", "steers a model of its family by an image"),
            ModelKind::Embedding => {
                ("embedding", "textual inversion", "is a word for the prompts of models of its family")
            }
            ModelKind::Upscaler => ("upscaler", "upscaler", "enlarges images"),
            ModelKind::Unknown => ("unknown", "unknown", "holds no tensor of a Stable Diffusion model"),
        }
    }
}

/// What a file is, as far as it tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// What it is.
    pub kind: ModelKind,
    /// The family that it is of, or goes with.
    pub base: Option<Base>,
    /// "base", "inpainting", "pix2pix", …; only for what holds a UNet.
    pub variant: Option<&'static str>,
    /// "turbo", "lightning", "lcm" or "hyper", for few steps, and how that was told.
    pub distilled: Option<(&'static str, &'static str)>,
    /// What the UNet predicts.
    pub prediction: Option<DetectedPrediction>,
    /// Whether the schedule ends in pure noise (zero terminal SNR).
    pub zero_terminal_snr: bool,
    /// Parts that a whole model has and this one lacks.
    pub lacks: Vec<&'static str>,
}

impl Identity {
    /// Looks at a checkpoint. One small tensor is read at most.
    #[must_use]
    pub fn of(checkpoint: &Checkpoint) -> Identity {
        let contents = Contents::of(checkpoint);
        let kind = kind(&contents);
        let has_unet = matches!(kind, ModelKind::Model | ModelKind::Unet);
        let base = match kind {
            ModelKind::Model | ModelKind::Unet | ModelKind::ControlNet => anatomy::base(&contents),
            ModelKind::Lora => anatomy::base_of_lora(checkpoint),
            ModelKind::Embedding => anatomy::base_of_embedding(checkpoint),
            ModelKind::TextEncoder => anatomy::base_of_text_encoder(checkpoint),
            _ => None,
        };
        let mut lacks = Vec::new();
        if has_unet {
            let parts = [("text encoder", contents.has_text()), ("VAE", contents.has(VAE))];
            lacks.extend(parts.iter().filter(|(_, has)| !has).map(|(name, _)| *name));
        }
        Identity {
            kind,
            base,
            variant: if has_unet { anatomy::variant(&contents) } else { None },
            distilled: if has_unet || kind == ModelKind::Lora { distilled(&contents) } else { None },
            prediction: if has_unet { prediction::told(&contents, base) } else { None },
            zero_terminal_snr: has_unet && prediction::zero_terminal_snr(checkpoint),
            lacks,
        }
    }

    /// Family and variant, for people: "Stable Diffusion 1.x inpainting".
    #[must_use]
    pub fn family_label(&self) -> Option<String> {
        let base = self.base?.label();
        Some(match self.variant {
            None | Some("base") => base.to_owned(),
            Some(variant) => format!("{base} {variant}"),
        })
    }
}

fn kind(contents: &Contents<'_>) -> ModelKind {
    let checkpoint = contents.checkpoint;
    let any = |test: fn(&str) -> bool| checkpoint.tensors().any(|t| test(&t.name));
    let names = checkpoint.tensors().count();
    if any(|n| {
        n.starts_with("lora_")
            || [".lora_", ".lora.", "hada_w1_", "lokr_w", ".lora_A", ".dora_scale"]
                .iter()
                .any(|p| n.contains(p))
    }) {
        ModelKind::Lora
    } else if any(|n| {
        n.contains("input_hint_block")
            || n.contains("controlnet_cond_embedding")
            || n.starts_with("controlnet_")
    }) {
        ModelKind::ControlNet
    } else if names <= 8 && any(|n| matches!(n, "emb_params" | "clip_l" | "clip_g") || n.starts_with('<')) {
        ModelKind::Embedding
    } else if anatomy::has_unet(contents) {
        if contents.has_text() || contents.has(VAE) { ModelKind::Model } else { ModelKind::Unet }
    } else if any(|n| {
        let part = n.trim_start_matches("taesd_");
        // The original's halves have no prefix.
        n == "3.conv.4.weight"
            || ["decoder.layers.", "encoder.layers.", "decoder.1.", "encoder.1."]
                .iter()
                .any(|p| part.starts_with(p))
                && !n.contains("self_attn")
    }) {
        ModelKind::TinyVae
    } else if contents.has(VAE) {
        ModelKind::Vae
    } else if contents.has_text() {
        ModelKind::TextEncoder
    } else if any(crate::upscaler::is_upscaler) {
        ModelKind::Upscaler
    } else {
        ModelKind::Unknown
    }
}

/// How something was told that only the file's name tells.
pub(crate) const FILE_NAME: &str = "the file's name";

/// A text of the metadata; in a folder, of the UNet's.
pub(super) fn said<'a>(checkpoint: &'a Checkpoint, key: &str) -> Option<&'a String> {
    let metadata = checkpoint.metadata();
    metadata.get(key).or_else(|| metadata.get(&format!("unet.{key}")))
}

/// Words of the title in the metadata, in small letters.
pub(super) fn title(checkpoint: &Checkpoint) -> Vec<String> {
    said(checkpoint, "modelspec.title").map_or(Vec::new(), |title| split(title))
}

/// Words of the file's name, in small letters.
pub(super) fn words(checkpoint: &Checkpoint) -> Vec<String> {
    split(&Path::new(checkpoint.label()).file_name().unwrap_or_default().to_string_lossy())
}

fn split(text: &str) -> Vec<String> {
    text.to_lowercase().split(|c: char| !c.is_alphanumeric()).map(str::to_owned).collect()
}

/// A model for few steps.
fn distilled(contents: &Contents<'_>) -> Option<(&'static str, &'static str)> {
    const MARKS: [&str; 4] = ["turbo", "lightning", "lcm", "hyper"];
    let checkpoint = contents.checkpoint;
    if anatomy::has_guidance_embedding(contents) {
        return Some(("lcm", "its guidance embedding"));
    }
    // "hyper" begins other words too, such as "hyperrealistic".
    let is = |word: &str, mark: &str| {
        if mark == "hyper" { word == mark || word.starts_with("hypersd") } else { word.contains(mark) }
    };
    let find = |words: &[String]| MARKS.into_iter().find(|mark| words.iter().any(|word| is(word, mark)));
    let metadata = ["modelspec.architecture", "modelspec.title"];
    let texts = metadata.iter().filter_map(|key| said(checkpoint, key));
    let told: Vec<String> = texts.flat_map(|text| split(text)).collect();
    find(&told)
        .map(|mark| (mark, "the metadata"))
        .or_else(|| find(&words(checkpoint)).map(|mark| (mark, FILE_NAME)))
}
