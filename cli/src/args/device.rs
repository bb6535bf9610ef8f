//! Flags for the device that computes.

use latent_app::device::{DeviceChoice, DeviceOptions, GpuPrecision};

/// Where to draw.
#[derive(Debug, clap::Args)]
pub(crate) struct DeviceArgs {
    /// auto, cpu, gpu or gpu:N, a number of `latent devices`; auto takes a GPU that is not a software one, or else the CPU
    #[arg(
        long,
        value_name = "DEVICE",
        default_value = "auto",
        env = "LATENT_DEVICE",
        hide_env_values = true
    )]
    device: DeviceChoice,
    /// Dtype in which a GPU stores activations
    #[arg(long, value_name = "NAME", value_enum, default_value_t = PrecisionName::Auto)]
    precision: PrecisionName,
    /// Memory of the GPU that may be used [default: all]
    #[arg(long, value_name = "MB", value_parser = clap::value_parser!(u64).range(1..1 << 32))]
    max_vram: Option<u64>,
}

/// The dtype in which a GPU stores activations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum PrecisionName {
    /// f16 where the GPU has it
    Auto,
    /// Half precision: half the memory
    F16,
    /// Single precision: as exact as the CPU
    F32,
}

impl DeviceArgs {
    /// The options.
    pub(crate) fn options(&self) -> DeviceOptions {
        let precision = match self.precision {
            PrecisionName::Auto => GpuPrecision::Auto,
            PrecisionName::F16 => GpuPrecision::F16,
            PrecisionName::F32 => GpuPrecision::F32,
        };
        DeviceOptions::new(Some(self.device), Some(precision), self.max_vram)
    }
}
