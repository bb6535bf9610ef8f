//! The layers of diffusion transformers, and how LoRA files call them.
//!
//! Model and file may each have queries, keys and values (and the MLP of a single block) as one layer or as several, and the vectors
//! of the last modulation in either order. So a layer of the file is a tensor of the model, some rows of one, or several of them.

use super::names::{KnownLayers, LoraTarget, TargetPlace};
use crate::tensor_names::network_names::{NetworkKind, NetworkNames};
use crate::tensor_names::transformer::{FusedLayers, SCOPE, names_of, other_modulation};
use latent_loader::Weights;
use std::ops::Range;

/// How kohya calls all that is not a text encoder.
const PREFIX: &str = "lora_unet";

/// Names of layers below a block in files of XLabs' trainer (<https://github.com/XLabs-AI/x-flux>), and the canonical ones. Their
/// single blocks have queries, keys and values as one, without the MLP that the model has beside them.
const XLABS: [(&str, &str, &str); 6] = [
    ("transformer_blocks.", "attn.to_qkv", "qkv_lora1"),
    ("transformer_blocks.", "attn.to_added_qkv", "qkv_lora2"),
    ("transformer_blocks.", "attn.to_out.0", "proj_lora1"),
    ("transformer_blocks.", "attn.to_add_out", "proj_lora2"),
    ("single_transformer_blocks.", "attn.to_qkv", "qkv"),
    ("single_transformer_blocks.", "proj_out", "proj"),
];

/// The kind of network that weights with canonical names have, if it is a diffusion transformer.
pub(super) fn kind(weights: &Weights) -> Option<NetworkKind> {
    let network = weights.scope(SCOPE);
    network.names().next()?;
    Some(NetworkKind::of_canonical(|name| network.contains(name)))
}

/// Adds the layers of a model's diffusion transformer, if it has one.
pub(super) fn add(known: &mut KnownLayers, weights: &Weights) {
    let Some(kind) = kind(weights) else { return };
    let network = weights.scope(SCOPE);
    let mut layers = TransformerLayers { known, names: names_of(kind), network: &network };
    for name in network.names() {
        match name.strip_suffix(".weight") {
            Some(layer) => layers.add_layer(layer),
            None if !name.ends_with(".bias") => layers.register(name, vec![target(name)]),
            None => {}
        }
    }
}

/// A whole tensor of the network.
fn target(name: &str) -> LoraTarget {
    LoraTarget::whole(&format!("{SCOPE}.{name}"))
}

/// The layers of a network on their way to the names of LoRA files.
struct TransformerLayers<'a> {
    known: &'a mut KnownLayers,
    names: &'static NetworkNames,
    network: &'a Weights,
}

impl TransformerLayers<'_> {
    /// A layer of the model, under all its names, and what it is fused into, or fused of.
    fn add_layer(&mut self, layer: &str) {
        let whole = target(&format!("{layer}.weight"));
        self.register(layer, vec![whole.clone()]);
        let [rows, width] = self.dims(layer);
        if let Some(other) = other_modulation(layer) {
            let place = if rows == 2 * width { TargetPlace::Swapped } else { TargetPlace::Whole };
            self.register(&other, vec![LoraTarget { place, ..whole.clone() }]);
        }
        match FusedLayers::of(layer) {
            Some((block, layers, None)) => self.add_parts(block, layers, &whole, [rows, width]),
            Some((block, layers, Some(0))) => self.add_fused(block, layers),
            _ => {}
        }
    }

    /// The parts of a fused layer of the model.
    fn add_parts(
        &mut self,
        block: &str,
        layers: &FusedLayers,
        whole: &LoraTarget,
        [rows, width]: [usize; 2],
    ) {
        let rows_of =
            |range: Range<usize>| vec![LoraTarget { place: TargetPlace::Rows(range), ..whole.clone() }];
        for (i, part) in layers.parts.iter().enumerate() {
            let end = if i + 1 == layers.parts.len() { rows } else { (i + 1) * width };
            if end > rows {
                return;
            }
            self.register_part(block, layers, i, rows_of(i * width..end));
            self.register(&format!("{block}{part}"), rows_of(i * width..end));
        }
        if layers.parts.len() > 3 {
            self.register(&format!("{block}attn.to_qkv"), rows_of(0..3 * width));
        }
    }

    /// Layers of the model, each alone, as the one that other files fuse them into.
    fn add_fused(&mut self, block: &str, layers: &FusedLayers) {
        let mut end = 0;
        let mut targets = Vec::new();
        for (i, part) in layers.parts.iter().enumerate() {
            let alone = target(&format!("{block}{part}.weight"));
            if !self.network.contains(&format!("{block}{part}.weight")) {
                return;
            }
            self.register_part(block, layers, i, vec![alone.clone()]);
            let start = end;
            end += self.dims(&format!("{block}{part}"))[0];
            targets.push(LoraTarget { rows: Some(start..end), ..alone });
        }
        if targets.len() > 3 {
            self.register(&format!("{block}attn.to_qkv"), targets[..3].to_vec());
        }
        self.register(&format!("{block}{}", layers.fused), targets);
    }

    /// A part of a fused layer under the names of OneTrainer, which numbers the parts.
    fn register_part(&mut self, block: &str, layers: &FusedLayers, part: usize, targets: Vec<LoraTarget>) {
        if let Some(fused) = self.names.original_of(&format!("{block}{}", layers.fused)) {
            self.insert(&format!("{fused}.{part}"), targets);
        }
    }

    /// A layer of that canonical name under all names.
    fn register(&mut self, layer: &str, targets: Vec<LoraTarget>) {
        self.insert(layer, targets.clone());
        if let Some(alone) = layer.strip_suffix("to_out.0") {
            self.insert(&format!("{alone}to_out"), targets.clone());
        } else if layer.ends_with("to_out") {
            self.insert(&format!("{layer}.0"), targets.clone());
        }
        if let Some(original) = self.names.original_of(layer) {
            self.insert(&original, targets.clone());
            // ComfyUI's whole differences have the name of the tensor.
            if original.contains("norm") {
                self.insert(&format!("{original}.scale"), targets.clone());
            }
        }
        if self.names.kind == NetworkKind::Flux {
            for (list, canonical, xlabs) in XLABS {
                let number = layer.strip_prefix(list).and_then(|below| below.split_once('.'));
                if let Some((number, _)) = number.filter(|(_, below)| *below == canonical) {
                    let list = if list.starts_with("single") { "single_blocks" } else { "double_blocks" };
                    self.insert(&format!("{list}.{number}.{xlabs}"), targets.clone());
                }
            }
        }
    }

    fn insert(&mut self, layer: &str, targets: Vec<LoraTarget>) {
        self.known.insert(format!("{PREFIX}_{}", layer.replace('.', "_")), targets);
    }

    /// Rows and columns of a layer's weight.
    fn dims(&self, layer: &str) -> [usize; 2] {
        let shape = self.network.shape(&format!("{layer}.weight")).unwrap_or_default();
        let at = |axis: usize| shape.get(axis).copied().unwrap_or(0);
        [at(0), at(1)]
    }
}
