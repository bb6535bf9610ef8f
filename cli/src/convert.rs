//! `latent convert`: a model in another layout or dtype.

use crate::args::ConvertArgs;
use crate::progress::Progress;
use crate::{check_environment, check_threads, interrupt, print, sources};
use latent_app::AppError;
use latent_app::atomic_output::AtomicOutput;
use latent_app::convert::{ConvertJob, open_loras};
use latent_app::models::locate;
use latent_app::text::format_bytes;
use latent_diffusion::convert::ConvertOptions;
use latent_loader::Access;
use std::path::Path;
use std::sync::atomic::AtomicBool;

pub(crate) fn run(args: &ConvertArgs) -> Result<(), AppError> {
    check_environment()?;
    let threads = check_threads(args.threads)?;
    let interrupted = interrupt::listen()?;
    latent_kernels::parallel::with_threads(threads, || convert(args, &interrupted))
        .map_err(AppError::RunTime)?
}

fn convert(args: &ConvertArgs, interrupted: &AtomicBool) -> Result<(), AppError> {
    let output = AtomicOutput::new(&args.output, args.force)?;
    let model = locate(&args.model, args.models_dir.as_deref())?;
    inputs(args, &model).try_for_each(|input| output.check_input(input))?;
    let sources = sources::open(Some(&model), &args.sources, args.models_dir.as_deref(), Access::Read)?;
    let options = ConvertOptions {
        dtype: args.dtype,
        loras: open_loras(&args.lora)?,
        keep_ema: args.keep_ema,
        prediction: args.prediction,
        zero_terminal_snr: args.zero_snr,
        ..ConvertOptions::to(args.layout())
    };
    let job = ConvertJob::plan(&args.output, output, sources.checkpoint, &options)?;
    for applied in job.applied() {
        eprintln!("LoRA {applied}");
    }
    let mut progress = Progress::new(false);
    let written = job.write(&mut |event| {
        progress.show(&event);
        interrupt::flow(interrupted)
    });
    progress.finish();
    let report = written?;
    for left_out in &report.left_out {
        let bytes = format_bytes(left_out.bytes);
        eprintln!("left out: {}, {} tensors, {bytes}", left_out.component, left_out.tensors);
    }
    let dtypes = report.dtypes.iter().map(|(dtype, bytes)| format!("{dtype} {}", format_bytes(*bytes)));
    let dtypes = dtypes.collect::<Vec<_>>().join(", ");
    print(&format!("{}: {} tensors, {dtypes}\n", args.output.display(), report.tensors))
}

/// Every file or folder that is read.
fn inputs<'a>(args: &'a ConvertArgs, model: &'a Path) -> impl Iterator<Item = &'a Path> {
    let loras = args.lora.iter().map(|(path, _)| path.as_path());
    std::iter::once(model).chain(args.sources.paths()).chain(loras)
}
