#![forbid(unsafe_code)]
//! `latent`: draw images with Stable Diffusion from the command line.
//!
//! Exit status: 0 done, 1 a run-time failure, 2 bad input (a file, a flag), 130 interrupted.

mod args;
mod bench;
mod convert;
mod device;
mod drawing;
mod edit;
mod grid;
mod img2img;
mod inpaint;
mod inspect;
mod interrupt;
mod lora;
mod metadata;
mod model;
mod models;
mod outpaint;
mod progress;
mod replay;
mod samplers;
mod shell;
mod sources;
mod terminal;
mod tokens;
mod txt2img;
mod upscale;
mod words;

use args::{Args, Command};
use clap::error::ErrorKind;
use latent_app::output::WrittenImage;
use latent_app::{AppError, hash, image_file, output};
use latent_loader::Plain;
use std::io::Write;
use std::process::ExitCode;

/// Most threads of a command.
const MAX_THREADS: usize = 1024;

fn main() -> ExitCode {
    let args = match Args::read(std::env::args_os()) {
        Ok(args) => args,
        Err(error) => return refuse(&error),
    };
    let result = match args.command {
        Command::Txt2img(args) => drawing::run(&*args),
        Command::Img2img(args) => drawing::run(&*args),
        Command::Inpaint(args) => drawing::run(&*args),
        Command::Outpaint(args) => drawing::run(&*args),
        Command::Edit(args) => drawing::run(&*args),
        Command::Grid(args) => grid::run(&args),
        Command::Upscale(args) => upscale::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Metadata(args) => metadata::run(&args),
        Command::Devices(args) => device::list(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Convert(args) => convert::run(&args),
        Command::Models(args) => models::run(&args),
        Command::Samplers(args) => samplers::run(&args),
        Command::Tokens(args) => tokens::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Completions(args) => shell::completions(&args),
        Command::Man(args) => shell::man(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Names and texts of files may hold what would steer a terminal.
            eprintln!("latent: {}", Plain(&error.to_string()));
            ExitCode::from(error.exit_status())
        }
    }
}

/// Help and version as clap prints them, all else in one line like every other error.
fn refuse(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        error.exit();
    }
    eprintln!("latent: {}; try --help", Plain(&one_line(error)));
    ExitCode::from(2)
}

/// What is wrong with a command line.
fn one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let told = text.lines().take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"));
    let words: Vec<&str> = told.flat_map(str::split_whitespace).collect();
    let line = words.join(" ");
    line.strip_prefix("error: ").unwrap_or(&line).to_owned()
}

/// Checks the environment before anything runs.
fn check_environment() -> Result<(), AppError> {
    let isa = latent_kernels::Isa::from_environment().map(drop);
    let conv = latent_kernels::conv2d::Algorithm::from_environment().map(drop);
    isa.and(conv).map_err(AppError::BadInput)
}

/// A number of threads as `parallel::with_threads` takes it: 0 for one on each core.
fn check_threads(threads: Option<usize>) -> Result<usize, AppError> {
    match threads {
        Some(n) if n == 0 || n > MAX_THREADS => {
            Err(AppError::BadInput(format!("threads: {n} is not in 1 to {MAX_THREADS}")))
        }
        threads => Ok(threads.unwrap_or(0)),
    }
}

/// Prints what was lost when an image was written.
fn warn(written: WrittenImage) {
    if let Some(line) = written.warning() {
        eprintln!("latent: {line}");
    }
}

/// Writes to standard output. A reader that stops early (`| head`) is no failure.
fn print(text: &str) -> Result<(), AppError> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(AppError::RunTime(format!("standard output: {error}")))
        }
        _ => Ok(()),
    }
}
