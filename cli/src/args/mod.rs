//! The command line. Names and defaults are those that users of stable-diffusion.cpp and the webui know.

mod control;
mod convert;
mod drawing;
mod images;
mod metadata;
mod replay;
pub(crate) mod sampler_numbers;
mod sdxl;
mod tokens;
mod upscaling;

pub(crate) use control::{ControlArgs, Preprocess, PreviewArgs};
pub(crate) use convert::ConvertArgs;
pub(crate) use drawing::{DeviceArgs, DrawingArgs, ModelArgs, SamplingArgs};
pub(crate) use images::{EditArgs, Img2imgArgs, InpaintArgs, OutpaintArgs};
pub(crate) use metadata::{CompletionsArgs, ManArgs, MetadataArgs};
pub(crate) use replay::ReplayArgs;
pub(crate) use sdxl::SdxlArgs;
pub(crate) use tokens::TokensArgs;
pub(crate) use upscaling::{HiresArgs, UpscaleArgs};

use crate::drawing::{Given, Verb};
use crate::grid::Axis;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use latent_app::bench;
use latent_diffusion::families::PublishedModel;
use latent_diffusion::names;
use std::ffi::OsString;
use std::path::PathBuf;

/// Draw images with Stable Diffusion.
#[derive(Parser)]
#[command(name = "latent", version, about, max_term_width = 100)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Args {
    /// Reads a command line. What draws keeps its flags as they were given.
    pub(crate) fn read(
        line: impl IntoIterator<Item = impl Into<OsString> + Clone>,
    ) -> Result<Args, clap::Error> {
        let mut command = Args::command();
        let matches = command.try_get_matches_from_mut(line)?;
        let mut args = Args::from_arg_matches(&matches).map_err(|error| error.format(&mut command))?;
        if let Some((name, matches)) = matches.subcommand()
            && let Some(command) = command.find_subcommand(name)
        {
            let mut given = Given::of(command, matches);
            if let Command::Inpaint(inpaint) = &args.command
                && let Some(mask) = inpaint.mask_by_place()
            {
                given = given.with_file("mask", mask);
            }
            args.command.drawing().into_iter().for_each(|drawing| drawing.given = given.clone());
        }
        Ok(args)
    }
}

impl Command {
    /// The command as one that draws.
    pub(crate) fn verb(&self) -> Option<&dyn Verb> {
        match self {
            Command::Txt2img(args) => Some(&**args),
            Command::Img2img(args) => Some(&**args),
            Command::Inpaint(args) => Some(&**args),
            Command::Outpaint(args) => Some(&**args),
            Command::Edit(args) => Some(&**args),
            _ => None,
        }
    }

    /// The flags of a command that draws.
    pub(crate) fn drawing(&mut self) -> Option<&mut DrawingArgs> {
        match self {
            Command::Txt2img(args) => Some(&mut args.drawing),
            Command::Img2img(args) => Some(&mut args.drawing),
            Command::Inpaint(args) => Some(&mut args.drawing),
            Command::Outpaint(args) => Some(&mut args.drawing),
            Command::Edit(args) => Some(&mut args.drawing),
            _ => None,
        }
    }
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Draw an image from words
    Txt2img(Box<Txt2imgArgs>),
    /// Redraw an image by words
    Img2img(Box<Img2imgArgs>),
    /// Draw a part of an image anew, or fill a hole
    Inpaint(Box<InpaintArgs>),
    /// Grow an image past its edges
    Outpaint(Box<OutpaintArgs>),
    /// Change an image by an instruction, with a model of InstructPix2Pix
    Edit(Box<EditArgs>),
    /// Draw images whose settings differ, as one labelled image
    Grid(Box<GridArgs>),
    /// HiresUpscaler an image, with an ESRGAN or by Lanczos' filter
    Upscale(Box<UpscaleArgs>),
    /// Draw an image again, as its file tells
    Replay(ReplayArgs),
    /// Tell how an image was made, as its file does: one of this program or of others
    Metadata(MetadataArgs),
    /// List the devices that can draw, with what each has
    Devices(DevicesArgs),
    /// Tell what a model file is, from its header alone
    Inspect(InspectArgs),
    /// Write a model in another layout or number format, with LoRAs merged in
    Convert(ConvertArgs),
    /// List the models in the usual places, by kind and family
    Models(ModelsArgs),
    /// List the samplers and schedules, with when to use which
    Samplers(SamplersArgs),
    /// Show the tokens, chunks and weights of a prompt, and its parts from step to step
    Tokens(TokensArgs),
    /// Measure how fast this machine draws, stage by stage, without a model file
    Bench(BenchArgs),
    /// Write the completions of a shell: bash, zsh, fish, powershell or elvish
    Completions(CompletionsArgs),
    /// Write the manual's pages
    Man(ManArgs),
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
pub(crate) struct SamplersArgs {
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

#[derive(clap::Args)]
pub(crate) struct BenchArgs {
    /// Model whose shapes are measured: sd15, sd21 (768x768) or sdxl (1024x1024)
    #[arg(long, value_name = "NAME", default_value = "sd15", value_parser = PublishedModel::find)]
    pub(crate) family: &'static PublishedModel,
    /// Width and height in pixels [default: the model's own]
    #[arg(long, value_name = "PIXELS")]
    pub(crate) size: Option<usize>,
    /// Stage to measure: text, unet, vae or all
    #[arg(long, value_name = "NAME", default_value = "all", value_parser = parse_stage)]
    pub(crate) stage: &'static bench::StageSelection,
    /// UNet evaluations at once: 2 are one CFG step; an odd number is measured without guidance
    #[arg(long, value_name = "N", default_value_t = bench::CFG_BATCH)]
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

#[derive(clap::Args)]
pub(crate) struct Txt2imgArgs {
    /// What to draw.
    #[arg(
        help = "What to draw; (word:1.3) stresses, [word] weakens, [a:b:0.5] turns, a AND b joins; docs/prompts.md tells all"
    )]
    #[arg(value_name = "PROMPT", required_unless_present = "prompt_flag")]
    pub(crate) prompt: Option<String>,
    /// What to draw, as a flag
    #[arg(short = 'p', long = "prompt", value_name = "PROMPT", conflicts_with = "prompt")]
    pub(crate) prompt_flag: Option<String>,
    #[command(flatten)]
    pub(crate) hires: HiresArgs,
    #[command(flatten)]
    pub(crate) drawing: DrawingArgs,
}

/// `latent grid`
#[derive(clap::Args)]
#[command(
    after_help = "A side is a long flag and its values: steps=10,20 or sampler=euler,dpm++2m; a value with a comma stands in \
                  double quotes. Of prompt=red,blue the first is looked for in the prompt, and the others replace it."
)]
pub(crate) struct GridArgs {
    /// What changes from left to right
    #[arg(long, value_name = "FLAG=VALUE,...", required_unless_present = "y")]
    pub(crate) x: Option<Axis>,
    /// What changes from top to bottom
    #[arg(long, value_name = "FLAG=VALUE,...")]
    pub(crate) y: Option<Axis>,
    #[command(flatten)]
    pub(crate) words: Txt2imgArgs,
}

fn parse_stage(name: &str) -> Result<&'static bench::StageSelection, names::UnknownName> {
    names::find("stage", name, &bench::STAGE_SELECTIONS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }
}
