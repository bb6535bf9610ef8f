//! How fast this machine draws, and how near that is to what it can do. No file is needed.

mod advice;
mod cpu;
#[cfg(feature = "gpu")]
mod gpu;
mod options;
mod process_memory;
mod stage;

pub use advice::{AdviceRow, Likeness, PartSeconds, SpeedAdvice, SpeedSwitches, advise};
pub use cpu::{CpuBenchReport, CpuStageReport, Figures};
#[cfg(feature = "gpu")]
pub use gpu::{GpuBenchReport, GpuStageReport, KernelReport};
pub use options::BenchOptions;
pub use process_memory::ProcessMemory;
pub use stage::{BenchStage, CFG_BATCH, IMAGE_STEPS, STAGE_SELECTIONS, StageSelection};

use crate::AppError;
use latent_diffusion::tensor::Device;
use serde_json::Value;

/// What was measured on a device.
#[derive(Debug)]
#[non_exhaustive]
pub enum BenchReport {
    /// On the CPU.
    Cpu(CpuBenchReport),
    /// On a GPU.
    #[cfg(feature = "gpu")]
    Gpu(GpuBenchReport),
}

impl BenchReport {
    /// The report as the JSON of `latent bench --json`.
    #[must_use]
    pub fn json(&self) -> Value {
        match self {
            BenchReport::Cpu(report) => report.json(),
            #[cfg(feature = "gpu")]
            BenchReport::Gpu(report) => report.json(),
        }
    }
}

/// Measures the stages on a device. `progress` is given a line for each run.
///
/// # Errors
/// Bad input: options outside of their bounds. Run time: too little memory, a fault of a GPU, values that are not finite.
pub fn measure(
    options: &BenchOptions,
    device: &Device,
    progress: &mut dyn FnMut(&str),
) -> Result<BenchReport, AppError> {
    options.check()?;
    match device {
        #[cfg(feature = "gpu")]
        Device::Gpu { .. } if options.token_merging > 0.0 => {
            Err(AppError::BadInput("tome: works on the CPU only; measure the CPU, or set it to 0".into()))
        }
        #[cfg(feature = "gpu")]
        Device::Gpu { gpu, .. } => Ok(BenchReport::Gpu(gpu::measure(options, gpu, device, progress)?)),
        _ => Ok(BenchReport::Cpu(cpu::measure(options, device, progress)?)),
    }
}

/// Refuses results that are not finite: their time means nothing.
fn check_finite(values: &[f32], label: &str) -> Result<(), AppError> {
    if values.iter().all(|value| value.is_finite()) {
        return Ok(());
    }
    Err(AppError::RunTime(format!("{label}: computed values that are NaN or infinite")))
}
