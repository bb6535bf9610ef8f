//! The command line. Names and defaults are those that users of stable-diffusion.cpp and the webui know.

mod advice;
mod control;
mod convert;
mod device;
mod drawing;
mod guidance;
mod image_prompt;
mod images;
mod job;
#[cfg(feature = "server")]
mod machine;
mod metadata;
mod parts;
pub(crate) mod prompt_file;
#[cfg(feature = "nats")]
mod queue;
mod replay;
mod sampler_numbers;
mod sdxl;
#[cfg(feature = "server")]
mod serve;
mod tokens;
mod upscaling;

#[cfg(all(feature = "server", not(feature = "nats")))]
pub(crate) use advice::WITHOUT_QUEUE;
pub(crate) use control::{PreviewArgs, TERMINAL};
pub(crate) use convert::ConvertArgs;
pub(crate) use drawing::DrawingArgs;
pub(crate) use images::{EditArgs, Img2imgArgs, InpaintArgs, OutpaintArgs};
pub(crate) use metadata::{CompletionsArgs, ManArgs, MetadataArgs};
#[cfg(feature = "nats")]
pub(crate) use queue::{QueueLoginArgs, WorkerArgs, WorkersArgs};
pub(crate) use replay::ReplayArgs;
#[cfg(feature = "server")]
pub(crate) use serve::ServeArgs;
pub(crate) use tokens::TokensArgs;
pub(crate) use upscaling::UpscaleArgs;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use device::DeviceArgs;
use latent_app::AppError;
use latent_app::bench;
use latent_app::device::DeviceOptions;
use latent_app::grid::GridAxis;
use latent_app::job::{Job, JobTask};
use latent_diffusion::families::PublishedModel;
use latent_diffusion::names;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use upscaling::HiresArgs;

/// Draw images with Stable Diffusion.
#[derive(Parser)]
#[command(name = "latent", version, about, max_term_width = 100)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Why a command line cannot be followed.
#[derive(Debug)]
pub(crate) enum UsageError {
    /// Help, the version, or a flag that is wrong by itself.
    Clap(clap::Error),
    /// A job that cannot be.
    Job(AppError),
}

impl From<clap::Error> for UsageError {
    fn from(error: clap::Error) -> UsageError {
        UsageError::Clap(error)
    }
}

impl UsageError {
    /// What is wrong, in one line.
    pub(crate) fn line(&self) -> String {
        let error = match self {
            UsageError::Clap(error) => {
                #[cfg(not(feature = "nats"))]
                if let Some(line) = advice::of_queue(error) {
                    return line;
                }
                error.to_string()
            }
            UsageError::Job(error) => return error.to_string(),
        };
        let lines = error.lines();
        let message = lines.take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"));
        let line = message.flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ");
        line.strip_prefix("error: ").unwrap_or(&line).to_owned()
    }
}

impl Args {
    /// Reads a command line. A command that draws has its job. A prompt may be the name of a file, as `@FILE`, or `-` for
    /// standard input.
    pub(crate) fn read(
        line: impl IntoIterator<Item = impl Into<OsString> + Clone>,
    ) -> Result<Args, UsageError> {
        Args::of(line, true)
    }

    /// The same, where each prompt is the prompt itself.
    pub(crate) fn read_words(
        line: impl IntoIterator<Item = impl Into<OsString> + Clone>,
    ) -> Result<Args, UsageError> {
        Args::of(line, false)
    }

    fn of(
        line: impl IntoIterator<Item = impl Into<OsString> + Clone>,
        reads_prompts: bool,
    ) -> Result<Args, UsageError> {
        let mut command = advice::with_negative_values(Args::command());
        let line: Vec<OsString> = line.into_iter().map(Into::into).collect();
        let matches = command
            .try_get_matches_from_mut(&line)
            .map_err(|error| advice::that_helps(error, &mut command, &line))?;
        let mut args = Args::from_arg_matches(&matches).map_err(|error| error.format(&mut command))?;
        if let Some((name, matches)) = matches.subcommand()
            && let Some(command) = command.find_subcommand(name)
        {
            args.command.fill_job(command, matches, reads_prompts).map_err(UsageError::Job)?;
        }
        Ok(args)
    }
}

impl Args {
    /// The device that the environment asks for.
    pub(crate) fn device_of_environment() -> Result<DeviceOptions, UsageError> {
        let mut args = Args::read(["latent", "txt2img", ""])?;
        Ok(args.command.drawing().map_or_else(DeviceOptions::default, |drawing| drawing.job.device.clone()))
    }
}

