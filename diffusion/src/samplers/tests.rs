use super::*;
use crate::rng::{Noise, PerImage, RngKind};
use crate::schedule::{Churn, NoiseLevel, NoiseModel, Schedule};
use latent_tensor::Tensor;
use std::ops::ControlFlow;

/// The exact model of images whose every value is normal with that mean and deviation.
struct Gaussian {
    mean: f64,
    deviation: f64,
    calls: usize,
}

impl Gaussian {
    fn new(mean: f64, deviation: f64) -> Self {
        Self { mean, deviation, calls: 0 }
    }

    /// Where the deterministic path that is at `x` at noise level `from` is at level `to`.
    fn path(&self, x: f64, from: f64, to: f64) -> f64 {
        let spread = |sigma: f64| self.deviation.hypot(sigma);
        self.mean + (x - self.mean) * spread(to) / spread(from)
    }
}

impl Denoiser for Gaussian {
    fn denoise(&mut self, x: &Tensor, level: NoiseLevel) -> Result<Tensor, SampleError> {
        self.calls += 1;
        let (data, noise) = (self.deviation.powi(2), level.sigma.powi(2));
        Ok(mapped(x, |x| (data * x + noise * self.mean) / (data + noise)))
    }
}

/// Latents of some images, each a row of values.
pub(super) fn latents(images: usize, values: &[f32]) -> Tensor {
    Tensor::from_f32(&[images, 1, values.len() / images, 1], values).unwrap()
}

/// Latents with each value replaced by a function of it.
pub(super) fn mapped(x: &Tensor, value: impl Fn(f64) -> f64) -> Tensor {
    let values: Vec<f32> = x.f32s().unwrap().iter().map(|x| value(f64::from(*x)) as f32).collect();
    Tensor::from_f32(x.dims(), &values).unwrap()
}

fn first(x: &Tensor) -> f64 {
    f64::from(x.f32s().unwrap()[0])
}

fn schedule(sampler: &dyn Sampler, convention: Convention, kind: ScheduleKind, steps: usize) -> Schedule {
    Schedule::new(&NoiseModel::scaled_linear(), convention, kind, sampler.discretization(), steps).unwrap()
}

/// Runs from unit noise `x` to the end.
fn run(
    sampler: &dyn Sampler,
    schedule: &Schedule,
    model: &mut dyn Denoiser,
    noise: &mut dyn Noise,
    eta: Option<f64>,
    x: Vec<f32>,
) -> Result<Vec<f32>, SampleError> {
    Ok(run_batch(sampler, schedule, model, noise, eta, (1, x))?.0)
}

/// Latents at the end of a run; sigma and latents after each step.
pub(super) type SamplerRun = (Vec<f32>, Vec<(f64, Vec<f32>)>);

/// As [`run`], for a number of images, and with each step.
pub(super) fn run_batch(
    sampler: &dyn Sampler,
    schedule: &Schedule,
    model: &mut dyn Denoiser,
    noise: &mut dyn Noise,
    eta: Option<f64>,
    (images, mut x): (usize, Vec<f32>),
) -> Result<SamplerRun, SampleError> {
    schedule.scale_noise(&mut x);
    let mut x = latents(images, &x);
    let mut seen = Vec::new();
    let mut on_step = |step: SamplerStep<'_>| {
        seen.push((step.sigma, step.latents.f32s().unwrap().to_vec()));
        ControlFlow::Continue(())
    };
    sampler.sample(&mut SamplingRun { x: &mut x, schedule, model, noise, eta, on_step: &mut on_step })?;
    Ok((x.f32s().unwrap().to_vec(), seen))
}

fn noise() -> Box<dyn Noise + Send> {
    RngKind::Cuda.generator(1)
}

