//! What the names and shapes in a file tell.

use super::anatomy::{self, Base, FOREIGN};
use super::contents::{Contents, UNET};
use super::identity::{Identity, ModelKind};
use super::places::Part;
use latent_loader::{Checkpoint, TensorInfo};

/// A part of a checkpoint, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Component {
    /// "text encoder", "UNet", "VAE", "EMA copy", "schedule" or "other".
    pub name: &'static str,
    /// Number of tensors.
    pub tensors: usize,
    /// Number of values.
    pub parameters: u64,
    /// Bytes in the file.
    pub bytes: u64,
    /// Number formats and how many bytes each takes, largest first.
    pub dtypes: Vec<(String, u64)>,
}

/// The telling names and shapes of a checkpoint.
pub struct Facts<'a> {
    contents: Contents<'a>,
    /// The family that the UNet is of.
    pub base: Option<Base>,
    /// What the UNet is among those of its family: "base", "inpainting", …
    pub variant: Option<&'static str>,
    /// Channels that the UNet takes.
    pub in_channels: Option<usize>,
    /// Channels of the UNet's first level.
    pub model_channels: Option<usize>,
    /// Rank of a transformer's input projection: 4 for a convolution, 2 for a linear layer.
    pub proj_in_rank: Option<usize>,
    /// Width of the text states.
    pub context_dim: Option<usize>,
    /// Width of the vector added to the time embedding.
    pub added_dim: Option<usize>,
}

impl<'a> Facts<'a> {
    /// Looks at the names and shapes of a checkpoint.
    #[must_use]
    pub fn of(checkpoint: &'a Checkpoint) -> Facts<'a> {
        let contents = Contents::of(checkpoint);
        let shape = |name: &str| contents.shape(&format!("{UNET}{name}"));
        let suffix = |suffix: &str| {
            contents.below(UNET).find(|(name, _)| name.ends_with(suffix)).map(|(_, tensor)| &tensor.shape)
        };
        let first = shape("conv_in.weight");
        Facts {
            base: anatomy::base(&contents),
            variant: anatomy::variant(&contents),
            in_channels: first.and_then(|s| s.get(1).copied()),
            model_channels: first.and_then(|s| s.first().copied()),
            proj_in_rank: suffix(".proj_in.weight").map(Vec::len),
            context_dim: suffix(".attn2.to_k.weight").and_then(|s| s.get(1).copied()),
            added_dim: shape("add_embedding.linear_1.weight").and_then(|s| s.get(1).copied()),
            contents,
        }
    }

    /// Whether the UNet takes something else than text, noise and an image of the same size.
    #[must_use]
    pub fn is_foreign(&self) -> bool {
        self.variant.is_some_and(|variant| FOREIGN.contains(&variant))
    }

    /// One line for a file that is of no known family: what it seems to be, and what to do.
    #[must_use]
    pub fn explain(&self) -> String {
        let identity = Identity::of(self.contents.checkpoint);
        let what = match identity.kind {
            ModelKind::Lora => "is a LoRA, an addition to a model",
            ModelKind::ControlNet => "is a ControlNet, an addition to a model",
            ModelKind::Embedding => "is a textual inversion, a word for a model",
            ModelKind::Model | ModelKind::Unet if self.is_foreign() => {
                return format!(
                    "is a model of the kind \"{}\", which cannot draw here",
                    self.variant.unwrap_or_default()
                );
            }
            ModelKind::Model | ModelKind::Unet => {
                return format!(
                    "holds a UNet of an unknown kind ({} input channels, text width {}); this is no Stable Diffusion \
                     model that is known here",
                    self.in_channels.unwrap_or(0),
                    self.context_dim.map_or("unknown".into(), |d| d.to_string()),
                );
            }
            ModelKind::Vae => "holds a VAE and no UNet",
            ModelKind::TextEncoder => "holds a text encoder and no UNet",
            ModelKind::TinyVae => "is a tiny VAE (TAESD), an addition to a model",
            ModelKind::Upscaler => "is an upscaler of images",
            ModelKind::Unknown => "holds no tensor of a Stable Diffusion model",
        };
        format!("{what}; give a whole checkpoint, with text encoder, UNet and VAE")
    }

    /// The parts of the checkpoint.
    #[must_use]
    pub fn components(&self) -> Vec<Component> {
        let known = self.contents.tensors.iter().map(|(name, tensor)| {
            let part = match name.split('.').next() {
                Some("unet") => "UNet",
                Some("controlnet") => "ControlNet",
                Some("vae") => "VAE",
                _ => "text encoder",
            };
            (part, *tensor)
        });
        let others = self.contents.others.iter().map(|(part, tensor)| {
            let part = match part {
                Part::Text(_) if self.contents.has_text() => "text encoder",
                Part::Unet => "UNet",
                Part::ControlNet => "ControlNet",
                Part::Vae => "VAE",
                Part::Ema => "EMA copy",
                Part::Schedule => "schedule",
                Part::Text(_) | Part::Other => "other",
            };
            (part, *tensor)
        });
        let all: Vec<_> = known.chain(others).collect();
        ["text encoder", "UNet", "ControlNet", "VAE", "EMA copy", "schedule", "other"]
            .into_iter()
            .map(|name| component(name, all.iter().filter(|(part, _)| *part == name).map(|(_, t)| *t)))
            .filter(|component| component.tensors > 0)
            .collect()
    }
}

fn component<'a>(name: &'static str, tensors: impl Iterator<Item = &'a TensorInfo>) -> Component {
    let mut component = Component { name, tensors: 0, parameters: 0, bytes: 0, dtypes: Vec::new() };
    for tensor in tensors {
        component.tensors += 1;
        component.parameters += tensor.elements() as u64;
        component.bytes += tensor.bytes() as u64;
        let dtype = tensor.dtype.header_name().to_owned();
        match component.dtypes.iter_mut().find(|(name, _)| *name == dtype) {
            Some((_, bytes)) => *bytes += tensor.bytes() as u64,
            None => component.dtypes.push((dtype, tensor.bytes() as u64)),
        }
    }
    component.dtypes.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
    component
}
