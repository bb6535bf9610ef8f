//! Where the parts of a model lie in a file, and what their shapes tell of the family.

use latent_loader::{Checkpoint, TensorInfo};

/// The families of Stable Diffusion, variants aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Base {
    /// Stable Diffusion 1.x.
    Sd1,
    /// Stable Diffusion 2.x.
    Sd2,
    /// Stable Diffusion XL.
    Sdxl,
    /// The refiner of Stable Diffusion XL.
    SdxlRefiner,
}

impl Base {
    /// Its short name, as a program writes it.
    #[must_use]
    pub fn id(self) -> &'static str {
        match self {
            Base::Sd1 => "sd1",
            Base::Sd2 => "sd2",
            Base::Sdxl => "sdxl",
            Base::SdxlRefiner => "sdxl-refiner",
        }
    }

    /// Its name, for people.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Base::Sd1 => "Stable Diffusion 1.x",
            Base::Sd2 => "Stable Diffusion 2.x",
            Base::Sdxl => "Stable Diffusion XL",
            Base::SdxlRefiner => "Stable Diffusion XL refiner",
        }
    }
}

/// Prefixes of a UNet or ControlNet, in single files, folders, and files of their own.
const UNET: [&str; 5] =
    ["model.diffusion_model.model.diffusion_model.", "model.diffusion_model.", "unet.", "control_model.", ""];
/// Beginnings of a VAE's names.
const VAE: [&str; 4] = ["first_stage_model.", "vae.", "decoder.conv_in.", "encoder.conv_in."];
/// Beginnings of a text encoder's names.
const TEXT: [&str; 13] = [
    "cond_stage_model.",
    "conditioner.embedders.",
    "text_encoder.",
    "text_encoder_2.",
    "text_model.",
    "text_encoders.",
    "clip_l.",
    "clip_g.",
    "te.",
    "te1.",
    "te2.",
    "transformer.resblocks.",
    "model.transformer.resblocks.",
];

/// Most values of a bias that are read: a file may claim any size.
const WIDEST: usize = 1 << 16;

/// A checkpoint and the prefix of its UNet.
pub(super) struct Anatomy<'a> {
    checkpoint: &'a Checkpoint,
    /// Prefix of the UNet's names, if there is one.
    pub(super) unet: Option<&'static str>,
}

impl<'a> Anatomy<'a> {
    pub(super) fn of(checkpoint: &'a Checkpoint) -> Anatomy<'a> {
        let holds = |prefix: &str| {
            let has = |name: &str| checkpoint.get(&format!("{prefix}{name}")).is_some();
            has("input_blocks.0.0.weight") || (has("conv_in.weight") && has("time_embedding.linear_1.weight"))
        };
        Anatomy { checkpoint, unet: UNET.into_iter().find(|prefix| holds(prefix)) }
    }

    fn shape(&self, names: &[&str]) -> Option<&'a [usize]> {
        let prefix = self.unet?;
        names.iter().find_map(|name| self.checkpoint.get(&format!("{prefix}{name}"))).map(|t| &t.shape[..])
    }

