//! Models with a diffusion transformer, and text encoders alone: the same tensors under the names that the file has.
//!
//! In a GGUF file, a part alone has the names by which other programs know it: those of the original files for a transformer, as
//! ComfyUI-GGUF writes them, and those of llama.cpp for T5 and Qwen3. So parts that a diffusers folder has apart are joined there.

use super::planned::{PlannedTensor, WeightPiece};
use super::{Conversion, ConvertOptions, OutputLayout, PlannedFile, left_out, metadata};
use crate::Error;
use crate::families::{Model, ModelKind, Probe, check_language_models};
use crate::lora::Merge;
use crate::tensor_names::network_names::NetworkKind;
use crate::tensor_names::transformer::{self, FusedLayers};
use crate::tensor_names::{qwen3, t5};
use crate::transformer::TransformerFile;
use latent_loader::{DType, Weights};
use std::collections::BTreeSet;

/// The largest number of values of a tensor that ComfyUI-GGUF keeps in `f32`, as all vectors.
const MAX_SMALL: usize = 1024;
/// What the metadata of a GGUF file call the kind of its contents.
const ARCHITECTURE: &str = "general.architecture";

/// Whether a file is one of these.
pub(super) fn is_meant(probe: &Probe) -> bool {
    probe.index().transformer().is_some() || probe.identity().kind == ModelKind::TextEncoder
}

/// Plans a conversion of such a file.
pub(super) fn plan(probe: Probe, options: &ConvertOptions) -> Result<Conversion, Error> {
    refuse(&probe, options)?;
    let label = match probe.index().transformer() {
        Some(_) => check_transformer(&probe)?,
        None => {
            check_language_models(probe.weights())?;
            "text encoder"
        }
    };
    let weights = probe.weights().clone();
    let (merge, applied) = Merge::new(&options.loras, &weights, label)?;
    let leftovers = probe.leftovers();
    let mut metadata = metadata::of_kept_names(&probe, options);
    let mut tensors = match Dialect::of(&probe, options) {
        Dialect::AsItIs => {
            let mut tensors = as_it_is(&probe, options);
            let kept = leftovers.byproducts.iter().chain(leftovers.ema.iter().filter(|_| options.keep_ema));
            tensors.extend(kept.map(|tensor| PlannedTensor::input(tensor, options.target())));
            tensors
        }
        Dialect::Comfy(kind) => {
            metadata.insert(ARCHITECTURE.to_owned(), architecture(kind).to_owned());
            original_names(&probe, kind, options)?
        }
        Dialect::Llama { architecture, name } => {
            metadata.insert(ARCHITECTURE.to_owned(), architecture.to_owned());
            renamed(&weights, options, |canonical| name(canonical.split_once('.')?.1))
        }
    };
    if options.layout == OutputLayout::Gguf {
        tensors.retain(|tensor| tensor.shape.iter().all(|dim| *dim > 0));
        tensors.sort_by(|one, other| one.name.cmp(&other.name));
    }
    let left_out = left_out(&leftovers, options);
    let files = vec![PlannedFile { path: String::new(), metadata, tensors }];
    let (checkpoint, layout) = (probe.into_checkpoint(), options.layout);
    Ok(Conversion { layout, checkpoint, weights, merge, applied, files, texts: Vec::new(), left_out })
}

/// Refuses what such files have no place for.
fn refuse(probe: &Probe, options: &ConvertOptions) -> Result<(), Error> {
    if options.layout == OutputLayout::Folder {
        let what = match probe.index().transformer() {
            Some(_) => "is a model with a transformer in place of the UNet",
            None => "is a text encoder alone",
        };
        let reason =
            format!("{what}, of which no diffusers folder is written; write a single file or a GGUF file");
        return Err(probe.refuse(reason));
    }
    if options.prediction.is_some() || options.zero_terminal_snr.is_some() {
        let reason = "has no UNet whose prediction or schedule could be written down; leave that out";
        return Err(probe.refuse(reason.to_owned()));
    }
    Ok(())
}

/// Checks that all parts that are there are complete. Gives what messages call the model.
fn check_transformer(probe: &Probe) -> Result<&'static str, Error> {
    match Model::of(probe) {
        Ok(model) => {
            model.check_complete()?;
            Ok(model.family.label)
        }
        // A part alone, or one that cannot draw here.
        Err(_) => {
            let file = TransformerFile::open(probe.checkpoint().clone())?;
            file.check_complete()?;
            check_language_models(probe.weights())?;
            Ok(file.config().name())
        }
    }
}

