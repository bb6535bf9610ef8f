//! What a file is: also one that is no whole model, or of a kind that cannot draw here.
//!
//! Names and shapes tell nearly all. What they do not tell is looked up, in this order: the folder's configuration, the
//! metadata, one small tensor (the prediction of SD 2.x), and the file's name.

use super::anatomy::{Anatomy, Base};
use crate::samplers::Prediction;
use latent_loader::Checkpoint;
use std::path::Path;

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
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
    /// A network that steers a UNet by a picture.
    ControlNet,
    /// Words that were learned: a textual inversion.
    Embedding,
    /// A network that enlarges pictures.
    Upscaler,
    /// Nothing of Stable Diffusion that is known here.
    Unknown,
}

impl Kind {
    /// Every kind, in the order in which they are listed.
    pub const ALL: &'static [Kind] = &[
        Kind::Model,
        Kind::Unet,
        Kind::TextEncoder,
        Kind::Vae,
        Kind::TinyVae,
        Kind::Lora,
        Kind::ControlNet,
        Kind::Embedding,
        Kind::Upscaler,
        Kind::Unknown,
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
            Kind::Model => ("model", "model", "draws pictures"),
            Kind::Unet => ("unet", "UNet alone", "needs text encoder and VAE from another file"),
            Kind::TextEncoder => {
                ("text-encoder", "text encoder alone", "replaces the text encoder of a model")
            }
            Kind::Vae => ("vae", "VAE alone", "replaces the VAE of a model"),
            Kind::TinyVae => {
                ("taesd", "tiny VAE (TAESD)", "decodes previews, and fast and less exact pictures")
            }
            Kind::Lora => ("lora", "LoRA", "is added to the weights of a model of its family"),
            Kind::ControlNet => ("controlnet", "ControlNet", "steers a model of its family by a picture"),
            Kind::Embedding => {
                ("embedding", "textual inversion", "is a word for the prompts of models of its family")
            }
            Kind::Upscaler => ("upscaler", "upscaler", "enlarges pictures"),
            Kind::Unknown => ("unknown", "unknown", "holds no tensor of a Stable Diffusion model"),
        }
    }
}

/// What a UNet predicts, and how that was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// What it predicts.
    pub prediction: Prediction,
    /// How that was told.
    pub by: &'static str,
}

/// What a file is, as far as it tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// What it is.
    pub kind: Kind,
    /// The family that it is of, or goes with.
    pub base: Option<Base>,
    /// "base", "inpainting", "pix2pix", …; only for what holds a UNet.
    pub variant: Option<&'static str>,
    /// "turbo", "lightning", "lcm" or "hyper", for few steps, and how that was told.
    pub distilled: Option<(&'static str, &'static str)>,
    /// What the UNet predicts.
    pub prediction: Option<Told>,
    /// Whether the schedule ends in pure noise (zero terminal SNR).
    pub zero_terminal_snr: bool,
    /// Parts that a whole model has and this one lacks.
    pub lacks: Vec<&'static str>,
}