    /// The first tensor of the UNet of which this is true; its name comes without the prefix.
    fn find(&self, test: impl Fn(&str) -> bool) -> Option<&'a TensorInfo> {
        let prefix = self.unet?;
        self.checkpoint.tensors().find(|t| t.name.strip_prefix(prefix).is_some_and(&test))
    }

    fn starts(&self, prefixes: &[&str]) -> bool {
        self.checkpoint.tensors().any(|t| prefixes.iter().any(|p| t.name.starts_with(p)))
    }

    pub(super) fn has_text(&self) -> bool {
        self.starts(&TEXT)
    }

    pub(super) fn has_vae(&self) -> bool {
        self.starts(&VAE)
    }

    /// Channels that the UNet takes.
    pub(super) fn in_channels(&self) -> Option<usize> {
        self.shape(&["input_blocks.0.0.weight", "conv_in.weight"])?.get(1).copied()
    }

    pub(super) fn has_guidance_embedding(&self) -> bool {
        self.find(|name| {
            name.ends_with("time_embedding.cond_proj.weight") || name == "time_embed.cond_proj.weight"
        })
        .is_some()
    }

    /// The family of a UNet or ControlNet.
    pub(super) fn base(&self) -> Option<Base> {
        let has = |starts: [&str; 2]| self.find(|name| starts.iter().any(|s| name.starts_with(s))).is_some();
        let rank = self.find(|name| name.ends_with(".proj_in.weight")).map(|t| t.shape.len())?;
        let vector = self.shape(&["label_emb.0.0.weight", "add_embedding.linear_1.weight"]).is_some();
        let fourth_level = has(["input_blocks.11.", "down_blocks.3."]);
        let attention_first = has(["input_blocks.1.1.", "down_blocks.0.attentions."]);
        match (rank, vector) {
            (4, false) => Some(Base::Sd1),
            // A vector and attentions everywhere: SD 2.1 unCLIP.
            (_, true) if attention_first => Some(Base::Sd2),
            (_, true) if fourth_level => Some(Base::SdxlRefiner),
            (_, true) => Some(Base::Sdxl),
            (2, false) => Some(Base::Sd2),
            _ => None,
        }
    }

    /// The variant of a UNet.
    pub(super) fn variant(&self, base: Option<Base>) -> Option<&'static str> {
        if self.find(|name| name.contains("time_mixer") || name.contains("time_stack")).is_some() {
            return Some("Stable Video Diffusion");
        }
        if self.starts(&["cc_projection."]) {
            return Some("Zero123");
        }
        let vector = self.shape(&["label_emb.0.0.weight", "add_embedding.linear_1.weight"]).is_some();
        Some(match self.in_channels()? {
            9 => "inpainting",
            8 => "pix2pix",
            7 => "x4 upscaler",
            5 => "depth",
            4 if base == Some(Base::Sd2) && vector => "unCLIP",
            4 if base == Some(Base::Sdxl) => self.depth_variant(),
            4 => "base",
            _ => "of an unknown number of input channels",
        })
    }

    /// SSD-1B and Vega have no attention in the middle, and fewer blocks below.
    fn depth_variant(&self) -> &'static str {
        let has = |name: &str| self.find(|n| n.starts_with(name)).is_some();
        if has("middle_block.1.transformer_blocks.") || has("mid_block.attentions.") {
            return "base";
        }
        let deep =
            ["input_blocks.7.1.transformer_blocks.3.", "down_blocks.2.attentions.0.transformer_blocks.3."];
        if deep.iter().any(|name| has(name)) { "SSD-1B" } else { "Vega" }
    }

    /// Standard deviation of the first bias of the last transformer block, which tells apart what SD 2.x predicts.
    pub(super) fn deviation_of_last_norm(&self) -> Option<f64> {
        let names = [
            "output_blocks.11.1.transformer_blocks.0.norm1.bias",
            "up_blocks.3.attentions.2.transformer_blocks.0.norm1.bias",
        ];
        let tensor = self.find(|name| names.contains(&name)).filter(|t| t.elements() <= WIDEST)?;
        let values = self.checkpoint.read(&tensor.name).ok()?.to_f32().ok()?;
        let count = values.len() as f64;
        let mean = values.iter().map(|x| f64::from(*x)).sum::<f64>() / count;
        let variance = values.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / count;
        Some(variance.sqrt())
    }

    /// The family that a LoRA was made for: by its text encoders, its metadata, the text states' width, and whether
    /// projections are convolutions.
    pub(super) fn base_of_lora(&self) -> Option<Base> {
        if self.starts(&["lora_te2_", "lora_te1_", "text_encoder_2."]) {
            return Some(Base::Sdxl);
        }
        let version = self.checkpoint.metadata().get("ss_base_model_version").map_or("", String::as_str);
        let named = [("sdxl", Base::Sdxl), ("sd_v1", Base::Sd1), ("sd_v2", Base::Sd2)];
        if let Some((_, base)) = named.into_iter().find(|(mark, _)| version.starts_with(mark)) {
            return Some(base);
        }
        let down = |mark: &str| {
            self.checkpoint.tensors().find(|t| {
                t.name.contains(mark)
                    && ["lora_down", "lora_A", "lora.down"].iter().any(|d| t.name.contains(d))
            })
        };
        match down("attn2_to_k").or_else(|| down("attn2.to_k"))?.shape.get(1)? {
            768 => return Some(Base::Sd1),
            1024 => return Some(Base::Sd2),
            2048 => return Some(Base::Sdxl),
            1280 => return Some(Base::SdxlRefiner),
            _ => {}
        }
        (down("proj_in")?.shape.len() == 4).then_some(Base::Sd1)
    }

    /// The family that a textual inversion was made for, by the width of its vectors.
    pub(super) fn base_of_embedding(&self) -> Option<Base> {
        let has = |name| self.checkpoint.get(name).is_some();
        if has("clip_g") {
            return Some(if has("clip_l") { Base::Sdxl } else { Base::SdxlRefiner });
        }
        Base::of_text_width(*self.checkpoint.tensors().next()?.shape.last()?)
    }

    /// The family that a text encoder is of, by its width.
    pub(super) fn base_of_text_encoder(&self) -> Option<Base> {
        let ends = ["token_embedding.weight"];
        let table = self.checkpoint.tensors().find(|t| ends.iter().any(|end| t.name.ends_with(end)))?;
        Base::of_text_width(*table.shape.get(1)?)
    }
}

impl Base {
    fn of_text_width(width: usize) -> Option<Base> {
        match width {
            768 => Some(Base::Sd1),
            1024 => Some(Base::Sd2),
            1280 => Some(Base::Sdxl),
            _ => None,
        }
    }
}
