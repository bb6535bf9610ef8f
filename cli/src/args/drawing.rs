//! Flags of every command that draws.

use super::control::{ControlArgs, PreviewArgs};
use super::device::DeviceArgs;
use super::guidance::GuidanceArgs;
use super::image_prompt::ImagePromptArgs;
use super::parts::{PartArgs, PromptFileArgs};
use super::sampler_numbers::SamplerNumbers;
use super::sdxl::SdxlArgs;
use latent_app::addons::WeightedLora;
use latent_app::job::{Job, SamplerChoice};
use latent_app::output::DEFAULT_QUALITY;
use latent_diffusion::Seamless;
use latent_diffusion::rng::RngKind;
use latent_diffusion::samplers::Prediction;
use latent_diffusion::schedule::{Convention, ScheduleKind};
use std::path::PathBuf;

/// What every command that draws takes, beside its own.
#[derive(clap::Args)]
pub(crate) struct DrawingArgs {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    pub(super) sampling: SamplingArgs,
    #[command(flatten)]
    sdxl: SdxlArgs,
    #[command(flatten)]
    control: ControlArgs,
    #[command(flatten)]
    image_prompt: ImagePromptArgs,
    #[command(flatten)]
    pub(crate) preview: PreviewArgs,
    #[command(flatten)]
    device: DeviceArgs,
    /// .png, .jpg or .webp file to write; %03d is the image's number, {seed} its seed; - is the standard output [default: the
    /// prompt and the seed]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Quality of a .jpg, 1 to 100
    #[arg(long, value_name = "N", default_value_t = DEFAULT_QUALITY, value_parser = clap::value_parser!(u8).range(1..=100))]
    pub(crate) quality: u8,
    /// Number of images, with seeds counting up
    #[arg(short, long, value_name = "N", default_value_t = 1)]
    batch_count: usize,
    /// Images to draw at once; more take more memory
    #[arg(long, value_name = "N", default_value_t = 1)]
    batch_size: usize,
    /// Write one more image with all of them in rows, as OUTPUT-grid.png
    #[arg(long)]
    pub(crate) grid: bool,
    /// Number of threads [default: one for each core]
    #[arg(short, long, value_name = "N")]
    pub(crate) threads: Option<usize>,
    /// Take less memory: map the model's files, which must not change meanwhile, and decode in bands, which is slower
    #[arg(long)]
    low_memory: bool,
    /// Encode and decode in bands, which takes less memory and more time: the same image
    #[arg(long)]
    vae_tiling: bool,
    /// Print what is done and how long it took
    #[arg(short, long)]
    pub(crate) verbose: bool,
    /// What the flags that were given ask for.
    #[arg(skip)]
    pub(crate) job: Job,
}

/// The model, and what is added to it.
#[derive(Debug, clap::Args)]
pub(crate) struct ModelArgs {
    /// A .safetensors file, a diffusers folder, or a name of `latent models`; without it, the small built-in demo model
    #[arg(short, long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Folder in which a model's name is looked for [default: the usual ones]
    #[arg(long, value_name = "DIR")]
    models_dir: Option<PathBuf>,
    #[command(flatten)]
    sources: PartArgs,
    /// A LoRA to add, and how strongly [default: 1]; may be repeated
    #[arg(long, value_name = "FILE[:WEIGHT]")]
    lora: Vec<WeightedLora>,
    /// Folder of the LoRAs that the prompt names with <lora:NAME:WEIGHT> [default: the model's folder]
    #[arg(long, value_name = "DIR")]
    lora_dir: Option<PathBuf>,
    #[command(flatten)]
    words: PromptFileArgs,
    /// What the UNet predicts: epsilon or v [default: what the file shows]
    #[arg(long, value_name = "NAME", value_parser = parse_prediction)]
    prediction: Option<Prediction>,
    /// Whether the noise schedule ends in pure noise [default: what the file shows]
    #[arg(long, value_name = "on|off", value_parser = parse_switch)]
    zero_snr: Option<bool>,
}

