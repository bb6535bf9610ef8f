//! Which device draws, and `latent devices`.

use crate::args::{DeviceArgs, DevicesArgs};
use crate::print;
use latent_app::AppError;
use latent_diffusion::tensor::Device;
use serde_json::json;
use std::str::FromStr;

/// What `--device` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// The best GPU that is no software, or the CPU.
    Auto,
    Cpu,
    /// The GPU of that number in `latent devices`, or the best.
    Gpu(Option<usize>),
}

impl FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Choice, String> {
        match text.split_once(':') {
            None if text == "auto" => Ok(Choice::Auto),
            None if text == "cpu" => Ok(Choice::Cpu),
            None if text == "gpu" => Ok(Choice::Gpu(None)),
            Some(("gpu", number)) => match number.parse() {
                Ok(number) => Ok(Choice::Gpu(Some(number))),
                Err(_) => Err(format!("{number:?} is no number of a GPU; see latent devices")),
            },
            _ => Err("auto, cpu, gpu and gpu:N are possible".into()),
        }
    }
}

/// The numbers that a GPU stores between its kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Precision {
    /// f16 where the GPU has it
    Auto,
    /// Half precision: half the memory
    F16,
    /// Single precision: as exact as the CPU
    F32,
}

/// Opens what was asked for.
#[cfg(feature = "gpu")]
pub(crate) fn open(args: &DeviceArgs) -> Result<Device, AppError> {
    use latent_diffusion::tensor::gpu;
    let adapters = match args.device {
        Choice::Cpu => return Ok(Device::Cpu),
        // No driver is loaded where there is clearly no GPU.
        Choice::Auto => gpu::hardware_adapters(),
        Choice::Gpu(_) => gpu::adapters(),
    };
    let adapter = match args.device {
        Choice::Gpu(Some(number)) => adapters.get(number).ok_or_else(|| {
            let there = format!("there are {}; see latent devices", adapters.len());
            AppError::BadInput(format!("device: no GPU has the number {number}, {there}"))
        })?,
        choice => {
            let best = adapters.iter().max_by_key(|adapter| adapter.rank());
            match best {
                Some(adapter) => adapter,
                None if choice == Choice::Auto => return Ok(Device::Cpu),
                None => return Err(AppError::BadInput("device: there is no GPU; use --device cpu".into())),
            }
        }
    };
    let opened = open_adapter(adapter, args);
    match opened {
        Err(error) if args.device == Choice::Auto => {
            eprintln!("latent: {error}; drawing on the CPU");
            Ok(Device::Cpu)
        }
        opened => opened,
    }
}

#[cfg(feature = "gpu")]
fn open_adapter(
    adapter: &latent_diffusion::tensor::gpu::Adapter,
    args: &DeviceArgs,
) -> Result<Device, AppError> {
    use latent_diffusion::tensor::{DType, gpu};
    let memory_limit = args.max_vram.map(|mb| mb << 20);
    let cache = dirs::cache_dir().map(|folder| folder.join("latent").join("pipelines"));
    let features = gpu::FeatureLevel::from_environment().map_err(AppError::BadInput)?.unwrap_or_default();
    let options = gpu::GpuOptions { memory_limit, cache, features, ..gpu::GpuOptions::default() };
    let run_time = |error: String| AppError::RunTime(format!("{}: {error}", adapter.name()));
    let gpu = gpu::Gpu::open(adapter, &options).map_err(|error| run_time(error.to_string()))?;
    let dtype = match args.precision {
        Precision::F32 => DType::F32,
        Precision::Auto if !gpu.has_f16() => DType::F32,
        Precision::Auto | Precision::F16 => DType::F16,
    };
    Device::gpu(&gpu, dtype).map_err(|error| AppError::BadInput(format!("precision: {error}")))
}

/// Keeps what a GPU's driver compiled for the next run.
pub(crate) fn keep_pipelines(device: &Device) {
    match device {
        #[cfg(feature = "gpu")]
        Device::Gpu { gpu, .. } => {
            if let Err(error) = gpu.save_pipelines() {
                // The next run compiles again: slower, and no worse.
                eprintln!("latent: {error}; compiled pipelines are not kept");
            }
        }
        _ => (),
    }
}

/// Opens what was asked for.
#[cfg(not(feature = "gpu"))]
pub(crate) fn open(args: &DeviceArgs) -> Result<Device, AppError> {
    match args.device {
        Choice::Gpu(_) => Err(AppError::BadInput("device: this build has no GPU kernels".into())),
        Choice::Auto | Choice::Cpu => Ok(Device::Cpu),
    }
}

