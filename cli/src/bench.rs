//! `latent bench`: how fast this machine draws, and how near that is to what it can do.

mod advice_text;
mod cpu_text;
#[cfg(feature = "gpu")]
mod gpu_text;

use crate::args::BenchArgs;
use crate::console::{self, print};
use crate::hint_excess;
use latent_app::AppError;
use latent_app::bench::{BenchOptions, BenchReport, advise, measure};
use latent_app::threads::in_threads;
use latent_diffusion::VaeTiling;

pub(crate) fn run(args: &BenchArgs) -> Result<(), AppError> {
    let mut options = BenchOptions::new(args.family);
    options.side = args.size.unwrap_or(options.side);
    options.stages = args.stage.stages();
    (options.batch, options.runs) =
        (args.batch, args.runs.unwrap_or(if args.advise { 1 } else { options.runs }));
    options.vae_tiling = if args.low_memory { VaeTiling::Bands } else { VaeTiling::Off };
    options.token_merging = args.tome;
    options.check()?;
    let chosen = args.device.options();
    options.precision = chosen.precision.unwrap_or_default().on_cpu();
    let device = chosen.open(&mut |error| {
        console::hint(format_args!("latent: {error}; measuring the CPU"));
    })?;
    let mut progress = |line: &str| {
        if !args.json {
            console::hint(line);
        }
    };
    hint_excess(args.threads);
    if args.advise {
        let advice = in_threads(args.threads, || advise(&options, &device, &mut progress))?;
        return print(&if args.json { format!("{:#}\n", advice.json()) } else { advice_text::text(&advice) });
    }
    let report = in_threads(args.threads, || measure(&options, &device, &mut progress))?;
    print(&if args.json { format!("{:#}\n", report.json()) } else { text(&report)? })
}

fn text(report: &BenchReport) -> Result<String, AppError> {
    match report {
        BenchReport::Cpu(report) => Ok(cpu_text::text(report)),
        #[cfg(feature = "gpu")]
        BenchReport::Gpu(report) => Ok(gpu_text::text(report)),
        _ => Err(AppError::RunTime("bench: this device has no text; use --json".into())),
    }
}
