//! All tensors of a checkpoint under canonical names, whatever its origin.

use crate::tensor_names::network_names::NetworkKind;
use crate::tensor_names::prefixes::{TensorPart, TextSlot, is_byproduct, locate};
use crate::tensor_names::{controlnet, diffusers, ldm, qwen3, t5, text_encoder, transformer};
use latent_loader::{Checkpoint, TensorInfo};
use std::collections::BTreeMap;

/// Scopes of the canonical names.
pub(crate) const UNET: &str = "unet.";
pub(crate) const CONTROLNET: &str = "controlnet.";
/// Of diffusion transformers.
pub(crate) const TRANSFORMER: &str = "transformer.";
pub(crate) const VAE: &str = "vae.";
pub(crate) const TEXT: &str = "text_encoder.";
pub(crate) const TEXT_2: &str = "text_encoder_2.";
pub(crate) const T5: &str = "t5.";
pub(crate) const QWEN3: &str = "qwen3.";

/// Names and shapes of all tensors of a checkpoint, sorted by the part that they belong to.
#[derive(Debug, Default)]
pub(crate) struct TensorIndex {
    /// Tensors of parts, by canonical name.
    tensors: BTreeMap<String, TensorInfo>,
    /// Tensors without a canonical name: of a part that does not know them, or of no part.
    unplaced: Vec<(TensorPart, TensorInfo)>,
    /// Which diffusion transformer there is.
    transformer: Option<NetworkKind>,
}

/// Where text encoders belong whose prefix does not say it.
#[derive(Debug)]
pub(crate) struct TextScopes {
    /// The scope of the only text encoder of the network's family. It is given the index of all that is not text.
    pub(crate) of_network: fn(&TensorIndex) -> Option<&'static str>,
    /// The scope of the published text encoder of a width.
    pub(crate) of_width: fn(usize) -> Option<&'static str>,
}

/// Text encoder tensors by the encoder that their prefix means, with names below the encoder's scope.
type TextTensors = BTreeMap<TextSlot, Vec<(String, TensorInfo)>>;

impl TensorIndex {
    /// Reads the names and shapes of a checkpoint. A lone text encoder belongs to the network's family; others are placed by
    /// their prefix, or else by their width.
    pub(crate) fn of(checkpoint: &Checkpoint, text_scopes: &TextScopes) -> TensorIndex {
        #[cfg(test)]
        counter::count();
        let names = || checkpoint.tensors().map(|tensor| tensor.name.as_str());
        let mut large = LargeNetworks::of(names);
        let mut index = TensorIndex { transformer: large.transformer, ..TensorIndex::default() };
        let mut texts = TextTensors::new();
        let located: Vec<_> = checkpoint.tensors().map(|tensor| (tensor, locate(&tensor.name))).collect();
        let numbering = Numbering::of(located.iter().map(|(_, located)| *located));
        let is_control = located.iter().any(|(tensor, _)| controlnet::is_control(&tensor.name));
        for (tensor, (mut part, below)) in located {
            if let Some((canonical, part)) = large.place(&tensor.name) {
                index.insert(Some(canonical), part, tensor.clone());
                continue;
            }
            // In a ControlNet without a prefix, the layers that it shares with a UNet are its own.
            if is_control
                && below == tensor.name
                && (part == TensorPart::UNet || controlnet::is_control(below))
            {
                part = TensorPart::ControlNet;
            }
            let canonical = match part {
                TensorPart::UNet => numbering.unet(below).map(|name| format!("{UNET}{name}")),
                TensorPart::ControlNet => controlnet::to_canonical(below)
                    .or_else(|| numbering.unet(below))
                    .map(|name| format!("{CONTROLNET}{name}")),
                TensorPart::Vae => numbering.vae(below).map(|name| format!("{VAE}{name}")),
                TensorPart::Text(slot) if !is_byproduct(below) => {
                    if let Some((name, is_open_clip)) = text_encoder::to_canonical(below) {
                        // The refiner's only encoder and the second one of SDXL are OpenCLIP.
                        let is_second =
                            slot == TextSlot::Unknown && is_open_clip && below.starts_with("model.");
                        let slot = if is_second { TextSlot::Second } else { slot };
                        texts.entry(slot).or_default().push((name, tensor.clone()));
                        continue;
                    }
                    None
                }
                _ => None,
            };
            index.insert(canonical, part, tensor.clone());
        }
        index.insert_texts(texts, text_scopes);
        index
    }

    /// Adds a tensor: to the unplaced ones if it has no canonical name or another tensor has the same one.
    fn insert(&mut self, canonical: Option<String>, part: TensorPart, tensor: TensorInfo) {
        match canonical {
            Some(name) if !self.tensors.contains_key(&name) => {
                self.tensors.insert(name, tensor);
            }
            _ => self.unplaced.push((part, tensor)),
        }
    }

