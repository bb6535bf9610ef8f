//! The stages on the CPU: their time, the share of each class of ops, and the memory.

use super::process_memory::{self, MemoryWatch, ProcessMemory};
use super::stage::{BenchStage, CFG_BATCH, IMAGE_STEPS, STAGE_SELECTIONS};
use super::{BenchOptions, check_finite};
use crate::AppError;
use latent_diffusion::tensor::profile::{self, OpClass, Profile};
use latent_diffusion::tensor::{Device, Pool, Precision};
use latent_diffusion::{Error, VaeTiling};
use latent_kernels::sys::peak::CpuPeak;
use latent_kernels::{Isa, parallel};
use serde_json::{Value, json};
use std::time::Instant;

/// The peak is measured this many times in a row, a few milliseconds each, and the fastest counts.
const PEAK_BURST: usize = 20;

/// What was measured on the CPU.
#[derive(Clone, Debug)]
pub struct CpuBenchReport {
    /// What was asked for.
    pub options: BenchOptions,
    /// Number of threads.
    pub threads: usize,
    /// Floating-point operations a second that the machine could do before each run, slowest first.
    pub peaks: Vec<f64>,
    /// The instruction that products of the precision are computed with.
    pub instruction: &'static str,
    /// Operations a second that the machine could do with that instruction before each run, slowest first.
    pub instruction_peaks: Vec<f64>,
    /// Maximum resident memory of the process in bytes; `None` where it cannot be known.
    pub peak_rss: Option<u64>,
    /// The stages, in the order in which they were measured.
    pub stages: Vec<CpuStageReport>,
}

/// A stage as it was measured on the CPU.
#[derive(Clone, Debug)]
pub struct CpuStageReport {
    /// The stage.
    pub stage: BenchStage,
    /// Seconds of the median run.
    pub seconds: f64,
    /// The time and the operations of each class of ops in the same run.
    pub profile: Profile,
    /// The maximum while the stage was loaded and ran; `None` where it cannot be known.
    pub memory: Option<ProcessMemory>,
}

/// Measures the stages.
pub(super) fn measure(
    options: &BenchOptions,
    device: &Device,
    progress: &mut dyn FnMut(&str),
) -> Result<CpuBenchReport, AppError> {
    let watch = MemoryWatch::start();
    let (mut peaks, mut stages) = (Peaks::new(options.precision), Vec::new());
    for stage in options.stages {
        watch.take();
        let (seconds, profile) = time(*stage, options, device, &mut peaks, progress)?;
        stages.push(CpuStageReport { stage: *stage, seconds, profile, memory: watch.take() });
        Pool::global().trim();
    }
    // The system's own figure lags a little behind what was seen.
    let seen = stages.iter().filter_map(|stage| stage.memory).map(|memory| memory.rss).max();
    let (threads, peak_rss) = (parallel::threads(), process_memory::highest_rss().max(seen));
    Ok(CpuBenchReport {
        options: options.clone(),
        threads,
        instruction: peaks.of_precision.instruction(),
        peaks: sorted(peaks.fma_speeds),
        instruction_peaks: sorted(peaks.speeds),
        peak_rss,
        stages,
    })
}

/// Loads a stage and runs it: seconds and profile of the median run. Before each run the peak is measured.
fn time(
    stage: BenchStage,
    options: &BenchOptions,
    device: &Device,
    peaks: &mut Peaks,
    progress: &mut dyn FnMut(&str),
) -> Result<(f64, Profile), AppError> {
    let &BenchOptions { batch, runs, .. } = options;
    let label = stage.label(batch);
    progress(&format!("{label}: making weights"));
    let forward = stage.load(options, device)?;
    let mut timed = Vec::new();
    // The first run warms up: it takes memory and fills caches.
    for run in 0..=runs {
        peaks.measure();
        let start = Instant::now();
        let (result, profile) = profile::record(&forward);
        let seconds = start.elapsed().as_secs_f64();
        for tensor in result? {
            check_finite(tensor.f32s().map_err(Error::from)?, &label)?;
        }
        if run > 0 {
            timed.push((seconds, profile));
        }
        let name = if run == 0 { "warm-up".to_owned() } else { format!("run {run} of {runs}") };
        progress(&format!("{label}: {name}, {seconds:.3} s"));
    }
    timed.sort_by(|a, b| a.0.total_cmp(&b.0));
    Ok(timed[(timed.len() - 1) / 2])
}

