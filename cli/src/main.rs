#![forbid(unsafe_code)]
//! `latent`: draw pictures with Stable Diffusion from the command line.
//!
//! Exit status: 0 done, 1 a run-time failure, 2 bad input (a file, a flag), 130 interrupted.

mod args;
mod error;
mod inspect;
mod model;
mod output;
mod progress;
mod txt2img;

use args::{Args, Command};
use clap::Parser;
use clap::error::ErrorKind;
use error::CliError;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return refuse(&error),
    };
    let result = match args.command {
        Command::Txt2img(args) => txt2img::run(*args),
        Command::Inspect(args) => inspect::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("latent: {error}");
            ExitCode::from(error.exit_status())
        }
    }
}

/// Help and version as clap prints them, all else in one line like every other error.
fn refuse(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        error.exit();
    }
    let text = error.to_string();
    let told = text.lines().take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"));
    let words: Vec<&str> = told.flat_map(str::split_whitespace).collect();
    let line = words.join(" ");
    eprintln!("latent: {}; try --help", line.strip_prefix("error: ").unwrap_or(&line));
    ExitCode::from(2)
}

/// Checks the environment before anything runs.
fn check_environment() -> Result<(), CliError> {
    latent_kernels::Isa::from_environment().map(|_| ()).map_err(CliError::BadInput)
}