    /// Adds text encoders under the scopes where they belong.
    fn insert_texts(&mut self, texts: TextTensors, text_scopes: &TextScopes) {
        let lone_scope = if texts.len() == 1 { (text_scopes.of_network)(self) } else { None };
        for (slot, tensors) in texts {
            let scope = lone_scope.unwrap_or_else(|| match slot {
                TextSlot::First => TEXT,
                TextSlot::Second => TEXT_2,
                TextSlot::Unknown => width(&tensors).and_then(text_scopes.of_width).unwrap_or(TEXT),
            });
            for (name, tensor) in tensors {
                self.insert(Some(format!("{scope}{name}")), TensorPart::Text(slot), tensor);
            }
        }
    }

    /// Every tensor with a canonical name, sorted by it.
    pub(crate) fn tensors(&self) -> impl Iterator<Item = (&str, &TensorInfo)> {
        self.tensors.iter().map(|(name, tensor)| (name.as_str(), tensor))
    }

    /// Tensors without a canonical name, in the order of the checkpoint, and the part that their prefix means.
    pub(crate) fn unplaced(&self) -> &[(TensorPart, TensorInfo)] {
        &self.unplaced
    }

    /// Number of tensors.
    pub(crate) fn len(&self) -> usize {
        self.tensors.len() + self.unplaced.len()
    }

    /// Whether the name in the file of any tensor passes a test.
    pub(crate) fn any_name_in_file(&self, test: impl Fn(&str) -> bool) -> bool {
        let unplaced = self.unplaced.iter().map(|(_, tensor)| tensor);
        self.tensors.values().chain(unplaced).any(|tensor| test(&tensor.name))
    }

    /// A tensor by its canonical name.
    pub(crate) fn get(&self, name: &str) -> Option<&TensorInfo> {
        self.tensors.get(name)
    }

    /// The shape of a tensor by its canonical name.
    pub(crate) fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(|tensor| tensor.shape.as_slice())
    }

    /// One dimension of a tensor by its canonical name.
    pub(crate) fn dim(&self, name: &str, axis: usize) -> Option<usize> {
        self.shape(name)?.get(axis).copied()
    }

    /// Tensors below a scope, by their canonical names without it.
    pub(crate) fn below<'s>(&'s self, scope: &'s str) -> impl Iterator<Item = (&'s str, &'s TensorInfo)> {
        let range =
            self.tensors.range(scope.to_owned()..).take_while(move |(name, _)| name.starts_with(scope));
        range.map(move |(name, tensor)| (&name[scope.len()..], tensor))
    }

    /// Whether there is a tensor whose canonical name begins with `start`.
    pub(crate) fn has(&self, start: &str) -> bool {
        self.below(start).next().is_some()
    }

    /// Whether there is a text encoder.
    pub(crate) fn has_text(&self) -> bool {
        [TEXT, TEXT_2, T5, QWEN3].iter().any(|scope| self.has(scope))
    }

    /// Which diffusion transformer there is.
    pub(crate) fn transformer(&self) -> Option<NetworkKind> {
        self.transformer
    }

    /// Whether there is a denoiser network: a UNet or a transformer.
    pub(crate) fn has_network(&self) -> bool {
        self.has_unet() || self.transformer.is_some()
    }

    /// Whether there is a whole UNet's beginning, without which no other tensor counts as one of a UNet.
    pub(crate) fn has_unet(&self) -> bool {
        let has = |name: &str| self.shape(&format!("{UNET}{name}")).is_some();
        has("conv_in.weight") && has("time_embedding.linear_1.weight")
    }

    /// Names in the file by canonical name.
    pub(crate) fn names_in_file(&self) -> BTreeMap<String, String> {
        self.tensors.iter().map(|(name, tensor)| (name.clone(), tensor.name.clone())).collect()
    }
}

/// The names of diffusion transformers and of large text encoders, which a file's names show together only.
#[derive(Default)]
struct LargeNetworks {
    transformer: Option<NetworkKind>,
    /// Names in the file, and the canonical ones.
    names: BTreeMap<String, String>,
    has_t5: bool,
    has_qwen3: bool,
}

impl LargeNetworks {
    fn of<'a, N: Iterator<Item = &'a str>>(names: impl Fn() -> N) -> LargeNetworks {
        const T5_MARKS: [&str; 2] = ["encoder.block.0.layer.0.SelfAttention.q.", "enc.blk.0.attn_q."];
        const QWEN3_MARKS: [&str; 2] = ["layers.0.self_attn.q_norm.", "blk.0.attn_q_norm."];
        let has = |marks: [&str; 2]| names().any(|name| marks.iter().any(|mark| name.contains(mark)));
        let (has_t5, has_qwen3) = (has(T5_MARKS), has(QWEN3_MARKS));
        let Some((kind, canonical)) = transformer::find(names()) else {
            return LargeNetworks { has_t5, has_qwen3, ..LargeNetworks::default() };
        };
        let names = canonical.into_iter().map(|(canonical, name)| (name, canonical)).collect();
        LargeNetworks { transformer: Some(kind), names, has_t5, has_qwen3 }
    }