/// What the machine can do with multiply-adds of `f32`, and with the instruction of the precision.
struct Peaks {
    fma: CpuPeak,
    of_precision: CpuPeak,
    fma_speeds: Vec<f64>,
    speeds: Vec<f64>,
}

impl Peaks {
    fn new(precision: Precision) -> Peaks {
        let (fma, of_precision) = (CpuPeak::of(Precision::F32), CpuPeak::of(precision));
        Peaks { fma, of_precision, fma_speeds: Vec::new(), speeds: Vec::new() }
    }

    fn measure(&mut self) {
        let fma = fastest(&self.fma);
        self.fma_speeds.push(fma);
        let is_fma = self.of_precision.instruction() == self.fma.instruction();
        self.speeds.push(if is_fma { fma } else { fastest(&self.of_precision) });
    }
}

/// Multiply-adds in registers, in operations a second: the fastest of a burst, so that a pause does not count.
fn fastest(peak: &CpuPeak) -> f64 {
    let one = |_| {
        let start = Instant::now();
        std::hint::black_box(peak.run());
        peak.operations() as f64 / start.elapsed().as_secs_f64()
    };
    (0..PEAK_BURST).map(one).fold(0.0, f64::max)
}

fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    values
}

/// Seconds and operations of a stage or of a class of its ops.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Figures {
    /// Seconds.
    pub seconds: f64,
    /// Floating-point operations of the direct algorithm.
    pub flops: u64,
}

impl Figures {
    /// Billions of operations.
    #[must_use]
    pub fn gflop(self) -> f64 {
        self.flops as f64 / 1e9
    }

    /// Billions of operations a second; `None` where no operations are counted.
    #[must_use]
    pub fn gflop_per_second(self) -> Option<f64> {
        (self.flops > 0 && self.seconds > 0.0).then(|| self.gflop() / self.seconds)
    }

    /// The same as a part of a peak in operations a second.
    #[must_use]
    pub fn of_peak(self, peak: f64) -> Option<f64> {
        self.gflop_per_second().map(|speed| speed * 1e9 / peak)
    }

    fn json(self, peak: f64) -> Value {
        json!({
            "seconds": self.seconds,
            "direct_gflop": self.gflop(),
            "of_peak": self.of_peak(peak),
        })
    }
}

impl CpuStageReport {
    /// Those of the whole stage.
    #[must_use]
    pub fn figures(&self) -> Figures {
        Figures { seconds: self.seconds, flops: self.profile.total().flops }
    }

    /// Names and figures of the classes of ops, and of what is in none of them.
    pub fn ops(&self) -> impl Iterator<Item = (&'static str, Figures)> {
        let classes = OpClass::ALL.into_iter().map(|class| {
            let work = self.profile.work(class);
            (class_name(class), Figures { seconds: work.time.as_secs_f64(), flops: work.flops })
        });
        let rest = (self.seconds - self.profile.total().time.as_secs_f64()).max(0.0);
        classes.chain([("other", Figures { seconds: rest, flops: 0 })])
    }

    fn json(&self, peak: f64) -> Value {
        let ops = self.ops().map(|(name, figures)| {
            let mut op = figures.json(peak);
            op["share"] = (figures.seconds / self.seconds).into();
            (name.to_owned(), op)
        });
        let mut stage = self.figures().json(peak);
        stage["name"] = self.stage.id().into();
        stage["peak_rss_mb"] = self.memory.map(|memory| megabytes(memory.rss)).into();
        stage["peak_anon_mb"] = self.memory.map(|memory| megabytes(memory.anonymous)).into();
        stage["ops"] = Value::Object(ops.collect());
        stage
    }
}

/// Every convolution of these models that is not 1x1 is 3x3.
fn class_name(class: OpClass) -> &'static str {
    match class {
        OpClass::Conv => "conv3x3",
        OpClass::Linear => "linear",
        OpClass::Attention => "attention",
        OpClass::Norm => "norm",
        OpClass::Elementwise => "elementwise",
    }
}

