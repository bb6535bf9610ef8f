//! Flags for the device that computes.

use latent_app::device::{DeviceChoice, DeviceOptions, PrecisionChoice};

/// Where to draw.
#[derive(Debug, clap::Args)]
pub(crate) struct DeviceArgs {
    /// auto, cpu, gpu or gpu:N, a number of `latent devices`, or several as gpu:N,N; auto takes a GPU that is not a software one, or else the CPU
    #[arg(
        long,
        value_name = "DEVICE",
        default_value = "auto",
        env = "LATENT_DEVICE",
        hide_env_values = true
    )]
    device: DeviceChoice,
    /// Numbers of GPUs, which share the images of a batch: in place of --device gpu:N,N, before which it counts
    #[arg(long, value_name = "N,N", value_parser = DeviceChoice::of_gpus)]
    gpu: Option<DeviceChoice>,
    /// What to compute in: a GPU stores f16 or f32, the CPU multiplies in f32, bf16 or int8
    #[arg(long, value_name = "NAME", value_enum, default_value_t = PrecisionName::Auto)]
    precision: PrecisionName,
    /// Memory of the GPU that may be used [default: all]
    #[arg(long, value_name = "MB", value_parser = clap::value_parser!(u64).range(1..1 << 32))]
    max_vram: Option<u64>,
}

/// What to compute in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum PrecisionName {
    /// f16 on a GPU that has it; bf16 on a CPU that is faster in it, else f32
    Auto,
    /// Single precision: the most exact
    F32,
    /// Half precision on a GPU: half the memory
    F16,
    /// Products of the CPU in bf16
    Bf16,
    /// Linear layers of the CPU in 8-bit integers
    Int8,
}

impl DeviceArgs {
    /// The options.
    pub(crate) fn options(&self) -> DeviceOptions {
        let precision = match self.precision {
            PrecisionName::Auto => PrecisionChoice::Auto,
            PrecisionName::F32 => PrecisionChoice::F32,
            PrecisionName::F16 => PrecisionChoice::F16,
            PrecisionName::Bf16 => PrecisionChoice::Bf16,
            PrecisionName::Int8 => PrecisionChoice::Int8,
        };
        let device = self.gpu.as_ref().unwrap_or(&self.device).clone();
        DeviceOptions::new(Some(device), Some(precision), self.max_vram)
    }
}
