//! The devices that the cases run on, and how exact each is.

use super::case::Case;
use latent_diffusion::tensor::Device;

/// A device, and what its results may differ by.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// For the table's headline.
    pub(crate) name: String,
    /// Where models run.
    pub(crate) device: Device,
    /// Limits in place of those of the cases: the relative error, and the largest difference of 8-bit images.
    pub(crate) limits: Option<(f64, u8)>,
    /// Which of the cases it runs.
    pub(crate) share: Share,
}

/// Which of the cases run that take long. What others have in common with these has run on another device before, and the parts
/// that differ from device to device have cases of their own.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(not(feature = "gpu"), allow(dead_code, reason = "only GPUs run fewer"))]
pub(crate) enum Share {
    /// Every one.
    All,
    /// One pipeline of each family, that is of checkpoints whose names begin with the same word, and one UNet of each checkpoint.
    PipelineOfEachFamily,
    /// One pipeline, and one UNet of each checkpoint. Latents of samplers are `f32` on a GPU of any kind, so one sampler of each group.
    OnePipeline,
}

impl Share {
    /// What a case has in common with those in place of which it runs; `None` if it stands for itself alone.
    pub(crate) fn group(self, case: &Case) -> Result<Option<String>, String> {
        let checkpoints = || -> Result<Vec<String>, String> {
            Ok(case.all_checkpoints()?.into_iter().map(|checkpoint| checkpoint.family).collect())
        };
        Ok(match (self, case.kind()) {
            (Share::All, _) => None,
            (Share::OnePipeline, "pipelines") => Some("pipelines".to_owned()),
            (Share::OnePipeline, "schedulers") => Some(case.group.clone()),
            (_, "pipelines") => {
                checkpoints()?.first().and_then(|family| family.split('-').next()).map(str::to_owned)
            }
            (_, "unet") => Some(format!("unet {}", checkpoints()?.join(" "))),
            _ => None,
        })
    }
}

impl Target {
    /// The CPU, which keeps the limits of the cases.
    pub(crate) fn cpu() -> Self {
        Self { name: "the CPU".into(), device: Device::Cpu, limits: None, share: Share::All }
    }
}

/// The CPU; then a GPU, if there is one: in `f32`, in `f16` where it has that, and with the least that any GPU has. Each
/// runs fewer cases than the one before ([`Share`]), or all if the variable `LATENT_GOLDENS_ALL` is set.
///
/// Without a GPU that is told, and is a failure where the variable `LATENT_GPU_REQUIRED` is set.
#[cfg(feature = "gpu")]
pub(crate) fn all() -> Result<Vec<Target>, String> {
    use latent_diffusion::tensor::{DType, gpu};
    let mut targets = vec![Target::cpu()];
    let Some(adapter) = gpu::adapters().into_iter().max_by_key(gpu::Adapter::rank) else {
        if std::env::var_os("LATENT_GPU_REQUIRED").is_some() {
            return Err("there is no GPU, and LATENT_GPU_REQUIRED is set".into());
        }
        println!("SKIPPED on GPUs: there is none; Mesa's llvmpipe is one (Debian: mesa-vulkan-drivers)");
        return Ok(targets);
    };
    let is_all = std::env::var_os("LATENT_GOLDENS_ALL").is_some();
    let mut add = |what: &str, options: &gpu::GpuOptions, dtype, limits| -> Result<(), String> {
        let gpu = gpu::Gpu::open(&adapter, options).map_err(|e| e.to_string())?;
        if dtype == DType::F16 && !gpu.has_f16() {
            println!("SKIPPED in f16: {} has none", adapter.name());
            return Ok(());
        }
        let device = Device::gpu(&gpu, dtype).map_err(|e| e.to_string())?;
        let name = format!("{}, {what}", adapter.name());
        let share = match targets.len() {
            _ if is_all => Share::All,
            1 => Share::PipelineOfEachFamily,
            _ => Share::OnePipeline,
        };
        targets.push(Target { name, device, limits: Some(limits), share });
        Ok(())
    };
    // Pixels in `f16` are decoded from latents that may differ by 2e-2 after several steps.
    let (single, half) = ((1e-3, 2), (2e-2, 8));
    add("f32", &gpu::GpuOptions::default(), DType::F32, single)?;
    add("f16", &gpu::GpuOptions::default(), DType::F16, half)?;
    add(
        "the least",
        &gpu::GpuOptions { features: gpu::FeatureLevel::Minimal, ..Default::default() },
        DType::F32,
        single,
    )?;
    Ok(targets)
}

/// The CPU.
#[cfg(not(feature = "gpu"))]
pub(crate) fn all() -> Result<Vec<Target>, String> {
    Ok(vec![Target::cpu()])
}
