//! `latent convert`: a model in another layout or dtype.

use crate::args::ConvertArgs;
use crate::console::{self, print};
use crate::hint_excess;
use crate::image_output::STANDARD_OUTPUT;
use crate::interrupt;
use crate::progress::Progress;
use latent_app::AppError;
use latent_app::atomic_output::ModelOutput;
use latent_app::convert::{ConvertJob, locate_loras, open_loras};
use latent_app::model_file::locate;
use latent_app::text::format_bytes;
use latent_app::threads::in_threads;
use latent_diffusion::convert::{ConvertOptions, OutputLayout};
use latent_loader::{Access, Plain};
use std::sync::atomic::AtomicBool;

pub(crate) fn run(args: &ConvertArgs) -> Result<(), AppError> {
    let interrupted = interrupt::listen()?;
    hint_excess(args.threads);
    in_threads(args.threads, || convert(args, &interrupted))
}

fn convert(args: &ConvertArgs, interrupted: &AtomicBool) -> Result<(), AppError> {
    if args.output.as_os_str() == STANDARD_OUTPUT {
        let line =
            "-: a model is not written to the standard output; name a file, or ./- for one of that name";
        return Err(AppError::BadInput(line.into()));
    }
    let model = locate(&args.model, args.models_dir.as_deref())?;
    let parts = args.sources.files();
    let loras = locate_loras(&args.lora, &model, args.models_dir.as_deref())?;
    let lora_files = loras.iter().map(|lora| lora.file.as_path());
    let mut inputs = std::iter::once(model.as_path()).chain(parts.paths()).chain(lora_files);
    inputs.try_for_each(|input| ModelOutput::check_input(&args.output, input))?;
    let output = ModelOutput::new(&args.output, args.layout() == OutputLayout::Folder, args.force)?;
    let mut doubt = |line: String| console::hint(format_args!("latent: {}", Plain(&line)));
    let sources = parts.open(Some(&model), args.models_dir.as_deref(), Access::Read, &mut doubt)?;
    let options = ConvertOptions {
        dtype: args.dtype,
        loras: open_loras(&loras)?,
        keep_ema: args.keep_ema,
        prediction: args.prediction,
        zero_terminal_snr: args.zero_snr,
        ..ConvertOptions::to(args.layout())
    };
    let job = ConvertJob::plan(&args.output, output, sources.checkpoint, &options)?;
    for applied in job.applied() {
        console::hint(format_args!("LoRA {}", Plain(&applied.to_string())));
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
        console::hint(format_args!(
            "left out: {}, {} tensors, {bytes}",
            left_out.component, left_out.tensors
        ));
    }
    let dtypes = report.dtypes.iter().map(|(dtype, bytes)| format!("{dtype} {}", format_bytes(*bytes)));
    let dtypes = dtypes.collect::<Vec<_>>().join(", ");
    print(&format!("{}: {} tensors, {dtypes}\n", Plain(&args.output.display().to_string()), report.tensors))
}