#[test]
fn a_single_possible_image_is_found_by_all() {
    for sampler in ALL {
        for (convention, kind) in
            [(Convention::KDiffusion, ScheduleKind::Karras), (Convention::Diffusers, ScheduleKind::Normal)]
        {
            let schedule = schedule(*sampler, convention, kind, 7);
            let mut model = Gaussian::new(0.75, 0.0);
            let got = run(*sampler, &schedule, &mut model, &mut *noise(), None, vec![1.0, -2.0]).unwrap();
            // What remains of the noise where the schedule ends above 0, as variance-preserving latents.
            let mut left = schedule.targets()[6];
            if ["lcm", "dpm_fast", "dpm_adaptive"].contains(&sampler.name()) {
                // At time step 0 a consistency model has nothing to do, and these solvers end at the last level.
                left = schedule.levels()[6].sigma;
            }
            let slack = 1e-5 + 4.0 * left;
            assert!(got.iter().all(|x| (f64::from(*x) - 0.75).abs() < slack), "{} {got:?}", sampler.name());
            // PLMS takes one evaluation more; the last step of those with two takes one.
            let most = 7 * sampler.evaluations() + usize::from(sampler.name() == "plms");
            let is_free = sampler.draws_alone();
            assert!(is_free || (7..=most).contains(&model.calls), "{} {}", sampler.name(), model.calls);
        }
    }
}

/// The error against the exact path at the last level above 0, on an exponential schedule.
fn error_at(sampler: &dyn Sampler, steps: usize) -> f64 {
    let schedule = schedule(sampler, Convention::KDiffusion, ScheduleKind::Exponential, steps);
    let mut model = Gaussian::new(0.3, 0.5);
    let level = schedule.levels()[0].sigma;
    let mut x = latents(1, &[level as f32]);
    let mut seen = (0.0, 0.0);
    let exact = Gaussian::new(0.3, 0.5);
    let mut on_step = |step: SamplerStep<'_>| {
        if step.index + 2 == step.total {
            let want = exact.path(level, level, step.sigma);
            seen = (step.sigma, first(step.latents) - want);
        }
        ControlFlow::Continue(())
    };
    let (schedule, noise) = (&schedule, &mut *noise());
    let mut run =
        SamplingRun { x: &mut x, schedule, model: &mut model, noise, eta: Some(0.0), on_step: &mut on_step };
    sampler.sample(&mut run).unwrap();
    assert!((seen.0 - NoiseModel::scaled_linear().sigma_range().0).abs() < 1e-9);
    seen.1.abs()
}

#[test]
fn errors_fall_with_the_order_of_the_method() {
    // LCM is not a solver: each of its steps begins anew. Restart adds noise, and the steps of the last two are their own.
    let others = ["lcm", "restart", "dpm_fast", "dpm_adaptive"];
    for sampler in ALL.iter().filter(|sampler| !others.contains(&sampler.name())) {
        let order = match sampler.name() {
            "euler" | "euler_a" | "ddim" | "ddpm" | "tcd" | "euler_cfg++" | "euler_a_cfg++" | "heun++2" => 1,
            // The third order of DPM++ 3M stops at the error of its first step, which is of the first order.
            "unipc" | "lms" => 3,
            _ => 2,
        };
        let (coarse, fine) = (error_at(*sampler, 41), error_at(*sampler, 81));
        let ratio = coarse / fine;
        let want = f64::from(1 << order);
        assert!(ratio > want * 0.8, "{}: {coarse} {fine} {ratio}", sampler.name());
    }
}

/// With all the noise of the forward process the results have the spread of the images, whatever the path.
#[test]
fn added_noise_keeps_the_distribution() {
    let noisy =
        ["euler_a", "dpm2_a", "dpm++2s_a", "dpm++2m_sde", "dpm++2m_sde_heun", "dpm++3m_sde", "dpm++_sde"];
    for name in noisy.into_iter().chain(["ddim", "ddpm", "er_sde", "tcd"]) {
        let sampler = parse(name).unwrap().0;
        let schedule = schedule(sampler, Convention::KDiffusion, ScheduleKind::Exponential, 100);
        let (mean, deviation) = result(sampler, &schedule, Some(if name == "tcd" { 0.1 } else { 1.0 }));
        assert!((mean - 0.3).abs() < 0.02 && (deviation - 0.5).abs() < 0.03, "{name} {mean} {deviation}");
    }
}

/// Mean and deviation of what a sampler makes of images of mean 0.3 and deviation 0.5.
fn result(sampler: &dyn Sampler, schedule: &Schedule, eta: Option<f64>) -> (f64, f64) {
    let mut start = vec![0.0; 1 << 14];
    RngKind::Cuda.generator(2).normal(&mut start);
    let mut model = Gaussian::new(0.3, 0.5);
    let got = run(sampler, schedule, &mut model, &mut *noise(), eta, start).unwrap();
    let n = got.len() as f64;
    let mean = got.iter().copied().map(f64::from).sum::<f64>() / n;
    let deviation = (got.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / n).sqrt();
    (mean, deviation)
}

