//! Samplers of flow matching models: x = (1 - sigma) x0 + sigma n.

use super::tests::{SamplerRun, latents, mapped, run_batch};
use super::*;
use crate::rng::{Noise, PerImage, RngKind};
use crate::schedule::{Churn, FlowMatching, NoiseLevel, NoiseModel, Schedule};
use latent_tensor::Tensor;
use std::ops::ControlFlow;

/// The exact model of images whose every value is normal with that mean and deviation.
#[derive(Clone, Copy)]
struct Gaussian {
    mean: f64,
    deviation: f64,
}

impl Gaussian {
    /// Where the deterministic path that is at `x` at the level `from` is at the level `to`.
    fn path(self, x: f64, from: f64, to: f64) -> f64 {
        let spread = |sigma: f64| (self.deviation * (1.0 - sigma)).hypot(sigma);
        (1.0 - to) * self.mean + (x - (1.0 - from) * self.mean) * spread(to) / spread(from)
    }
}

impl Denoiser for Gaussian {
    fn denoise(&mut self, x: &Tensor, level: NoiseLevel) -> Result<Tensor, SampleError> {
        assert!((level.timestep - 1000.0 * level.sigma).abs() < 1e-9 && level.sigma <= 1.0, "{level:?}");
        let (data, noise, signal) = (self.deviation.powi(2), level.sigma.powi(2), 1.0 - level.sigma);
        let total = data * signal * signal + noise;
        Ok(mapped(x, |x| (data * signal * x + noise * self.mean) / total))
    }
}

/// A flow along a straight line: the velocity is the same everywhere.
struct Straight(f64);

impl Denoiser for Straight {
    fn denoise(&mut self, x: &Tensor, level: NoiseLevel) -> Result<Tensor, SampleError> {
        Ok(mapped(x, |x| x - level.sigma * self.0))
    }
}

fn flow(shift: f64) -> NoiseModel {
    NoiseModel::FlowMatching(FlowMatching::new(shift).unwrap())
}

/// Levels from pure noise down, evenly spaced before the shift.
fn even(shift: f64, steps: usize) -> Schedule {
    let model = FlowMatching::new(shift).unwrap();
    let sigmas: Vec<f64> = (0..steps).map(|i| model.shifted(1.0 - i as f64 / steps as f64)).collect();
    Schedule::from_sigmas(&flow(shift), &sigmas).unwrap()
}

/// Levels even in the logarithm of noise to signal.
fn exponential(steps: usize) -> Schedule {
    let (low, high) = (0.03_f64.ln(), 14.6_f64.ln());
    let ratio = |i: usize| (high + (low - high) * i as f64 / (steps - 1) as f64).exp();
    let sigmas: Vec<f64> = (0..steps).map(|i| ratio(i) / (1.0 + ratio(i))).collect();
    Schedule::from_sigmas(&flow(1.0), &sigmas).unwrap()
}

fn noise() -> Box<dyn Noise + Send> {
    RngKind::Cuda.generator(1)
}

/// Samplers that work with flows at all.
fn all() -> impl Iterator<Item = &'static dyn Sampler> {
    ALL.iter().copied().filter(|sampler| sampler.flow_matching() != FlowMatchingSupport::None)
}

fn is_any(sampler: &dyn Sampler, names: &[&str]) -> bool {
    names.contains(&sampler.name())
}

/// Runs from unit noise `x` to the end, and gives sigma and latents after each step ([`SamplerRun`]).
fn run(
    sampler: &dyn Sampler,
    schedule: &Schedule,
    model: &mut dyn Denoiser,
    noise: &mut dyn Noise,
    eta: Option<f64>,
    x: Vec<f32>,
) -> Result<SamplerRun, SampleError> {
    run_batch(sampler, schedule, model, noise, eta, (1, x))
}

#[test]
fn a_single_possible_image_is_found_in_a_flow_by_all() {
    for sampler in all() {
        for schedule in [even(3.0, 7), even(1.0, 1), exponential(24), even(3.0, 24)] {
            let (steps, mut model) = (schedule.steps(), Gaussian { mean: 0.75, deviation: 0.0 });
            let (got, seen) =
                run(sampler, &schedule, &mut model, &mut *noise(), None, vec![1.0, -2.0]).unwrap();
            // These end at the last level.
            let ends_early = is_any(sampler, &["dpm_fast", "dpm_adaptive"]) && steps > 1;
            let left = if ends_early { schedule.levels()[steps - 1].sigma } else { 0.0 };
            let slack = 1e-5 + 4.0 * left;
            let name = sampler.name();
            assert!(got.iter().all(|x| (f64::from(*x) - 0.75).abs() < slack), "{name} {steps}: {got:?}");
            assert!(ends_early || seen.len() == steps, "{name}");
        }
    }
}

