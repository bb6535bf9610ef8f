use super::*;
use crate::names::Named;
use proptest::prelude::*;

fn schedule(
    convention: Convention,
    kind: ScheduleKind,
    discretization: Discretization,
    steps: usize,
) -> Schedule {
    Schedule::new(&NoiseModel::scaled_linear(), convention, kind, discretization, steps).unwrap()
}

fn timesteps(schedule: &Schedule) -> Vec<f64> {
    schedule.levels().iter().map(|level| level.timestep).collect()
}

/// As many as there are time steps.
const MAX_STEPS: usize = 1000;

const DISCRETIZATIONS: [Discretization; 8] = [
    Discretization::Ddim,
    Discretization::Euler,
    Discretization::DpmSolver,
    Discretization::Dpm2,
    Discretization::Deis,
    Discretization::Ddpm,
    Discretization::Lcm,
    Discretization::Tcd,
];
const CONVENTIONS: [Convention; 2] = [Convention::KDiffusion, Convention::Diffusers];

#[test]
fn k_diffusion_runs_from_the_largest_sigma_to_the_smallest_and_then_zero() {
    let (min, max) = NoiseModel::scaled_linear().sigma_range();
    for kind in [ScheduleKind::Normal, ScheduleKind::Karras, ScheduleKind::Exponential] {
        let schedule = schedule(Convention::KDiffusion, kind, Discretization::Euler, 20);
        let levels = schedule.levels();
        assert!((levels[0].sigma - max).abs() < 1e-9 && (levels[19].sigma - min).abs() < 1e-9, "{kind:?}");
        assert!((levels[0].timestep - 999.0).abs() < 1e-9 && levels[19].timestep.abs() < 1e-9, "{kind:?}");
        assert_eq!(schedule.targets()[19], 0.0);
        assert_eq!(schedule.initial_scale(), levels[0].sigma);
    }
}

#[test]
fn diffusers_time_steps_of_eight_steps() {
    let leading = [876., 751., 626., 501., 376., 251., 126., 1.];
    let trailing = [999., 874., 749., 624., 499., 374., 249., 124.];
    for (discretization, kind, want) in [
        (Discretization::Ddim, ScheduleKind::Leading, leading),
        (Discretization::Ddim, ScheduleKind::Normal, leading),
        (Discretization::Ddim, ScheduleKind::Linspace, [999., 856., 714., 571., 428., 285., 143., 0.]),
        (Discretization::Ddim, ScheduleKind::Trailing, trailing),
        (Discretization::Euler, ScheduleKind::Leading, leading),
        (Discretization::Euler, ScheduleKind::Trailing, trailing),
        (Discretization::DpmSolver, ScheduleKind::Leading, [889., 778., 667., 556., 445., 334., 223., 112.]),
        (Discretization::DpmSolver, ScheduleKind::Linspace, [999., 874., 749., 624., 500., 375., 250., 125.]),
        (Discretization::DpmSolver, ScheduleKind::Trailing, trailing),
        (Discretization::DpmSolver, ScheduleKind::Karras, [999., 890., 746., 549., 299., 90., 12., 0.]),
        (Discretization::DpmSolver, ScheduleKind::Exponential, [998., 834., 621., 359., 133., 30., 4., 0.]),
    ] {
        assert_eq!(
            timesteps(&schedule(Convention::Diffusers, kind, discretization, 8)),
            want,
            "{discretization:?} {kind:?}"
        );
    }
    let fractions =
        timesteps(&schedule(Convention::Diffusers, ScheduleKind::Linspace, Discretization::Euler, 8));
    assert!((fractions[1] - 856.285_714).abs() < 1e-6);
}

#[test]
fn diffusers_start_scales() {
    let hypot = |s: &Schedule| s.levels()[0].sigma.hypot(1.0);
    for (discretization, kind, plain) in [
        (Discretization::Ddim, ScheduleKind::Trailing, false),
        (Discretization::DpmSolver, ScheduleKind::Karras, false),
        (Discretization::Euler, ScheduleKind::Leading, false),
        (Discretization::Euler, ScheduleKind::Linspace, true),
        (Discretization::Euler, ScheduleKind::Karras, true),
    ] {
        let schedule = schedule(Convention::Diffusers, kind, discretization, 8);
        let want = if plain { schedule.levels()[0].sigma } else { hypot(&schedule) };
        assert_eq!(schedule.initial_scale(), want, "{discretization:?} {kind:?}");
    }
}