impl Command {
    /// The flags of a command that draws.
    pub(crate) fn drawing(&mut self) -> Option<&mut DrawingArgs> {
        match self {
            Command::Txt2img(args) => Some(&mut args.drawing),
            Command::Img2img(args) => Some(&mut args.drawing),
            Command::Inpaint(args) => Some(&mut args.drawing),
            Command::Outpaint(args) => Some(&mut args.drawing),
            Command::Edit(args) => Some(&mut args.drawing),
            Command::Grid(args) => Some(&mut args.words.drawing),
            _ => None,
        }
    }

    /// What is said of a command line that is followed, but that perhaps means something else.
    pub(crate) fn hint(&mut self) -> Option<String> {
        let drawing = self.drawing()?;
        let is_from_file = drawing.sampling.prompt_file.is_some();
        prompt_file::hint(&drawing.job.prompt).filter(|_| !is_from_file)
    }

    /// Reads the prompts that are in files: the prompt takes the place of the flag, and the negative prompt is given back.
    fn read_prompts(&mut self) -> Result<Option<String>, AppError> {
        let Some(drawing) = self.drawing() else { return Ok(None) };
        let [file, negative] =
            [&drawing.sampling.prompt_file, &drawing.sampling.negative_prompt_file].map(Clone::clone);
        if file == negative
            && file.as_deref().is_some_and(|file| file == Path::new(prompt_file::STANDARD_INPUT))
        {
            return Err(both_from_input());
        }
        let prompt = file.as_deref().map(prompt_file::read).transpose()?;
        let negative = negative.as_deref().map(prompt_file::read).transpose()?;
        let Some(prompt) = prompt else { return Ok(negative) };
        let (placed, flag) = match self {
            Command::Txt2img(args) => (args.prompt.is_some(), &mut args.prompt_flag),
            Command::Grid(args) => (args.words.prompt.is_some(), &mut args.words.prompt_flag),
            Command::Img2img(args) => (args.prompt.is_some(), &mut args.prompt_flag),
            Command::Outpaint(args) => (args.prompt.is_some(), &mut args.prompt_flag),
            Command::Edit(args) => (args.prompt.is_some(), &mut args.prompt_flag),
            // The words by place may be a mask.
            Command::Inpaint(args) => (args.has_prompt_by_place(), &mut args.prompt_flag),
            _ => return Ok(negative),
        };
        if placed || flag.is_some() {
            return Err(AppError::BadInput(
                "prompt: is given twice, by --prompt-file and as words; leave one out".into(),
            ));
        }
        *flag = Some(prompt);
        Ok(negative)
    }

    /// Puts what they stand for in the place of prompts that are `-` or `@FILE`, unless they were read from files themselves.
    fn read_named_prompts(&mut self, job: &mut Job) -> Result<(), AppError> {
        let Some(drawing) = self.drawing() else { return Ok(()) };
        let (file, negative_file) = (&drawing.sampling.prompt_file, &drawing.sampling.negative_prompt_file);
        let is_input = |file: &Option<PathBuf>, word: &str| match file {
            Some(file) => file == Path::new(prompt_file::STANDARD_INPUT),
            None => prompt_file::is_input(word),
        };
        if is_input(file, &job.prompt) && is_input(negative_file, &job.negative_prompt) {
            return Err(both_from_input());
        }
        if file.is_none()
            && let Some(prompt) = prompt_file::meant_by(&job.prompt)?
        {
            job.prompt = prompt;
        }
        if negative_file.is_none()
            && let Some(prompt) = prompt_file::meant_by(&job.negative_prompt)?
        {
            job.set("negative-prompt", &[&prompt])?;
        }
        Ok(())
    }