/// Rectified flow: whatever is straight takes one step.
#[test]
fn a_straight_flow_is_exact_in_one_step_of_every_sampler_without_noise() {
    for sampler in all() {
        let x0 = |n: f32| 0.4 * f64::from(n) - 0.7;
        for (schedule, slack) in [(even(1.0, 1), 1e-6), (even(3.0, 1), 1e-6), (even(3.0, 5), 3e-4)] {
            // LCM draws noise, two end at the last level, and the weights of two do not add up to 1 on uneven levels.
            let others = ["lcm", "dpm_fast", "dpm_adaptive", "ipndm_v", "dpm++2mv2"];
            if schedule.steps() > 1 && is_any(sampler, &others) {
                continue;
            }
            let n = 1.5_f32;
            let mut model = Straight(f64::from(n) - x0(n));
            let (got, seen) = run(sampler, &schedule, &mut model, &mut *noise(), Some(0.0), vec![n]).unwrap();
            let off = (f64::from(got[0]) - x0(n)).abs();
            assert!(off < slack, "{} {}: {off}", sampler.name(), schedule.steps());
            for (sigma, latents) in seen {
                let off = (f64::from(latents[0]) - (1.0 - sigma) * x0(n) - sigma * f64::from(n)).abs();
                assert!(off < slack, "{} at {sigma}: {off}", sampler.name());
            }
        }
    }
}

/// The error against the exact path at the last level above 0.
fn error_at(sampler: &dyn Sampler, steps: usize) -> f64 {
    let (schedule, exact) = (exponential(steps), Gaussian { mean: 0.3, deviation: 0.5 });
    let first = schedule.levels()[0].sigma;
    let (_, seen) = run(sampler, &schedule, &mut exact.clone(), &mut *noise(), Some(0.0), vec![1.0]).unwrap();
    let (sigma, latents) = &seen[steps - 2];
    assert!((sigma - schedule.levels()[steps - 1].sigma).abs() < 1e-12, "{}", sampler.name());
    (f64::from(latents[0]) - exact.path(first, first, *sigma)).abs()
}

#[test]
fn errors_in_a_flow_fall_with_the_order_of_the_method() {
    let others = ["lcm", "restart", "dpm_fast", "dpm_adaptive"];
    for sampler in all().filter(|sampler| !is_any(*sampler, &others)) {
        let order = match sampler.name() {
            "euler" | "euler_a" | "ddim" | "euler_cfg++" | "euler_a_cfg++" | "heun++2" => 1,
            // Its steps are even in the logarithm of sigma alone.
            "dpm++2mv2" => 1,
            "unipc" | "lms" => 3,
            _ => 2,
        };
        let (coarse, fine) = (error_at(sampler, 41), error_at(sampler, 81));
        let ratio = coarse / fine;
        assert!(ratio > f64::from(1 << order) * 0.8, "{}: {coarse} {fine} {ratio}", sampler.name());
    }
}

/// The error of the result, of solvers that end at the last level.
#[test]
fn solvers_with_steps_of_their_own_are_precise_in_a_flow() {
    let error = |sampler: &dyn Sampler, steps: usize| {
        let (schedule, exact) = (even(3.0, steps), Gaussian { mean: 0.3, deviation: 0.5 });
        let last = schedule.levels()[steps - 1].sigma;
        let (got, _) = run(sampler, &schedule, &mut exact.clone(), &mut *noise(), None, vec![1.0]).unwrap();
        (f64::from(got[0]) - exact.path(1.0, 1.0, last)).abs()
    };
    assert!(error(&DpmFast, 30) < error(&DpmFast, 15) / 6.0);
    assert!(error(&DpmAdaptive, 20) < 0.02);
}

/// Mean and deviation of what a sampler makes of images of mean 0.3 and deviation 0.5.
fn result(sampler: &dyn Sampler, schedule: &Schedule, eta: Option<f64>) -> (f64, f64) {
    let mut start = vec![0.0; 1 << 13];
    RngKind::Cuda.generator(2).normal(&mut start);
    let mut model = Gaussian { mean: 0.3, deviation: 0.5 };
    let (got, _) = run(sampler, schedule, &mut model, &mut *noise(), eta, start).unwrap();
    let n = got.len() as f64;
    let mean = got.iter().copied().map(f64::from).sum::<f64>() / n;
    let deviation = (got.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / n).sqrt();
    (mean, deviation)
}

fn assert_kept((mean, deviation): (f64, f64), what: &str) {
    assert!((mean - 0.3).abs() < 0.025 && (deviation - 0.5).abs() < 0.035, "{what} {mean} {deviation}");
}

/// With noise the results have the spread of the images, whatever the path.
#[test]
fn noise_that_is_added_in_a_flow_keeps_the_distribution() {
    for name in [
        "euler_a",
        "dpm2_a",
        "dpm++2s_a",
        "dpm++2m_sde",
        "dpm++2m_sde_heun",
        "dpm++3m_sde",
        "dpm++_sde",
        "er_sde",
        "euler_a_cfg++",
    ] {
        let sampler = parse(name).unwrap().0;
        for eta in [0.4, 1.0] {
            assert_kept(result(sampler, &exponential(100), Some(eta)), &format!("{name} {eta}"));
        }
    }
    // Two restarts of Heun's method.
    assert_kept(result(&Restart, &exponential(60), None), "restart");
}

