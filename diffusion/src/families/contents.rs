//! The tensors of a checkpoint under canonical names, whatever its origin.

use super::places::{Part, Slot, is_surplus, place};
use super::{Base, names, text};
use latent_loader::{Checkpoint, TensorInfo};
use std::collections::BTreeMap;

/// Scopes of the canonical names.
pub(super) const UNET: &str = "unet.";
pub(super) const CONTROL: &str = "controlnet.";
pub(super) const VAE: &str = "vae.";
pub(super) const TEXT: &str = "text_encoder.";
pub(super) const TEXT_2: &str = "text_encoder_2.";

/// Width of OpenCLIP bigG, the second text encoder of SDXL.
const BIG_G_WIDTH: usize = 1280;

/// A checkpoint whose tensors are sorted by what they are of.
pub(super) struct Contents<'a> {
    pub(super) checkpoint: &'a Checkpoint,
    /// By canonical names.
    pub(super) tensors: BTreeMap<String, &'a TensorInfo>,
    /// Those that have none: of a part, but not known there; or of no part.
    pub(super) others: Vec<(Part, &'a TensorInfo)>,
}

impl<'a> Contents<'a> {
    pub(super) fn of(checkpoint: &'a Checkpoint) -> Contents<'a> {
        let mut contents = Contents { checkpoint, tensors: BTreeMap::new(), others: Vec::new() };
        let numbering = Numbering::of(checkpoint);
        let mut texts: BTreeMap<Slot, Vec<(String, &'a TensorInfo)>> = BTreeMap::new();
        let is_control = checkpoint.tensors().any(|tensor| names::is_control(&tensor.name));
        for tensor in checkpoint.tensors() {
            let (mut part, below) = place(&tensor.name);
            // A ControlNet without a prefix: what it shares with a UNet is not one.
            if is_control && below == tensor.name && (part == Part::Unet || names::is_control(below)) {
                part = Part::ControlNet;
            }
            let canonical = match part {
                Part::Unet => numbering.unet(below).map(|name| format!("{UNET}{name}")),
                Part::ControlNet => names::control(below)
                    .or_else(|| numbering.unet(below))
                    .map(|name| format!("{CONTROL}{name}")),
                Part::Vae => numbering.vae(below).map(|name| format!("{VAE}{name}")),
                Part::Text(slot) if !is_surplus(below) => {
                    if let Some((name, is_open_clip)) = text::canonical(below) {
                        // The refiner's only encoder and the second of the base are OpenCLIP.
                        let is_second = slot == Slot::Unsaid && is_open_clip && below.starts_with("model.");
                        let slot = if is_second { Slot::Second } else { slot };
                        texts.entry(slot).or_default().push((name, tensor));
                        continue;
                    }
                    None
                }
                _ => None,
            };
            contents.insert(canonical, part, tensor);
        }
        contents.insert_texts(texts);
        contents
    }

    /// Adds a tensor, to the others if it has no canonical name or another has the same.
    fn insert(&mut self, canonical: Option<String>, part: Part, tensor: &'a TensorInfo) {
        match canonical {
            Some(name) if !self.tensors.contains_key(&name) => {
                self.tensors.insert(name, tensor);
            }
            _ => self.others.push((part, tensor)),
        }
    }

    /// Text encoders under the scopes that the family of the UNet has for them.
    fn insert_texts(&mut self, texts: BTreeMap<Slot, Vec<(String, &'a TensorInfo)>>) {
        let base = super::anatomy::base(self);
        let is_alone = texts.len() == 1;
        for (slot, tensors) in texts {
            let scope = match (base, slot) {
                (Some(Base::Sd1 | Base::Sd2), _) if is_alone => TEXT,
                (Some(Base::SdxlRefiner), _) if is_alone => TEXT_2,
                (_, Slot::First) => TEXT,
                (_, Slot::Second) => TEXT_2,
                (_, Slot::Unsaid) if is_big_g(&tensors) => TEXT_2,
                (_, Slot::Unsaid) => TEXT,
            };
            for (name, tensor) in tensors {
                self.insert(Some(format!("{scope}{name}")), Part::Text(slot), tensor);
            }
        }
    }

    /// The shape of a tensor by its canonical name.
    pub(super) fn shape(&self, name: &str) -> Option<&'a [usize]> {
        self.tensors.get(name).map(|tensor| tensor.shape.as_slice())
    }

    /// Canonical names below a scope, without it, and their tensors.
    pub(super) fn below<'s>(&'s self, scope: &'s str) -> impl Iterator<Item = (&'s str, &'a TensorInfo)> {
        let range =
            self.tensors.range(scope.to_owned()..).take_while(move |(name, _)| name.starts_with(scope));
        range.map(move |(name, tensor)| (&name[scope.len()..], *tensor))
    }

    pub(super) fn has(&self, scope: &str) -> bool {
        self.below(scope).next().is_some()
    }

    pub(super) fn has_text(&self) -> bool {
        self.has(TEXT) || self.has(TEXT_2)
    }

    /// Names in the file by canonical names.
    pub(super) fn names(&self) -> BTreeMap<String, String> {
        self.tensors.iter().map(|(name, tensor)| (name.clone(), tensor.name.clone())).collect()
    }
}

fn is_big_g(tensors: &[(String, &TensorInfo)]) -> bool {
    let table = tensors.iter().find(|(name, _)| name.ends_with("token_embedding.weight"));
    table.is_some_and(|(_, tensor)| tensor.shape.get(1) == Some(&BIG_G_WIDTH))
}

/// How the original names number blocks: what must be known to count levels and layers.
struct Numbering {
    /// Residual blocks of a level.
    layers: usize,
    /// Levels of the VAE.
    levels: usize,
}

impl Numbering {
    fn of(checkpoint: &Checkpoint) -> Numbering {
        let places = || checkpoint.tensors().map(|tensor| place(&tensor.name));
        let downsamplers = places().filter_map(|(part, below)| match part {
            Part::Unet | Part::ControlNet => {
                below.strip_prefix("input_blocks.")?.strip_suffix(".0.op.weight")?.parse::<usize>().ok()
            }
            _ => None,
        });
        let levels = places().filter_map(|(part, below)| match part {
            Part::Vae => below.strip_prefix("decoder.up.")?.split('.').next()?.parse::<usize>().ok(),
            _ => None,
        });
        Numbering {
            layers: downsamplers.min().unwrap_or(usize::MAX / 2).saturating_sub(1),
            levels: levels.max().map_or(0, |level| level.saturating_add(1)),
        }
    }

    fn unet(&self, below: &str) -> Option<String> {
        const ORIGINAL: [&str; 6] =
            ["time_embed.", "label_emb.", "out.", "input_blocks.", "middle_block.", "output_blocks."];
        if ORIGINAL.iter().any(|start| below.starts_with(start)) {
            names::unet(below, self.layers)
        } else {
            Some(below.to_owned())
        }
    }

    fn vae(&self, below: &str) -> Option<String> {
        const DIFFUSERS: [&str; 4] = ["down_blocks.", "up_blocks.", "mid_block.", "conv_norm_out."];
        let side = below.strip_prefix("encoder.").or_else(|| below.strip_prefix("decoder."));
        if side.is_some_and(|side| DIFFUSERS.iter().any(|start| side.starts_with(start))) {
            Some(names::vae_of_folder(below))
        } else {
            names::vae(below, self.levels)
        }
    }
}
