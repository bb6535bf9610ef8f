//! `latent replay`: an image drawn again by its metadata.

use crate::args::{Args, Command, DrawingArgs, ReplayArgs};
use crate::command_line::CommandLine;
use crate::console::{self, print};
use crate::draw::{TerminalSession, print_written};
use crate::{image_output, warn};
use latent_app::device::DeviceOptions;
use latent_app::image_file::InputImage;
use latent_app::output::Output;
use latent_app::replay::{Replay, ReplayLayout, ReplayOptions};
use latent_app::{AppError, Job, image_file, output};
use latent_loader::Plain;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Draws an image again and prints whether it is the same.
pub(crate) fn run(args: &ReplayArgs) -> Result<(), AppError> {
    let mut replay = Replay::open(&options(args))?;
    for doubt in &replay.doubts {
        console::hint(format_args!("latent: {}", Plain(doubt)));
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
        let output = open(args, &output)?.with_quality(quality);
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
    redraw(&replay, args, by_hand)
}

/// Draws with flags of a person in place of those of the file.
fn redraw(replay: &Replay, replayed: &ReplayArgs, args: &DrawingArgs) -> Result<(), AppError> {
    let mut drawing = TerminalSession::new(args.threads, args.verbose, Some(&args.preview))?;
    let default = replay_name(&replayed.file);
    let output = match args.output.as_deref() {
        Some(given) if given != default => image_output::open(Some(given), || Output::new(given))?,
        _ => open(replayed, &default)?,
    };
    let output = output.with_quality(args.quality);
    image_output::check_preview(&output, &args.preview)?;
    let job = drawing.with_preview(&args.job);
    draw(replay, &job, &mut drawing, &output)
}

fn draw(replay: &Replay, job: &Job, drawing: &mut TerminalSession, output: &Output) -> Result<(), AppError> {
    output.check(paths(replay, job, output))?;
    let drawn =
        drawing.with_screen(|session, cancel, observer| replay.draw(job, session, cancel, observer))?;
    let path = output.path(0, drawn.seed);
    let written = output.write_with_opacity(&path, &drawn.image, drawn.rgba.as_deref(), &drawn.texts)?;
    print_written(&written, &format!("seed {}", drawn.seed));
    if let Some(error) = drawn.incomplete {
        return Err(error);
    }
    // As it was written: a JPEG has losses.
    let after = match &written.path {
        Some(path) => image_file::read(path)?,
        None => InputImage::drawn(drawn.image, drawn.rgba.as_deref()),
    };
    let line = format!("{} {}", replay.file.display(), replay.compare(&after));
    if output.is_stream() {
        console::hint(Plain(&line));
    } else {
        print(&format!("{}\n", Plain(&line)))?;
    }
    warn(written);
    Ok(())
}

/// The output that a person named, or else one of the default name.
fn open(args: &ReplayArgs, path: &Path) -> Result<Output, AppError> {
    let given = args.output.as_ref().map(|_| path);
    image_output::open(given, || Output::with_default_file(path))
}

/// The files that the image may go to: a grid has the seed of the first cell that can be drawn.
fn paths(replay: &Replay, job: &Job, output: &Output) -> BTreeSet<PathBuf> {
    let axes = match &replay.layout {
        ReplayLayout::Grid(axes) => &axes[..],
        _ => &[],
    };
    let axis = axes.iter().flatten().find(|axis| axis.option == "seed");
    let seeds: Vec<u64> = match axis {
        Some(axis) => axis.values.iter().filter_map(|value| value.parse().ok()).collect(),
        None => job.sampling.seed.into_iter().collect(),
    };
    seeds.into_iter().map(|seed| output.path(0, seed)).collect()
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
    console::hint(format_args!(
        "latent: {} is by {}; not followed: {}{hint}",
        Plain(&replay.file.display().to_string()),
        Plain(&replay.metadata.program),
        Plain(&replay.not_followed.join(", "))
    ));
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
