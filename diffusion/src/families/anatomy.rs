//! What the shapes of a model's parts tell of its family and variant.

use super::contents::{CONTROL, Contents, UNET};
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

/// Most values of a bias that are read: a file may claim any size.
const WIDEST: usize = 1 << 16;

/// The UNet or ControlNet of a checkpoint, by canonical names below its scope.
struct Net<'a>(&'a Contents<'a>, &'static str);

impl<'a> Net<'a> {
    fn of(contents: &'a Contents<'a>) -> Net<'a> {
        Net(contents, if has_unet(contents) { UNET } else { CONTROL })
    }

    fn shape(&self, name: &str) -> Option<&'a [usize]> {
        self.0.shape(&format!("{}{name}", self.1))
    }

    /// The first tensor of which this is true.
    fn find(&self, test: impl Fn(&str) -> bool) -> Option<&'a TensorInfo> {
        self.0.below(self.1).find(|(name, _)| test(name)).map(|(_, tensor)| tensor)
    }

    fn has(&self, start: &str) -> bool {
        self.0.has(&format!("{}{start}", self.1))
    }

    fn has_vector(&self) -> bool {
        self.shape("add_embedding.linear_1.weight").is_some()
    }
}

/// Whether there is a UNet, or a ControlNet without a prefix of its own.
pub(super) fn has_unet(contents: &Contents<'_>) -> bool {
    let has = |name: &str| contents.shape(&format!("{UNET}{name}")).is_some();
    has("conv_in.weight") && has("time_embedding.linear_1.weight")
}

/// Channels that the UNet takes.
pub(super) fn in_channels(contents: &Contents<'_>) -> Option<usize> {
    Net::of(contents).shape("conv_in.weight")?.get(1).copied()
}

/// Whether the UNet takes the guidance as a number (LCM).
pub(super) fn has_guidance_embedding(contents: &Contents<'_>) -> bool {
    contents.checkpoint.tensors().any(|t| t.name.ends_with("cond_proj.weight"))
}

/// The family of a UNet or ControlNet.
pub(super) fn base(contents: &Contents<'_>) -> Option<Base> {
    let net = Net::of(contents);
    let rank = net.find(|name| name.ends_with(".proj_in.weight")).map(|t| t.shape.len())?;
    let fourth_level = net.has("down_blocks.3.");
    let attention_first = net.has("down_blocks.0.attentions.");
    match (rank, net.has_vector()) {
        (4, false) => Some(Base::Sd1),
        // A vector and attentions everywhere: SD 2.1 unCLIP.
        (_, true) if attention_first => Some(Base::Sd2),
        (_, true) if fourth_level => Some(Base::SdxlRefiner),
        (_, true) => Some(Base::Sdxl),
        (2, false) => Some(Base::Sd2),
        _ => None,
    }
}

/// Variants of a UNet that take something else than text, noise and an image of the same size.
pub(super) const FOREIGN: [&str; 5] = [VIDEO, ZERO123, UPSCALER, DEPTH, UNCLIP];
const VIDEO: &str = "Stable Video Diffusion";
const ZERO123: &str = "Zero123";
pub(super) const UPSCALER: &str = "x4 upscaler";
const DEPTH: &str = "depth";
const UNCLIP: &str = "unCLIP";

/// The variant of a UNet.
pub(super) fn variant(contents: &Contents<'_>) -> Option<&'static str> {
    let any = |test: &dyn Fn(&str) -> bool| contents.checkpoint.tensors().any(|t| test(&t.name));
    if any(&|name| {
        ["time_mixer", "time_stack", "temporal_transformer_blocks"].iter().any(|mark| name.contains(mark))
    }) {
        return Some(VIDEO);
    }
    if any(&|name| name.starts_with("cc_projection.")) {
        return Some(ZERO123);
    }
    let net = Net::of(contents);
    let base = base(contents);
    Some(match in_channels(contents)? {
        9 => "inpainting",
        8 => "pix2pix",
        7 => UPSCALER,
        5 => DEPTH,
        4 if base == Some(Base::Sd2) && net.has_vector() => UNCLIP,
        4 if base == Some(Base::Sdxl) => depth_variant(&net),
        4 => "base",
        _ => "of an unknown number of input channels",
    })
}

/// SSD-1B and Vega have no attention in the middle, and fewer blocks below; the small KOALA has no middle.
fn depth_variant(net: &Net<'_>) -> &'static str {
    if net.has("mid_block.attentions.") {
        return "base";
    }
    if !net.has("mid_block.") {
        return "KOALA";
    }
    let is_deep = net.has("down_blocks.2.attentions.0.transformer_blocks.3.");
    if is_deep { "SSD-1B" } else { "Vega" }
}

/// Standard deviation of the first bias of the last transformer block, which tells apart what SD 2.x predicts.
pub(super) fn deviation_of_last_norm(contents: &Contents<'_>) -> Option<f64> {
    let name = "up_blocks.3.attentions.2.transformer_blocks.0.norm1.bias";
    let tensor = Net::of(contents).find(|n| n == name).filter(|t| t.elements() <= WIDEST)?;
    let values = contents.checkpoint.read(&tensor.name).ok()?.to_f32().ok()?;
    let count = values.len() as f64;
    let mean = values.iter().map(|x| f64::from(*x)).sum::<f64>() / count;
    let variance = values.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / count;
    Some(variance.sqrt())
}

/// The family that a LoRA was made for: by its text encoders, its metadata, the text states' width, and whether
/// projections are convolutions.
pub(super) fn base_of_lora(checkpoint: &Checkpoint) -> Option<Base> {
    if checkpoint
        .tensors()
        .any(|t| ["lora_te2_", "lora_te1_", "text_encoder_2."].iter().any(|p| t.name.starts_with(p)))
    {
        return Some(Base::Sdxl);
    }
    let version = checkpoint.metadata().get("ss_base_model_version").map_or("", String::as_str);
    let named = [("sdxl", Base::Sdxl), ("sd_v1", Base::Sd1), ("sd_v2", Base::Sd2)];
    if let Some((_, base)) = named.into_iter().find(|(mark, _)| version.starts_with(mark)) {
        return Some(base);
    }
    let down = |mark: &str| {
        checkpoint.tensors().find(|t| {
            t.name.contains(mark) && ["lora_down", "lora_A", "lora.down"].iter().any(|d| t.name.contains(d))
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
pub(super) fn base_of_embedding(checkpoint: &Checkpoint) -> Option<Base> {
    let has = |name| checkpoint.get(name).is_some();
    if has("clip_g") {
        return Some(if has("clip_l") { Base::Sdxl } else { Base::SdxlRefiner });
    }
    Base::of_text_width(*checkpoint.tensors().next()?.shape.last()?)
}

/// The family that a text encoder is of, by its width.
pub(super) fn base_of_text_encoder(checkpoint: &Checkpoint) -> Option<Base> {
    let ends = ["token_embedding.weight"];
    let table = checkpoint.tensors().find(|t| ends.iter().any(|end| t.name.ends_with(end)))?;
    Base::of_text_width(*table.shape.get(1)?)
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