/// Karras' churn goes up a level and down again, which leaves the distribution as it is.
#[test]
fn churned_noise_keeps_the_distribution_and_its_strength_counts() {
    for name in ["euler", "heun", "dpm2"] {
        let sampler = parse(name).unwrap().0;
        let plain = schedule(sampler, Convention::KDiffusion, ScheduleKind::Karras, 100);
        let churned = |noise| plain.clone().with_churn(Churn { amount: 10.0, noise });
        let (mean, deviation) = result(sampler, &churned(1.0), None);
        assert!((mean - 0.3).abs() < 0.02 && (deviation - 0.5).abs() < 0.03, "{name} {mean} {deviation}");
        let strong = result(sampler, &churned(1.1), None).1;
        assert!(strong > deviation + 0.01, "{name} {strong}");
        assert_ne!(result(sampler, &plain, None), (mean, deviation));
    }
    let ancestral = schedule(&EulerA, Convention::KDiffusion, ScheduleKind::Karras, 30);
    let weak = ancestral.clone().with_churn(Churn { amount: 0.0, noise: 0.9 });
    assert!(result(&EulerA, &weak, None).1 < result(&EulerA, &ancestral, None).1 - 0.02);
}

/// Where levels are even, the formulas of Adams and Bashforth have their full order.
#[test]
fn multistep_formulas_reach_their_order_on_even_levels() {
    let error = |sampler: &dyn Sampler, steps: i32| {
        let sigmas: Vec<f64> = (0..=steps).map(|i| 8.0 - 6.0 * f64::from(i) / f64::from(steps)).collect();
        let schedule = Schedule::from_sigmas(&NoiseModel::scaled_linear(), &sigmas).unwrap();
        let mut seen = 0.0;
        let mut on_step = |step: SamplerStep<'_>| {
            if step.index + 2 == step.total {
                seen = first(step.latents);
            }
            ControlFlow::Continue(())
        };
        let (model, noise) = (&mut Gaussian::new(0.3, 2.0), &mut *noise());
        let mut x = latents(1, &[100.0]);
        let mut run =
            SamplingRun { x: &mut x, schedule: &schedule, model, noise, eta: None, on_step: &mut on_step };
        sampler.sample(&mut run).unwrap();
        (seen - Gaussian::new(0.3, 2.0).path(100.0, 8.0, 2.0)).abs()
    };
    for sampler in [&Lms::USUAL as &dyn Sampler, &Ipndm] {
        // From orders below the fourth in the first steps comes an error of their own.
        let ratio = error(sampler, 8) / error(sampler, 16);
        assert!(ratio > 3.0, "{} {ratio}", sampler.name());
    }
    assert!(error(&Ipndm, 32) < error(&Euler, 32) / 50.0);
}

/// Each step of LCM leaves the estimate with fresh noise of the next level.
#[test]
fn lcm_begins_each_step_anew() {
    let schedule = schedule(&Lcm, Convention::Diffusers, ScheduleKind::Normal, 4);
    let mut x = vec![0.0; 1 << 14];
    RngKind::Cuda.generator(2).normal(&mut x);
    schedule.scale_noise(&mut x);
    let mut x = latents(1, &x);
    let mut on_step = |step: SamplerStep<'_>| {
        let values = step.latents.f32s().unwrap();
        let n = values.len() as f64;
        let off: f64 = values.iter().map(|x| (f64::from(*x) - 0.75).powi(2)).sum::<f64>() / n;
        assert!((off.sqrt() - step.sigma).abs() < 0.03 * step.sigma + 1e-4, "{} {off}", step.sigma);
        ControlFlow::Continue(())
    };
    let (model, noise) = (&mut Gaussian::new(0.75, 0.0), &mut *noise());
    let mut run =
        SamplingRun { x: &mut x, schedule: &schedule, model, noise, eta: None, on_step: &mut on_step };
    Lcm.sample(&mut run).unwrap();
}

