//! `latent bench`: how fast this machine draws, and how near that is to what it can do. No file is needed.

#[cfg(feature = "gpu")]
mod gpu;
mod memory;
mod report;
mod stage;

pub(crate) use stage::{CFG, CHOICES, Choice};

use crate::args::BenchArgs;
use crate::print;
use latent_app::AppError;
use latent_app::threads::in_threads;
use latent_diffusion::tensor::profile::{self, Profile};
use latent_diffusion::tensor::{Device, Pool};
use latent_diffusion::{MAX_SIDE, VaeTiling};
use latent_kernels::{parallel, peak};
use memory::Watch;
use report::Report;
use stage::Stage;
use std::time::Instant;

/// Most timed runs of a stage.
const MAX_RUNS: usize = 1000;
/// Most UNet evaluations at once: more than this only takes memory.
const MAX_BATCH: usize = 64;
/// The peak is measured this many times in a row, a few milliseconds each, and the fastest counts.
const PEAK_BURST: usize = 20;

pub(crate) fn run(args: &BenchArgs) -> Result<(), AppError> {
    if args.runs == 0 || args.runs > MAX_RUNS {
        return Err(AppError::BadInput(format!("runs: {} is not in 1 to {MAX_RUNS}", args.runs)));
    }
    if args.batch == 0 || args.batch > MAX_BATCH {
        return Err(AppError::BadInput(format!("batch: {} is not in 1 to {MAX_BATCH}", args.batch)));
    }
    let side = args.size.unwrap_or(args.family.resolution);
    let factor = args.family.sizes().vae.factor();
    if side == 0 || side > MAX_SIDE || !side.is_multiple_of(factor) {
        let good = format!("a multiple of {factor} from {factor} to {MAX_SIDE}");
        return Err(AppError::BadInput(format!("size: {side} is not {good}")));
    }
    let device = args.device.options().open(&mut |error| {
        eprintln!("latent: {error}; drawing on the CPU");
    })?;
    #[cfg(feature = "gpu")]
    if let Device::Gpu { gpu, .. } = &device {
        let report = gpu::measure(args, side, gpu, &device)?;
        return print(&if args.json { format!("{:#}\n", report.json()) } else { report.text() });
    }
    let report = in_threads(args.threads, || measure(args, side, &device))?;
    print(&if args.json { format!("{:#}\n", report.json()) } else { report.text() })
}

/// A stage as it was measured.
struct Measured {
    stage: Stage,
    /// Of the median run.
    seconds: f64,
    /// Of the same run.
    profile: Profile,
    /// Highest while the stage was loaded and ran; `None` where it cannot be known.
    memory: Option<memory::Use>,
}

fn measure(args: &BenchArgs, side: usize, device: &Device) -> Result<Report, AppError> {
    let &BenchArgs { family, runs, batch, low_memory, .. } = args;
    let memory = if low_memory { VaeTiling::Bands } else { VaeTiling::Off };
    let tell = |line: &str| {
        if !args.json {
            eprintln!("{line}");
        }
    };
    let sizes = family.sizes();
    let watch = Watch::start();
    let mut peaks = Vec::new();
    let mut measured = Vec::new();
    for stage in args.stage.stages.iter().copied() {
        let label = stage.label(batch);
        tell(&format!("{label}: making weights"));
        watch.take();
        let forward = stage.load(&sizes, side, batch, memory, device)?;
        let mut timed = Vec::new();
        // The first run warms up: it takes memory and fills caches.
        for run in 0..=runs {
            peaks.push(fma_peak());
            let start = Instant::now();
            let (result, profile) = profile::record(&forward);
            let seconds = start.elapsed().as_secs_f64();
            for result in result? {
                if !result.f32s().map_err(latent_diffusion::Error::from)?.iter().all(|v| v.is_finite()) {
                    return Err(AppError::RunTime(format!("{label}: computed no numbers (NaN)")));
                }
            }
            if run > 0 {
                timed.push((seconds, profile));
            }
            let name = if run == 0 { "warm-up".to_owned() } else { format!("run {run} of {runs}") };
            tell(&format!("{label}: {name}, {seconds:.3} s"));
        }
        timed.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (seconds, profile) = timed[(timed.len() - 1) / 2];
        measured.push(Measured { stage, seconds, profile, memory: watch.take() });
        drop(forward);
        Pool::global().trim();
    }
    peaks.sort_by(f64::total_cmp);
    // The system's own figure lags a little behind what was seen.
    let seen = measured.iter().filter_map(|m| m.memory).map(|memory| memory.rss).max();
    let (threads, peak_rss) = (parallel::threads(), memory::highest_rss().max(seen));
    Ok(Report { family, side, batch, memory, runs, threads, peaks, peak_rss, stages: measured })
}

/// Multiply-adds in registers, in operations a second: the fastest of a burst, so that a pause does not count.
fn fma_peak() -> f64 {
    let one = |_| {
        let start = Instant::now();
        std::hint::black_box(peak::run());
        peak::flops() as f64 / start.elapsed().as_secs_f64()
    };
    (0..PEAK_BURST).map(one).fold(0.0, f64::max)
}
