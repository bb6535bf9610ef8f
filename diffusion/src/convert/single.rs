//! The layout of the original single files (LDM, SGM): all parts in one, under the names of their Python modules.

use super::dtypes::dtype_of;
use super::tensors::{Piece, Tensor};
use super::text::{self, Style};
use super::{Options, buffers};
use crate::families::{Beside, Model, originals};
use crate::samplers::Prediction;
use latent_loader::{Checkpoint, CheckpointLayout, DType};
use std::collections::BTreeSet;

const UNET: &str = "model.diffusion_model.";
const VAE: &str = "first_stage_model.";

/// Empty tensors that mark what the UNet predicts and how the schedule ends.
pub(super) const V_PREDICTION: &str = "v_pred";
pub(super) const ZERO_SNR: &str = "ztsnr";

/// Where a file keeps a text encoder, and in which style: `conditioner` in SDXL, `cond_stage_model` before.
pub(super) fn encoder(model: &Model, index: usize) -> (String, Style) {
    let style = Style::of(&model.text[index]);
    let below = if style == Style::OpenClip { "model" } else { "transformer" };
    if model.unet.added_dim.is_some() {
        (format!("conditioner.embedders.{index}.{below}."), style)
    } else {
        (format!("cond_stage_model.{below}."), style)
    }
}

/// All tensors of the file.
pub(super) fn tensors(
    model: &Model,
    checkpoint: &Checkpoint,
    beside: &Beside,
    options: &Options,
) -> Vec<Tensor> {
    let mut out = unet(model, options);
    out.extend(vae(model, options));
    for (index, part) in model.text.iter().enumerate() {
        let (prefix, style) = encoder(model, index);
        let scope = format!("{}.", part.scope);
        let all = (usize::MAX, true);
        out.extend(text::tensors(&model.weights, &scope, &prefix, style, all, options.dtype));
    }
    let copied = beside.surplus.iter().filter(|tensor| is_usual(model, &tensor.name));
    out.extend(copied.map(|tensor| Tensor::old(tensor, options.dtype)));
    out.extend(beside.schedule.iter().filter(|t| is_told(model, &t.name)).map(|t| Tensor::old(t, None)));
    if options.keep_ema {
        out.extend(beside.ema.iter().map(|tensor| Tensor::old(tensor, options.dtype)));
    }
    let there: BTreeSet<String> = out.iter().map(|tensor| tensor.name.clone()).collect();
    let mut made = marks(model, checkpoint);
    if checkpoint.layout() != CheckpointLayout::SingleFile {
        made.extend(usual(model, options));
    }
    out.extend(made.into_iter().filter(|tensor| !there.contains(&tensor.name)));
    out
}

fn unet(model: &Model, options: &Options) -> Vec<Tensor> {
    let weights = model.weights.scope("unet");
    let layers = model.unet.layers_per_block;
    let attends =
        |level: usize| weights.contains(&format!("up_blocks.{level}.attentions.{layers}.norm.weight"));
    let tensor = |name: &str| {
        let original = originals::unet(name, layers, attends)?;
        let pieces = vec![Piece::whole(&format!("unet.{name}"))];
        Tensor::weight(&model.weights, format!("{UNET}{original}"), pieces, options.dtype)
    };
    weights.names().filter_map(tensor).collect()
}

/// The VAE. Its attention's layers are convolutions there.
fn vae(model: &Model, options: &Options) -> Vec<Tensor> {
    let levels = model.vae.block_out_channels.len();
    let tensor = |name: &str| {
        let original = originals::vae(name, levels)?;
        let pieces = vec![Piece::whole(&format!("vae.{name}"))];
        let mut tensor = Tensor::weight(&model.weights, format!("{VAE}{original}"), pieces, options.dtype)?;
        if name.contains(".attentions.") && tensor.shape.len() > 1 {
            tensor.shape.resize(4, 1);
        }
        Some(tensor)
    };
    model.weights.scope("vae").names().filter_map(tensor).collect()
}

/// Whether a tensor that nothing reads is one that original files have beside a text encoder of this model.
fn is_usual(model: &Model, name: &str) -> bool {
    (0..model.text.len()).any(|index| name.starts_with(&encoder(model, index).0))
}

/// Whether a table or mark of the schedule is not one that says the opposite of what is known.
fn is_told(model: &Model, name: &str) -> bool {
    match name {
        V_PREDICTION => model.prediction == Prediction::V,
        ZERO_SNR => model.training.is_zero_terminal_snr(),
        _ => true,
    }
}

/// Marks of what the UNet predicts, for models whose weights do not show it.
fn marks(model: &Model, checkpoint: &Checkpoint) -> Vec<Tensor> {
    let is_marked = model.prediction == Prediction::V
        && super::metadata::is_unsaid(model, checkpoint)
        && model.unet.added_dim.is_some();
    let marks = [(is_marked, V_PREDICTION), (model.training.is_zero_terminal_snr(), ZERO_SNR)];
    marks.into_iter().filter(|(is, _)| *is).map(|(_, name)| Tensor::made(name, &[0], &[])).collect()
}

/// What original files hold and folders do not.
fn usual(model: &Model, options: &Options) -> Vec<Tensor> {
    let mut out = if model.unet.added_dim.is_none() { buffers::schedule() } else { Vec::new() };
    for index in 0..model.text.len() {
        let (prefix, style) = encoder(model, index);
        match style {
            Style::Transformers => {
                out.push(buffers::position_ids(format!("{prefix}text_model.embeddings.position_ids")));
            }
            Style::OpenClip => {
                let table =
                    format!("{}.text_model.embeddings.token_embedding.weight", model.text[index].scope);
                let old = model.weights.info(&table).map_or(DType::F32, |info| info.dtype);
                // A single value is not a block.
                let old = if old.is_block_format() { DType::F32 } else { old };
                let dtype = options.dtype.map_or(old, |target| dtype_of(target, old, &[]));
                out.extend(buffers::logit_scale(format!("{prefix}logit_scale"), dtype));
            }
        }
    }
    out
}
