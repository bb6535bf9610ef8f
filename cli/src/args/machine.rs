//! Flags of a machine that draws the jobs of others: its folders, its devices and its memory.

use latent_app::AppError;
use latent_app::device::{DeviceChoice, DeviceOptions};
use std::path::PathBuf;

/// Bytes of a megabyte of `--max-memory`.
const MB: u64 = 1_000_000;

/// What a server or a worker draws with.
#[derive(clap::Args)]
pub(crate) struct MachineArgs {
    /// Folder of the models that jobs can name [default: the usual ones]
    #[arg(long, visible_alias = "models", value_name = "DIR")]
    pub(crate) models_dir: Option<PathBuf>,
    /// Folder of the LoRAs that prompts name with <lora:NAME:WEIGHT> [default: where the models are]
    #[arg(long, value_name = "DIR")]
    pub(crate) lora_dir: Option<PathBuf>,
    /// Folder of textual inversions, of which those are opened that a prompt names
    #[arg(long, value_name = "DIR")]
    pub(crate) embd_dir: Option<PathBuf>,
    /// Folder of text files for __NAME__ in prompts
    #[arg(long, value_name = "DIR")]
    pub(crate) wildcards: Option<PathBuf>,
    /// Device that draws: auto, cpu, gpu or gpu:N; given several times, each draws a job of its own
    #[arg(
        long,
        value_name = "DEVICE",
        default_value = "auto",
        env = "LATENT_DEVICE",
        hide_env_values = true,
        value_parser = one_device
    )]
    device: Vec<DeviceChoice>,
    /// Number of threads of a device [default: one for each core]
    #[arg(short, long, value_name = "N")]
    pub(crate) threads: Option<usize>,
    /// Memory in MB that models and jobs may take, all devices together; models that were not used for longest leave it first [default: what is free]
    #[arg(long, value_name = "MB", value_parser = clap::value_parser!(u64).range(1..1 << 32))]
    max_memory: Option<u64>,
}

/// A device, of which none is several.
fn one_device(text: &str) -> Result<DeviceChoice, String> {
    match text.parse()? {
        DeviceChoice::Gpus(_) => Err("each GPU draws a job of its own; give the flag once for each".into()),
        device => Ok(device),
    }
}

impl MachineArgs {
    /// Refuses folders that do not exist, before the first job would.
    pub(crate) fn check(&self) -> Result<(), AppError> {
        for (flag, folder) in [
            ("--models-dir", &self.models_dir),
            ("--lora-dir", &self.lora_dir),
            ("--embd-dir", &self.embd_dir),
            ("--wildcards", &self.wildcards),
        ] {
            if let Some(folder) = folder.as_ref().filter(|folder| !folder.is_dir()) {
                return Err(AppError::BadInput(format!("{flag}: {}: no such folder", folder.display())));
            }
        }
        Ok(())
    }

    pub(crate) fn devices(&self) -> Vec<DeviceOptions> {
        self.device.iter().map(|device| DeviceOptions::new(Some(device.clone()), None, None)).collect()
    }

    /// The memory in bytes.
    pub(crate) fn max_memory(&self) -> Option<u64> {
        self.max_memory.map(|mb| mb * MB)
    }
}
