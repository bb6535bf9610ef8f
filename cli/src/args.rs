//! The command line. Names and defaults are those that users of stable-diffusion.cpp and the webui know.

use crate::bench;
use crate::device::{Choice, Precision};
use crate::lora;
use clap::{Parser, Subcommand};
use latent_diffusion::families::Published;
use latent_diffusion::names;
use latent_diffusion::rng::RngKind;
use latent_diffusion::samplers::Prediction;
use latent_diffusion::samplers::{self, Sampler};
use latent_diffusion::schedule::{Form, Kind};
use std::path::PathBuf;

/// Draw pictures with Stable Diffusion.
#[derive(Parser)]
#[command(version, about, max_term_width = 100)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Draw a picture from words
    Txt2img(Box<Txt2imgArgs>),
    /// List the devices that can draw, with what each has
    Devices(DevicesArgs),
    /// Tell what a model file is, from its header alone
    Inspect(InspectArgs),
    /// List the models in the usual places, by kind and family
    Models(ModelsArgs),
    /// Measure how fast this machine draws, stage by stage, without a model file
    Bench(BenchArgs),
}

#[derive(clap::Args)]
pub(crate) struct InspectArgs {
    /// A .safetensors file or a diffusers folder
    pub(crate) file: PathBuf,
    /// List all tensors with number format and shape
    #[arg(long)]
    pub(crate) tensors: bool,
    /// Add the SHA-256 of the file, and the webui's short form of it; this reads the whole file
    #[arg(long)]
    pub(crate) hash: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(clap::Args)]
pub(crate) struct ModelsArgs {
    /// Search this folder alone [default: LATENT_MODELS, and the folders of the webui, ComfyUI and Hugging Face]
    #[arg(long, value_name = "DIR")]
    pub(crate) models_dir: Option<PathBuf>,
    /// Add the webui's short hash; this reads the whole files
    #[arg(long)]
    pub(crate) hash: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(clap::Args)]
pub(crate) struct DevicesArgs {
    /// Print JSON; limits are in bytes
    #[arg(long)]
    pub(crate) json: bool,
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

#[derive(clap::Args)]
pub(crate) struct BenchArgs {
    /// Model whose shapes are measured: sd15, sd21 (768x768) or sdxl (1024x1024)
    #[arg(long, value_name = "NAME", default_value = "sd15", value_parser = Published::find)]
    pub(crate) family: &'static Published,
    /// Width and height in pixels [default: the model's own]
    #[arg(long, value_name = "PIXELS")]
    pub(crate) size: Option<usize>,
    /// Stage to measure: text, unet, vae or all
    #[arg(long, value_name = "NAME", default_value = "all", value_parser = parse_stage)]
    pub(crate) stage: &'static bench::Choice,
    /// UNet evaluations at once: 2 are one CFG step; an odd number is measured without guidance
    #[arg(long, value_name = "N", default_value_t = bench::CFG)]
    pub(crate) batch: usize,
    /// Timed runs of each stage, after one to warm up; the median counts
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub(crate) runs: usize,
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
    /// Decode in bands, as `txt2img --low-memory` does
    #[arg(long)]
    pub(crate) low_memory: bool,
    /// Number of threads [default: one for each core]
    #[arg(short, long, value_name = "N")]
    pub(crate) threads: Option<usize>,
    /// Print JSON; `of_peak` and `share` are parts of 1
    #[arg(long)]
    pub(crate) json: bool,
}

/// A sampler, and the schedule if one was named with it.
pub(crate) type NamedSampler = (&'static dyn Sampler, Option<Kind>);

#[derive(clap::Args)]
pub(crate) struct Txt2imgArgs {
    /// What to draw.
    #[arg(help = "What to draw; (word:1.3) stresses, [word] weakens, BREAK starts a new chunk of 75 tokens")]
    #[arg(value_name = "PROMPT", required_unless_present = "prompt_flag")]
    pub(crate) prompt: Option<String>,
    /// What to draw, as a flag
    #[arg(short = 'p', long = "prompt", value_name = "PROMPT", conflicts_with = "prompt")]
    pub(crate) prompt_flag: Option<String>,
    /// What not to draw
    #[arg(short, long, value_name = "PROMPT", default_value = "")]
    pub(crate) negative_prompt: String,
    /// A .safetensors file, a diffusers folder, or a name of `latent models`; without it, the small built-in demo model
    #[arg(short, long, value_name = "FILE")]
    pub(crate) model: Option<PathBuf>,
    /// A LoRA to add, and how strongly [default: 1]; may be repeated
    #[arg(long, value_name = "FILE[:WEIGHT]", value_parser = lora::parse)]
    pub(crate) lora: Vec<lora::Weighted>,
    /// Folder of the LoRAs that the prompt names with <lora:NAME:WEIGHT> [default: the model's folder]
    #[arg(long, value_name = "DIR")]
    pub(crate) lora_dir: Option<PathBuf>,
    /// Folder in which a model's name is looked for [default: the usual ones]
    #[arg(long, value_name = "DIR")]
    pub(crate) models_dir: Option<PathBuf>,
    /// PNG file to write; %03d is the picture's number, {seed} its seed [default: the prompt and the seed]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
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
    /// Number of pictures, with seeds counting up
    #[arg(short, long, value_name = "N", default_value_t = 1)]
    pub(crate) batch_count: usize,
    /// Pictures to draw at once; more take more memory
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) batch_size: usize,
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
    /// What the UNet predicts: epsilon or v [default: what the file shows]
    #[arg(long, value_name = "NAME", value_parser = parse_prediction)]
    pub(crate) prediction: Option<Prediction>,
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
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

fn parse_stage(name: &str) -> Result<&'static bench::Choice, names::UnknownName> {
    names::find("stage", name, &bench::CHOICES)
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }
}