#[test]
fn ddim_steps_end_a_fixed_stride_below_and_never_below_time_step_zero() {
    let training = NoiseModel::scaled_linear();
    let linspace = schedule(Convention::Diffusers, ScheduleKind::Linspace, Discretization::Ddim, 8);
    assert_eq!(linspace.targets()[0], training.sigmas()[999 - 125]);
    assert_ne!(linspace.targets()[0], linspace.levels()[1].sigma);
    let leading = schedule(Convention::Diffusers, ScheduleKind::Leading, Discretization::Ddim, 8);
    assert_eq!(leading.targets()[0], leading.levels()[1].sigma);
    for schedule in [linspace, leading] {
        assert_eq!(schedule.targets()[7], training.sigma_range().0);
    }
}

#[test]
fn numbers_of_steps_out_of_range_are_refused() {
    let training = NoiseModel::scaled_linear();
    for convention in CONVENTIONS {
        for steps in [0, MAX_STEPS + 1, usize::MAX] {
            let got =
                Schedule::new(&training, convention, ScheduleKind::Normal, Discretization::Euler, steps);
            assert_eq!(got, Err(ScheduleError::Steps { steps, max: MAX_STEPS }));
        }
    }
    for (discretization, max) in
        [(Discretization::Ddim, 999), (Discretization::Euler, 999), (Discretization::DpmSolver, 998)]
    {
        let got = |steps| {
            Schedule::new(&training, Convention::Diffusers, ScheduleKind::Leading, discretization, steps)
        };
        assert_eq!(got(1000), Err(ScheduleError::Steps { steps: 1000, max }));
        assert!(got(max + 1).is_err() && got(max).is_ok(), "{discretization:?}");
    }
}

#[test]
fn kinds_that_do_not_exist_are_refused_with_those_that_do() {
    let training = NoiseModel::scaled_linear();
    let error =
        Schedule::new(&training, Convention::KDiffusion, ScheduleKind::Trailing, Discretization::Euler, 9)
            .unwrap_err();
    assert_eq!(
        error.to_string(),
        "this sampler has no \"trailing\" schedule in the webui convention; leave the convention out or choose diffusers, or \
         choose one of: normal, karras, exponential, polyexponential, sgm_uniform, simple, ddim, beta, kl_optimal, align_your_steps, align_your_steps_xl"
    );
    let error =
        Schedule::new(&training, Convention::Diffusers, ScheduleKind::Karras, Discretization::Ddim, 9)
            .unwrap_err();
    assert!(error.to_string().contains("leading, linspace, trailing"), "{error}");
}

#[test]
fn strength_leaves_out_the_first_steps() {
    assert_eq!(Convention::Diffusers.skipped_steps(10, 0.6), 4);
    assert_eq!(Convention::Diffusers.skipped_steps(8, 0.6), 4);
    assert_eq!(Convention::Diffusers.skipped_steps(5, 1.0), 0);
    assert_eq!(Convention::Diffusers.skipped_steps(5, 0.1), 5);
    // Stable Diffusion 3 and Flux run the step that is begun.
    assert_eq!(Convention::Diffusers.skipped_flow_steps(8, 0.6), 3);
    assert_eq!(Convention::Diffusers.skipped_flow_steps(5, 1.0), 0);
    assert_eq!(Convention::Diffusers.skipped_flow_steps(5, 0.1), 4);
    assert_eq!(Convention::KDiffusion.skipped_flow_steps(20, 0.75), 4);
    // Not noise alone, unless that is asked for.
    assert_eq!(Convention::KDiffusion.skipped_flow_steps(2, 0.5), 1);
    assert_eq!(Convention::KDiffusion.skipped_flow_steps(4, 1.0), 0);
    assert_eq!(Convention::KDiffusion.skipped_flow_steps(1, 0.5), 0);
    assert_eq!(Convention::KDiffusion.skipped_steps(20, 0.75), 4);
    assert_eq!(Convention::KDiffusion.skipped_steps(20, 1.0), 0);
    assert_eq!(Convention::KDiffusion.skipped_steps(20, 0.0), 19);

    let whole = schedule(Convention::Diffusers, ScheduleKind::Leading, Discretization::Euler, 8);
    let rest = whole.clone().after(3).unwrap();
    assert_eq!((rest.levels(), rest.targets()), (&whole.levels()[3..], &whole.targets()[3..]));
    assert_eq!(whole.after(8), Err(ScheduleError::NothingLeft { steps: 8 }));
    let sigma = rest.levels()[0].sigma;
    assert_eq!(rest.add_noise(&[1.0], &[2.0]), [(1.0 + 2.0 * sigma) as f32]);
}

