#![forbid(unsafe_code)]
//! `latent`: draw images with Stable Diffusion from the command line.
//!
//! Exit status: 0 done, 1 a run-time failure, 2 bad input (a file, a flag), 130 interrupted.

mod args;
mod bench;
mod command_line;
mod console;
mod convert;
mod device;
mod doctor;
mod draw;
mod errors;
mod grid;
mod image_output;
mod inspect;
mod interrupt;
mod json_text;
mod metadata;
mod models;
mod progress;
#[cfg(feature = "nats")]
mod queue;
mod replay;
mod samplers;
#[cfg(feature = "server")]
mod serve;
#[cfg(feature = "server")]
mod server_options;
mod shell;
mod terminal;
mod tokens;
mod upscale;

use args::{Args, Command, UsageError};
use clap::error::ErrorKind;
use errors::describe;
use latent_app::AppError;
use latent_app::output::WrittenImage;
use latent_loader::Plain;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = match Args::read(std::env::args_os()) {
        Ok(args) => args,
        Err(UsageError::Job(error)) => return fail(&error),
        Err(error) => return refuse(&error),
    };
    if let Some(hint) = args.command.hint() {
        console::hint(format_args!("latent: {}", Plain(&hint)));
    }
    let result = match args.command {
        Command::Txt2img(args) => draw::run(&args.drawing),
        Command::Img2img(args) => draw::run(&args.drawing),
        Command::Inpaint(args) => draw::run(&args.drawing),
        Command::Outpaint(args) => draw::run(&args.drawing),
        Command::Edit(args) => draw::run(&args.drawing),
        Command::Grid(args) => grid::run(&args),
        Command::Upscale(args) => upscale::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Metadata(args) => metadata::run(&args),
        Command::Devices(args) => device::list(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Convert(args) => convert::run(&args),
        Command::Models(args) => models::run(&args),
        Command::Samplers(args) => samplers::run(&args),
        Command::Tokens(args) => tokens::run(&args),
        Command::Bench(args) => bench::run(&args),
        #[cfg(feature = "server")]
        Command::Serve(args) => serve::run(&args),
        #[cfg(feature = "nats")]
        Command::Worker(args) => queue::work(&args),
        #[cfg(feature = "nats")]
        Command::Workers(args) => queue::list(&args),
        Command::Completions(args) => shell::completions(&args),
        Command::Man(args) => shell::man(&args),
    };
    match result.and_then(|()| console::check()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

/// Prints an error in one line.
fn fail(error: &AppError) -> ExitCode {
    // Names and texts of files may hold what would steer a terminal.
    console::hint(format_args!("latent: {}", Plain(&describe(error))));
    ExitCode::from(error.exit_status())
}

/// Help and version as clap prints them, all else in one line like every other error.
fn refuse(error: &UsageError) -> ExitCode {
    if let UsageError::Clap(error) = error
        && (!error.use_stderr() || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand)
    {
        return match console::print_clap(error) {
            Ok(()) => ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2)),
            Err(error) => fail(&error),
        };
    }
    console::hint(format_args!("latent: {}; try --help", Plain(&error.line())));
    ExitCode::from(2)
}

/// Prints what was lost when an image was written.
fn warn(written: WrittenImage) {
    if let Some(line) = written.warning() {
        console::hint(format_args!("latent: {line}"));
    }
}

/// Says once that fewer threads are used than were asked for.
fn hint_excess(threads: Option<usize>) {
    if let Some(line) = latent_app::threads::excess(threads) {
        console::hint(format_args!("latent: {line}"));
    }
}