/// How to draw.
#[derive(clap::Args)]
pub(crate) struct SamplingArgs {
    /// Read the prompt from this file; - is standard input
    #[arg(long, value_name = "FILE")]
    pub(super) prompt_file: Option<PathBuf>,
    /// What not to draw
    #[arg(short, long, value_name = "PROMPT", default_value = "")]
    negative_prompt: String,
    /// Read the negative prompt from this file; - is standard input
    #[arg(long, value_name = "FILE", conflicts_with = "negative_prompt")]
    pub(super) negative_prompt_file: Option<PathBuf>,
    /// Width in pixels [default: the model's own]
    #[arg(short = 'W', long, value_name = "PIXELS")]
    width: Option<usize>,
    /// Height in pixels [default: the model's own]
    #[arg(short = 'H', long, value_name = "PIXELS")]
    height: Option<usize>,
    /// Keep images of the built-in model as small as it draws them, 64x64; without it, they are enlarged to 256x256, unless a
    /// size is given
    #[arg(long)]
    raw_size: bool,
    /// Sampling steps [default: 20; 4 or what its name says for a turbo, lightning, lcm or hyper model]
    #[arg(long)]
    steps: Option<usize>,
    /// How closely to follow the prompt; 1 leaves the negative prompt out and takes half the time [default: 7; 1 for a model
    /// for few steps, 8 for an LCM that is conditioned on it]
    #[arg(long, value_name = "SCALE", allow_negative_numbers = true)]
    cfg_scale: Option<f64>,
    /// How much of the contrast that a high cfg scale adds is taken back, 0 to 1; 0.7 is good with --zero-snr
    #[arg(long, value_name = "PART", default_value_t = 0.0, allow_negative_numbers = true)]
    cfg_rescale: f64,
    /// Part of the steps, 0 to 1, after which there is no guidance, and a step takes half the time
    #[arg(long, value_name = "PART", default_value_t = 1.0, allow_negative_numbers = true)]
    cfg_end: f64,
    #[command(flatten)]
    guidance: GuidanceArgs,
    /// Compute the UNet's coarse levels in every Nth step only (DeepCache): 3 is 1.7 times as fast, and changes details
    #[arg(long, value_name = "N", default_value_t = 1)]
    cache: usize,
    /// Part of the tokens, 0 to 0.5, that are merged with similar ones in the finest self-attentions: at 768x768 a
    /// step with 0.5 takes 0.7 of the time, and details change; on the CPU only
    #[arg(
        long,
        alias = "token-merging-ratio",
        value_name = "PART",
        default_value_t = 0.0,
        allow_negative_numbers = true
    )]
    tome: f64,
    /// Seed of the random numbers; -1 or random chooses one [default: random, and printed]
    #[arg(short, long, value_name = "N", value_parser = parse_seed)]
    seed: Option<String>,
    /// Seed of other noise that is mixed into that of the seed; of several images it counts up, and the seed stays [default:
    /// random]
    #[arg(long, alias = "subseed", value_name = "N", value_parser = parse_seed)]
    variation_seed: Option<String>,
    /// How much of it, 0 to 1: a small part changes the image a little
    #[arg(
        long,
        alias = "subseed-strength",
        value_name = "PART",
        default_value_t = 0.0,
        allow_negative_numbers = true
    )]
    variation_strength: f64,
    /// Draw images that can be tiled: from left to right (x), from top to bottom (y) or both; on the CPU only
    #[arg(long, alias = "tiling", value_name = "x|y|both|off", default_value = "off", value_parser = parse_seamless)]
    seamless: Seamless,
    /// A name of `latent samplers`, also as the webui writes it ("DPM++ 2M Karras") [default: dpm++2m; for a model for few
    /// steps its own]
    #[arg(long, value_name = "NAME", value_parser = SamplerChoice::parse)]
    sampler: Option<SamplerChoice>,
    /// Spacing of the noise levels, a name of `latent samplers` [default: the webui's for the sampler]
    #[arg(long, value_name = "NAME", value_parser = parse_schedule)]
    scheduler: Option<ScheduleKind>,
    /// Whose conventions the schedule follows: webui or diffusers [default: diffusers for ddim, plms, lcm, tcd, else webui]
    #[arg(long, value_name = "NAME", value_parser = parse_form)]
    compat: Option<Convention>,
    #[command(flatten)]
    numbers: SamplerNumbers,
    /// Layers of the text encoder to leave out from the end, plus 1
    #[arg(long, value_name = "N", default_value_t = 1)]
    clip_skip: usize,
    /// Random numbers as on the GPU of the webui (cuda) or as PyTorch's on the CPU (cpu)
    #[arg(long, value_name = "NAME", default_value = "cuda", value_parser = parse_rng)]
    rng: RngKind,
}

fn parse_schedule(name: &str) -> Result<ScheduleKind, String> {
    ScheduleKind::parse(name).map_err(|error| error.to_string())
}

/// Checks a seed; the job reads it.
fn parse_seed(text: &str) -> Result<String, String> {
    let checked = Job::default().set("seed", &[text]).map(|()| text.to_owned());
    checked.map_err(|error| error.to_string().trim_start_matches("seed: ").to_owned())
}

pub(super) fn parse_switch(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("give on or off".to_owned()),
    }
}

fn parse_form(name: &str) -> Result<Convention, String> {
    Convention::parse(name).map_err(|error| error.to_string())
}

fn parse_seamless(name: &str) -> Result<Seamless, String> {
    Seamless::parse(name).map_err(|error| error.to_string())
}

fn parse_rng(name: &str) -> Result<RngKind, String> {
    RngKind::parse(name).map_err(|error| error.to_string())
}

pub(super) fn parse_prediction(name: &str) -> Result<Prediction, String> {
    Prediction::parse(name).map_err(|error| error.to_string())
}
