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
use error::CliError;
use std::process::ExitCode;

fn main() -> ExitCode {
    let result = match Args::parse().command {
        Command::Txt2img(args) => txt2img::run(args),
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

/// Checks the environment before anything runs.
fn check_environment() -> Result<(), CliError> {
    latent_kernels::Isa::from_environment().map(|_| ()).map_err(CliError::BadInput)
}
