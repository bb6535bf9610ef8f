//! The stages on a GPU: the time of each, and that of each kernel by the GPU's own clock.

use super::stage::BenchStage;
use super::{BenchOptions, check_finite};
use crate::AppError;
use latent_diffusion::tensor::gpu::{Gpu, GpuError, KernelTime, Peak};
use latent_diffusion::tensor::{Device, TensorError};
use latent_diffusion::{Error, VaeTiling};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Instant;

/// What was measured on a GPU.
#[derive(Debug)]
#[non_exhaustive]
pub struct GpuBenchReport {
    /// What was asked for.
    pub options: BenchOptions,
    /// The adapter's name.
    pub adapter: String,
    /// The dtype of activations.
    pub dtype: String,
    /// What the adapter can do at most.
    pub peak: Peak,
    /// The stages, in the order in which they were measured.
    pub stages: Vec<GpuStageReport>,
}

/// A stage as it was measured on a GPU.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct GpuStageReport {
    /// The stage.
    pub stage: BenchStage,
    /// Seconds of the median run, from the first command to the result in main memory.
    pub seconds: f64,
    /// Bytes of the GPU's memory, weights included.
    pub memory: u64,
    /// The kernels, slowest first.
    pub kernels: Vec<KernelReport>,
}

/// All runs of a kernel in a stage.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct KernelReport {
    /// The shader's name.
    pub name: &'static str,
    /// Number of runs.
    pub calls: usize,
    /// Seconds of all runs.
    pub seconds: f64,
    /// Floating-point operations of the direct algorithm in all runs.
    pub flops: u64,
    /// Bytes that all runs read and write at least.
    pub bytes: u64,
}

/// Measures the limits of the adapter and the stages.
pub(super) fn measure(
    options: &BenchOptions,
    gpu: &Gpu,
    device: &Device,
    progress: &mut dyn FnMut(&str),
) -> Result<GpuBenchReport, AppError> {
    let Device::Gpu { dtype, .. } = device else { unreachable!("a GPU is measured") };
    progress("measuring the limits of the GPU");
    let peak = gpu.peak().map_err(failed)?;
    let mut stages = Vec::new();
    for stage in options.stages {
        stages.push(measure_stage(*stage, options, gpu, device, progress)?);
        device.trim();
    }
    let (adapter, dtype) = (gpu.name().to_owned(), dtype.to_string());
    Ok(GpuBenchReport { options: options.clone(), adapter, dtype, peak, stages })
}

fn failed(error: GpuError) -> AppError {
    AppError::from(Error::from(TensorError::from(error)))
}

fn measure_stage(
    stage: BenchStage,
    options: &BenchOptions,
    gpu: &Gpu,
    device: &Device,
    progress: &mut dyn FnMut(&str),
) -> Result<GpuStageReport, AppError> {
    let &BenchOptions { batch, runs, .. } = options;
    let label = stage.label(batch);
    progress(&format!("{label}: making weights"));
    let forward = stage.load(&BenchOptions { vae_tiling: VaeTiling::Off, ..options.clone() }, device)?;
    let run = || -> Result<f64, AppError> {
        let start = Instant::now();
        for result in forward()? {
            let result = result.to(&Device::Cpu).map_err(Error::from)?;
            check_finite(result.f32s().map_err(Error::from)?, &label)?;
        }
        Ok(start.elapsed().as_secs_f64())
    };
    // The first run compiles the shaders and takes memory.
    progress(&format!("{label}: warm-up, {:.3} s", run()?));
    let mut times = (0..runs).map(|_| run()).collect::<Result<Vec<_>, _>>()?;
    times.sort_by(f64::total_cmp);
    let seconds = times[(times.len() - 1) / 2];
    progress(&format!("{label}: {seconds:.4} s, the median of {runs}"));
    let (result, kernels) = gpu.profile(run).map_err(failed)?;
    result?;
    Ok(GpuStageReport { stage, seconds, memory: gpu.memory().now, kernels: by_name(&kernels) })
}

/// The kernels of a stage, the slowest first.
fn by_name(times: &[KernelTime]) -> Vec<KernelReport> {
    let mut kernels: BTreeMap<&str, KernelReport> = BTreeMap::new();
    for time in times {
        let new = KernelReport { name: time.name, calls: 0, seconds: 0.0, flops: 0, bytes: 0 };
        let kernel = kernels.entry(time.name).or_insert(new);
        kernel.calls += 1;
        kernel.seconds += time.seconds;
        kernel.flops += time.flops;
        kernel.bytes += time.bytes;
    }
    let mut kernels: Vec<KernelReport> = kernels.into_values().collect();
    kernels.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    kernels
}

impl GpuStageReport {
    /// Floating-point operations of the direct algorithm.
    #[must_use]
    pub fn flops(&self) -> u64 {
        self.kernels.iter().map(|kernel| kernel.flops).sum()
    }

    /// Seconds in kernels.
    #[must_use]
    pub fn busy(&self) -> f64 {
        self.kernels.iter().map(|kernel| kernel.seconds).sum()
    }
}

impl KernelReport {
    /// Floating-point operations a second.
    #[must_use]
    pub fn flops_per_second(&self) -> f64 {
        self.flops as f64 / self.seconds.max(1e-9)
    }

    /// Bytes a second.
    #[must_use]
    pub fn bytes_per_second(&self) -> f64 {
        self.bytes as f64 / self.seconds.max(1e-9)
    }

    /// How near it is to the limits that the adapter was measured to have, as a part of 1: the larger of its shares of the
    /// fastest arithmetic and of the memory bandwidth.
    #[must_use]
    pub fn of_limit(&self, peak: &Peak) -> f64 {
        let fastest = peak.f32_flops.max(peak.f16_flops.unwrap_or(0.0)).max(peak.matrix_flops.unwrap_or(0.0));
        let arithmetic = self.flops_per_second() / fastest;
        arithmetic.max(self.bytes_per_second() / peak.bytes)
    }
}

impl GpuBenchReport {
    pub(super) fn json(&self) -> Value {
        let kernel = |kernel: &KernelReport| {
            json!({
                "name": kernel.name,
                "calls": kernel.calls,
                "seconds": kernel.seconds,
                "flops_per_second": kernel.flops_per_second(),
                "bytes_per_second": kernel.bytes_per_second(),
                "of_limit": kernel.of_limit(&self.peak),
            })
        };
        let stage = |stage: &GpuStageReport| {
            json!({
                "name": stage.stage.id(),
                "seconds": stage.seconds,
                "direct_gflop": stage.flops() as f64 / 1e9,
                "seconds_in_kernels": stage.busy(),
                "memory_mb": stage.memory as f64 / 1e6,
                "kernels": stage.kernels.iter().map(kernel).collect::<Vec<_>>(),
            })
        };
        let BenchOptions { family, side, batch, runs, .. } = &self.options;
        json!({
            "device": self.adapter,
            "precision": self.dtype,
            "family": family.id,
            "size": side,
            "batch": batch,
            "runs": runs,
            "fma_peak_gflops": self.peak.f32_flops / 1e9,
            "f16_peak_gflops": self.peak.f16_flops.map(|flops| flops / 1e9),
            "matrix_peak_gflops": self.peak.matrix_flops.map(|flops| flops / 1e9),
            "copy_peak_gb": self.peak.bytes / 1e9,
            "stages": self.stages.iter().map(stage).collect::<Vec<_>>(),
        })
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