    /// Makes the job of a command that draws.
    fn fill_job(
        &mut self,
        command: &clap::Command,
        matches: &clap::ArgMatches,
        reads_prompts: bool,
    ) -> Result<(), AppError> {
        if let Command::Tokens(args) = self
            && let Some(word) = args.prompt.as_mut().or(args.prompt_flag.as_mut())
            && let Some(prompt) = prompt_file::meant_by(word)?
        {
            *word = prompt;
        }
        let negative_prompt = self.read_prompts()?;
        // A grid is of images from words.
        let task = JobTask::named(command.get_name()).unwrap_or_default();
        let (prompt, mask) = match self {
            Command::Txt2img(args) => (args.prompt(), None),
            Command::Grid(args) => (args.words.prompt(), None),
            Command::Img2img(args) => (args.prompt(), None),
            Command::Outpaint(args) => (args.prompt(), None),
            Command::Edit(args) => (args.prompt(), None),
            Command::Inpaint(args) => {
                args.check_words()?;
                let (mask, prompt) = args.mask_and_prompt();
                (prompt, mask)
            }
            _ => return Ok(()),
        };
        let mut job = job::job(task, command, matches)?;
        job.prompt = prompt.to_owned();
        negative_prompt.map_or(Ok(()), |text| job.set("negative-prompt", &[&text]))?;
        mask.map_or(Ok(()), |mask| job.set("mask", &[mask]))?;
        if reads_prompts {
            self.read_named_prompts(&mut job)?;
        }
        if let Some(drawing) = self.drawing() {
            drawing.job = job;
        }
        Ok(())
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
    /// Change an image by an instruction, with a model of InstructPix2Pix or Flux.1 Kontext
    Edit(Box<EditArgs>),
    /// Draw images whose settings differ, as one labelled image
    Grid(Box<GridArgs>),
    /// Enlarge an image, with a network or by Lanczos' filter
    Upscale(Box<UpscaleArgs>),
    /// Draw an image again by the metadata in its file
    Replay(ReplayArgs),
    /// Show how an image was made, according to its file: one of this program or of others
    Metadata(MetadataArgs),
    /// List the devices that can draw, with what each has
    Devices(DevicesArgs),
    /// Look at this machine: versions, processor, memory, devices, folders and environment, and what can be done about each
    Doctor(DoctorArgs),
    /// Show what a model file is, from its header alone
    Inspect(InspectArgs),
    /// Write a model in another layout or dtype, with LoRAs merged in
    Convert(ConvertArgs),
    /// List the models in the usual places, by kind and family
    Models(ModelsArgs),
    /// List the samplers and schedules, with when to use which
    Samplers(SamplersArgs),
    /// Show the tokens, chunks and weights of a prompt, and its parts from step to step
    Tokens(TokensArgs),
    /// Draw for other programs and for the page in a browser, over HTTP
    #[cfg(feature = "server")]
    Serve(Box<ServeArgs>),
    /// Draw jobs of a queue that several machines share
    #[cfg(feature = "nats")]
    Worker(Box<WorkerArgs>),
    /// List the workers of a queue that several machines share
    #[cfg(feature = "nats")]
    Workers(Box<WorkersArgs>),
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
    /// List all tensors with dtype and shape
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
#[command(
    after_help = "The status is 0, also where something could be better; it is 1 where no image can be drawn at all."
)]
pub(crate) struct DoctorArgs {
    /// Print JSON, for the report of a fault; like the text it shows no names of users and no contents of files
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
    /// Timed runs of each stage, after one to warm up; the median counts [default: 3; 1 with --advise]
    #[arg(long, value_name = "N")]
    pub(crate) runs: Option<usize>,
    /// Print what each switch that draws faster saves and costs: --cache, --cfg-end, --tome, --taesd, models for few steps
    #[arg(long, conflicts_with_all = ["stage", "batch", "tome", "low_memory"])]
    pub(crate) advise: bool,
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
    /// Merge this part of the UNet's tokens, as `txt2img --tome` does
    #[arg(long, value_name = "PART", default_value_t = 0.0, allow_negative_numbers = true)]
    pub(crate) tome: f64,
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
        help = "What to draw; (word:1.3) stresses, [word] weakens, [a:b:0.5] switches, a AND b joins; see docs/prompts.md"
    )]
    #[arg(value_name = "PROMPT", required_unless_present_any = ["prompt_flag", "prompt_file"])]
    prompt: Option<String>,
    /// What to draw, as a flag
    #[arg(short = 'p', long = "prompt", value_name = "PROMPT", conflicts_with = "prompt")]
    prompt_flag: Option<String>,
    #[command(flatten)]
    hires: HiresArgs,
    #[command(flatten)]
    pub(crate) drawing: DrawingArgs,
}

impl Txt2imgArgs {
    fn prompt(&self) -> &str {
        self.prompt.as_ref().or(self.prompt_flag.as_ref()).map_or("", String::as_str)
    }
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
    pub(crate) x: Option<GridAxis>,
    /// What changes from top to bottom
    #[arg(long, value_name = "FLAG=VALUE,...")]
    pub(crate) y: Option<GridAxis>,
    #[command(flatten)]
    pub(crate) words: Txt2imgArgs,
}

fn both_from_input() -> AppError {
    AppError::BadInput(
        "standard input: cannot be both prompts; give one of them as a file or as words".into(),
    )
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