#[test]
fn eta_defaults_to_each_samplers_own() {
    let usual = |name: &str| match name {
        "ddim" => 0.0,
        "tcd" => 0.3,
        _ => 1.0,
    };
    let noisy = [
        "euler_a",
        "dpm2_a",
        "dpm++2s_a",
        "dpm++2m_sde",
        "dpm++3m_sde",
        "dpm++_sde",
        "ddim",
        "ddpm",
        "tcd",
        "er_sde",
    ];
    for name in noisy {
        let (sampler, default) = (parse(name).unwrap().0, usual(name));
        let other = 1.0 - default;
        let schedule = schedule(sampler, Convention::KDiffusion, ScheduleKind::Normal, 5);
        let result = |eta| {
            run(sampler, &schedule, &mut Gaussian::new(0.0, 0.5), &mut *noise(), eta, vec![1.0; 4]).unwrap()
        };
        assert_eq!(result(None), result(Some(default)), "{name}");
        assert_ne!(result(None), result(Some(other)), "{name}");
    }
}

#[test]
fn a_image_of_a_batch_equals_the_image_alone() {
    for sampler in ALL.iter().filter(|sampler| !sampler.draws_alone()) {
        let schedule = schedule(*sampler, Convention::KDiffusion, ScheduleKind::Karras, 6);
        let draw = |seeds: &[u64]| {
            let mut noise = PerImage::seeded(RngKind::Cpu, seeds.iter().copied());
            let mut x = vec![0.0; 48 * seeds.len()];
            noise.normal(&mut x);
            let mut model = Gaussian::new(0.1, 0.9);
            run_batch(*sampler, &schedule, &mut model, &mut noise, Some(0.7), (seeds.len(), x)).unwrap().0
        };
        assert_eq!(draw(&[3, 4])[48..], draw(&[4]), "{}", sampler.name());
    }
}

#[test]
fn latents_handed_to_the_caller_have_the_level_it_is_told() {
    // With one possible image and no noise but the first, x = mean + sigma n exactly, at every level.
    let schedule = schedule(&Ddim, Convention::KDiffusion, ScheduleKind::Normal, 6);
    let mut x = [2.0];
    schedule.scale_noise(&mut x);
    let mut x = latents(1, &x);
    let mut sigmas = Vec::new();
    let mut on_step = |step: SamplerStep<'_>| {
        assert!((first(step.latents) - (0.5 + step.sigma * (2.0 - 0.5 / 14.6146))).abs() < 1e-3);
        assert_eq!((step.total, step.denoised.f32s().unwrap()), (6, &[0.5][..]));
        sigmas.push(step.sigma);
        ControlFlow::Continue(())
    };
    let (model, noise) = (&mut Gaussian::new(0.5, 0.0), &mut *noise());
    let mut run =
        SamplingRun { x: &mut x, schedule: &schedule, model, noise, eta: None, on_step: &mut on_step };
    Ddim.sample(&mut run).unwrap();
    let mut want: Vec<f64> = schedule.levels()[1..].iter().map(|level| level.sigma).collect();
    want.push(0.0);
    assert_eq!(sigmas, want);
}

/// Where DDIM's steps do not meet, the variance-preserving latents are what goes on.
#[test]
fn ddim_goes_on_with_variance_preserving_latents() {
    let schedule = schedule(&Ddim, Convention::Diffusers, ScheduleKind::Linspace, 8);
    let mut x = [1.0];
    schedule.scale_noise(&mut x);
    let mut x = latents(1, &x);
    let (start, level) = (first(&x), schedule.levels()[0].sigma);
    let target = schedule.targets()[0];
    let mut seen = None;
    let mut on_step = |step: SamplerStep<'_>| {
        seen.get_or_insert((step.sigma, first(step.latents)));
        ControlFlow::Continue(())
    };
    let (model, noise) = (&mut Gaussian::new(0.0, 0.0), &mut *noise());
    let mut run =
        SamplingRun { x: &mut x, schedule: &schedule, model, noise, eta: None, on_step: &mut on_step };
    Ddim.sample(&mut run).unwrap();
    let (sigma, x) = seen.unwrap();
    assert_eq!(sigma, schedule.levels()[1].sigma);
    let want = start * target / level / target.hypot(1.0);
    assert!((x / sigma.hypot(1.0) - want).abs() < 1e-6);
}

#[test]
fn the_caller_can_cancel_and_change_latents() {
    for sampler in ALL {
        let schedule = schedule(*sampler, Convention::KDiffusion, ScheduleKind::Normal, 5);
        let mut x = latents(1, &[1.0; 3]);
        let mut model = Gaussian::new(0.0, 1.0);
        let mut on_step = |step: SamplerStep<'_>| {
            step.latents.f32s_mut().unwrap()[1] = 7.0;
            if step.index >= 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let noise = &mut *noise();
        let mut run = SamplingRun {
            x: &mut x,
            schedule: &schedule,
            model: &mut model,
            noise,
            eta: None,
            on_step: &mut on_step,
        };
        assert!(matches!(sampler.sample(&mut run), Err(SampleError::Cancelled)), "{}", sampler.name());
        let is_free = sampler.draws_alone();
        assert!(is_free || model.calls <= 3 * sampler.evaluations() + 1, "{}", sampler.name());
        assert_eq!(x.f32s().unwrap()[1], 7.0, "{}", sampler.name());
    }
}

