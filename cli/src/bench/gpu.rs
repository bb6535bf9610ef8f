//! `latent bench` on a GPU: each stage's time, and that of each kernel by the GPU's own clock.

use super::stage::Stage;
use crate::args::BenchArgs;
use latent_app::AppError;
use latent_diffusion::tensor::gpu::{Gpu, GpuError, KernelTime, Peak};
use latent_diffusion::tensor::{Device, Tensor, TensorError};
use latent_diffusion::{Error, VaeTiling};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Instant;

/// What was measured on a GPU.
pub(super) struct Report {
    family: &'static str,
    id: &'static str,
    adapter: String,
    dtype: String,
    side: usize,
    batch: usize,
    runs: usize,
    peak: Peak,
    stages: Vec<Measured>,
}

struct Measured {
    stage: Stage,
    /// Of the median run, from the first command to the result in main memory.
    seconds: f64,
    /// Bytes of the GPU's memory, weights included.
    memory: u64,
    kernels: Vec<Kernel>,
}

/// All runs of a kernel in a stage.
struct Kernel {
    name: &'static str,
    calls: usize,
    seconds: f64,
    flops: u64,
    bytes: u64,
}

pub(super) fn measure(args: &BenchArgs, side: usize, gpu: &Gpu, device: &Device) -> Result<Report, AppError> {
    let failed = |error: GpuError| AppError::from(Error::from(TensorError::from(error)));
    let Device::Gpu { dtype, .. } = device else { unreachable!("a GPU is measured") };
    let tell = |line: &str| {
        if !args.json {
            eprintln!("{line}");
        }
    };
    tell("measuring the limits of the GPU");
    let peak = gpu.peak().map_err(failed)?;
    let sizes = args.family.sizes();
    let mut stages = Vec::new();
    for stage in args.stage.stages.iter().copied() {
        let label = stage.label(args.batch);
        tell(&format!("{label}: making weights"));
        let forward = stage.load(&sizes, side, args.batch, VaeTiling::Off, device)?;
        let run = || -> Result<f64, AppError> {
            let start = Instant::now();
            for result in forward()? {
                let result = result.to(&Device::Cpu).map_err(Error::from)?;
                finite(&result, &label)?;
            }
            Ok(start.elapsed().as_secs_f64())
        };
        // The first run compiles the shaders and takes memory.
        tell(&format!("{label}: warm-up, {:.3} s", run()?));
        let mut times = (0..args.runs).map(|_| run()).collect::<Result<Vec<_>, _>>()?;
        times.sort_by(f64::total_cmp);
        let seconds = times[(times.len() - 1) / 2];
        tell(&format!("{label}: {seconds:.4} s, the median of {}", args.runs));
        let (result, kernels) = gpu.profile(run).map_err(failed)?;
        result?;
        let memory = gpu.memory().now;
        stages.push(Measured { stage, seconds, memory, kernels: by_name(&kernels) });
        drop(forward);
        device.trim();
    }
    Ok(Report {
        family: args.family.label,
        id: args.family.id,
        adapter: gpu.name().to_owned(),
        dtype: dtype.to_string(),
        side,
        batch: args.batch,
        runs: args.runs,
        peak,
        stages,
    })
}

fn finite(result: &Tensor, label: &str) -> Result<(), AppError> {
    let values = result.f32s().map_err(Error::from)?;
    if values.iter().all(|v| v.is_finite()) {
        return Ok(());
    }
    Err(AppError::RunTime(format!("{label}: computed no numbers (NaN)")))
}

/// The kernels of a stage, the slowest first.
fn by_name(times: &[KernelTime]) -> Vec<Kernel> {
    let mut kernels: BTreeMap<&str, Kernel> = BTreeMap::new();
    for time in times {
        let new = Kernel { name: time.name, calls: 0, seconds: 0.0, flops: 0, bytes: 0 };
        let kernel = kernels.entry(time.name).or_insert(new);
        kernel.calls += 1;
        kernel.seconds += time.seconds;
        kernel.flops += time.flops;
        kernel.bytes += time.bytes;
    }
    let mut kernels: Vec<Kernel> = kernels.into_values().collect();
    kernels.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    kernels
}

impl Measured {
    /// Operations of the direct algorithm.
    fn flops(&self) -> u64 {
        self.kernels.iter().map(|kernel| kernel.flops).sum()
    }

    /// Seconds in kernels.
    fn busy(&self) -> f64 {
        self.kernels.iter().map(|kernel| kernel.seconds).sum()
    }
}

impl Kernel {
    fn flops_per_second(&self) -> f64 {
        self.flops as f64 / self.seconds.max(1e-9)
    }

    fn bytes_per_second(&self) -> f64 {
        self.bytes as f64 / self.seconds.max(1e-9)
    }

