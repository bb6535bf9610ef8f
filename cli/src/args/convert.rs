//! Flags of `latent convert`.

use super::drawing::{parse_prediction, parse_switch};
use super::parts::PartArgs;
use clap::ValueEnum;
use latent_app::addons::WeightedLora;
use latent_app::convert::layout_of;
use latent_diffusion::convert::{OutputLayout, TARGET_DTYPES};
use latent_diffusion::samplers::Prediction;
use latent_loader::DType;
use std::path::PathBuf;

#[derive(clap::Args)]
pub(crate) struct ConvertArgs {
    /// The model: a .safetensors or .gguf file, a diffusers folder, or a name of `latent models`
    #[arg(value_name = "IN")]
    pub(crate) model: PathBuf,
    /// The file or folder to write; nothing is seen of it before it is whole
    #[arg(value_name = "OUT")]
    pub(crate) output: PathBuf,
    /// Number format of the weights: f32, f16, bf16, f8_e4m3, f8_e5m2, q8_0, q6_k, q5_k, q5_1, q5_0, q4_k, q4_1, q4_0, iq4_nl,
    /// iq4_xs, q3_k or q2_k [default: each tensor's own]
    #[arg(long, visible_alias = "type", value_name = "NAME", value_parser = parse_dtype)]
    pub(crate) dtype: Option<DType>,
    /// A single file with the original names, a GGUF file with them, or a diffusers folder [default: single if OUT ends in
    /// .safetensors, gguf if it ends in .gguf]
    #[arg(long, value_name = "NAME", value_enum)]
    pub(crate) layout: Option<LayoutName>,
    /// A LoRA to merge in, and how strongly [default: 1]; may be repeated
    #[arg(long, value_name = "FILE[:WEIGHT]")]
    pub(crate) lora: Vec<WeightedLora>,
    #[command(flatten)]
    pub(crate) sources: PartArgs,
    /// Keep the trainer's averaged copy of the weights (model_ema.*), which nothing reads, in a single file
    #[arg(long)]
    pub(crate) keep_ema: bool,
    /// Write down what the UNet predicts: epsilon or v [default: what the model shows]
    #[arg(long, value_name = "NAME", value_parser = parse_prediction)]
    pub(crate) prediction: Option<Prediction>,
    /// Write down whether the noise schedule ends in pure noise [default: what the model shows]
    #[arg(long, value_name = "on|off", value_parser = parse_switch)]
    pub(crate) zero_snr: Option<bool>,
    /// Folder in which a model's name is looked for [default: the usual ones]
    #[arg(long, value_name = "DIR")]
    pub(crate) models_dir: Option<PathBuf>,
    /// Replace OUT if it is a model
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Number of threads [default: one for each core]
    #[arg(short, long, value_name = "N")]
    pub(crate) threads: Option<usize>,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum LayoutName {
    Single,
    Folder,
    Gguf,
}

impl ConvertArgs {
    /// The layout that is asked for, or else the one that the output's name speaks of.
    pub(crate) fn layout(&self) -> OutputLayout {
        match self.layout {
            Some(LayoutName::Single) => OutputLayout::Single,
            Some(LayoutName::Folder) => OutputLayout::Folder,
            Some(LayoutName::Gguf) => OutputLayout::Gguf,
            None => layout_of(&self.output),
        }
    }
}

fn parse_dtype(name: &str) -> Result<DType, String> {
    let names: Vec<_> = TARGET_DTYPES.iter().map(|dtype| dtype.name()).collect();
    let known = DType::from_name(name).filter(|dtype| TARGET_DTYPES.contains(dtype));
    known.ok_or_else(|| format!("give one of {}", names.join(", ")))
}
