//! Flags as settings of a run.

use crate::args::SamplingArgs;
use latent_diffusion::Settings;
use latent_diffusion::schedule::Kind;
use std::time::{SystemTime, UNIX_EPOCH};

/// The settings of flags, without seeds.
pub(super) fn settings(args: &SamplingArgs) -> Settings {
    let (sampler, named_schedule) = args.sampler;
    let usual = if sampler.name() == "dpm++2m" { Kind::Karras } else { Kind::Normal };
    Settings {
        width: args.width,
        height: args.height,
        steps: args.steps,
        guidance: args.cfg_scale,
        sampler,
        schedule: args.scheduler.or(named_schedule).unwrap_or(usual),
        form: args.compat,
        rng: args.rng,
        eta: None,
        seeds: Vec::new(),
        clip_skip: args.clip_skip,
        ..Settings::default()
    }
}

/// A seed of 32 bits, as the webui draws them, from the clock and the process.
pub(super) fn random_seed() -> u64 {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_nanos() as u64);
    // One round of SplitMix64 spreads the bits.
    let mut z = time ^ (u64::from(std::process::id()) << 40);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (z ^ (z >> 31)) & 0xFFFF_FFFF
}
