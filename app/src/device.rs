//! The device that computes: the choice of one, and what happens when a GPU fails.

use crate::AppError;
#[cfg(feature = "gpu")]
use crate::error::Remedy;
use latent_diffusion::Error;
use latent_diffusion::tensor::{Device, Precision};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Which device is asked for. As text and in JSON: `auto`, `cpu`, `gpu` or `gpu:N`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum DeviceChoice {
    /// The best GPU that is not a software one, or the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The GPU of that number in the list of adapters, or the best.
    Gpu(Option<usize>),
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<DeviceChoice, String> {
        match text.split_once(':') {
            None if text == "auto" => Ok(DeviceChoice::Auto),
            None if text == "cpu" => Ok(DeviceChoice::Cpu),
            None if text == "gpu" => Ok(DeviceChoice::Gpu(None)),
            Some(("gpu", number)) => match number.parse() {
                Ok(number) => Ok(DeviceChoice::Gpu(Some(number))),
                Err(_) => Err(format!("{number:?} is not the number of a GPU")),
            },
            _ => Err("give auto, cpu, gpu or gpu:N".into()),
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceChoice::Auto => f.write_str("auto"),
            DeviceChoice::Cpu => f.write_str("cpu"),
            DeviceChoice::Gpu(None) => f.write_str("gpu"),
            DeviceChoice::Gpu(Some(number)) => write!(f, "gpu:{number}"),
        }
    }
}

impl TryFrom<String> for DeviceChoice {
    type Error = String;

    fn try_from(text: String) -> Result<DeviceChoice, String> {
        text.parse()
    }
}

impl From<DeviceChoice> for String {
    fn from(choice: DeviceChoice) -> String {
        choice.to_string()
    }
}

/// What a device computes in. In JSON: `auto`, `f32`, `f16`, `bf16` or `int8`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PrecisionChoice {
    /// On a GPU f16 where it has that; on the CPU bf16 where it multiplies faster in that, else f32.
    #[default]
    Auto,
    /// Single precision: the most exact.
    F32,
    /// Half precision of a GPU's activations: half the memory. The CPU computes in f32.
    F16,
    /// Products of the CPU in bf16, summed in f32.
    Bf16,
    /// Linear layers of the CPU in 8-bit integers, with a scale for each 32 values.
    Int8,
}

impl PrecisionChoice {
    /// All of them, with their names.
    pub const ALL: [(&'static str, PrecisionChoice); 5] = [
        ("auto", PrecisionChoice::Auto),
        ("f32", PrecisionChoice::F32),
        ("f16", PrecisionChoice::F16),
        ("bf16", PrecisionChoice::Bf16),
        ("int8", PrecisionChoice::Int8),
    ];

    /// What products on the CPU are computed in.
    #[must_use]
    pub fn on_cpu(self) -> Precision {
        match self {
            PrecisionChoice::Auto if Precision::Bf16.is_faster() => Precision::Bf16,
            PrecisionChoice::Auto | PrecisionChoice::F32 | PrecisionChoice::F16 => Precision::F32,
            PrecisionChoice::Bf16 => Precision::Bf16,
            PrecisionChoice::Int8 => Precision::Int8,
        }
    }
}

/// Where to compute. What is `None` is the default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct DeviceOptions {
    /// The device; [`DeviceChoice::Auto`] when `None`.
    pub device: Option<DeviceChoice>,
    /// What it computes in.
    pub precision: Option<PrecisionChoice>,
    /// Memory of the GPU that may be used, in MiB; all of it when `None`.
    pub max_vram: Option<u64>,
}

impl DeviceOptions {
    /// All options.
    #[must_use]
    pub fn new(
        device: Option<DeviceChoice>,
        precision: Option<PrecisionChoice>,
        max_vram: Option<u64>,
    ) -> DeviceOptions {
        DeviceOptions { device, precision, max_vram }
    }

    /// Whether the program chooses the device, and may go on with the CPU when a GPU fails.
    #[must_use]
    pub fn is_auto(&self) -> bool {
        self.device.unwrap_or_default() == DeviceChoice::Auto
    }

