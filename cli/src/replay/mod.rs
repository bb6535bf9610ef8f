//! `latent replay`: an image drawn again, as its file tells.

mod foreign;
mod line;
mod own;
mod search;

use crate::args::ReplayArgs;
use crate::drawing;
use crate::output::Output;
use crate::{image_file, print};
use latent_app::AppError;
use latent_app::metadata::{self, ImageMetadata};
use latent_diffusion::Image;
use latent_kernels::Isa;
use latent_loader::Plain;
use line::quoted;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Draws an image again and tells whether it is the same.
pub(crate) fn run(args: &ReplayArgs) -> Result<(), AppError> {
    let told = metadata::read(&args.file)?;
    if told.own.as_ref().is_some_and(|own| ["grid", "sheet"].iter().any(|key| own.get(key).is_some())) {
        let line = format!("{}: is a sheet of several images; replay one of them", args.file.display());
        return Err(AppError::BadInput(line));
    }
    // Before they may be written over.
    let before = image_file::read(&args.file)?.image;
    let (mut line, lost) = match told.own.as_ref().filter(|own| own.get("flags").is_some()) {
        Some(own) => (own::line(own, args)?, Vec::new()),
        None => foreign::line(&told, args)?,
    };
    let output = args.output.clone().unwrap_or_else(|| beside(&args.file));
    line.flag("output", &output);
    if !lost.is_empty() {
        eprintln!(
            "latent: {} is by {}; not followed: {}",
            args.file.display(),
            Plain(&told.program),
            Plain(&lost.join(", "))
        );
    }
    if args.print {
        return print(&format!("{}\n", Plain(&quoted(&line.words(&args.flags)))));
    }
    let cannot =
        |line| AppError::BadInput(format!("{}: what it tells cannot be drawn: {line}", args.file.display()));
    let command = line.read(&args.flags).map_err(cannot)?.command;
    let verb =
        command.verb().ok_or_else(|| AppError::BadInput("flags: --help and the like draw nothing".into()))?;
    drawing::run(verb)?;
    let path = Output::new(Some(&output), "")?.path(0, verb.args().sampling.seed.unwrap_or(0));
    let after = image_file::read(&path)?.image;
    print(&format!("{}\n", Plain(&outcome(&args.file, &before, &after, &told))))
}

/// A name for the new image, here: that of the old one with `-replay`.
fn beside(file: &Path) -> PathBuf {
    let mut name = file.file_stem().unwrap_or_default().to_owned();
    name.push("-replay");
    if let Some(ending) = file.extension() {
        name.push(".");
        name.push(ending);
    }
    name.into()
}

/// Whether two images are the same, and why they may differ.
fn outcome(file: &Path, before: &Image, after: &Image, told: &ImageMetadata) -> String {
    let file = file.display();
    if (before.width, before.height) != (after.width, after.height) {
        let size = |image: &Image| format!("{}x{}", image.width, image.height);
        return format!("{file} differs: it is {}, and this {}", size(before), size(after));
    }
    if before.rgb == after.rgb {
        return format!("{file} has the same pixels");
    }
    let pairs = before.rgb.chunks_exact(3).zip(after.rgb.chunks_exact(3));
    let differing = pairs.filter(|(a, b)| a != b).count();
    let most = before.rgb.iter().zip(&after.rgb).map(|(a, b)| a.abs_diff(*b)).max().unwrap_or(0);
    let all = before.width * before.height;
    format!("{file} differs in {differing} of {all} pixels, by at most {most} of 255{}", reasons(told))
}

/// What was not as now when our own image was drawn.
fn reasons(told: &ImageMetadata) -> String {
    let Some(own) = &told.own else { return String::new() };
    let text = |key: &str| own.get(key).and_then(Value::as_str).unwrap_or("");
    let mut reasons = Vec::new();
    if !matches!(text("device"), "cpu" | "") {
        reasons.push(format!("it was drawn on {}", text("device")));
    }
    let (then, now) = (text("isa"), Isa::best().name());
    if !then.is_empty() && then != now {
        reasons.push(format!("it was drawn with {then}, this with {now}; LATENT_ISA={then} draws as then"));
    }
    let version = env!("CARGO_PKG_VERSION");
    if text("version") != version {
        reasons.push(format!("it is by version {}, this is {version}", text("version")));
    }
    if reasons.is_empty() { String::new() } else { format!(" ({})", reasons.join("; ")) }
}