/// `latent devices`: every device with its limits and features.
#[cfg(feature = "gpu")]
pub(crate) fn list(args: &DevicesArgs) -> Result<(), AppError> {
    use latent_diffusion::tensor::gpu;
    let adapters = gpu::adapters();
    let best = adapters.iter().filter(|a| !a.is_software()).map(gpu::Adapter::rank).max();
    let cpu = cpu();
    if args.json {
        let gpus: Vec<_> = adapters
            .iter()
            .enumerate()
            .map(|(number, adapter)| {
                let features: serde_json::Map<_, _> =
                    adapter.features().into_iter().map(|(name, has)| (name.into(), json!(has))).collect();
                let limits: serde_json::Map<_, _> =
                    adapter.limits().into_iter().map(|(name, limit)| (name.into(), json!(limit))).collect();
                json!({
                    "device": format!("gpu:{number}"), "name": adapter.name(), "kind": adapter.kind(),
                    "backend": adapter.backend(), "driver": adapter.driver(),
                    "features": features, "limits": limits,
                })
            })
            .collect();
        return print(&format!("{:#}\n", json!({ "cpu": cpu, "gpus": gpus })));
    }
    let mut text = format!("cpu    {cpu}\n");
    let mut chosen = false;
    for (number, adapter) in adapters.iter().enumerate() {
        let is_best = !chosen && Some(adapter.rank()) == best;
        chosen |= is_best;
        let mark = if is_best { ", taken by auto" } else { "" };
        text += &format!("gpu:{number}  {} ({}{mark})\n", adapter.name(), adapter.kind());
        text += &format!("       {}, {}\n", adapter.backend(), adapter.driver());
        let (with, without): (Vec<_>, Vec<_>) = adapter.features().into_iter().partition(|(_, has)| *has);
        let names = |list: &[(&str, bool)]| list.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        for (word, list) in [("has", with), ("lacks", without)] {
            if !list.is_empty() {
                text += &format!("       {word} {}\n", names(&list));
            }
        }
        let limit = |(name, limit): (&str, u64)| match name {
            "workgroup threads" => format!("{name} {limit}"),
            _ => format!("{name} {}", amount(limit)),
        };
        let limits: Vec<_> = adapter.limits().into_iter().map(limit).collect();
        text += &format!("       {}\n", limits.join(", "));
    }
    if adapters.is_empty() {
        text += "no GPU: none has a driver for Vulkan, Metal or DirectX 12\n";
    }
    print(&text)
}

/// A number of bytes, in the largest unit that divides it.
#[cfg(feature = "gpu")]
fn amount(limit: u64) -> String {
    let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    match units.iter().find(|(_, bits)| limit >> bits > 0 && limit.trailing_zeros() >= *bits) {
        Some((unit, bits)) => format!("{} {unit}", limit >> bits),
        None => format!("{limit} bytes"),
    }
}

/// `latent devices`: the CPU.
#[cfg(not(feature = "gpu"))]
pub(crate) fn list(args: &DevicesArgs) -> Result<(), AppError> {
    let cpu = cpu();
    let text = format!("cpu    {cpu}\nno GPU: this build has no GPU kernels\n");
    print(&if args.json { format!("{:#}\n", json!({ "cpu": cpu, "gpus": [] })) } else { text })
}

/// The CPU's instruction set and number of threads.
fn cpu() -> String {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{}, {threads} threads", latent_kernels::Isa::best())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_named_as_documented() {
        assert_eq!("auto".parse(), Ok(Choice::Auto));
        assert_eq!("cpu".parse(), Ok(Choice::Cpu));
        assert_eq!("gpu".parse(), Ok(Choice::Gpu(None)));
        assert_eq!("gpu:2".parse(), Ok(Choice::Gpu(Some(2))));
        for wrong in ["", "gpu:", "gpu:-1", "gpu:x", "cuda", "cpu:0"] {
            assert!(wrong.parse::<Choice>().is_err(), "{wrong:?}");
        }
    }

    #[cfg(feature = "gpu")]
    #[test]
    fn limits_are_readable() {
        for (limit, text) in
            [(16 << 10, "16 KiB"), (2 << 30, "2 GiB"), (1 << 20, "1 MiB"), (1000, "1000 bytes")]
        {
            assert_eq!(amount(limit), text);
        }
    }
}