/// By whose names the tensors of the new file go.
enum Dialect {
    /// Those in the file.
    AsItIs,
    /// Those of the original files, without a prefix.
    Comfy(NetworkKind),
    /// Those of llama.cpp, from canonical names below the scope.
    Llama { architecture: &'static str, name: fn(&str) -> Option<String> },
}

impl Dialect {
    fn of(probe: &Probe, options: &ConvertOptions) -> Dialect {
        let scopes: BTreeSet<&str> =
            probe.index().tensors().filter_map(|(name, _)| name.split('.').next()).collect();
        let mut scopes = scopes.into_iter();
        match (options.layout, scopes.next(), scopes.next(), probe.index().transformer()) {
            (OutputLayout::Gguf, Some(transformer::SCOPE), None, Some(kind)) => Dialect::Comfy(kind),
            (OutputLayout::Gguf, Some("t5"), None, None) => {
                Dialect::Llama { architecture: "t5encoder", name: t5::to_llama }
            }
            (OutputLayout::Gguf, Some("qwen3"), None, None) => {
                Dialect::Llama { architecture: "qwen3", name: qwen3::to_llama }
            }
            _ => Dialect::AsItIs,
        }
    }
}

/// What ComfyUI-GGUF calls a kind of network.
fn architecture(kind: NetworkKind) -> &'static str {
    match kind {
        NetworkKind::Sd3 => "sd3",
        NetworkKind::Flux | NetworkKind::Flux2 => "flux",
        NetworkKind::ZImage => "lumina2",
    }
}

/// All weights under their names in the file.
fn as_it_is(probe: &Probe, options: &ConvertOptions) -> Vec<PlannedTensor> {
    let weights = probe.weights();
    renamed(weights, options, |canonical| Some(weights.info(canonical)?.name.clone()))
}

/// All weights under the names that canonical ones get.
fn renamed(
    weights: &Weights,
    options: &ConvertOptions,
    name: impl Fn(&str) -> Option<String>,
) -> Vec<PlannedTensor> {
    let tensor = |canonical: &str| {
        let pieces = vec![WeightPiece::whole(canonical)];
        PlannedTensor::weight(weights, name(canonical)?, pieces, options.target())
    };
    weights.names().filter_map(tensor).collect()
}

/// The weights of a transformer under the names of the original files, those that only diffusers has apart as one.
fn original_names(
    probe: &Probe,
    kind: NetworkKind,
    options: &ConvertOptions,
) -> Result<Vec<PlannedTensor>, Error> {
    let weights = probe.weights();
    let network = weights.scope(transformer::SCOPE);
    let mut out = Vec::new();
    for name in network.names() {
        let layer = name.strip_suffix(".weight").or_else(|| name.strip_suffix(".bias"));
        let leaf = layer.map(|layer| &name[layer.len() + 1..]);
        let layer = layer.unwrap_or(name);
        let Some((layer, pieces)) = joined(kind, &network, layer, leaf) else { continue };
        let Some(original) = transformer::original_name(kind, &layer, leaf) else {
            let reason = format!("{name} has no name in original files; write a single file, which keeps it");
            return Err(probe.refuse(reason));
        };
        let mut tensor = PlannedTensor::weight(weights, original, pieces, options.target());
        if let Some(small) = tensor.as_mut().filter(|tensor| is_small(&tensor.shape)) {
            small.dtype = DType::F32;
        }
        out.extend(tensor);
    }
    Ok(out)
}

/// Whether a tensor stays in `f32` in the dialect of ComfyUI-GGUF.
fn is_small(shape: &[usize]) -> bool {
    shape.len() < 2 || shape.iter().product::<usize>() <= MAX_SMALL
}

/// A layer as original files have it, by its canonical name, and the weights that it consists of; `None` for one that is in another.
fn joined(
    kind: NetworkKind,
    network: &Weights,
    layer: &str,
    leaf: Option<&str>,
) -> Option<(String, Vec<WeightPiece>)> {
    let piece = |layer: &str| {
        let leaf = leaf.map_or(String::new(), |leaf| format!(".{leaf}"));
        WeightPiece::whole(&format!("{}.{layer}{leaf}", transformer::SCOPE))
    };
    if let Some((block, layers, Some(part))) = FusedLayers::of(layer) {
        // The first one stands for all.
        let pieces = layers.parts.iter().map(|part| piece(&format!("{block}{part}"))).collect();
        return (part == 0).then(|| (format!("{block}{}", layers.fused), pieces));
    }
    let is_original = transformer::original_name(kind, layer, leaf).is_some();
    if let Some(other) = transformer::other_modulation(layer).filter(|_| !is_original) {
        let whole = piece(layer);
        let shape = network.shape(&format!("{layer}.weight")).unwrap_or_default();
        // Two vectors are in the other order there.
        let is_swapped = matches!(shape, [rows, width] if *rows == 2 * width);
        let half = |half| WeightPiece { half: Some(half), ..whole.clone() };
        let pieces = if is_swapped { vec![half(1), half(0)] } else { vec![whole] };
        return Some((other, pieces));
    }
    Some((layer.to_owned(), vec![piece(layer)]))
}
