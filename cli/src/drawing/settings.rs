//! Flags as settings of a run.

use crate::args::{SamplingArgs, SdxlArgs};
use latent_diffusion::Settings;
use latent_diffusion::families::Model;
use std::time::{SystemTime, UNIX_EPOCH};

/// The settings of flags, without seeds. What is not given is what the model was made for.
pub(super) fn settings(args: &SamplingArgs, sdxl: &SdxlArgs, model: &Model) -> Settings {
    let own = Settings::of(model);
    let (sampler, named_schedule) = args.sampler.unwrap_or((own.sampler, None));
    // The model's own spacing belongs to its own sampler and form.
    let is_own = args.sampler.is_none() && (args.compat.is_none() || args.compat == own.convention);
    let usual = if is_own { own.schedule } else { sampler.default_kind() };
    let is_spaced = args.scheduler.is_some() || named_schedule.is_some();
    let convention = args.compat.or(own.convention.filter(|_| is_own && !is_spaced));
    let mut settings = own;
    (settings.width, settings.height) = (args.width, args.height);
    settings.steps = args.steps.unwrap_or(settings.steps);
    settings.guidance = args.cfg_scale.unwrap_or(settings.guidance);
    settings.guidance_rescale = args.cfg_rescale;
    settings.guidance_end = args.cfg_end;
    settings.cache_interval = args.cache;
    settings.sampler = sampler;
    settings.schedule = args.scheduler.or(named_schedule).unwrap_or(usual);
    settings.convention = convention;
    settings.rng = args.rng;
    settings.seeds = Vec::new();
    settings.clip_skip = args.clip_skip;
    settings.sizes = sdxl.sizes();
    args.numbers.apply(settings)
}

/// A seed of 32 bits, as the webui draws them, from the clock and the process.
pub(crate) fn random_seed() -> u64 {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_nanos() as u64);
    // One round of SplitMix64 spreads the bits.
    let mut z = time ^ (u64::from(std::process::id()) << 40);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (z ^ (z >> 31)) & 0xFFFF_FFFF
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Args, Command};
    use clap::Parser;
    use latent_diffusion::loader::Checkpoint;
    use latent_diffusion::schedule::{Convention, ScheduleKind};
    use std::sync::Arc;

    /// The demo model under another name, which tells what it was made for.
    fn of(label: &str, flags: &[&str]) -> Settings {
        let checkpoint = Arc::new(Checkpoint::from_bytes(label, latent_demo::DEMO.unwrap()).unwrap());
        let line = ["latent", "txt2img", "a"].iter().chain(flags);
        let Ok(Args { command: Command::Txt2img(args) }) = Args::try_parse_from(line) else {
            panic!("{flags:?}")
        };
        settings(&args.drawing.sampling, &args.drawing.sdxl, &Model::detect(&checkpoint).unwrap())
    }

    #[test]
    fn a_model_for_few_steps_is_drawn_so_unless_flags_say_otherwise() {
        let told = |s: Settings| (s.steps, s.guidance, s.sampler.name(), s.schedule, s.convention);
        let usual = (20, 7.0, "dpm++2m", ScheduleKind::Karras, None);
        assert_eq!(told(of("demo.safetensors", &[])), usual);
        let turbo = (4, 1.0, "euler_a", ScheduleKind::Trailing, Some(Convention::Diffusers));
        assert_eq!(told(of("demo_turbo.safetensors", &[])), turbo);
        let lightning = (8, 1.0, "euler", ScheduleKind::Trailing, Some(Convention::Diffusers));
        assert_eq!(told(of("demo_lightning_8step.safetensors", &[])), lightning);
        let flags = ["--steps", "2", "--cfg-scale", "3", "--sampler", "dpm++2m"];
        assert_eq!(
            told(of("demo_turbo.safetensors", &flags)),
            (2, 3.0, "dpm++2m", ScheduleKind::Karras, None)
        );
        let webui = (4, 1.0, "euler_a", ScheduleKind::Normal, Some(Convention::KDiffusion));
        assert_eq!(told(of("demo_turbo.safetensors", &["--compat", "webui"])), webui);
        let karras = (4, 1.0, "euler_a", ScheduleKind::Karras, None);
        assert_eq!(told(of("demo_turbo.safetensors", &["--scheduler", "karras"])), karras);
    }

    #[test]
    fn sizes_are_told() {
        let flags = ["--original-size", "640x480", "--crop", "1,2", "--target-size", "800x600"];
        let sizes = of("demo.safetensors", &flags).sizes;
        assert_eq!((sizes.original, sizes.crop, sizes.target), (Some([480, 640]), [2, 1], Some([600, 800])));
    }
}
