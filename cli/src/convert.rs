//! `latent convert`: a model in another layout or number format.

use crate::args::ConvertArgs;
use crate::inspect::bytes;
use crate::progress::Progress;
use crate::{interrupt, print};
use latent_app::AppError;
use latent_app::addons::WeightedLora;
use latent_app::atomic_output::AtomicOutput;
use latent_app::{model_file, threads::in_threads};
use latent_diffusion::Error;
use latent_diffusion::convert::{Conversion, Options};
use latent_diffusion::lora::{Lora, Strength};
use latent_loader::{Access, Checkpoint};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub(crate) fn run(args: &ConvertArgs) -> Result<(), AppError> {
    let interrupted = interrupt::listen()?;
    in_threads(args.threads, || convert(args, &interrupted))
}

fn convert(args: &ConvertArgs, interrupted: &AtomicBool) -> Result<(), AppError> {
    let place = AtomicOutput::new(&args.output, args.force)?;
    let model = model_file::locate(&args.model, args.models_dir.as_deref())?;
    let parts = args.sources.files();
    let loras = args.lora.iter().map(|lora| lora.file.as_path());
    let mut inputs = std::iter::once(model.as_path()).chain(parts.paths()).chain(loras);
    inputs.try_for_each(|input| place.check_input(input))?;
    let mut doubt = |line| eprintln!("latent: {line}");
    let sources = parts.open(Some(&model), args.models_dir.as_deref(), Access::Read, &mut doubt)?;
    let open = |WeightedLora { file, weight }: &WeightedLora| -> Result<_, AppError> {
        Ok((Arc::new(Lora::open(Checkpoint::open(file)?)?), Strength::from(*weight)))
    };
    let options = Options {
        numbers: args.dtype,
        loras: args.lora.iter().map(open).collect::<Result<_, _>>()?,
        keep_ema: args.keep_ema,
        prediction: args.prediction,
        zero_terminal_snr: args.zero_snr,
        ..Options::to(args.layout())
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
        eprintln!("left out: {}, {} tensors, {}", left_out.what, left_out.tensors, bytes(left_out.bytes));
    }
    let formats: Vec<_> =
        conversion.bytes().iter().map(|(dtype, n)| format!("{dtype} {}", bytes(*n))).collect();
    let path = args.output.display();
    print(&format!("{path}: {} tensors, {}\n", conversion.tensors(), formats.join(", ")))
}