#[test]
fn churn_in_a_flow_keeps_the_distribution_and_its_strength_counts() {
    for name in ["euler", "heun", "dpm2"] {
        let sampler = parse(name).unwrap().0;
        let plain = exponential(100);
        let churned = |noise| plain.clone().with_churn(Churn { amount: 10.0, noise });
        let kept = result(sampler, &churned(1.0), None);
        assert_kept(kept, name);
        assert!(result(sampler, &churned(1.1), None).1 > kept.1 + 0.01, "{name}");
        assert_ne!(result(sampler, &plain, None), kept);
    }
    let weak = even(3.0, 30).with_churn(Churn { amount: 0.0, noise: 0.9 });
    for sampler in [&EulerA as &dyn Sampler, &Dpmpp2mSde] {
        let strong = result(sampler, &even(3.0, 30), None).1;
        assert!(result(sampler, &weak, None).1 < strong - 0.02, "{}", sampler.name());
    }
}

/// As diffusers' stochastic sampling: the estimate with fresh noise, in the parts of the next level.
#[test]
fn lcm_begins_each_step_of_a_flow_anew() {
    let mut start = vec![0.0; 1 << 13];
    RngKind::Cuda.generator(2).normal(&mut start);
    let mut model = Gaussian { mean: 0.75, deviation: 0.0 };
    let (_, seen) = run(&Lcm, &even(3.0, 4), &mut model, &mut *noise(), None, start).unwrap();
    for (sigma, latents) in seen {
        let (n, mean) = (latents.len() as f64, 0.75 * (1.0 - sigma));
        let off: f64 = latents.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / n;
        assert!((off.sqrt() - sigma).abs() < 0.03 * sigma + 1e-5, "{sigma} {off}");
    }
}

#[test]
fn an_image_of_a_flow_batch_equals_the_image_alone() {
    for sampler in all().filter(|sampler| !sampler.draws_alone()) {
        let eta = if sampler.flow_matching() == FlowMatchingSupport::Full { 0.7 } else { 0.0 };
        let draw = |seeds: &[u64]| {
            let mut noise = PerImage::seeded(RngKind::Cpu, seeds.iter().copied());
            let mut x = vec![0.0; 48 * seeds.len()];
            noise.normal(&mut x);
            let mut model = Gaussian { mean: 0.1, deviation: 0.9 };
            run_batch(sampler, &even(3.0, 6), &mut model, &mut noise, Some(eta), (seeds.len(), x)).unwrap().0
        };
        assert_eq!(draw(&[3, 4])[48..], draw(&[4]), "{}", sampler.name());
    }
}

#[test]
fn the_caller_can_cancel_a_flow_and_change_its_latents() {
    for sampler in all() {
        let (schedule, mut x) = (even(3.0, 5), latents(1, &[1.0; 3]));
        let mut model = Gaussian { mean: 0.0, deviation: 1.0 };
        let mut on_step = |step: SamplerStep<'_>| {
            step.latents.f32s_mut().unwrap()[1] = 7.0;
            if step.index >= 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let noise = &mut *noise();
        let result = sampler.sample(&mut SamplingRun {
            x: &mut x,
            schedule: &schedule,
            model: &mut model,
            noise,
            eta: None,
            on_step: &mut on_step,
        });
        let kept = x.f32s().unwrap()[1];
        assert!(matches!(result, Err(SampleError::Cancelled)) && kept == 7.0, "{}", sampler.name());
    }
}

struct NotANumber;

impl Denoiser for NotANumber {
    fn denoise(&mut self, x: &Tensor, _: NoiseLevel) -> Result<Tensor, SampleError> {
        Ok(mapped(x, |_| f64::NAN))
    }
}

#[test]
fn failures_in_a_flow_name_its_levels() {
    for sampler in all() {
        let got = run(sampler, &even(3.0, 4), &mut NotANumber, &mut *noise(), None, vec![1.0; 2]);
        let message = got.unwrap_err().to_string();
        assert!(message.contains("step 1 of 4 (time step 1000.0, sigma 1.0000)"), "{message}");
    }
}

#[test]
fn every_schedule_of_a_flow_gives_finite_latents() {
    for sampler in all() {
        for kind in ScheduleKind::ALL {
            for (steps, shift) in [(1, 1.0), (2, 3.0), (3, 0.3), (7, 12.0), (50, 3.0), (1000, 3.0)] {
                let made = Schedule::new(
                    &flow(shift),
                    Convention::KDiffusion,
                    *kind,
                    sampler.discretization(),
                    steps,
                );
                // Levels that were made for Stable Diffusion are above 1.
                let Ok(schedule) = made else { continue };
                if schedule.levels()[0].sigma > 1.0 {
                    continue;
                }
                let mut model = Gaussian { mean: 0.2, deviation: 0.5 };
                let (got, _) = run(sampler, &schedule, &mut model, &mut *noise(), None, vec![1.0]).unwrap();
                // As for other models: two levels that far apart are too much for some, but for none without end.
                assert!(got[0].abs() < 50.0, "{} {kind:?} {steps}: {got:?}", sampler.name());
            }
        }
    }
}
