//! What every command that draws can be told.

use crate::device::{Choice, Precision};
use crate::lora;
use latent_diffusion::rng::RngKind;
use latent_diffusion::samplers::{self, Prediction, Sampler};
use latent_diffusion::schedule::{Form, Kind};
use std::path::PathBuf;

/// What every command that draws takes, beside its own.
#[derive(clap::Args)]
pub(crate) struct DrawingArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    #[command(flatten)]
    pub(crate) sampling: SamplingArgs,
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
    /// PNG file to write; %03d is the picture's number, {seed} its seed [default: the prompt and the seed]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Number of pictures, with seeds counting up
    #[arg(short, long, value_name = "N", default_value_t = 1)]
    pub(crate) batch_count: usize,
    /// Pictures to draw at once; more take more memory
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) batch_size: usize,
    /// Number of threads [default: one for each core]
    #[arg(short, long, value_name = "N")]
    pub(crate) threads: Option<usize>,
    /// Take less memory: map the model's files, which must not change meanwhile, and decode in bands, which is slower
    #[arg(long)]
    pub(crate) low_memory: bool,
    /// Print what is done and how long it took
    #[arg(short, long)]
    pub(crate) verbose: bool,
}

/// The model, and what is added to it.
#[derive(clap::Args)]
pub(crate) struct ModelArgs {
    /// A .safetensors file, a diffusers folder, or a name of `latent models`; without it, the small built-in demo model
    #[arg(short, long, value_name = "FILE")]
    pub(crate) model: Option<PathBuf>,
    /// Folder in which a model's name is looked for [default: the usual ones]
    #[arg(long, value_name = "DIR")]
    pub(crate) models_dir: Option<PathBuf>,
    /// A LoRA to add, and how strongly [default: 1]; may be repeated
    #[arg(long, value_name = "FILE[:WEIGHT]", value_parser = lora::parse)]
    pub(crate) lora: Vec<lora::Weighted>,
    /// Folder of the LoRAs that the prompt names with <lora:NAME:WEIGHT> [default: the model's folder]
    #[arg(long, value_name = "DIR")]
    pub(crate) lora_dir: Option<PathBuf>,
    /// What the UNet predicts: epsilon or v [default: what the file shows]
    #[arg(long, value_name = "NAME", value_parser = parse_prediction)]
    pub(crate) prediction: Option<Prediction>,
}

/// How to draw.
#[derive(clap::Args)]
pub(crate) struct SamplingArgs {
    /// What not to draw
    #[arg(short, long, value_name = "PROMPT", default_value = "")]
    pub(crate) negative_prompt: String,
    /// Width in pixels [default: the model's own]
    #[arg(short = 'W', long, value_name = "PIXELS")]
    pub(crate) width: Option<usize>,
    /// Height in pixels [default: the model's own]
    #[arg(short = 'H', long, value_name = "PIXELS")]
    pub(crate) height: Option<usize>,
    /// Sampling steps
    #[arg(long, default_value_t = 20)]
    pub(crate) steps: usize,
    /// How closely to follow the prompt; 1 leaves the negative prompt out and takes half the time
    #[arg(long, value_name = "SCALE", default_value_t = 7.0, allow_negative_numbers = true)]
    pub(crate) cfg_scale: f64,
    /// Seed of the random numbers [default: random, and printed]
    #[arg(short, long)]
    pub(crate) seed: Option<u64>,
    /// ddim, euler, euler_a or dpm++2m, also as the webui writes them ("DPM++ 2M Karras")
    #[arg(long, value_name = "NAME", default_value = "dpm++2m", value_parser = parse_sampler)]
    pub(crate) sampler: NamedSampler,
    /// Spacing of the noise levels, such as normal or karras [default: karras for dpm++2m, else normal]
    #[arg(long, value_name = "NAME", value_parser = parse_schedule)]
    pub(crate) scheduler: Option<Kind>,
    /// Whose conventions the schedule follows: webui or diffusers [default: diffusers for ddim, else webui]
    #[arg(long, value_name = "NAME", value_parser = parse_form)]
    pub(crate) compat: Option<Form>,
    /// Layers of the text encoder to leave out from the end, plus 1
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) clip_skip: usize,
    /// Random numbers as on the GPU of the webui (cuda) or as PyTorch's on the CPU (cpu)
    #[arg(long, value_name = "NAME", default_value = "cuda", value_parser = parse_rng)]
    pub(crate) rng: RngKind,
}

/// Where to draw.
#[derive(clap::Args)]
pub(crate) struct DeviceArgs {
    /// auto, cpu, gpu or gpu:N, a number of `latent devices`; auto takes a GPU that is no software, or else the CPU
    #[arg(
        long,
        value_name = "DEVICE",
        default_value = "auto",
        env = "LATENT_DEVICE",
        hide_env_values = true
    )]
    pub(crate) device: Choice,
    /// Numbers that a GPU stores between its kernels
    #[arg(long, value_name = "NAME", value_enum, default_value_t = Precision::Auto)]
    pub(crate) precision: Precision,
    /// Memory of the GPU that may be used [default: all]
    #[arg(long, value_name = "MB", value_parser = clap::value_parser!(u64).range(1..1 << 32))]
    pub(crate) max_vram: Option<u64>,
}

/// A sampler, and the schedule if one was named with it.
pub(crate) type NamedSampler = (&'static dyn Sampler, Option<Kind>);

fn parse_sampler(name: &str) -> Result<NamedSampler, String> {
    samplers::parse(name).map_err(|error| error.to_string())
}

fn parse_schedule(name: &str) -> Result<Kind, String> {
    Kind::parse(name).map_err(|error| error.to_string())
}

fn parse_form(name: &str) -> Result<Form, String> {
    Form::parse(name).map_err(|error| error.to_string())
}

fn parse_rng(name: &str) -> Result<RngKind, String> {
    RngKind::parse(name).map_err(|error| error.to_string())
}

fn parse_prediction(name: &str) -> Result<Prediction, String> {
    Prediction::parse(name).map_err(|error| error.to_string())
}