#[test]
fn kinds_by_name() {
    for kind in ScheduleKind::ALL {
        assert_eq!(ScheduleKind::parse(kind.name()), Ok(*kind));
    }
    assert_eq!(ScheduleKind::parse("Karras"), Ok(ScheduleKind::Karras));
    assert_eq!(ScheduleKind::parse("karass").unwrap_err().nearest, Some("karras"));
}

#[test]
fn spacings_have_their_known_levels() {
    let training = NoiseModel::scaled_linear();
    let (min, max) = training.sigma_range();
    let sigmas = |kind, steps| -> Vec<f64> {
        let schedule = schedule(Convention::KDiffusion, kind, Discretization::Euler, steps);
        schedule.levels().iter().map(|level| level.sigma).collect()
    };
    for (got, want) in
        sigmas(ScheduleKind::Polyexponential, 9).iter().zip(sigmas(ScheduleKind::Exponential, 9))
    {
        assert!((got / want - 1.0).abs() < 1e-12);
    }
    let table = training.sigmas();
    assert_eq!(sigmas(ScheduleKind::Simple, 4), [table[999], table[749], table[499], table[249]]);
    assert_eq!(sigmas(ScheduleKind::Ddim, 4), [table[751], table[501], table[251], table[1]]);
    // As normal with 5 steps, without the last.
    for (got, want) in sigmas(ScheduleKind::SgmUniform, 4).iter().zip(sigmas(ScheduleKind::Normal, 5)) {
        assert!((got - want).abs() < 1e-12);
    }
    let optimal = sigmas(ScheduleKind::KlOptimal, 3);
    assert!((optimal[1] - ((max.atan() + min.atan()) / 2.0).tan()).abs() < 1e-12);
    assert!((optimal[0] - max).abs() < 1e-9 && (optimal[2] - min).abs() < 1e-9);
    let beta = sigmas(ScheduleKind::Beta, 3);
    assert!((beta[1] - (max + min) / 2.0).abs() < 1e-9);
}

#[test]
fn rho_bends_the_spacings_that_have_it() {
    let training = NoiseModel::scaled_linear();
    let middle = |kind, rho| {
        let made = Schedule::with_rho(&training, Convention::KDiffusion, kind, Discretization::Euler, 3, rho)
            .unwrap();
        made.levels()[1].sigma
    };
    assert_eq!(middle(ScheduleKind::Karras, None), middle(ScheduleKind::Karras, Some(7.0)));
    assert!(middle(ScheduleKind::Karras, Some(3.0)) > middle(ScheduleKind::Karras, None));
    assert!(middle(ScheduleKind::Polyexponential, Some(2.0)) < middle(ScheduleKind::Polyexponential, None));
    let (min, max) = training.sigma_range();
    assert!((middle(ScheduleKind::Karras, Some(1.0)) - (min + max) / 2.0).abs() < 1e-9);
}

#[test]
fn given_levels_are_taken_as_they_are() {
    let training = NoiseModel::scaled_linear();
    for sigmas in [&[14.6, 7.0, 0.5, 0.0][..], &[14.6, 7.0, 0.5]] {
        let made = Schedule::from_sigmas(&training, sigmas).unwrap();
        let got: Vec<f64> = made.levels().iter().map(|level| level.sigma).collect();
        assert_eq!((got.as_slice(), made.targets()), (&[14.6, 7.0, 0.5][..], &[7.0, 0.5, 0.0][..]));
        assert_eq!(made.initial_scale(), 14.6);
        assert_eq!(made.ending_at(0.03).targets(), [7.0, 0.5, 0.03]);
    }
    for (sigmas, index) in
        [(&[1.0, 2.0][..], 1), (&[3.0, 3.0], 1), (&[2.0, -1.0], 1), (&[f64::NAN], 0), (&[2.0, 0.0, 0.0], 1)]
    {
        match Schedule::from_sigmas(&training, sigmas) {
            Err(ScheduleError::Sigmas { index: at, value: Some(_) }) => assert_eq!(at, index, "{sigmas:?}"),
            other => panic!("{sigmas:?} gave {other:?}"),
        }
    }
    for none in [&[][..], &[0.0]] {
        let error = Schedule::from_sigmas(&training, none).unwrap_err();
        assert_eq!(error, ScheduleError::Sigmas { index: 0, value: None });
    }
    let many: Vec<f64> = (0..1001).map(|i| 2000.0 - f64::from(i)).collect();
    assert!(Schedule::from_sigmas(&training, &many).is_err());
}

