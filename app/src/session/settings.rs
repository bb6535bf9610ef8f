//! A job's options as settings of a run.

use crate::job::Job;
use latent_diffusion::Settings;
use latent_diffusion::families::Model;
use latent_diffusion::schedule::{Churn, Convention, NoiseModel};

/// The settings of a job, without seeds. What is not given is what the model was made for.
pub(super) fn settings(job: &Job, model: &Model) -> Settings {
    let given = &job.sampling;
    let own = Settings::of(model);
    let (sampler, named_schedule) =
        given.sampler.map_or((own.sampler, None), |choice| (choice.sampler, choice.schedule));
    // The model's own spacing belongs to its own sampler and convention.
    let is_own = given.sampler.is_none() && (given.compat.is_none() || given.compat == own.convention);
    // The samplers' own are for Stable Diffusion's levels: karras has most of a flow's steps where nothing is left to draw.
    let is_flow = matches!(model.noise_model(), NoiseModel::FlowMatching(_));
    let usual = if is_own || is_flow { own.schedule } else { sampler.default_kind() };
    let is_spaced = given.scheduler.is_some() || named_schedule.is_some();
    let convention = given.compat.or(own.convention.filter(|_| is_own && !is_spaced));
    let mut settings = own;
    (settings.width, settings.height) = (given.width, given.height);
    settings.steps = given.steps.unwrap_or(settings.steps);
    // Nothing guides beside a scale that is an input, unless that is asked for.
    let own_guidance = if given.guidance.is_some() { 1.0 } else { settings.guidance };
    settings.guidance = given.cfg_scale.unwrap_or(own_guidance);
    settings.distilled_guidance = given.guidance;
    settings.guidance_rescale = given.cfg_rescale.unwrap_or(0.0);
    settings.guidance_end = given.cfg_end.unwrap_or(1.0);
    settings.pag_scale = given.pag_scale.unwrap_or(0.0);
    settings.slg_scale = given.slg_scale.unwrap_or(0.0);
    settings.slg_layers.clone_from(&given.slg_layers);
    settings.slg_start = given.slg_start.unwrap_or(settings.slg_start);
    settings.slg_end = given.slg_end.unwrap_or(settings.slg_end);
    settings.variation_strength = given.variation_strength.unwrap_or(0.0);
    settings.cache_interval = given.cache.unwrap_or(1);
    settings.token_merging = given.tome.unwrap_or(0.0);
    settings.sampler = sampler;
    settings.schedule = given.scheduler.or(named_schedule).unwrap_or(usual);
    settings.convention = convention;
    settings.rng = given.rng.unwrap_or(settings.rng);
    settings.seeds = Vec::new();
    settings.clip_skip = given.clip_skip.unwrap_or(1);
    settings.sizes = job.sdxl.conditioning();
    settings.eta = given.eta;
    settings.churn = Churn { amount: given.s_churn.unwrap_or(0.0), noise: given.s_noise.unwrap_or(1.0) };
    settings.rho = given.rho;
    settings.shift = given.shift;
    if !given.sigmas.is_empty() {
        settings.steps = given.sigmas.iter().filter(|sigma| **sigma != 0.0).count();
        settings.convention = Some(Convention::KDiffusion);
        settings.sigmas = Some(given.sigmas.clone());
    }
    settings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Job;
    use latent_diffusion::loader::Checkpoint;
    use latent_diffusion::schedule::ScheduleKind;
    use std::sync::Arc;

    /// The demo model under another name, which says what it was made for.
    fn of(label: &str, options: &[(&str, &str)]) -> Settings {
        let demo = include_bytes!("../../../assets/demo.safetensors");
        let checkpoint = Arc::new(Checkpoint::from_bytes(label, &demo[..]).unwrap());
        let mut job = Job::txt2img("a");
        options.iter().for_each(|(name, value)| job.set(name, &[value]).unwrap());
        settings(&job, &Model::detect(&checkpoint).unwrap())
    }

    #[test]
    fn a_model_for_few_steps_is_drawn_so_unless_options_say_otherwise() {
        let used = |s: Settings| (s.steps, s.guidance, s.sampler.name(), s.schedule, s.convention);
        let usual = (20, 7.0, "dpm++2m", ScheduleKind::Karras, None);
        assert_eq!(used(of("demo.safetensors", &[])), usual);
        let turbo = (4, 1.0, "euler_a", ScheduleKind::Trailing, Some(Convention::Diffusers));
        assert_eq!(used(of("demo_turbo.safetensors", &[])), turbo);
        let lightning = (8, 1.0, "euler", ScheduleKind::Trailing, Some(Convention::Diffusers));
        assert_eq!(used(of("demo_lightning_8step.safetensors", &[])), lightning);
        let options = [("steps", "2"), ("cfg-scale", "3"), ("sampler", "dpm++2m")];
        assert_eq!(
            used(of("demo_turbo.safetensors", &options)),
            (2, 3.0, "dpm++2m", ScheduleKind::Karras, None)
        );
        let webui = (4, 1.0, "euler_a", ScheduleKind::Normal, Some(Convention::KDiffusion));
        assert_eq!(used(of("demo_turbo.safetensors", &[("compat", "webui")])), webui);
        let karras = (4, 1.0, "euler_a", ScheduleKind::Karras, None);
        assert_eq!(used(of("demo_turbo.safetensors", &[("scheduler", "karras")])), karras);
    }

    #[test]
    fn sizes_have_heights_before_widths() {
        let options = [("original-size", "640x480"), ("crop", "1,2"), ("target-size", "800x600")];
        let sizes = of("demo.safetensors", &options).sizes;
        assert_eq!((sizes.original, sizes.crop, sizes.target), (Some([480, 640]), [2, 1], Some([600, 800])));
    }
}
