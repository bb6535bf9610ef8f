//! `latent replay`: an image drawn again by its metadata.

use crate::args::{Args, Command, DrawingArgs, ReplayArgs};
use crate::command_line::CommandLine;
use crate::draw::{TerminalSession, print_written};
use crate::{print, warn};
use latent_app::device::DeviceOptions;
use latent_app::output::Output;
use latent_app::replay::{Replay, ReplayLayout, ReplayOptions};
use latent_app::{AppError, Job, image_file, output};
use latent_loader::Plain;
use std::path::{Path, PathBuf};

/// Draws an image again and prints whether it is the same.
pub(crate) fn run(args: &ReplayArgs) -> Result<(), AppError> {
    let mut replay = Replay::open(&options(args))?;
    for doubt in &replay.doubts {
        eprintln!("latent: {}", Plain(doubt));
    }
    print_not_followed(&replay);
    let output = args.output.clone().unwrap_or_else(|| replay_name(&args.file));
    let line = CommandLine::of(&replay, &output);
    if args.print {
        return print(&format!("{}\n", Plain(&line.quoted(&args.flags))));
    }
    let cannot = |line| {
        AppError::BadInput(format!("{}: cannot be drawn with these flags: {line}", args.file.display()))
    };
    if args.flags.is_empty() {
        let quality = replay.job.quality.unwrap_or(output::DEFAULT_QUALITY);
        let mut drawing = TerminalSession::new(None, false, None)?;
        let output = Output::new(Some(&output), "")?.with_quality(quality);
        let mut job = replay.job.clone();
        if job.device == DeviceOptions::default() {
            job.device = Args::device_of_environment().map_err(|error| cannot(error.line()))?;
        }
        return draw(&replay, &job, &mut drawing, &output);
    }
    let mut command = line.read(&args.flags).map_err(|error| cannot(error.line()))?.command;
    if let Command::Grid(args) = &command {
        replay.layout = ReplayLayout::Grid([args.x.clone(), args.y.clone()]);
    }
    let Some(by_hand) = command.drawing() else { return Err(cannot("they draw nothing".into())) };
    by_hand.job.implied = line.implied(&replay.job, &args.flags);
    redraw(&replay, by_hand)
}

/// Draws with flags of a person in place of those of the file.
fn redraw(replay: &Replay, args: &DrawingArgs) -> Result<(), AppError> {
    let mut drawing = TerminalSession::new(args.threads, args.verbose, Some(&args.preview))?;
    let output = Output::new(args.output.as_deref(), "")?.with_quality(args.quality);
    let job = drawing.with_preview(&args.job);
    draw(replay, &job, &mut drawing, &output)
}

fn draw(replay: &Replay, job: &Job, drawing: &mut TerminalSession, output: &Output) -> Result<(), AppError> {
    let drawn =
        drawing.with_screen(|session, cancel, observer| replay.draw(job, session, cancel, observer))?;
    let path = output.path(0, drawn.seed);
    warn(output.write_with_opacity(&path, &drawn.image, drawn.rgba.as_deref(), &drawn.texts)?);
    print_written(&path, &format!("seed {}", drawn.seed));
    if let Some(error) = drawn.incomplete {
        return Err(error);
    }
    // As it was written: a JPEG has losses.
    let after = image_file::read(&path)?;
    let line = format!("{} {}", replay.file.display(), replay.compare(&after));
    print(&format!("{}\n", Plain(&line)))
}

fn options(args: &ReplayArgs) -> ReplayOptions {
    let mut options = ReplayOptions::new(&args.file);
    options.model.clone_from(&args.model);
    options.models_dir.clone_from(&args.models_dir);
    options.folders.clone_from(&args.from);
    options.image.clone_from(&args.image);
    options.force = args.force;
    options.accept_cost = args.yes;
    options
}

/// Prints what the metadata of another program record that is not followed.
fn print_not_followed(replay: &Replay) {
    if replay.not_followed.is_empty() {
        return;
    }
    let hint = if replay.needs_image { "; give the image that it began with by --image" } else { "" };
    eprintln!(
        "latent: {} is by {}; not followed: {}{hint}",
        replay.file.display(),
        Plain(&replay.metadata.program),
        Plain(&replay.not_followed.join(", "))
    );
}

/// A name for the new image, here: that of the old one with `-replay`.
fn replay_name(file: &Path) -> PathBuf {
    let mut name = file.file_stem().unwrap_or_default().to_owned();
    name.push("-replay");
    if let Some(extension) = file.extension() {
        name.push(".");
        name.push(extension);
    }
    name.into()
}