#[test]
fn discretizations_of_the_other_classes() {
    let training = NoiseModel::scaled_linear();
    let (min, _) = training.sigma_range();
    assert_eq!(
        timesteps(&schedule(Convention::Diffusers, ScheduleKind::Normal, Discretization::Lcm, 4)),
        [999., 759., 499., 259.]
    );
    let error =
        Schedule::new(&training, Convention::Diffusers, ScheduleKind::Normal, Discretization::Lcm, 51)
            .unwrap_err();
    assert_eq!(error, ScheduleError::Steps { steps: 51, max: 50 });
    let karras =
        |discretization| timesteps(&schedule(Convention::Diffusers, ScheduleKind::Karras, discretization, 8));
    assert_eq!(karras(Discretization::Dpm2), karras(Discretization::DpmSolver));
    for (discretization, kind, end) in [
        (Discretization::Ddpm, ScheduleKind::Leading, 0.0),
        (Discretization::Deis, ScheduleKind::Karras, min),
        (Discretization::Lcm, ScheduleKind::Normal, 0.0),
        (Discretization::Tcd, ScheduleKind::Normal, min),
    ] {
        assert_eq!(
            schedule(Convention::Diffusers, kind, discretization, 8).targets()[7],
            end,
            "{discretization:?}"
        );
    }
}

/// Flow matching: levels from 1 to 0, time steps in thousandths, and the same in both conventions.
#[test]
fn flow_matching_runs_from_noise_alone_to_zero() {
    let flow = NoiseModel::FlowMatching(FlowMatching::new(3.0).unwrap());
    for convention in CONVENTIONS {
        for kind in
            [ScheduleKind::Normal, ScheduleKind::Simple, ScheduleKind::SgmUniform, ScheduleKind::Karras]
        {
            let schedule = Schedule::new(&flow, convention, kind, Discretization::Euler, 4).unwrap();
            let levels = schedule.levels();
            assert!((levels[0].sigma - 1.0).abs() < 1e-12 && schedule.targets()[3] == 0.0, "{kind:?}");
            assert!((levels[0].timestep - 1000.0).abs() < 1e-9, "{kind:?}");
            assert!(levels.windows(2).all(|pair| pair[1].sigma < pair[0].sigma), "{kind:?}");
            let mut noise = [2.0, -1.0];
            schedule.scale_noise(&mut noise);
            assert_eq!(noise, [2.0, -1.0]);
            // An image shows through at a strength below 1.
            let rest = schedule.after(2).unwrap();
            let sigma = rest.levels()[0].sigma;
            assert_eq!(rest.add_noise(&[4.0], &[2.0]), [((1.0 - sigma) * 4.0 + sigma * 2.0) as f32]);
        }
    }
    // The shift keeps more of the levels high.
    let plain = NoiseModel::FlowMatching(FlowMatching::new(1.0).unwrap());
    let middle = |model| {
        let made =
            Schedule::new(model, CONVENTIONS[0], ScheduleKind::Normal, Discretization::Euler, 3).unwrap();
        made.levels()[1].sigma
    };
    assert!(middle(&flow) > middle(&plain) + 0.2);
}

proptest! {
    #[test]
    fn levels_fall_and_stay_in_the_table(
        steps in 1..=MAX_STEPS, convention in 0..CONVENTIONS.len(), discretization in 0..DISCRETIZATIONS.len(), kind in 0..ScheduleKind::ALL.len()
    ) {
        let training = NoiseModel::scaled_linear();
        let made = Schedule::new(&training, CONVENTIONS[convention], ScheduleKind::ALL[kind], DISCRETIZATIONS[discretization], steps);
        if let Ok(schedule) = made {
            let (min, max) = training.sigma_range();
            prop_assert_eq!(schedule.steps(), steps);
            for level in schedule.levels() {
                prop_assert!(level.sigma >= min * 0.99 && level.sigma <= max * 1.001);
                prop_assert!((0.0..=999.0).contains(&level.timestep));
            }
            for pair in schedule.levels().windows(2) {
                prop_assert!(pair[1].sigma <= pair[0].sigma && pair[1].timestep <= pair[0].timestep);
            }
            for (level, target) in schedule.levels().iter().zip(schedule.targets()) {
                prop_assert!(*target <= level.sigma);
            }
            prop_assert!(schedule.initial_scale() >= schedule.levels()[0].sigma);
        }
    }
}