impl Identity {
    /// Looks at a checkpoint. One small tensor is read at most.
    #[must_use]
    pub fn of(checkpoint: &Checkpoint) -> Identity {
        let anatomy = Anatomy::of(checkpoint);
        let kind = kind(checkpoint, &anatomy);
        let has_unet = matches!(kind, Kind::Model | Kind::Unet);
        let base = match kind {
            Kind::Model | Kind::Unet | Kind::ControlNet => anatomy.base(),
            Kind::Lora => anatomy.base_of_lora(),
            Kind::Embedding => anatomy.base_of_embedding(),
            Kind::TextEncoder => anatomy.base_of_text_encoder(),
            _ => None,
        };
        let mut lacks = Vec::new();
        if has_unet {
            let parts = [("text encoder", anatomy.has_text()), ("VAE", anatomy.has_vae())];
            lacks.extend(parts.iter().filter(|(_, has)| !has).map(|(name, _)| *name));
        }
        Identity {
            kind,
            base,
            variant: if has_unet { anatomy.variant(base) } else { None },
            distilled: if has_unet || kind == Kind::Lora { distilled(checkpoint, &anatomy) } else { None },
            prediction: if has_unet { prediction(checkpoint, &anatomy, base) } else { None },
            zero_terminal_snr: has_unet && zero_terminal_snr(checkpoint),
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

fn kind(checkpoint: &Checkpoint, anatomy: &Anatomy<'_>) -> Kind {
    let any = |test: fn(&str) -> bool| checkpoint.tensors().any(|t| test(&t.name));
    let names = checkpoint.tensors().count();
    if any(|n| {
        n.starts_with("lora_")
            || [".lora_", ".lora.", "hada_w1_", "lokr_w", ".lora_A", ".dora_scale"]
                .iter()
                .any(|p| n.contains(p))
    }) {
        Kind::Lora
    } else if any(|n| {
        n.contains("input_hint_block")
            || n.contains("controlnet_cond_embedding")
            || n.starts_with("controlnet_")
    }) {
        Kind::ControlNet
    } else if names <= 8 && any(|n| matches!(n, "emb_params" | "clip_l" | "clip_g") || n.starts_with('<')) {
        Kind::Embedding
    } else if anatomy.unet.is_some() {
        if anatomy.has_text() || anatomy.has_vae() { Kind::Model } else { Kind::Unet }
    } else if any(|n| {
        let part = n.trim_start_matches("taesd_");
        ["decoder.layers.", "encoder.layers.", "decoder.1.", "encoder.1."].iter().any(|p| part.starts_with(p))
            && !n.contains("self_attn")
    }) {
        Kind::TinyVae
    } else if anatomy.has_vae() {
        Kind::Vae
    } else if anatomy.has_text() {
        Kind::TextEncoder
    } else if any(|n| n == "conv_first.weight" || n.starts_with("model.1.sub.")) {
        Kind::Upscaler
    } else {
        Kind::Unknown
    }
}

/// Words of the file's name, in small letters.
fn words(checkpoint: &Checkpoint) -> Vec<String> {
    let name = Path::new(checkpoint.label()).file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    name.split(|c: char| !c.is_alphanumeric()).map(str::to_owned).collect()
}

/// A model for few steps.
fn distilled(checkpoint: &Checkpoint, anatomy: &Anatomy<'_>) -> Option<(&'static str, &'static str)> {
    const MARKS: [&str; 4] = ["turbo", "lightning", "lcm", "hyper"];
    if anatomy.has_guidance_embedding() {
        return Some(("lcm", "its guidance embedding"));
    }
    let metadata = ["modelspec.architecture", "modelspec.title"];
    let texts = metadata.iter().filter_map(|key| checkpoint.metadata().get(*key));
    let told: String = texts.map(|text| text.to_lowercase()).collect();
    if let Some(mark) = MARKS.into_iter().find(|mark| told.contains(mark)) {
        return Some((mark, "the metadata"));
    }
    let words = words(checkpoint);
    let mark = MARKS.into_iter().find(|mark| words.iter().any(|word| word.contains(mark)))?;
    Some((mark, "the file's name"))
}

fn prediction(checkpoint: &Checkpoint, anatomy: &Anatomy<'_>, base: Option<Base>) -> Option<Told> {
    let told = |prediction, by| Some(Told { prediction, by });
    let named = |text: &str| match text {
        "epsilon" | "eps" => Some(Prediction::Epsilon),
        "v" | "v_prediction" | "v-prediction" | "vpred" | "v_pred" => Some(Prediction::V),
        _ => None,
    };
    let config = checkpoint.config("scheduler").and_then(|c| c.get("prediction_type")?.as_str());
    if let Some(prediction) = config.and_then(named) {
        return told(prediction, "the scheduler's configuration");
    }
    let metadata = checkpoint.metadata();
    if let Some(prediction) = metadata.get("modelspec.prediction_type").and_then(|text| named(text)) {
        return told(prediction, "the metadata");
    }
    if metadata.get("modelspec.architecture").is_some_and(|text| text.ends_with("768-v")) {
        return told(Prediction::V, "the metadata");
    }
    if ["v_pred", "edm_vpred.sigma_max"].iter().any(|name| checkpoint.get(name).is_some()) {
        return told(Prediction::V, "a mark among the tensors");
    }
    if base? == Base::Sd2
        && anatomy.in_channels() == Some(4)
        && let Some(deviation) = anatomy.deviation_of_last_norm()
    {
        let prediction = if deviation > MOST_OF_EPSILON { Prediction::V } else { Prediction::Epsilon };
        return told(prediction, "the spread of the last attention's norm");
    }
    let words = words(checkpoint);
    if words.windows(2).any(|pair| pair[0] == "v" && pair[1].starts_with("pred"))
        || words.iter().any(|word| word.contains("vpred"))
    {
        return told(Prediction::V, "the file's name");
    }
    told(Prediction::Epsilon, "what is usual in its family")
}

/// Largest standard deviation of the last transformer block's first bias in SD 2.x models that predict the noise.
const MOST_OF_EPSILON: f64 = 0.09;

fn zero_terminal_snr(checkpoint: &Checkpoint) -> bool {
    let config = checkpoint.config("scheduler").and_then(|c| c.get("rescale_betas_zero_snr")?.as_bool());
    config.unwrap_or(false) || checkpoint.get("ztsnr").is_some()
}
