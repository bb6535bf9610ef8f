//! The layout of the original single files (LDM, SGM): all parts in one, under the names of their Python modules.

use super::dtypes::TargetDType;
use super::planned::{PlannedTensor, WeightPiece};
use super::text_encoder::{self, EncoderNaming};
use super::{ConvertOptions, OutputLayout, buffers};
use crate::families::{Leftovers, Model, Probe};
use crate::samplers::Prediction;
use crate::tensor_names::ldm;
use latent_loader::{CheckpointLayout, DType};
use std::collections::BTreeSet;

const UNET: &str = "model.diffusion_model.";
const VAE: &str = "first_stage_model.";

/// Empty tensors that mark what the UNet predicts and how the schedule ends.
pub(super) const V_PREDICTION: &str = "v_pred";
pub(super) const ZERO_SNR: &str = "ztsnr";

/// Where a file keeps a text encoder, and under whose names: `conditioner` in SDXL, `cond_stage_model` before.
pub(super) fn encoder(model: &Model, index: usize) -> (String, EncoderNaming) {
    let naming = EncoderNaming::of(&model.text[index]);
    let below = if naming == EncoderNaming::OpenClip { "model" } else { "transformer" };
    if model.takes_sizes() {
        (format!("conditioner.embedders.{index}.{below}."), naming)
    } else {
        (format!("cond_stage_model.{below}."), naming)
    }
}

/// All tensors of the file.
pub(super) fn tensors(
    model: &Model,
    probe: &Probe,
    leftovers: &Leftovers,
    options: &ConvertOptions,
) -> Vec<PlannedTensor> {
    let mut out = unet(model, options);
    out.extend(vae(model, options));
    for (index, part) in model.text.iter().enumerate() {
        let (prefix, naming) = encoder(model, index);
        let scope = format!("{}.", part.scope);
        let all = (usize::MAX, true);
        out.extend(text_encoder::tensors(&model.weights, &scope, &prefix, naming, all, options.target()));
    }
    let copied = leftovers.byproducts.iter().filter(|tensor| is_usual(model, &tensor.name));
    out.extend(copied.map(|tensor| PlannedTensor::input(tensor, options.target())));
    out.extend(
        leftovers
            .schedule
            .iter()
            .filter(|t| is_consistent(model, &t.name))
            .map(|t| PlannedTensor::input(t, TargetDType { dtype: None, ..options.target() })),
    );
    if options.keep_ema {
        out.extend(leftovers.ema.iter().map(|tensor| PlannedTensor::input(tensor, options.target())));
    }
    let there: BTreeSet<String> = out.iter().map(|tensor| tensor.name.clone()).collect();
    let mut made = markers(model, probe, options);
    if probe.checkpoint().layout() != CheckpointLayout::SingleFile {
        made.extend(usual(model, options));
    }
    out.extend(made.into_iter().filter(|tensor| !there.contains(&tensor.name)));
    if options.layout == OutputLayout::Gguf {
        out.retain(|tensor| tensor.shape.iter().all(|dim| *dim > 0));
        out.sort_by(|one, other| one.name.cmp(&other.name));
    }
    out
}

fn unet(model: &Model, options: &ConvertOptions) -> Vec<PlannedTensor> {
    let weights = model.weights.scope("unet");
    let layers = model.network.unet().map_or(0, |unet| unet.layers_per_block);
    let attends =
        |level: usize| weights.contains(&format!("up_blocks.{level}.attentions.{layers}.norm.weight"));
    let tensor = |name: &str| {
        let original = ldm::unet_from_canonical(name, layers, attends)?;
        let pieces = vec![WeightPiece::whole(&format!("unet.{name}"))];
        PlannedTensor::weight(&model.weights, format!("{UNET}{original}"), pieces, options.target())
    };
    weights.names().filter_map(tensor).collect()
}

/// The VAE. Its attention's layers are convolutions there.
fn vae(model: &Model, options: &ConvertOptions) -> Vec<PlannedTensor> {
    let levels = model.vae.block_out_channels.len();
    let tensor = |name: &str| {
        let original = ldm::vae_from_canonical(name, levels)?;
        let pieces = vec![WeightPiece::whole(&format!("vae.{name}"))];
        let mut tensor =
            PlannedTensor::weight(&model.weights, format!("{VAE}{original}"), pieces, options.target())?;
        if name.contains(".attentions.") && tensor.shape.len() > 1 {
            tensor.shape.resize(4, 1);
        }
        Some(tensor)
    };
    model.weights.scope("vae").names().filter_map(tensor).collect()
}

/// Whether a tensor that nothing reads is one that original files contain next to a text encoder of this model.
fn is_usual(model: &Model, name: &str) -> bool {
    (0..model.text.len()).any(|index| name.starts_with(&encoder(model, index).0))
}

/// Whether a table or marker of the schedule does not contradict the model.
fn is_consistent(model: &Model, name: &str) -> bool {
    match name {
        V_PREDICTION => model.prediction == Prediction::V,
        ZERO_SNR => model.training.is_zero_terminal_snr(),
        _ => true,
    }
}

/// Markers of what the UNet predicts, for models whose weights do not show it.
fn markers(model: &Model, probe: &Probe, options: &ConvertOptions) -> Vec<PlannedTensor> {
    let needs_marker = model.prediction == Prediction::V
        && super::metadata::is_unstated(model, probe)
        && model.takes_sizes();
    let markers = [(needs_marker, V_PREDICTION), (model.training.is_zero_terminal_snr(), ZERO_SNR)];
    markers
        .into_iter()
        .filter(|(is, _)| *is)
        .map(|(_, name)| match options.layout {
            // Not every reader of GGUF knows of empty tensors.
            OutputLayout::Gguf => PlannedTensor::constant(name, &[1], &[1.0]),
            _ => PlannedTensor::constant(name, &[0], &[]),
        })
        .collect()
}

/// Tensors that original files contain and folders do not.
fn usual(model: &Model, options: &ConvertOptions) -> Vec<PlannedTensor> {
    let mut out = if !model.takes_sizes() { buffers::schedule() } else { Vec::new() };
    for index in 0..model.text.len() {
        let (prefix, naming) = encoder(model, index);
        match naming {
            EncoderNaming::Transformers => {
                out.push(buffers::position_ids(format!("{prefix}text_model.embeddings.position_ids")));
            }
            EncoderNaming::OpenClip => {
                let table =
                    format!("{}.text_model.embeddings.token_embedding.weight", model.text[index].scope);
                let old = model.weights.info(&table).map_or(DType::F32, |info| info.dtype);
                // A single value is not a block.
                let old = if old.is_block_format() || old.is_f8() { DType::F32 } else { old };
                let dtype = options.target().of("logit_scale", old, &[]);
                out.extend(buffers::logit_scale(format!("{prefix}logit_scale"), dtype));
            }
        }
    }
    out
}