    /// The canonical name of a tensor, with its scope, if it is one of theirs.
    fn place(&mut self, name: &str) -> Option<(String, TensorPart)> {
        if let Some(canonical) = self.names.remove(name) {
            return Some((canonical, TensorPart::Transformer));
        }
        // Those of folders, and of parts that were joined.
        const SCOPES: [&str; 5] = ["text_encoder_3.", "text_encoder_2.", "text_encoder.", T5, QWEN3];
        let below = SCOPES.iter().find_map(|scope| name.strip_prefix(scope)).unwrap_or(name);
        if self.has_t5
            && let Some(canonical) = t5::to_canonical(below)
        {
            return Some((format!("{T5}{canonical}"), TensorPart::T5));
        }
        if self.has_qwen3
            && let Some(canonical) = qwen3::to_canonical(below)
        {
            return Some((format!("{QWEN3}{canonical}"), TensorPart::Qwen3));
        }
        None
    }
}

/// The width of a text encoder.
fn width(tensors: &[(String, TensorInfo)]) -> Option<usize> {
    let (_, table) = tensors.iter().find(|(name, _)| name.ends_with("token_embedding.weight"))?;
    table.shape.get(1).copied()
}

/// What must be known of a file to translate the block numbers of original names.
struct Numbering {
    /// Residual blocks of a level of the UNet.
    layers: usize,
    /// Levels of the VAE.
    levels: usize,
}

impl Numbering {
    fn of<'a>(located: impl Iterator<Item = (TensorPart, &'a str)>) -> Numbering {
        let (mut first_downsampler, mut last_level) = (None::<usize>, None::<usize>);
        for (part, below) in located {
            let number = |start: &str, end: fn(&str) -> Option<&str>| -> Option<usize> {
                end(below.strip_prefix(start)?)?.parse().ok()
            };
            match part {
                TensorPart::UNet | TensorPart::ControlNet => {
                    // Of a weight, a bias, or the factors of a Control-LoRA.
                    let block =
                        number("input_blocks.", |rest| rest.split_once(".0.op.").map(|(block, _)| block));
                    first_downsampler = first_downsampler.into_iter().chain(block).min();
                }
                TensorPart::Vae => {
                    let level = number("decoder.up.", |rest| rest.split('.').next());
                    last_level = last_level.into_iter().chain(level).max();
                }
                _ => {}
            }
        }
        Numbering {
            layers: first_downsampler.unwrap_or(usize::MAX / 2).saturating_sub(1),
            levels: last_level.map_or(0, |level| level.saturating_add(1)),
        }
    }

    /// The canonical name of a UNet tensor of either origin.
    fn unet(&self, below: &str) -> Option<String> {
        const ORIGINAL: [&str; 6] =
            ["time_embed.", "label_emb.", "out.", "input_blocks.", "middle_block.", "output_blocks."];
        if ORIGINAL.iter().any(|start| below.starts_with(start)) {
            ldm::unet_to_canonical(below, self.layers)
        } else {
            Some(below.to_owned())
        }
    }

    /// The canonical name of a VAE tensor of either origin.
    fn vae(&self, below: &str) -> Option<String> {
        const DIFFUSERS: [&str; 4] = ["down_blocks.", "up_blocks.", "mid_block.", "conv_norm_out."];
        let side = below.strip_prefix("encoder.").or_else(|| below.strip_prefix("decoder."));
        // A tiny VAE in its place.
        if side.is_some_and(|side| side.starts_with("layers.")) {
            return Some(below.to_owned());
        }
        if side.is_some_and(|side| DIFFUSERS.iter().any(|start| side.starts_with(start))) {
            Some(diffusers::vae_to_canonical(below))
        } else {
            ldm::vae_to_canonical(below, self.levels)
        }
    }
}

/// Counts the indices that a thread makes, to show that a checkpoint is indexed once.
#[cfg(test)]
pub(crate) mod counter {
    use std::cell::Cell;

    thread_local!(static INDICES: Cell<usize> = const { Cell::new(0) });

    pub(super) fn count() {
        INDICES.set(INDICES.get() + 1);
    }

    /// Indices that `run` makes on this thread.
    pub(crate) fn indices_made<T>(run: impl FnOnce() -> T) -> (T, usize) {
        let before = INDICES.get();
        let result = run();
        (result, INDICES.get() - before)
    }
}
