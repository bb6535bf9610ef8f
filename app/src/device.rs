//! The device that computes: the choice of one, and what happens when a GPU fails.

use crate::AppError;
#[cfg(feature = "gpu")]
use crate::error::Remedy;
use latent_diffusion::Error;
use latent_diffusion::tensor::{Device, Precision};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Maximum number of GPUs that draw a job's images together.
const MAX_GPUS: usize = 16;

/// Which device is asked for. As text and in JSON: `auto`, `cpu`, `gpu`, `gpu:N`, or `gpu:N,N` for several GPUs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum DeviceChoice {
    /// The best GPU that is not a software one, or the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The GPU of that number in the list of adapters, or the best.
    Gpu(Option<usize>),
    /// Several GPUs of these numbers, which share the images of a job. The same number twice is one GPU that is opened twice.
    Gpus(Vec<usize>),
}

impl DeviceChoice {
    /// The GPUs of a list of numbers with commas between.
    ///
    /// # Errors
    /// One line: something that is not a number, or too many.
    pub fn of_gpus(numbers: &str) -> Result<DeviceChoice, String> {
        let number = |text: &str| text.parse().map_err(|_| format!("{text:?} is not the number of a GPU"));
        let numbers = numbers.split(',').map(number).collect::<Result<Vec<usize>, String>>()?;
        match numbers[..] {
            [number] => Ok(DeviceChoice::Gpu(Some(number))),
            _ if numbers.len() > MAX_GPUS => Err(format!("{} GPUs are more than {MAX_GPUS}", numbers.len())),
            _ => Ok(DeviceChoice::Gpus(numbers)),
        }
    }
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<DeviceChoice, String> {
        match text.split_once(':') {
            None if text == "auto" => Ok(DeviceChoice::Auto),
            None if text == "cpu" => Ok(DeviceChoice::Cpu),
            None if text == "gpu" => Ok(DeviceChoice::Gpu(None)),
            Some(("gpu", numbers)) => DeviceChoice::of_gpus(numbers),
            _ => Err("give auto, cpu, gpu, gpu:N or gpu:N,N".into()),
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
            DeviceChoice::Gpus(numbers) => {
                let numbers: Vec<String> = numbers.iter().map(usize::to_string).collect();
                write!(f, "gpu:{}", numbers.join(","))
            }
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
        matches!(self.device, None | Some(DeviceChoice::Auto))
    }

    /// Opens the device. A GPU that was not asked for by name and does not open gives way to the CPU; `failed` is then
    /// given the reason.
    ///
    /// # Errors
    /// Bad input: a number that no GPU has, no GPU at all, several GPUs, a precision that it lacks. A GPU that does not open
    /// is a run-time failure.
    pub fn open(&self, failed: &mut dyn FnMut(&AppError)) -> Result<Device, AppError> {
        if let Some(choice @ DeviceChoice::Gpus(_)) = &self.device {
            let message =
                format!("device: {choice} are several, and only the images of a job are shared; give one");
            return Err(AppError::BadInput(message));
        }
        Ok(self.open_all(failed)?.swap_remove(0))
    }

    /// Opens the device, or all of several GPUs, in the order in which they are named.
    ///
    /// # Errors
    /// As [`DeviceOptions::open`], except that there may be several.
    #[cfg(feature = "gpu")]
    pub fn open_all(&self, failed: &mut dyn FnMut(&AppError)) -> Result<Vec<Device>, AppError> {
        use latent_diffusion::tensor::gpu;
        let choice = self.device.clone().unwrap_or_default();
        // No driver is loaded where there is clearly no GPU.
        let adapters = match choice {
            DeviceChoice::Cpu => return Ok(vec![Device::Cpu]),
            DeviceChoice::Auto => gpu::hardware_adapters(),
            _ => gpu::adapters(),
        };
        let numbered = |number: &usize| {
            let adapter = adapters.get(*number).ok_or_else(|| AppError::Refused {
                message: format!("device: no GPU has the number {number}; there are {}", adapters.len()),
                remedy: Remedy::ListDevices,
            })?;
            self.open_adapter(adapter)
        };
        match &choice {
            DeviceChoice::Gpu(Some(number)) => return Ok(vec![numbered(number)?]),
            DeviceChoice::Gpus(numbers) => return numbers.iter().map(numbered).collect(),
            _ => {}
        }
        let Some(best) = adapters.iter().max_by_key(|adapter| adapter.rank()) else {
            return match choice {
                DeviceChoice::Auto => Ok(vec![Device::Cpu]),
                _ => Err(AppError::BadInput("device: there is no GPU; choose cpu".into())),
            };
        };
        match self.open_adapter(best) {
            Err(error) if choice == DeviceChoice::Auto => {
                failed(&error);
                Ok(vec![Device::Cpu])
            }
            opened => Ok(vec![opened?]),
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
    pub fn open_all(&self, _failed: &mut dyn FnMut(&AppError)) -> Result<Vec<Device>, AppError> {
        match self.device.clone().unwrap_or_default() {
            DeviceChoice::Gpu(_) | DeviceChoice::Gpus(_) => {
                Err(AppError::BadInput("device: this build has no GPU kernels".into()))
            }
            DeviceChoice::Auto | DeviceChoice::Cpu => Ok(vec![Device::Cpu]),
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
            ("gpu:2,0", DeviceChoice::Gpus(vec![2, 0])),
            ("gpu:0,0,0", DeviceChoice::Gpus(vec![0; 3])),
        ] {
            assert_eq!(choice.to_string(), text);
            assert_eq!(text.parse(), Ok(choice));
        }
        for wrong in ["", "gpu:", "gpu:-1", "gpu:x", "gpu:0,", "gpu:0, 1", "cuda", "cpu:0"] {
            assert!(wrong.parse::<DeviceChoice>().is_err(), "{wrong:?}");
        }
        assert!(DeviceChoice::of_gpus(&["0"; 17].join(",")).unwrap_err().contains("16"));
        let several = DeviceOptions::new(Some(DeviceChoice::Gpus(vec![0, 0])), None, None);
        assert!(
            matches!(several.open(&mut |_| ()), Err(AppError::BadInput(line)) if line.contains("gpu:0,0"))
        );
    }
}
