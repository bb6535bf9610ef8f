//! `latent convert`: a model in another layout or number format.

use crate::args::ConvertArgs;
use crate::inspect::bytes;
use crate::lora::Weighted;
use crate::progress::Progress;
use crate::{check_environment, check_threads, interrupt, print, sources};
use latent_app::AppError;
use latent_app::atomic_output::AtomicOutput;
use latent_diffusion::Error;
use latent_diffusion::convert::{Conversion, ConvertOptions};
use latent_diffusion::lora::{Lora, Strength};
use latent_loader::{Access, Checkpoint};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub(crate) fn run(args: &ConvertArgs) -> Result<(), AppError> {
    check_environment()?;
    let threads = check_threads(args.threads)?;
    let interrupted = interrupt::listen()?;
    latent_kernels::parallel::with_threads(threads, || convert(args, &interrupted))
        .map_err(AppError::RunTime)?
}

fn convert(args: &ConvertArgs, interrupted: &AtomicBool) -> Result<(), AppError> {
    let place = AtomicOutput::new(&args.output, args.force)?;
    let model = crate::model::locate(&args.model, args.models_dir.as_deref())?;
    inputs(args, &model).try_for_each(|input| place.check_input(input))?;
    let sources = sources::open(Some(&model), &args.sources, args.models_dir.as_deref(), Access::Read)?;
    let open = |(path, weight): &Weighted| -> Result<_, AppError> {
        Ok((Arc::new(Lora::open(Checkpoint::open(path)?)?), Strength::from(*weight)))
    };
    let options = ConvertOptions {
        numbers: args.dtype,
        loras: args.lora.iter().map(open).collect::<Result<_, _>>()?,
        keep_ema: args.keep_ema,
        prediction: args.prediction,
        zero_terminal_snr: args.zero_snr,
        ..ConvertOptions::to(args.layout())
    };
    let conversion = Conversion::plan(sources.checkpoint, &options)?;
    for applied in conversion.applied() {
        eprintln!("LoRA {applied}");
    }
    let mut progress = Progress::new(false);
    place.write(|path| {
        let written = conversion.write(path, &mut |event| {
            progress.show(&event);
            if interrupted.load(Ordering::Relaxed) {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        progress.finish();
        written.map_err(|error| match error {
            // It is not written where it is told to be until it is whole.
            Error::Output { file, error } => {
                let file = file.replacen(&*path.to_string_lossy(), &args.output.to_string_lossy(), 1);
                Error::Output { file, error }.into()
            }
            error => error.into(),
        })
    })?;
    for left_out in conversion.left_out() {
        eprintln!(
            "left out: {}, {} tensors, {}",
            left_out.component,
            left_out.tensors,
            bytes(left_out.bytes)
        );
    }
    let formats: Vec<_> =
        conversion.bytes().iter().map(|(dtype, n)| format!("{dtype} {}", bytes(*n))).collect();
    let path = args.output.display();
    print(&format!("{path}: {} tensors, {}\n", conversion.tensors(), formats.join(", ")))
}

/// Every file or folder that is read.
fn inputs<'a>(args: &'a ConvertArgs, model: &'a Path) -> impl Iterator<Item = &'a Path> {
    let loras = args.lora.iter().map(|(path, _)| path.as_path());
    std::iter::once(model).chain(args.sources.paths()).chain(loras)
}