impl CpuBenchReport {
    /// Seconds of an image of [`IMAGE_STEPS`] steps: text, steps, decoding; `None` if a stage was not measured, or the UNet
    /// in another batch than that of a step with guidance.
    #[must_use]
    pub fn image_seconds(&self) -> Option<f64> {
        let is_whole =
            self.options.batch == CFG_BATCH && self.stages.len() == STAGE_SELECTIONS[0].stages().len();
        let seconds =
            self.stages.iter().map(|stage| stage.seconds * stage.stage.runs_of_image(IMAGE_STEPS) as f64);
        is_whole.then(|| seconds.sum())
    }

    /// Maximum anonymous memory of the stages in bytes; `None` where it cannot be known.
    #[must_use]
    pub fn peak_anonymous(&self) -> Option<u64> {
        let memory = self.stages.iter().filter_map(|stage| stage.memory);
        memory.reduce(ProcessMemory::highest).map(|highest| highest.anonymous)
    }

    /// Operations a second that the machine can do: the median.
    #[must_use]
    pub fn fma_peak(&self) -> f64 {
        self.peaks[self.peaks.len() / 2]
    }

    /// Operations a second with the instruction of the precision: the median.
    #[must_use]
    pub fn instruction_peak(&self) -> f64 {
        self.instruction_peaks[self.instruction_peaks.len() / 2]
    }

    /// The slowest and the fastest of [`peaks`](CpuBenchReport::peaks) in billions a second: far apart where the machine had other work to do.
    #[must_use]
    pub fn fma_peak_range(&self) -> [f64; 2] {
        [self.peaks[0], self.peaks[self.peaks.len() - 1]].map(|peak| peak / 1e9)
    }

    pub(super) fn json(&self) -> Value {
        let BenchOptions { family, side, batch, runs, vae_tiling, precision, .. } = &self.options;
        let peak = self.fma_peak();
        json!({
            "family": family.id,
            "size": side,
            "batch": batch,
            "low_memory": *vae_tiling == VaeTiling::Bands,
            "tome": self.options.token_merging,
            "runs": runs,
            "threads": self.threads,
            "isa": Isa::best().name(),
            "precision": precision.name(),
            "fma_peak_gflops": peak / 1e9,
            "fma_peak_range_gflops": self.fma_peak_range(),
            "instruction": self.instruction,
            "instruction_peak_gflops": self.instruction_peak() / 1e9,
            "stages": self.stages.iter().map(|stage| stage.json(peak)).collect::<Vec<_>>(),
            "peak_rss_mb": self.peak_rss.map(megabytes),
            "peak_anon_mb": self.peak_anonymous().map(megabytes),
            "image_20_steps_seconds": self.image_seconds(),
        })
    }
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;
    use latent_diffusion::families::published;

    fn report(stages: &[(BenchStage, f64)]) -> CpuBenchReport {
        let measured =
            |&(stage, seconds)| CpuStageReport { stage, seconds, profile: Profile::default(), memory: None };
        CpuBenchReport {
            options: BenchOptions::new(published().next().unwrap()),
            threads: 1,
            peaks: vec![0.5e11, 1e11, 1.2e11],
            instruction: "FMA",
            instruction_peaks: vec![0.5e11, 1e11, 1.2e11],
            peak_rss: None,
            stages: stages.iter().map(measured).collect(),
        }
    }

    #[test]
    fn the_time_of_an_image_is_the_sum_of_all_stages() {
        let mut whole = report(&[(BenchStage::Text, 0.5), (BenchStage::UNet, 10.0), (BenchStage::Vae, 20.0)]);
        assert_eq!(whole.json()["image_20_steps_seconds"], 220.5);
        for batch in [1, 4] {
            whole.options.batch = batch;
            assert!(whole.json()["image_20_steps_seconds"].is_null());
        }
        assert!(report(&[(BenchStage::UNet, 10.0)]).json()["image_20_steps_seconds"].is_null());
    }

    #[test]
    fn what_is_not_known_is_null() {
        let report = report(&[(BenchStage::Vae, 2.0)]);
        assert!(report.json()["peak_rss_mb"].is_null() && report.json()["peak_anon_mb"].is_null());
        let figures = Figures { seconds: 2.0, flops: 100_000_000_000 };
        assert_eq!(figures.of_peak(1e11), Some(0.5));
        assert_eq!(Figures { seconds: 2.0, flops: 0 }.of_peak(1e11), None);
    }
}