    /// Opens the device. A GPU that was not asked for by name and does not open gives way to the CPU; `failed` is then
    /// given the reason.
    ///
    /// # Errors
    /// Bad input: a number that no GPU has, no GPU at all, a precision that it lacks. A GPU that does not open is a
    /// run-time failure.
    #[cfg(feature = "gpu")]
    pub fn open(&self, failed: &mut dyn FnMut(&AppError)) -> Result<Device, AppError> {
        use latent_diffusion::tensor::gpu;
        let choice = self.device.unwrap_or_default();
        if choice == DeviceChoice::Cpu {
            return Ok(Device::Cpu);
        }
        // No driver is loaded where there is clearly no GPU.
        let adapters = match choice {
            DeviceChoice::Auto => gpu::hardware_adapters(),
            _ => gpu::adapters(),
        };
        let adapter = match choice {
            DeviceChoice::Gpu(Some(number)) => adapters.get(number).ok_or_else(|| AppError::Refused {
                message: format!("device: no GPU has the number {number}; there are {}", adapters.len()),
                remedy: Remedy::ListDevices,
            })?,
            choice => {
                let best = adapters.iter().max_by_key(|adapter| adapter.rank());
                match best {
                    Some(adapter) => adapter,
                    None if choice == DeviceChoice::Auto => return Ok(Device::Cpu),
                    None => return Err(AppError::BadInput("device: there is no GPU; choose cpu".into())),
                }
            }
        };
        match self.open_adapter(adapter) {
            Err(error) if choice == DeviceChoice::Auto => {
                failed(&error);
                Ok(Device::Cpu)
            }
            opened => opened,
        }
    }

    #[cfg(feature = "gpu")]
    fn open_adapter(&self, adapter: &latent_diffusion::tensor::gpu::Adapter) -> Result<Device, AppError> {
        use latent_diffusion::tensor::{DType, gpu};
        let memory_limit = self.max_vram.map(|mib| mib << 20);
        let cache = pipeline_folder();
        let features = gpu::FeatureLevel::from_environment().map_err(AppError::BadInput)?.unwrap_or_default();
        let options = gpu::GpuOptions { memory_limit, cache, features, ..gpu::GpuOptions::default() };
        let run_time = |error: String| AppError::RunTime(format!("{}: {error}", adapter.name()));
        let gpu = gpu::Gpu::open(adapter, &options).map_err(|error| run_time(error.to_string()))?;
        let dtype = match self.precision.unwrap_or_default() {
            PrecisionChoice::F32 => DType::F32,
            PrecisionChoice::Auto if !gpu.has_f16() => DType::F32,
            PrecisionChoice::Auto | PrecisionChoice::F16 => DType::F16,
            PrecisionChoice::Bf16 | PrecisionChoice::Int8 => {
                let message = "precision: a GPU computes in f16 or f32; bf16 and int8 are for the CPU";
                return Err(AppError::BadInput(message.into()));
            }
        };
        Device::gpu(&gpu, dtype).map_err(|error| AppError::BadInput(format!("precision: {error}")))
    }

    /// Opens the device, which can only be the CPU in a build without the feature `gpu`.
    ///
    /// # Errors
    /// Bad input: a GPU.
    #[cfg(not(feature = "gpu"))]
    pub fn open(&self, _failed: &mut dyn FnMut(&AppError)) -> Result<Device, AppError> {
        match self.device.unwrap_or_default() {
            DeviceChoice::Gpu(_) => Err(AppError::BadInput("device: this build has no GPU kernels".into())),
            DeviceChoice::Auto | DeviceChoice::Cpu => Ok(Device::Cpu),
        }
    }
}

/// The folder in which what GPUs' drivers compiled is kept from run to run, where the system has one for such files.
#[cfg(feature = "gpu")]
#[must_use]
pub fn pipeline_folder() -> Option<std::path::PathBuf> {
    dirs::cache_dir().map(|folder| folder.join("latent").join("pipelines"))
}

/// Keeps what a GPU's driver compiled for the next run.
///
/// # Errors
/// One line. The next run compiles again: slower, and no worse.
pub fn save_pipelines(device: &Device) -> Result<(), String> {
    match device {
        #[cfg(feature = "gpu")]
        Device::Gpu { gpu, .. } => gpu.save_pipelines().map_err(|error| error.to_string()),
        _ => Ok(()),
    }
}

/// Runs a stage of some work. Where a GPU fails that was chosen by the program (`is_auto`), `to_cpu` is called with the
/// error to move the work, and the stage begins anew.
///
/// # Errors
/// Those of the stage.
pub fn or_on_cpu<W: ?Sized, R>(
    work: &mut W,
    is_auto: bool,
    to_cpu: impl FnOnce(&mut W, &Error),
    mut stage: impl FnMut(&mut W) -> Result<R, Error>,
) -> Result<R, Error> {
    match stage(work) {
        Err(error) if is_auto && error.is_gpu_fault() => {
            to_cpu(work, &error);
            stage(work)
        }
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_named_as_documented() {
        for (text, choice) in [
            ("auto", DeviceChoice::Auto),
            ("cpu", DeviceChoice::Cpu),
            ("gpu", DeviceChoice::Gpu(None)),
            ("gpu:2", DeviceChoice::Gpu(Some(2))),
        ] {
            assert_eq!(text.parse(), Ok(choice));
            assert_eq!(choice.to_string(), text);
        }
        for wrong in ["", "gpu:", "gpu:-1", "gpu:x", "cuda", "cpu:0"] {
            assert!(wrong.parse::<DeviceChoice>().is_err(), "{wrong:?}");
        }
    }
}
