//! The memory that a run will take, told before it begins.

use super::hires::Second;
use latent_app::AppError;
use latent_app::text::format_bytes as bytes;
use latent_diffusion::tensor::Device;
use latent_diffusion::{MemoryEstimate, Pipeline, Settings, Stage, Task};

/// Tells the stage that takes the most, if that is asked for, and warns where this machine has less. On a GPU nothing is known.
pub(super) fn tell(
    pipeline: &Pipeline,
    task: &Task<'_>,
    settings: &Settings,
    second: Option<&Second>,
    verbose: bool,
) -> Result<(), AppError> {
    if *pipeline.device() != Device::Cpu {
        return Ok(());
    }
    let mut needs = match second {
        None => pipeline.memory_estimates(task, settings, None)?,
        Some(second) => {
            second.with(&Device::Cpu, |hires| pipeline.memory_estimates(task, settings, Some(hires)))?
        }
    };
    if let Some(second) = second {
        let (width, height) = settings.size(pipeline.model())?;
        for need in needs.iter_mut().filter(|need| need.stage == Stage::Upscaling) {
            need.bytes += second.memory(width, height);
        }
    }
    let Some(most) = needs.iter().max_by_key(|need| need.bytes) else { return Ok(()) };
    if verbose {
        eprintln!("memory, estimated: {} ({})", bytes(most.bytes), most.stage);
    }
    if let Some(line) = available().and_then(|free| warning(*most, free)) {
        eprintln!("latent: {line}");
    }
    Ok(())
}

fn warning(MemoryEstimate { stage, bytes: needed }: MemoryEstimate, free: u64) -> Option<String> {
    let advice = match stage {
        Stage::Decoding | Stage::ImageEncoding => "--vae-tiling takes less",
        Stage::Upscaling => "a smaller image takes less",
        _ => "a smaller image, or fewer at once, takes less",
    };
    let line =
        || format!("{stage} may take {} of memory, and {} are free; {advice}", bytes(needed), bytes(free));
    (needed > free).then(line)
}

/// Bytes that can be had without swapping, where the system tells: on Linux.
fn available() -> Option<u64> {
    let told = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = told.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_names_the_stage_and_what_helps() {
        let need = |stage| MemoryEstimate { stage, bytes: 2_000_000_000 };
        assert_eq!(warning(need(Stage::Decoding), 2_000_000_000), None);
        let line = warning(need(Stage::Decoding), 1_000_000_000).unwrap();
        assert_eq!(
            line,
            "decoding may take 2.00 GB of memory, and 1.00 GB are free; --vae-tiling takes less"
        );
        assert!(warning(need(Stage::Sampling), 1).unwrap().contains("fewer at once"));
        assert!(!cfg!(target_os = "linux") || available().is_some_and(|free| free > 1 << 20));
    }
}