/// A model that fails in one of the possible ways.
enum Broken {
    Fails,
    NotANumber,
    Short,
}

impl Denoiser for Broken {
    fn denoise(&mut self, x: &Tensor, _: NoiseLevel) -> Result<Tensor, SampleError> {
        match self {
            Self::Fails => Err(SampleError::model("out of memory")),
            Self::NotANumber => Ok(mapped(x, |_| f64::NAN)),
            Self::Short => Ok(latents(1, &[0.0])),
        }
    }
}

#[test]
fn failures_of_the_model_are_reported() {
    for sampler in ALL {
        for (mut model, message) in [
            (Broken::Fails, "the model failed: out of memory"),
            (Broken::NotANumber, "step 1 of 4 (time step 999.0, sigma 14.6146)"),
            (Broken::Short, "the model gave 1 values for 2 latents"),
        ] {
            let schedule = schedule(*sampler, Convention::KDiffusion, ScheduleKind::Normal, 4);
            let got = run(*sampler, &schedule, &mut model, &mut *noise(), None, vec![1.0; 2]).unwrap_err();
            assert!(got.to_string().contains(message), "{}: {got}", sampler.name());
        }
    }
}

#[test]
fn every_number_of_steps_gives_finite_latents() {
    for sampler in ALL {
        for convention in [Convention::KDiffusion, Convention::Diffusers] {
            for kind in ScheduleKind::ALL {
                for steps in [1, 2, 3, 7, 49, 50, 600, 998, 1000] {
                    let made = Schedule::new(
                        &NoiseModel::scaled_linear(),
                        convention,
                        *kind,
                        sampler.discretization(),
                        steps,
                    );
                    let Ok(schedule) = made else { continue };
                    let mut model = Gaussian::new(0.2, 0.5);
                    let got = run(*sampler, &schedule, &mut model, &mut *noise(), None, vec![1.0]).unwrap();
                    let name = sampler.name();
                    // Two levels that far apart are too much for methods of the second order, but for none without end.
                    assert!(got[0].abs() < 50.0, "{name} {convention} {kind:?} {steps}: {got:?}");
                }
            }
        }
    }
}

/// The error of the result against the exact path, of solvers whose steps are their own, and the evaluations that it took.
fn error_of(sampler: &dyn Sampler, steps: usize) -> (f64, usize) {
    let schedule = schedule(sampler, Convention::KDiffusion, ScheduleKind::Normal, steps);
    let levels = schedule.levels();
    let (first, last) = (levels[0].sigma, levels[steps - 1].sigma);
    let mut model = Gaussian::new(0.3, 0.5);
    let got = run(sampler, &schedule, &mut model, &mut *noise(), Some(0.0), vec![1.0]).unwrap();
    let want = Gaussian::new(0.3, 0.5).path(first, first, last);
    ((f64::from(got[0]) - want).abs(), model.calls)
}

#[test]
fn solvers_with_steps_of_their_own_are_precise() {
    let [coarse, fine] = [15, 30].map(|steps| error_of(&DpmFast, steps));
    assert_eq!((coarse.1, fine.1), (15, 30));
    // Of the third order, but for the last steps.
    assert!(fine.0 < coarse.0 / 8.0, "{coarse:?} {fine:?}");
    let (error, calls) = error_of(&DpmAdaptive, 20);
    assert!(error < 0.02 && (20..200).contains(&calls), "{error} {calls}");
    assert_eq!(error_of(&DpmAdaptive, 40), (error, calls));
}

/// A restart leaves the distribution as it is.
#[test]
fn a_restart_keeps_the_distribution() {
    let schedule = schedule(&Restart, Convention::KDiffusion, ScheduleKind::Karras, 60);
    let (mean, deviation) = result(&Restart, &schedule, None);
    assert!((mean - 0.3).abs() < 0.02 && (deviation - 0.5).abs() < 0.03, "{mean} {deviation}");
}