    /// The larger of its shares of the arithmetic, the fastest there is, and of the memory that the adapter was measured to have.
    fn of_limit(&self, peak: &Peak) -> f64 {
        let fastest = peak.f32_flops.max(peak.f16_flops.unwrap_or(0.0)).max(peak.matrix_flops.unwrap_or(0.0));
        let arithmetic = self.flops_per_second() / fastest;
        arithmetic.max(self.bytes_per_second() / peak.bytes)
    }
}

impl Report {
    pub(super) fn json(&self) -> Value {
        let kernel = |kernel: &Kernel| {
            json!({
                "name": kernel.name,
                "calls": kernel.calls,
                "seconds": kernel.seconds,
                "flops_per_second": kernel.flops_per_second(),
                "bytes_per_second": kernel.bytes_per_second(),
                "of_limit": kernel.of_limit(&self.peak),
            })
        };
        let stage = |stage: &Measured| {
            json!({
                "name": stage.stage.id(),
                "seconds": stage.seconds,
                "direct_gflop": stage.flops() as f64 / 1e9,
                "seconds_in_kernels": stage.busy(),
                "memory_mb": stage.memory as f64 / 1e6,
                "kernels": stage.kernels.iter().map(kernel).collect::<Vec<_>>(),
            })
        };
        json!({
            "device": self.adapter,
            "precision": self.dtype,
            "family": self.id,
            "size": self.side,
            "batch": self.batch,
            "runs": self.runs,
            "fma_peak_gflops": self.peak.f32_flops / 1e9,
            "f16_peak_gflops": self.peak.f16_flops.map(|flops| flops / 1e9),
            "matrix_peak_gflops": self.peak.matrix_flops.map(|flops| flops / 1e9),
            "copy_peak_gb": self.peak.bytes / 1e9,
            "stages": self.stages.iter().map(stage).collect::<Vec<_>>(),
        })
    }

    pub(super) fn text(&self) -> String {
        let mut out = String::new();
        let mut line = |text: &str| {
            let _ = writeln!(out, "{}", text.trim_end());
        };
        let Report { side, runs, peak, .. } = self;
        line(&format!("{}, {side}x{side}, random weights in f16", self.family));
        line(&format!("{}, {}; median of {runs} runs after a warm-up", self.adapter, self.dtype));
        let half = peak.f16_flops.map_or(String::new(), |flops| format!(", {:.2} in f16", flops / 1e12));
        let matrices = peak.matrix_flops;
        let matrices = matrices.map_or(String::new(), |flops| format!(", {:.2} in matrices", flops / 1e12));
        line(&format!(
            "measured limits: {:.2} TFLOP/s in f32{half}{matrices}; {:.1} GB/s",
            peak.f32_flops / 1e12,
            peak.bytes / 1e9
        ));
        line("");
        line(&format!("{:<20}{:>10}{:>12}{:>11}{:>10}", "stage", "seconds", "in kernels", "TFLOP/s", "MB"));
        for stage in &self.stages {
            line(&format!(
                "{:<20}{:>10.4}{:>12.4}{:>11.3}{:>10.0}",
                stage.stage.label(self.batch),
                stage.seconds,
                stage.busy(),
                stage.flops() as f64 / stage.seconds / 1e12,
                stage.memory as f64 / 1e6
            ));
        }
        for stage in &self.stages {
            line("");
            line(&format!("{}:", stage.stage.label(self.batch)));
            line(&format!(
                "{:<20}{:>7}{:>11}{:>8}{:>10}{:>10}{:>10}",
                "kernel", "calls", "ms", "share", "TFLOP/s", "GB/s", "of limit"
            ));
            for kernel in &stage.kernels {
                line(&format!(
                    "{:<20}{:>7}{:>11.3}{:>7.1}%{:>10.3}{:>10.1}{:>9.1}%",
                    kernel.name,
                    kernel.calls,
                    kernel.seconds * 1e3,
                    100.0 * kernel.seconds / stage.busy().max(1e-9),
                    kernel.flops_per_second() / 1e12,
                    kernel.bytes_per_second() / 1e9,
                    100.0 * kernel.of_limit(peak)
                ));
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_a_kernel_add_up_and_the_slowest_is_first() {
        let time = |name, seconds| KernelTime { name, seconds, flops: 6, bytes: 8 };
        let kernels = by_name(&[time("a", 1.0), time("b", 3.0), time("a", 1.5)]);
        assert_eq!((kernels[0].name, kernels[0].calls), ("b", 1));
        assert_eq!((kernels[1].calls, kernels[1].seconds, kernels[1].flops), (2, 2.5, 12));
        let peak = Peak { f32_flops: 4.0, f16_flops: None, matrix_flops: None, bytes: 16.0 };
        assert_eq!(kernels[0].of_limit(&peak), 0.5);
    }
}
